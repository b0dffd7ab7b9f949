"""People approve or reject a plan; both are events of the ledger.

OSS Dagster and MLflow do not prove who somebody is: a name is what was typed. The ledger makes it
impossible to deny that an approval was recorded, not to type the name of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from lakeops_assets.promotion.ledger import Entry, Ledger, LedgerEntry, live_in
from lakeops_assets.promotion.plan import (
    SHORT,
    UNKNOWN_APPROVER,
    PromotionPlan,
    objection,
    person,
    standing_of,
)
from lakeops_assets.promotion.registry import Registry

# The convention of Databricks' deployment jobs: a tag named like the approval task.
# docs.databricks.com/aws/en/mlflow/deployment-job
APPROVAL_TAG = "Approval_Check"
# Beside it: whose approval it is, and whose was looked at already.
APPROVER_TAG, SEEN_TAG = "Approval_Check.approver", "Approval_Check.seen"
APPROVED, REJECTED = "approved", "rejected"
SHORTEST_DIGEST = 6


class ApprovalRefusedError(Exception):
    """The approval or rejection does not count, and was not recorded."""


def approve(
    ledger: Ledger,
    registry: Registry,
    plan: PromotionPlan,
    *,
    digest: str,
    approver: str,
    reason: str,
    now: datetime,
    run_id: str = "",
    reject: bool = False,
) -> LedgerEntry:
    """Record that somebody approves, or rejects, the present plan.

    Args:
        ledger: Where it is recorded.
        registry: The model; the version gets the tag that Databricks' deployment jobs look at.
        plan: The present plan.
        digest: Digest that the approver saw, or the start of it.
        approver: Name of who approves.
        reason: Why.
        now: The present.
        run_id: Dagster run; empty outside one.
        reject: Whether it is a rejection, which ends the plan until something changes.

    Raises:
        ApprovalRefusedError: It is for another plan, from the author, the second of the same
            person, without a reason, or there is nothing to approve.
    """
    what = "rejection" if reject else "approval"
    if len(digest) < SHORTEST_DIGEST or not plan.digest.startswith(digest.lower()):
        raise ApprovalRefusedError(
            f"the {what} is for plan {digest[:SHORT]}, and the present plan for {plan.model} is "
            f"{plan.digest[:SHORT]} (version {plan.candidate}): look at it again with "
            "`lakeops plan promote`"
        )
    if not reason.strip():
        raise ApprovalRefusedError(f"the {what} needs a reason: it is what the ledger keeps")
    if not approver.strip() or approver == UNKNOWN_APPROVER:
        raise ApprovalRefusedError(f"the {what} needs the name of who gives it")
    if plan.action not in ("wait", "promote"):
        raise ApprovalRefusedError(
            f"there is nothing to {'reject' if reject else 'approve'} for version "
            f"{plan.candidate} of {plan.model}: {plan.reason}"
        )
    if plan.action == "promote" and not reject:
        raise ApprovalRefusedError(
            f"version {plan.candidate} of {plan.model} needs no further approval; `lakeops run` "
            "promotes it"
        )
    entry = Entry(
        plan.model,
        "reject" if reject else "approve",
        plan.candidate,
        plan.champion,
        " ".join(approver.split()),
        reason.strip(),
        now,
        evidence={"source": "lakeops", "evaluation_id": plan.verdict.evaluation_id},
        plan_digest=plan.digest,
        run_id=run_id,
    )
    tags = {
        APPROVAL_TAG: REJECTED if reject else APPROVED,
        APPROVER_TAG: entry.actor,
        SEEN_TAG: entry.actor,
    }
    return ledger.decide(
        lambda entries: _admitted(entries, plan, entry, now),
        then=lambda recorded: registry.set_version_tags(plan.candidate, tags),
    )


def record_expired(
    ledger: Ledger, plan: PromotionPlan, *, actor: str, run_id: str, now: datetime
) -> None:
    """Record the approvals of a plan that have become too old; each once."""
    for approval in plan.standing.expired:
        entry = Entry(
            plan.model,
            "expire",
            plan.candidate,
            plan.champion,
            actor,
            f"the approval of {approval.actor} (event {approval.sequence}) is older than "
            f"{plan.policy.approval_valid_hours:g} hours",
            now,
            evidence={"approval": approval.sequence},
            plan_digest=plan.digest,
            run_id=run_id,
        )
        try:
            ledger.decide(lambda entries, e=entry: _once(entries, e))  # type: ignore[misc]
        except _AlreadyRecorded:
            continue


def record_registry_approval(
    ledger: Ledger, registry: Registry, plan: PromotionPlan, *, now: datetime, run_id: str
) -> LedgerEntry | None:
    """Record an approval that was given as a tag in the registry, where the policy accepts those.

    The tag says nothing about a plan. So it counts for the plan that is there when it is first
    seen, and never for another one: each name that the tag gives is looked at once. A tag that this
    project set itself is no second approval.

    Returns:
        The event; None when there is no such tag, or it does not count.
    """
    if not plan.policy.accept_registry_tag:
        return None
    approver = registry_approver(registry.version_tags(plan.candidate))
    if approver is None:
        return None
    entry = Entry(
        plan.model,
        "approve",
        plan.candidate,
        plan.champion,
        approver,
        f"the tag {APPROVAL_TAG} of version {plan.candidate} says {APPROVED}",
        now,
        evidence={"source": "registry", "evaluation_id": plan.verdict.evaluation_id},
        plan_digest=plan.digest,
        run_id=run_id,
    )

    def first(entries: tuple[LedgerEntry, ...]) -> Entry:
        about = (e for e in entries if (e.model, e.version) == (plan.model, plan.candidate))
        seen = {e.actor for e in about if e.evidence.get("source") == "registry"}
        if approver in seen or plan.action != "wait":
            raise ApprovalRefusedError(f"there is nothing for {approver} to approve")
        return _admitted(entries, plan, entry, now)

    try:
        recorded = ledger.decide(first)
    except ApprovalRefusedError:
        recorded = None
    # Last: a process that is killed before looks again and finds the event in the ledger.
    registry.set_version_tags(plan.candidate, {SEEN_TAG: approver})
    return recorded


def registry_approver(tags: Mapping[str, str]) -> str | None:
    """Return who approved a version by its tags; None when nobody did, or it was looked at."""
    lower = {name.casefold(): value.strip() for name, value in tags.items()}
    if lower.get(APPROVAL_TAG.casefold(), "").casefold() != APPROVED:
        return None
    approver = lower.get(APPROVER_TAG.casefold()) or UNKNOWN_APPROVER
    return None if lower.get(SEEN_TAG.casefold()) == approver else approver


class _AlreadyRecorded(Exception):  # noqa: N818 - not an error: there is nothing to do
    pass


def _once(entries: tuple[LedgerEntry, ...], entry: Entry) -> Entry:
    approval = entry.evidence["approval"]
    if any(e.action == "expire" and e.evidence.get("approval") == approval for e in entries):
        raise _AlreadyRecorded
    return entry


def _admitted(
    entries: tuple[LedgerEntry, ...], plan: PromotionPlan, entry: Entry, now: datetime
) -> Entry:
    """Return an approval or rejection, if it counts by the events as they are now."""
    ours = [e for e in entries if e.model == plan.model]
    live = live_in(ours, plan.model)
    if (live.sequence if live else 0) != plan.champion_sequence:
        raise ApprovalRefusedError(
            f"the champion of {plan.model} was changed meanwhile; look at the plan again"
        )
    standing = standing_of(ours, plan.digest, plan.policy, plan.authors, now)
    if standing.rejection is not None:
        raise ApprovalRefusedError(
            f"{standing.rejection.actor} rejected plan {plan.digest[:SHORT]}: "
            f"{standing.rejection.reason}. It stands until something changes"
        )
    if entry.action == "reject":
        return entry
    if found := objection(entry.actor, plan.policy, plan.authors):
        raise ApprovalRefusedError(found)
    if person(entry.actor) in {person(e.actor) for e in standing.approvals}:
        raise ApprovalRefusedError(
            f"{entry.actor} approved plan {plan.digest[:SHORT]} already; another person is needed"
        )
    return entry
