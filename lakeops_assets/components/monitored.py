"""Which tables have a monitor, for whoever has the definitions at hand."""

from dataclasses import dataclass

from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph

from lakeops_assets import monitoring
from lakeops_assets.components.retraining import Alerting
from lakeops_assets.lakehouse import Lakehouse, TableName

# Metadata of the profile's asset: what is monitored, for whoever has the definitions at hand.
MONITORED = "lakeops/monitored"


@dataclass(frozen=True)
class MonitoredTable:
    """A table with a monitor.

    Attributes:
        product: Product that the monitor is of.
        table: The table.
        spec: What is monitored in it.
        rules: When a drift is an alert.
    """

    product: str
    table: TableName
    spec: monitoring.MonitorSpec
    rules: monitoring.AlertRules


def alerting(lakehouse: Lakehouse, graph: AssetGraph, product: str) -> list[Alerting]:
    """Return the alerts of the monitors of a product's predictions; computes no metric."""
    found = []
    for monitored in monitored_tables(graph):
        table, spec = monitored.table, monitored.spec
        if monitored.product != product or spec.kind != "inference_log" or not spec.granularities:
            continue
        alerts = monitoring.current_alerts(lakehouse, table, spec, monitored.rules)
        found += [Alerting(alert.start, str(alert)) for alert in alerts]
    return found


def monitored_tables(graph: AssetGraph) -> list[MonitoredTable]:
    """Return the tables that have a monitor."""
    found = (graph.get(key).metadata.get(MONITORED) for key in graph.toposorted_asset_keys)
    values = (getattr(value, "instance", None) for value in found)
    return [value for value in values if isinstance(value, MonitoredTable)]
