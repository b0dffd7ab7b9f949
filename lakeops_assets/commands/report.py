"""`lakeops report`: the page of a monitor."""

from __future__ import annotations

from pathlib import Path

from lakeops_assets.commands.triage import monitored_of
from lakeops_assets.components.report import Published, publish
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.settings import Settings


def reported(product: str, table: str, output: Path | None, settings: Settings) -> Published:
    """Write the page of a monitor from its newest metrics.

    Args:
        product: Product of the monitor.
        table: Monitored table; the one with predictions when empty.
        output: File to write; the usual one, which MLflow shows as well, when None.
        settings: Where the tables are.

    Raises:
        UnknownProductError: There is no such product with a monitor.
        MonitorSpecError: There is no such monitor, or nothing has been profiled yet.
    """
    graph = defs().resolve_asset_graph()
    monitored = monitored_of(graph, product, table)
    lakeops = LakeopsResource.from_settings(settings)
    return publish(lakeops, graph, monitored, path=output)
