"""A KPI's rule over history, and whether it comes to the decisions that were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue

from lakeops_assets import monitoring
from lakeops_assets.components import kpi_rows
from lakeops_assets.components.auto_revert import KPI_RULE, KpiRule
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.promotion import Ledger, LedgerEntry

if TYPE_CHECKING:
    from lakeops_assets.components.staleness import AssetGraph


class UnknownKpiError(ValueError):
    """A product or KPI was named that does not exist."""


@dataclass(frozen=True)
class MadeDecision:
    """A revert in the ledger, decided again from the data that it was decided on.

    Attributes:
        event: Number of the event.
        at: When it was recorded.
        version: Version that was reverted from.
        window: Start of the window that decided.
        reproduced: Whether the replayed rule comes to the same decision on the same values.
        found: What it comes to, in words.
    """

    event: int
    at: datetime
    version: int
    window: str
    reproduced: bool
    found: str


@dataclass(frozen=True)
class KpiReplay:
    """What a rule would have done, and what was done.

    Attributes:
        product: Product.
        kpi: Name of the KPI.
        clock: End of the history.
        declared: Whether the rule is the declared one and not one with other numbers.
        replay: What the rule would have done.
        made: The reverts in the ledger that this KPI led to.
        left_out: Version -> why its rows do not count.
    """

    product: str
    kpi: str
    clock: datetime
    declared: bool
    replay: monitoring.Replay
    made: tuple[MadeDecision, ...]
    left_out: Mapping[str, str]

    @property
    def reproduced(self) -> bool:
        """Whether every decision that was made is made again."""
        return all(m.reproduced for m in self.made)


def kpi_rules(graph: AssetGraph, product: str, name: str = "") -> list[KpiRule]:
    """Return the KPIs of a product, or the one of a name.

    Raises:
        UnknownKpiError: There is none.
    """
    values = (graph.get(k).metadata.get(KPI_RULE) for k in graph.toposorted_asset_keys)
    rules = [
        v.instance
        for v in values
        if isinstance(v, ObjectMetadataValue) and isinstance(v.instance, KpiRule)
    ]
    found = [r for r in rules if r.product == product and name in ("", r.name)]
    if not found:
        there = ", ".join(f"{r.product} {r.name}" for r in rules) or "none"
        raise UnknownKpiError(
            f"there is no KPI {name or 'of'} {product}; there are: {there}. A KpiMonitor in the "
            "product's defs.yaml declares one"
        )
    return found


def replay_kpi(
    lakeops: LakeopsResource, rule: KpiRule, changes: Mapping[str, Any] | None = None
) -> KpiReplay:
    """Run a rule over the history that the tables hold; changes nothing.

    Args:
        lakeops: Where the tables are.
        rule: The KPI.
        changes: Fields of its `KpiSpec` to try with other values.

    Raises:
        KpiSpecError: The changed rule cannot work.
    """
    spec = replace(rule.spec, **(changes or {}))
    lakehouse, registry = lakeops.lakehouse(), lakeops.registry(rule.product, rule.model)
    source = kpi_rows.newest_source(lakehouse, rule.inputs, now=lakeops.now(), of_data=rule.of_data)
    rows = kpi_rows.read_rows(lakehouse, registry, rule.inputs, spec, source)
    reverts = [
        e
        for e in Ledger(lakehouse).entries(rule.registered)
        if e.action == "revert" and e.evidence.get("measured", {}).get("kpi") == rule.name
    ]
    return KpiReplay(
        product=rule.product,
        kpi=rule.name,
        clock=source.clock,
        declared=spec == rule.spec,
        replay=monitoring.replay(rows.table, spec, rule.measure, clock=source.clock),
        made=tuple(_again(lakeops, rule, spec, entry) for entry in reverts),
        left_out=rows.left_out,
    )


def _again(
    lakeops: LakeopsResource, rule: KpiRule, spec: monitoring.KpiSpec, entry: LedgerEntry
) -> MadeDecision:
    """Decide again what a revert was decided on: same table versions, same clock."""
    measured = entry.evidence["measured"]
    source = monitoring.KpiSource(
        measured["scores_version"],
        measured["labels_version"],
        datetime.fromisoformat(measured["clock"]),
    )
    registry = lakeops.registry(rule.product, rule.model)
    rows = kpi_rows.read_rows(lakeops.lakehouse(), registry, rule.inputs, spec, source)
    windows = monitoring.kpi_windows(rows.table, spec, rule.measure, clock=source.clock)
    decision = monitoring.decide(windows, spec, str(entry.replaced))
    then = [(w["start"], w["value"]) for w in measured["windows"]]
    now = [(w.start.isoformat(), w.value) for w in decision.windows]
    return MadeDecision(
        event=entry.sequence,
        at=entry.at,
        version=entry.replaced or 0,
        window=measured["window"],
        reproduced=decision.fires and now == then,
        found=decision.reason,
    )
