"""Carry out a plan: the ledger first, then the aliases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lakeops_assets.promotion.approval import record_expired, record_registry_approval
from lakeops_assets.promotion.gates import Gate
from lakeops_assets.promotion.ledger import Entry, Ledger, LedgerEntry, live_in
from lakeops_assets.promotion.plan import (
    PromotionPlan,
    plan_evidence,
    plan_promotion,
    standing_of,
)
from lakeops_assets.promotion.policy import PromotionPolicy
from lakeops_assets.promotion.reconcile import Difference, live_champion, reconcile
from lakeops_assets.promotion.registry import Registry, move_aliases
from lakeops_assets.promotion.verdicts import require_gates


class PromotionRefusedError(Exception):
    """The plan does not allow the promotion, or is not about the present any more."""


@dataclass(frozen=True)
class PromotionResult:
    """What a promotion changed.

    Attributes:
        champion: Champion now; None when a first candidate was refused or waits.
        replaced: Champion before, when it was replaced.
        promoted: Whether the champion was changed.
        reason: Why.
    """

    champion: int | None
    replaced: int | None
    promoted: bool
    reason: str


@dataclass(frozen=True)
class Advance:
    """What was found and done to bring a champion up to date.

    Attributes:
        difference: What was between ledger and registry, which was put right first.
        plan: The plan for the candidate.
        result: What became of it.
    """

    difference: Difference
    plan: PromotionPlan
    result: PromotionResult


def advance(
    ledger: Ledger,
    registry: Registry,
    candidate: int,
    gates: tuple[Gate, ...],
    policy: PromotionPolicy,
    *,
    actor: str,
    run_id: str,
    now: datetime,
) -> Advance:
    """Bring a champion up to date: put right what differs, plan, and promote what may be promoted.

    Raises:
        PromotionRefusedError: Another process was faster.
        LedgerBrokenError: The ledger was tampered with; nothing is promoted.
    """
    difference = reconcile(ledger, registry, gates, policy, actor=actor, run_id=run_id, now=now)
    plan = plan_promotion(ledger, registry, candidate, gates, policy, now=now)
    record_expired(ledger, plan, actor=actor, run_id=run_id, now=now)
    if record_registry_approval(ledger, registry, plan, now=now, run_id=run_id):
        plan = plan_promotion(ledger, registry, candidate, gates, policy, now=now)
    result = carry_out(ledger, registry, plan, gates, actor=actor, run_id=run_id, now=now)
    return Advance(difference, plan, result)


def carry_out(
    ledger: Ledger,
    registry: Registry,
    plan: PromotionPlan,
    gates: tuple[Gate, ...],
    *,
    actor: str,
    run_id: str,
    now: datetime,
) -> PromotionResult:
    """Carry out a plan. Of several that carry out the same one, one promotes.

    Raises:
        PromotionRefusedError: The present is not what the plan was made for.
        GatesNotPassedError: The stored verdict does not allow the candidate any more.
        LedgerBrokenError: The ledger was tampered with.
    """
    if plan.action != "promote":
        exposed = live_champion(ledger, registry).version
        return PromotionResult(exposed, None, promoted=False, reason=plan.reason)
    verdict = require_gates(
        ledger.lakehouse,
        plan.model,
        plan.candidate,
        gates,
        model_id=registry.model_id(plan.candidate),
    )
    if verdict.evaluation_id != plan.verdict.evaluation_id:
        raise PromotionRefusedError(
            f"version {plan.candidate} of {plan.model} was evaluated again after the plan was "
            "made; plan again"
        )
    entry = Entry(
        plan.model,
        "promote",
        plan.candidate,
        plan.champion,
        actor,
        plan.reason,
        now,
        evidence=plan_evidence(plan),
        plan_digest=plan.digest,
        run_id=run_id,
    )

    def decide(entries: tuple[LedgerEntry, ...]) -> Entry:
        _check_present(entries, registry, plan, now)
        return entry

    recorded = ledger.decide(decide, then=lambda e: move_aliases(registry, e))
    return PromotionResult(recorded.version, plan.champion, promoted=True, reason=plan.reason)


def _check_present(
    entries: tuple[LedgerEntry, ...], registry: Registry, plan: PromotionPlan, now: datetime
) -> None:
    """Refuse when ledger, alias or approvals are not those that the plan was made for."""
    ours = [e for e in entries if e.model == plan.model]
    live, alias = live_in(ours, plan.model), registry.alias("champion")
    version, sequence = (live.version, live.sequence) if live else (None, 0)
    if sequence != plan.champion_sequence or alias != plan.champion:
        raise PromotionRefusedError(
            f"the plan for {plan.model} was made with {_champion(plan.champion)}; now the ledger "
            f"says {_champion(version)} and the registry {_champion(alias)}; plan again"
        )
    standing = standing_of(ours, plan.digest, plan.policy, plan.authors, now)
    if standing.rejection is not None or len(standing.approvals) < plan.needed:
        raise PromotionRefusedError(
            f"the plan for version {plan.candidate} of {plan.model} was rejected, or lost an "
            "approval, after it was made; plan again"
        )


def _champion(version: int | None) -> str:
    return "no champion" if version is None else f"champion {version}"
