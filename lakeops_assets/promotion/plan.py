"""What a promotion would change, and on what it would be decided.

A plan has a digest. People approve the digest, so that an approval is for exactly this version, on
this evidence, in place of this champion, under this policy. No clock is in it: the same state gives
the same digest on every machine, and anything that changes gives another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from lakeops_assets.promotion.gates import Gate, gates_digest
from lakeops_assets.promotion.ledger import Ledger, LedgerEntry, live_in
from lakeops_assets.promotion.policy import PromotionPolicy
from lakeops_assets.promotion.reconcile import live_champion
from lakeops_assets.promotion.registry import Registry
from lakeops_assets.promotion.revert import was_reverted
from lakeops_assets.promotion.verdicts import Verdict, stored_verdict

PlanAction: TypeAlias = Literal["promote", "keep", "refuse", "wait"]
Interval: TypeAlias = tuple[float, float, float]
UNKNOWN_APPROVER = "registry tag (identity unknown)"
SHORT = 12


@dataclass(frozen=True)
class MetricPair:
    """A metric of both versions, each as (value, low, high) with its 95 % interval.

    They are from each version's own evaluation; the gates compare both on the same rows.

    Attributes:
        candidate: Metric of the candidate.
        champion: Metric of the champion; None without one.
    """

    candidate: Interval
    champion: Interval | None


@dataclass(frozen=True)
class Standing:
    """What people said about a plan.

    Attributes:
        approvals: Approvals that count.
        rejection: The rejection, which ends the plan; None without one.
        expired: Approvals that are too old and were not yet recorded as expired.
    """

    approvals: tuple[LedgerEntry, ...] = ()
    rejection: LedgerEntry | None = None
    expired: tuple[LedgerEntry, ...] = ()


@dataclass(frozen=True)
class PromotionPlan:
    """What a promotion would change.

    Attributes:
        model: Registered name.
        candidate: Version that would become champion.
        champion: Version that it would replace; None without one.
        champion_sequence: Event of the ledger that made the champion live; 0 without one.
        action: `promote`; `wait`: approvals are missing; `keep`: the candidate is champion already;
            `refuse`: a gate failed, a person rejected it, or the present is not clear.
        reason: Why that action.
        verdict: Stored verdict on the candidate.
        policy: Policy of the environment.
        digest: Identifies the plan; see above.
        data_version: Delta version of the feature table that the candidate was trained on.
        needed: Approvals that are needed.
        standing: What people said.
        authors: Who trained and registered the candidate.
        metrics: Metrics of both, for whoever decides; not in the digest.
        consequences: What would follow, in words, for whoever decides; not in the digest.
    """

    model: str
    candidate: int
    champion: int | None
    champion_sequence: int
    action: PlanAction
    reason: str
    verdict: Verdict
    policy: PromotionPolicy
    digest: str
    data_version: int
    needed: int = 0
    standing: Standing = field(default_factory=Standing)
    authors: tuple[str, ...] = ()
    metrics: Mapping[str, MetricPair] = field(default_factory=dict)
    consequences: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """Approvals that are still missing."""
        return max(0, self.needed - len(self.standing.approvals))

    @property
    def not_from(self) -> tuple[str, ...]:
        """Whose approval would not count: who approved already, and authors who may not."""
        approved = {e.actor for e in self.standing.approvals}
        barred = set() if self.policy.author_may_approve else set(self.authors)
        return tuple(sorted(approved | barred))


def plan_promotion(
    ledger: Ledger,
    registry: Registry,
    candidate: int,
    gates: tuple[Gate, ...],
    policy: PromotionPolicy,
    *,
    now: datetime,
) -> PromotionPlan:
    """Plan the promotion of a candidate from what is stored; changes nothing.

    Args:
        ledger: What was decided, and by whom plans were approved.
        registry: The model.
        candidate: Version that would become champion.
        gates: The gates as they are declared now.
        policy: Policy of the environment.
        now: The present; it only decides which approvals are too old.

    Raises:
        LedgerBrokenError: The ledger was tampered with.
    """
    entries = ledger.entries(registry.name)
    live = live_in(entries, registry.name)
    champion, champion_sequence = (live.version, live.sequence) if live else (None, 0)
    verdict = stored_verdict(
        ledger.lakehouse, registry.name, candidate, gates, model_id=registry.model_id(candidate)
    )
    data_version = registry.data_version(candidate)
    digest = _digest(
        {
            "model": registry.name,
            "candidate": candidate,
            "fingerprint": registry.fingerprint(candidate),
            "champion": champion,
            "champion_sequence": champion_sequence,
            "evaluation_id": verdict.evaluation_id,
            "results": [[r.gate, r.passed, r.reason] for r in verdict.results],
            "gates": gates_digest(gates),
            "data_version": data_version,
            "policy": policy.digest(),
        }
    )
    authors = registry.authors(candidate)
    reverted = was_reverted(entries, candidate)
    needed = max(policy.approvals, 1 if reverted else 0)
    standing = standing_of(entries, digest, policy, authors, now)
    action, reason = _action(
        candidate, champion, live_champion(ledger, registry).version, verdict, standing, needed
    )
    if action == "wait":
        reason = _waiting(standing, needed, policy, authors, digest, reverted)
    return PromotionPlan(
        model=registry.name,
        candidate=candidate,
        champion=champion,
        champion_sequence=champion_sequence,
        action=action,
        reason=reason,
        verdict=verdict,
        policy=policy,
        digest=digest,
        data_version=data_version,
        needed=needed,
        standing=standing,
        authors=authors,
        metrics=_metrics(registry, candidate, champion),
    )


def standing_of(
    entries: Sequence[LedgerEntry],
    digest: str,
    policy: PromotionPolicy,
    authors: Sequence[str],
    now: datetime,
) -> Standing:
    """Return what people said about a plan, by the events of its model."""
    about = [e for e in entries if e.plan_digest == digest]
    rejections = [e for e in about if e.action == "reject"]
    recorded = {e.evidence.get("approval") for e in about if e.action == "expire"}
    valid = timedelta(hours=policy.approval_valid_hours)
    approvals: dict[str, LedgerEntry] = {}
    expired = []
    for entry in about:
        if entry.action != "approve" or entry.sequence in recorded:
            continue
        if now - entry.at > valid:
            expired.append(entry)
        elif not objection(entry.actor, policy, authors):
            approvals.setdefault(person(entry.actor), entry)
    return Standing(
        tuple(approvals.values()), rejections[-1] if rejections else None, tuple(expired)
    )


def objection(approver: str, policy: PromotionPolicy, authors: Sequence[str]) -> str:
    """Return why the approval of somebody does not count; empty when it does."""
    if policy.author_may_approve:
        return ""
    if approver == UNKNOWN_APPROVER:
        if policy.unknown_may_approve:
            return ""
        return (
            "the registry's tag does not say who approved, so that it may have been the author; "
            "set the tag Approval_Check.approver beside it"
        )
    if not authors:
        return (
            "nobody is recorded as the author of the version, so that it cannot be told whether "
            f"{approver} is; register the version again, or let the policy say author_may_approve"
        )
    if person(approver) in {person(author) for author in authors}:
        return f"{approver} is the author of the version and may not approve it"
    return ""


def person(name: str) -> str:
    """Return a name as names are compared: the same person in capitals is no second one."""
    return " ".join(name.split()).casefold()


def _action(
    candidate: int,
    champion: int | None,
    exposed: int | None,
    verdict: Verdict,
    standing: Standing,
    needed: int,
) -> tuple[PlanAction, str]:
    if champion == candidate:
        return "keep", f"version {candidate} is the champion already"
    if exposed != champion:
        return "refuse", (
            f"the ledger says {_champion(champion)} and the registry {_champion(exposed)}; "
            "`lakeops run` puts that right first"
        )
    if not verdict.allowed:
        return "refuse", "; ".join(verdict.reasons)
    if verdict.champion_version != champion:
        return "refuse", (
            f"version {candidate} was compared with {_champion(verdict.champion_version)}, and "
            f"there is {_champion(champion)} now; evaluate it again"
        )
    if standing.rejection is not None:
        said = standing.rejection
        return "refuse", f"{said.actor} rejected it: {said.reason}"
    if len(standing.approvals) < needed:
        return "wait", ""
    passed = f"version {candidate} passed its {len(verdict.results)} gates"
    if not standing.approvals:
        return "promote", passed
    names = ", ".join(f"{e.actor} ({e.reason})" for e in standing.approvals)
    return "promote", f"{passed} and was approved by {names}"


def _waiting(
    standing: Standing,
    needed: int,
    policy: PromotionPolicy,
    authors: Sequence[str],
    digest: str,
    reverted: LedgerEntry | None,
) -> str:
    missing = needed - len(standing.approvals)
    noun = "approval is" if missing == 1 else "approvals are"
    text = f"{missing} {noun} missing for plan {digest[:SHORT]}"
    if reverted is not None:
        text += f" (the version was reverted from on {reverted.at:%Y-%m-%d}: {reverted.reason})"
    if standing.expired:
        text += f"; {len(standing.expired)} expired after {policy.approval_valid_hours:g} hours"
    if authors and not policy.author_may_approve:
        text += f"; not from {', '.join(authors)}, who made the version"
    if standing.approvals:
        text += f"; there is that of {', '.join(e.actor for e in standing.approvals)}"
    return text


def _metrics(registry: Registry, candidate: int, champion: int | None) -> dict[str, MetricPair]:
    ours = _intervals(registry.metrics(candidate))
    theirs = _intervals(registry.metrics(champion)) if champion is not None else {}
    return {name: MetricPair(interval, theirs.get(name)) for name, interval in ours.items()}


def _intervals(metrics: Mapping[str, float]) -> dict[str, Interval]:
    return {
        name: (value, metrics[f"{name}_low"], metrics[f"{name}_high"])
        for name, value in metrics.items()
        if f"{name}_low" in metrics and f"{name}_high" in metrics
    }


def _digest(content: Mapping[str, object]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _champion(version: int | None) -> str:
    return "no champion" if version is None else f"champion {version}"


def plan_evidence(plan: PromotionPlan) -> dict[str, object]:
    """Return what a plan was decided on, as the ledger keeps it."""
    return {
        "evaluation_id": plan.verdict.evaluation_id,
        "data_version": plan.data_version,
        "metrics": {name: asdict(pair) for name, pair in plan.metrics.items()},
        "gates": {
            r.gate: {"passed": r.passed, "reason": r.reason, **dict(r.evidence)}
            for r in plan.verdict.results
        },
        "approvals": [e.sequence for e in plan.standing.approvals],
        "policy": asdict(plan.policy),
    }
