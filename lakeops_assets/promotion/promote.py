"""Plan a promotion, then carry it out.

The plan is made from what is stored and can be printed; carrying it out compares the champion
with the one that the plan was made for before it moves an alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.promotion.gates import Gate
from lakeops_assets.promotion.verdicts import Verdict, require_gates, stored_verdict


class PromotionRefusedError(Exception):
    """The plan does not allow the promotion, or is not about the present any more."""


class Aliases(Protocol):
    """The aliases of one registered model."""

    @property
    def name(self) -> str:
        """Registered name."""
        ...

    def alias(self, alias: str) -> int | None:
        """Return the version that carries an alias; None when none does."""
        ...

    def set_alias(self, alias: str, version: int) -> None:
        """Move an alias to a version."""
        ...

    def delete_alias(self, alias: str) -> None:
        """Remove an alias; does nothing where none is."""
        ...

    def set_version_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        ...


@dataclass(frozen=True)
class PromotionPlan:
    """What a promotion would change.

    Attributes:
        model: Registered name.
        candidate: Version that would become champion.
        champion: Champion when the plan was made; None without one.
        action: `promote`, `keep` (the candidate is champion already) or `refuse`.
        verdict: Stored verdict on the candidate.
        reason: Why that action.
    """

    model: str
    candidate: int
    champion: int | None
    action: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class PromotionResult:
    """What a promotion changed.

    Attributes:
        champion: Champion now; None when a first candidate was refused.
        replaced: Champion before, when it was replaced.
        promoted: Whether the alias moved.
        reason: Why.
    """

    champion: int | None
    replaced: int | None
    promoted: bool
    reason: str


def plan_promotion(
    lakehouse: Lakehouse, aliases: Aliases, candidate: int, gates: tuple[Gate, ...]
) -> PromotionPlan:
    """Plan the promotion of a candidate from its stored verdict."""
    champion = aliases.alias("champion")
    verdict = stored_verdict(lakehouse, aliases.name, candidate, gates)
    if champion == candidate:
        action, reason = "keep", f"version {candidate} is the champion already"
    elif not verdict.allowed:
        action, reason = "refuse", "; ".join(verdict.reasons)
    elif verdict.champion_version != champion:
        action = "refuse"
        reason = (
            f"version {candidate} was compared with {_champion(verdict.champion_version)}, and "
            f"there is {_champion(champion)} now; evaluate it again"
        )
    else:
        action, reason = "promote", f"version {candidate} passed its {len(gates)} gates"
    return PromotionPlan(aliases.name, candidate, champion, action, verdict, reason)


def carry_out(
    lakehouse: Lakehouse, aliases: Aliases, plan: PromotionPlan, gates: tuple[Gate, ...]
) -> PromotionResult:
    """Carry out a plan.

    Raises:
        PromotionRefusedError: The champion is not the one that the plan was made for.
        GatesNotPassedError: The stored verdict does not allow the candidate any more.
    """
    champion = aliases.alias("champion")
    if champion != plan.champion:
        raise PromotionRefusedError(
            f"the plan for {plan.model} was made with {_champion(plan.champion)} and there is "
            f"{_champion(champion)} now; plan again"
        )
    if plan.action != "promote":
        return PromotionResult(champion, None, promoted=False, reason=plan.reason)
    verdict = require_gates(lakehouse, plan.model, plan.candidate, gates)
    # `previous` first: a promotion that is cut off here leaves the champion as it was.
    if champion is not None:
        aliases.set_alias("previous", champion)
    aliases.set_version_tags(
        plan.candidate,
        {"lakeops.gates": "passed", "lakeops.evaluation": verdict.evaluation_id},
    )
    aliases.set_alias("champion", plan.candidate)
    if aliases.alias("challenger") == plan.candidate:
        aliases.delete_alias("challenger")
    return PromotionResult(plan.candidate, champion, promoted=True, reason=plan.reason)


def _champion(version: int | None) -> str:
    return "no champion" if version is None else f"champion {version}"
