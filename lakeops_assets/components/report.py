"""The page of a monitor: written where it can be opened, and linked from the UI."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph

from lakeops_assets import monitoring
from lakeops_assets.components.kpi_monitor import KPI_RULE, KpiRule
from lakeops_assets.components.lineage import graph_of
from lakeops_assets.components.metadata import table_data_version
from lakeops_assets.components.monitored import MonitoredTable
from lakeops_assets.components.names import STATE, digest
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.monitoring import KpiSpec, KpiWindow
from lakeops_assets.monitoring.report import Line, Report, read_report, render
from lakeops_assets.monitoring.report.marks import sparkline

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Tag of the MLflow run that holds a page; there is one per monitored table.
REPORT_OF = "lakeops.report_of"
PAGE = "report.html"
# Sparklines that are shown inline.
MOST_LINES = 8


@dataclass(frozen=True)
class Published:
    """A page and where it is.

    Attributes:
        report: What it says.
        path: File with the page.
        size: Its bytes.
        changed: Whether the file was another one before.
        url: Where MLflow shows it.
    """

    report: Report
    path: Path
    size: int
    changed: bool
    url: str


def report_asset(monitored: MonitoredTable) -> dg.AssetsDefinition:
    """Return the asset that publishes the page of a monitor."""
    table = monitored.table
    drift = table.beside("drift_metrics")

    @dg.asset(
        key=dg.AssetKey([table.schema, f"{table.table}_report"]),
        deps=[dg.AssetKey([drift.schema, drift.table])],
        group_name=monitored.product,
        kinds={"gold", "html"},
        description=f"One page about `{table}`: verdict, scores and drift over time, distributions "
        "now against the baseline. Opens in MLflow; the file needs no server.",
        code_version=digest(monitored.spec, monitored.rules),
    )
    def report(context: dg.AssetExecutionContext, lakeops: LakeopsResource) -> dg.MaterializeResult:
        done = publish(lakeops, graph_of(context), monitored)
        return dg.MaterializeResult(
            metadata=report_metadata(done),
            data_version=table_data_version(lakeops.lakehouse(), drift),
            tags={STATE: lakeops.state_id()},
        )

    return report


def publish(
    lakeops: LakeopsResource,
    graph: AssetGraph,
    monitored: MonitoredTable,
    *,
    path: Path | None = None,
) -> Published:
    """Write the page of a monitor where it is linked, if it is another one than before.

    Args:
        lakeops: Where the metric tables are.
        graph: Where KPIs are declared.
        monitored: What is monitored.
        path: File to write instead of the usual one, which is then not published either.

    Raises:
        MonitorSpecError: Nothing has been profiled yet.
    """
    lakehouse, config = lakeops.lakehouse(), lakeops.settings()
    table, spec, rules = monitored.table, monitored.spec, monitored.rules
    alerts = [str(alert) for alert in monitoring.current_alerts(lakehouse, table, spec, rules)]
    kpi = _kpi(lakehouse, graph, monitored)
    found = read_report(lakehouse, table, spec, rules, alerts=alerts, kpi=kpi)
    page = render(found)
    target = path or config.report(monitored.product, monitored.table.table)
    changed = not target.is_file() or target.read_text("utf-8") != page
    if changed:
        _write(target, page)
    url = "" if path else _linked(lakeops, monitored, target, changed=changed)
    return Published(found, target, len(page.encode()), changed, url)


def _write(target: Path, page: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.tmp")
    half.write_text(page, "utf-8")
    half.replace(target)


def _linked(
    lakeops: LakeopsResource, monitored: MonitoredTable, target: Path, *, changed: bool
) -> str:
    """Keep the page as an artifact of MLflow, which shows it, and return where."""
    registry = lakeops.registry(monitored.product, "model")
    client: MlflowClient = registry.client
    experiment = registry.experiment_id
    name = str(monitored.table)
    runs = client.search_runs([experiment], f"tags.`{REPORT_OF}` = '{name}'", max_results=1)
    if runs:
        run = runs[0].info.run_id
    else:
        created = client.create_run(
            experiment, tags={REPORT_OF: name}, run_name=f"report of {monitored.table.table}"
        )
        run = created.info.run_id
        client.set_terminated(run)
    if changed or not runs:
        client.log_text(run, target.read_text("utf-8"), PAGE)
    return f"{lakeops.mlflow_url}/#/experiments/{experiment}/runs/{run}/artifacts/{PAGE}"


def _kpi(
    lakehouse: Lakehouse, graph: AssetGraph, monitored: MonitoredTable
) -> tuple[KpiSpec, tuple[KpiWindow, ...]] | None:
    """Return the first KPI of the same product with its windows."""
    for key in graph.toposorted_asset_keys:
        if key.path[0] != monitored.product:
            continue
        rule = getattr(graph.get(key).metadata.get(KPI_RULE), "instance", None)
        if isinstance(rule, KpiRule):
            windows = monitoring.read_windows(lakehouse, rule.table, rule.spec)
            return (rule.spec, windows) if windows else None
    return None


def report_metadata(done: Published) -> dict[str, Any]:
    """Return what the asset shows: verdict, link, and lines small enough to stand in a table."""
    report = done.report
    rows = [
        f"| {_cell(line.name)} | `{sparkline(_values(line, report))}` | {_last(line, report)} "
        f"| {'◆ ' + str(len(line.marked)) if line.marked else ''} |"
        for line in (*report.quality, *report.drift)[:MOST_LINES]
    ]
    head = ["| | over time | newest | marked |", "| --- | --- | --- | --- |"]
    return {
        "verdict": report.verdict,
        "page": dg.MetadataValue.md(f"[Open the page]({done.url})"),
        "lines": dg.MetadataValue.md("\n".join([*head, *rows])),
        "file": dg.MetadataValue.path(str(done.path)),
        "bytes": done.size,
        "changed": done.changed,
    }


def _values(line: Line, report: Report) -> list[float | None]:
    pairs = [(line.values.get(w), line.estimated.get(w)) for w in report.windows]
    return [value if value is not None else guess for value, guess in pairs]


def _last(line: Line, report: Report) -> str:
    known = [v for v in _values(line, report) if v is not None]
    return f"{known[-1]:.3g}" if known else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
