"""The alias in the registry must say what the ledger says; where it does not, it is put right.

A process can be killed after the ledger and before the alias, and anybody with access to the
registry can move an alias. The ledger tells the two apart: it notes in the registry when a move was
finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from lakeops_assets.promotion.gates import Gate
from lakeops_assets.promotion.ledger import (
    Entry,
    Ledger,
    LedgerEntry,
    LedgerMovedError,
    LiveVersion,
    live_in,
)
from lakeops_assets.promotion.policy import PromotionPolicy
from lakeops_assets.promotion.registry import Registry, is_carried_out, move_aliases
from lakeops_assets.promotion.verdicts import stored_verdict

Step: TypeAlias = Literal["nothing", "finish", "restore", "adopt", "distrust"]


@dataclass(frozen=True)
class Live:
    """The version that may be exposed now.

    Attributes:
        version: The version; None when none may.
        reason: Why that one.
    """

    version: int | None
    reason: str


@dataclass(frozen=True)
class Difference:
    """What is between the ledger and the registry, and what to do about it.

    Attributes:
        model: Registered name.
        step: `nothing`; `finish` the move of a process that was killed; `restore` an alias that
            was moved by hand; `adopt` a champion from before the ledger, through its gates;
            `distrust`: take away an alias that no decision stands behind.
        live: Version that is live by the ledger; None before the first promotion.
        alias: Version that carries the alias `champion`.
        reason: In words.
    """

    model: str
    step: Step
    live: LiveVersion | None
    alias: int | None
    reason: str


def live_champion(ledger: Ledger, registry: Registry) -> Live:
    """Return the version that scores, serves and is compared with.

    It is what ledger and alias agree on. Where a process was killed between them, the version that
    was champion before stays until the move is finished. Where the alias was moved by hand, the
    ledger's word counts. An alias without a ledger counts for nothing.

    Raises:
        LedgerBrokenError: The ledger was tampered with.
    """
    live, alias = ledger.live(registry.name), registry.alias("champion")
    if live is None:
        if alias is None:
            return Live(None, f"{registry.name} has no champion yet")
        return Live(None, _unknown(registry.name, alias))
    if alias == live.version:
        return Live(alias, f"version {alias} was made live by event {live.sequence} of the ledger")
    if _is_unfinished(registry, live, alias):
        reason = (
            f"the move to version {live.version} (event {live.sequence}) is not finished; "
            f"{_champion(alias)} stays until then"
        )
        return Live(alias, reason)
    return Live(live.version, _by_hand(live, alias))


def compare(
    ledger: Ledger, registry: Registry, gates: tuple[Gate, ...] | None, policy: PromotionPolicy
) -> Difference:
    """Return what is between ledger and registry; changes nothing.

    Args:
        ledger: What was decided.
        registry: What the aliases say.
        gates: Gates that a champion from before the ledger must have passed.
        policy: Whether such a champion may be adopted without an approval.
    """
    model, live, alias = registry.name, ledger.live(registry.name), registry.alias("champion")
    if live is None:
        if alias is None:
            return Difference(model, "nothing", None, None, f"{model} has no champion yet")
        return _unknown_champion(ledger, registry, alias, gates, policy)
    if alias == live.version and is_carried_out(registry, live.entry):
        reason = f"ledger and alias say version {alias}"
        return Difference(model, "nothing", live, alias, reason)
    if alias == live.version or _is_unfinished(registry, live, alias):
        reason = (
            f"a process ended between the ledger (event {live.sequence}: version {live.version}) "
            f"and the alias ({_champion(alias)})"
        )
        return Difference(model, "finish", live, alias, reason)
    return Difference(model, "restore", live, alias, _by_hand(live, alias))


def reconcile(
    ledger: Ledger,
    registry: Registry,
    gates: tuple[Gate, ...] | None,
    policy: PromotionPolicy,
    *,
    actor: str,
    run_id: str,
    now: datetime,
) -> Difference:
    """Put right what is between ledger and registry, and return what it was.

    Raises:
        LedgerBrokenError: The ledger was tampered with.
    """
    found = compare(ledger, registry, gates, policy)
    if found.step == "finish" and found.live is not None:
        with ledger.locked():
            live = ledger.live(found.model)
            if live is not None and live.sequence == found.live.sequence:
                move_aliases(registry, found.live.entry)
    elif found.step == "restore" and found.live is not None:
        entry = found.live.entry
        restored = _event(found, entry, actor, run_id, now)
        _record(ledger, found, restored, lambda _: move_aliases(registry, entry))
    elif found.step == "adopt":
        adoption = _adoption(ledger, registry, found, gates, actor, run_id, now)
        _record(ledger, found, adoption, lambda adopted: move_aliases(registry, adopted))
    elif found.step == "distrust":
        distrusted = _event(found, None, actor, run_id, now)
        _record(ledger, found, distrusted, lambda _: registry.delete_alias("champion"))
    return found


def _unknown_champion(
    ledger: Ledger,
    registry: Registry,
    alias: int,
    gates: tuple[Gate, ...] | None,
    policy: PromotionPolicy,
) -> Difference:
    """Decide on a champion that no promotion in the ledger made."""
    model = registry.name
    verdict = stored_verdict(
        ledger.lakehouse, model, alias, gates, model_id=registry.model_id(alias)
    )
    if not verdict.allowed:
        reason = f"{_unknown(model, alias)}, and {'; '.join(verdict.reasons)}"
        return Difference(model, "distrust", None, alias, reason)
    if policy.approvals or any(e.action == "restore" for e in ledger.entries(model)):
        reason = f"{_unknown(model, alias)}, and nobody approved it"
        return Difference(model, "distrust", None, alias, reason)
    reason = f"adopted: version {alias} was champion before the ledger and passed its gates"
    return Difference(model, "adopt", None, alias, reason)


def _adoption(
    ledger: Ledger,
    registry: Registry,
    found: Difference,
    gates: tuple[Gate, ...] | None,
    actor: str,
    run_id: str,
    now: datetime,
) -> Entry:
    if found.alias is None:
        raise ValueError("only an alias can be adopted")
    verdict = stored_verdict(
        ledger.lakehouse,
        found.model,
        found.alias,
        gates,
        model_id=registry.model_id(found.alias),
    )
    return Entry(
        found.model,
        "promote",
        found.alias,
        None,
        actor,
        found.reason,
        now,
        evidence={
            "evaluation_id": verdict.evaluation_id,
            "gates": {r.gate: r.reason for r in verdict.results},
            "data_version": registry.data_version(found.alias),
        },
        run_id=run_id,
    )


def _event(
    found: Difference, live: LedgerEntry | None, actor: str, run_id: str, now: datetime
) -> Entry:
    version = live.version if live else None
    return Entry(
        found.model, "restore", version, found.alias, actor, found.reason, now, run_id=run_id
    )


def _record(
    ledger: Ledger, found: Difference, entry: Entry, then: Callable[[LedgerEntry], None]
) -> None:
    """Record an event and act on it, unless something was decided since `found` was found."""

    def decide(entries: tuple[LedgerEntry, ...]) -> Entry:
        live = live_in(entries, found.model)
        if (live and live.sequence) != (found.live and found.live.sequence):
            raise LedgerMovedError(
                f"another process decided on {found.model} meanwhile; look at it again"
            )
        return entry

    ledger.decide(decide, then)


def _is_unfinished(registry: Registry, live: LiveVersion, alias: int | None) -> bool:
    return alias == live.entry.replaced and not is_carried_out(registry, live.entry)


def _unknown(model: str, alias: int) -> str:
    return f"the alias champion of {model} is on version {alias}, which no promotion put there"


def _by_hand(live: LiveVersion, alias: int | None) -> str:
    return (
        f"the alias champion of {live.model} was moved by hand to "
        f"{'nothing' if alias is None else f'version {alias}'}; the ledger says version "
        f"{live.version} (event {live.sequence})"
    )


def _champion(version: int | None) -> str:
    return "no champion" if version is None else f"champion {version}"
