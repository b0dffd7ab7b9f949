"""Plan a revert, then carry it out: the version that was live before becomes champion again.

A revert needs no approval: it goes back to what was approved. It happens once for one champion,
however many ask for it, and it does not swing to and fro.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from lakeops_assets.promotion.ledger import DECISIONS, Entry, Ledger, LedgerEntry, live_in
from lakeops_assets.promotion.registry import Registry, move_aliases
from lakeops_assets.promotion.verdicts import require_gates, stored_verdict


class RevertRefusedError(Exception):
    """There is nothing to revert to, or the present is not what the plan was made for."""


@dataclass(frozen=True)
class RevertPlan:
    """What a revert would change.

    Attributes:
        model: Registered name.
        action: `revert` or `refuse`.
        champion: Version that is live when the plan is made; None without one.
        champion_sequence: Event of the ledger that made it live; 0 without one.
        target: Version that would become champion again; None when there is none.
        reason: Why it is asked for.
        refusal: Why it is refused; empty for a revert.
        evidence: What was measured.
    """

    model: str
    action: Literal["revert", "refuse"]
    champion: int | None
    champion_sequence: int
    target: int | None
    reason: str
    refusal: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RevertResult:
    """What a revert changed.

    Attributes:
        reverted: Whether this call made the revert; of several that race, one does.
        champion: Version that is live now.
        replaced: Version that was live before; None when nothing changed.
        reason: Why, or why not.
        entry: The event in the ledger; None when nothing changed.
    """

    reverted: bool
    champion: int | None
    replaced: int | None
    reason: str
    entry: LedgerEntry | None = None


def plan_revert(
    ledger: Ledger,
    registry: Registry,
    *,
    measured: int | None,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    cooldown: timedelta = timedelta(),
    now: datetime,
    to: int | None = None,
) -> RevertPlan:
    """Plan to go back from the champion to the version that was live before it.

    Args:
        ledger: What was decided; it says what was live before.
        registry: The model.
        measured: Version that the reason is about; a champion that is another one is left alone.
            None when it is asked for whichever is live, as by a person.
        reason: Why.
        evidence: What was measured.
        cooldown: How long a champion is left alone that came back: by a revert to it, or by a
            promotion after it had been reverted from. The measurements that spoke against it before
            are still there, and would else revert it again at once. A champion that is live for the
            first time can be reverted at any moment.
        now: The present.
        to: Version to go back to instead, which must have been live once.

    Raises:
        LedgerBrokenError: The ledger was tampered with.
    """
    model = registry.name
    entries = ledger.entries(model)
    live = live_in(entries, model)
    measured_on = dict(evidence or {})
    if live is None:
        return RevertPlan(
            model, "refuse", None, 0, None, reason, f"{model} has no champion", measured_on
        )
    target = going_back_to(entries, to)
    refusal = ""
    if not reason.strip():
        refusal = "a revert needs a reason"
    elif measured is not None and measured != live.version:
        refusal = f"version {measured} was measured, and version {live.version} is champion now"
    elif waiting := _cooling(entries, live.entry, cooldown, now):
        refusal = waiting
    elif target is None:
        refusal = _no_target(entries, live.version, to)
    else:
        verdict = stored_verdict(
            ledger.lakehouse, model, target, None, model_id=registry.model_id(target)
        )
        if not verdict.allowed:
            refusal = f"version {target} did not pass its gates: {'; '.join(verdict.reasons)}"
    return RevertPlan(
        model=model,
        action="refuse" if refusal else "revert",
        champion=live.version,
        champion_sequence=live.sequence,
        target=target,
        reason=reason,
        refusal=refusal,
        evidence=measured_on,
    )


def carry_out_revert(
    ledger: Ledger,
    registry: Registry,
    plan: RevertPlan,
    *,
    actor: str,
    run_id: str,
    now: datetime,
) -> RevertResult:
    """Carry out a plan: the ledger first, then the aliases.

    Of several that carry out plans for the same champion, one reverts; the others return that there
    was nothing left to do.

    Raises:
        GatesNotPassedError: The stored verdict does not allow the target any more.
        LedgerBrokenError: The ledger was tampered with.
    """
    if plan.action != "revert" or plan.target is None:
        return RevertResult(False, plan.champion, None, plan.refusal)
    verdict = require_gates(
        ledger.lakehouse,
        plan.model,
        plan.target,
        None,
        model_id=registry.model_id(plan.target),
    )
    evidence = {
        "measured": dict(plan.evidence),
        "evaluation_id": verdict.evaluation_id,
        "data_version": registry.data_version(plan.target),
    }
    entry = Entry(
        plan.model,
        "revert",
        plan.target,
        plan.champion,
        actor,
        plan.reason,
        now,
        evidence=evidence,
        run_id=run_id,
    )

    def decide(entries: tuple[LedgerEntry, ...]) -> Entry:
        live = live_in(entries, plan.model)
        if live is None or live.sequence != plan.champion_sequence:
            raise _OthersDecided(live.version if live else None)
        return entry

    try:
        recorded = ledger.decide(decide, then=lambda entry: move_aliases(registry, entry))
    except _OthersDecided as other:
        reason = (
            f"version {plan.champion} was champion when the revert was planned, and "
            f"{_champion(other.champion)} is now; nothing was changed"
        )
        return RevertResult(False, other.champion, None, reason)
    return RevertResult(True, plan.target, plan.champion, plan.reason, recorded)


def going_back_to(entries: Sequence[LedgerEntry], to: int | None = None) -> int | None:
    """Return the version that was live before the present one and may come back.

    Args:
        entries: Events of one model.
        to: The version that is wanted; None for the one that was live last.
    """
    decisions = [e for e in entries if e.action in DECISIONS]
    if not decisions:
        return None
    present, barred = decisions[-1].version, set[int | None]()
    for entry in reversed(decisions):
        # A version that was reverted from comes back by a new promotion alone, which is then the
        # newest of its events.
        wanted = to is None or entry.version == to
        if wanted and entry.version not in barred and entry.version != present:
            return entry.version
        if entry.action == "revert":
            barred.add(entry.replaced)
    return None


def was_reverted(entries: Sequence[LedgerEntry], version: int) -> LedgerEntry | None:
    """Return the revert from a version that no promotion has come after; None without one."""
    for entry in reversed(entries):
        if entry.action == "promote" and entry.version == version:
            return None
        if entry.action == "revert" and entry.replaced == version:
            return entry
    return None


class _OthersDecided(Exception):  # noqa: N818 - not an error: another caller was faster
    def __init__(self, champion: int | None) -> None:
        super().__init__()
        self.champion = champion


def _cooling(
    entries: Sequence[LedgerEntry], since: LedgerEntry, cooldown: timedelta, now: datetime
) -> str:
    """Return why the champion is left alone for now; empty when it is not."""
    came_back = since.action == "revert" or any(
        e.action == "revert" and e.replaced == since.version and e.sequence < since.sequence
        for e in entries
    )
    if not came_back or now - since.at >= cooldown:
        return ""
    until = (since.at + cooldown).strftime("%Y-%m-%d %H:%M %Z")
    how = "a revert" if since.action == "revert" else "a promotion after it had been reverted from"
    return f"version {since.version} came back by {how} and is left alone until {until}"


def _no_target(entries: Sequence[LedgerEntry], champion: int, to: int | None) -> str:
    lived = sorted({e.version for e in entries if e.action in DECISIONS and e.version})
    if to is not None:
        return (
            f"version {to} cannot come back: only a version that was live, and was not reverted "
            f"from since, can; live so far: {', '.join(map(str, lived))}"
        )
    return f"there is no version to go back to from version {champion}: none was live before it"


def _champion(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
