"""`lakeops triage`: what moved upstream of a monitored table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.commands.run import UnknownProductError
from lakeops_assets.components.monitored import MonitoredTable, monitored_tables
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.triage import Answer, ask
from lakeops_assets.definitions import defs
from lakeops_assets.monitoring import MonitorSpecError
from lakeops_assets.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import (
        BaseAssetGraph as AssetGraph,
    )


def triaged(product: str, table: str, start: datetime | None, settings: Settings) -> Answer:
    """Return the suspects for a window of a monitored table.

    Args:
        product: Product of the monitor.
        table: Monitored table; the first with scores when empty.
        start: Start of the window; the newest one when None.
        settings: Where the tables are.

    Raises:
        UnknownProductError: There is no such product with a monitor.
        MonitorSpecError: There is no such monitor or window.
    """
    graph = defs().resolve_asset_graph()
    monitored = monitored_of(graph, product, table)
    return ask(LakeopsResource.from_settings(settings), graph, monitored, start=start)


def monitored_of(graph: AssetGraph, product: str, table: str) -> MonitoredTable:
    """Return a monitored table of a product; the one with predictions when none is named.

    Raises:
        UnknownProductError: There is no such product with a monitor.
        MonitorSpecError: The table has no monitor.
    """
    there = [m for m in monitored_tables(graph) if m.product == product]
    if not there:
        names = ", ".join(sorted({m.product for m in monitored_tables(graph)})) or "none"
        raise UnknownProductError(f"no product {product!r} has a monitor; there are: {names}")
    if not table:
        return next((m for m in there if m.spec.kind == "inference_log"), there[0])
    found = next((m for m in there if m.table.table == table), None)
    if found is None:
        names = ", ".join(sorted(m.table.table for m in there))
        raise MonitorSpecError(f"{product}.{table} has no monitor; there are those of: {names}")
    return found
