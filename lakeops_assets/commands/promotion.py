"""Plans, approvals, reverts and history of a product's model, for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from lakeops_assets.components.crossing import (
    Crossing,
    CrossingPlan,
    cross,
    elsewhere,
    plan_crossing,
)
from lakeops_assets.components.promotable import Promotable, find_promotable, promotables
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.promotion import (
    Ledger,
    LedgerEntry,
    LiveVersion,
    PromotionPlan,
    RevertRefusedError,
    RevertResult,
    anchors,
    compare,
)
from lakeops_assets.settings import Settings

if TYPE_CHECKING:
    from lakeops_assets.components.staleness import AssetGraph


class NotATimeError(ValueError):
    """A text is no time."""


@dataclass(frozen=True)
class History:
    """The events of a model.

    Attributes:
        model: Registered name.
        at: Time that is asked about; None for now.
        live: Version that was live then; None without one.
        entries: Events up to then, oldest first.
    """

    model: str
    at: datetime | None
    live: LiveVersion | None
    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong with the ledger or with what it says.

    Attributes:
        subject: The ledger or a model.
        found: What was found.
        fix: What to do.
        failing: False for what the next run puts right.
    """

    subject: str
    found: str
    fix: str
    failing: bool


def plan(product: str, settings: Settings) -> PromotionPlan:
    """Return the plan for the newest version of a product's model; changes nothing."""
    graph, lakeops = _graph(), LakeopsResource.from_settings(settings)
    return find_promotable(graph, product).plan(lakeops, graph)


def plan_to(product: str, environment: str, tracking_uri: str, settings: Settings) -> CrossingPlan:
    """Return what promoting the champion to another environment would do; changes nothing."""
    here = LakeopsResource.from_settings(settings)
    there = elsewhere(here, environment, tracking_uri)
    return plan_crossing(find_promotable(_graph(), product), here, there)


def promote_to(product: str, environment: str, tracking_uri: str, settings: Settings) -> Crossing:
    """Copy the champion to another environment and promote it there as its policy allows."""
    here = LakeopsResource.from_settings(settings)
    there = elsewhere(here, environment, tracking_uri)
    return cross(find_promotable(_graph(), product), here, there)


def approve(
    product: str, digest: str, approver: str, reason: str, settings: Settings, *, reject: bool
) -> LedgerEntry:
    """Record an approval, or a rejection, of the present plan."""
    lakeops = LakeopsResource.from_settings(settings)
    return find_promotable(_graph(), product).approve(
        lakeops, digest=digest, approver=approver, reason=reason, reject=reject
    )


def revert(product: str, reason: str, to: int | None, settings: Settings) -> RevertResult:
    """Make the version that was live before champion again.

    Raises:
        RevertRefusedError: There is nothing to revert to.
    """
    lakeops = LakeopsResource.from_settings(settings)
    result = find_promotable(_graph(), product).revert(lakeops, reason=reason, to=to)
    if not result.reverted:
        raise RevertRefusedError(f"nothing was reverted: {result.reason}")
    return result


def history(product: str, at: str, settings: Settings) -> History:
    """Return the events of a product's model, and which version was live at a time."""
    lakeops = LakeopsResource.from_settings(settings)
    promotable = find_promotable(_graph(), product)
    model, moment = promotable.registered(lakeops), moment_of(at)
    ledger = promotable.ledger(lakeops)
    entries = tuple(e for e in ledger.entries(model) if moment is None or e.at <= moment)
    return History(model, moment, ledger.live(model, moment), entries)


def waiting(products: tuple[str, ...], settings: Settings) -> tuple[PromotionPlan, ...]:
    """Return the plans that wait for an approval; of all products when none is named."""
    lakeops, graph = LakeopsResource.from_settings(settings), _graph()
    return tuple(
        plan
        for promotable in promotables(graph)
        if (not products or promotable.names.product in products)
        and promotable.registry(lakeops).versions()
        and (plan := promotable.plan(lakeops, graph)).action == "wait"
    )


def troubles(settings: Settings) -> Iterator[Trouble]:
    """Return what is wrong with the ledger, and where the registry says something else."""
    lakeops = LakeopsResource.from_settings(settings)
    ledger = Ledger(lakeops.lakehouse())
    there: list[Promotable] = promotables(_graph())
    noted: dict[int, str] = {}
    for promotable in there:
        registry = promotable.registry(lakeops)
        noted |= anchors(registry, tuple(v.version for v in registry.versions()))
    problems = ledger.verify(noted)
    for problem in problems:
        yield Trouble(
            f"ledger {ledger.table}",
            f"{problem.kind}: {problem.text}",
            "find out who wrote to the table, then bring back the last good state from a backup of "
            f"{ledger.lakehouse.location(ledger.table)} or with Delta's RESTORE; until then "
            "nothing is promoted",
            failing=True,
        )
    if problems:
        return
    for promotable in there:
        found = compare(
            ledger,
            promotable.registry(lakeops),
            promotable.gates,
            promotable.policy(settings.environment),
        )
        if found.step != "nothing":
            fix = f"`lakeops run {promotable.names.product}` puts it right: {found.step}"
            yield Trouble(f"champion of {found.model}", found.reason, fix, failing=False)


def moment_of(text: str) -> datetime | None:
    """Return a time as people write it: a day means its end, and no zone means UTC.

    Raises:
        NotATimeError: The text is something else.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotATimeError(
            f"{text!r} is not a time; write 2026-03-01 or '2026-03-01 12:00'"
        ) from error
    if len(text) == len("2026-03-01"):
        moment = datetime.combine(moment.date(), time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _graph() -> AssetGraph:
    return defs().resolve_asset_graph()
