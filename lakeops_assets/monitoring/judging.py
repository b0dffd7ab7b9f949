"""What the metric tables say now: which windows are judged, and what of them is an alert."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median

from lakeops_assets.lakehouse import Lakehouse, TableAt, TableName
from lakeops_assets.monitoring.alerts import Alert, AlertRules, alerts
from lakeops_assets.monitoring.drifting import existing_windows
from lakeops_assets.monitoring.findings import DriftFinding, read_findings
from lakeops_assets.monitoring.profile import TABLE_ROW
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.state import Baseline
from lakeops_assets.monitoring.windows import Window, named

# The newest window is judged when it has this share of the rows that so many before it have in the
# middle, or when there is one after it.
FILLED = 0.8
USUAL = 8
# How many windows an alert is followed back.
MOST_BACK = 8


def judge(
    lakehouse: Lakehouse,
    table: TableName,
    version: int,
    baseline: Baseline | None,
    spec: MonitorSpec,
    rules: AlertRules,
    existing: Sequence[tuple[tuple[str | None, ...], Window]],
    metrics: tuple[TableAt, TableAt],
) -> tuple[tuple[DriftFinding, ...], tuple[Alert, ...]]:
    """Return findings and alerts of the newest window of the first granularity that is filled.

    Args:
        lakehouse: Where the tables are.
        table: Monitored table.
        version: Its Delta version.
        baseline: What it was compared with.
        spec: What was monitored.
        rules: When a drift is an alert.
        existing: Windows of the profile table.
        metrics: Profile and drift table.
    """
    newest = _filled(lakehouse, metrics[0], spec, _of_first(existing, spec))
    newest = newest[: -rules.windows - 1 : -1]
    if baseline is None or not newest:
        return (), ()
    found = read_findings(lakehouse, *metrics, spec, newest, rules.thresholds)
    raised = alerts(lakehouse, table, version, baseline, spec, rules, newest, found)
    return found.get(newest[0].start, ()), raised


def profiled_windows(lakehouse: Lakehouse, table: TableName, spec: MonitorSpec) -> list[datetime]:
    """Return the starts of the windows of the first granularity, oldest first."""
    return [w.start for w in _of_first(_existing(lakehouse, table, spec), spec)]


def moved_since(
    lakehouse: Lakehouse, table: TableName, spec: MonitorSpec, rules: AlertRules, start: datetime
) -> datetime:
    """Return the window before the first of those up to one in which the same columns drifted.

    An alert needs several windows, and what happens at the end of a window does not show in it. So
    what caused an alert is older than the newest window.

    Args:
        lakehouse: Where the tables are.
        table: Monitored table.
        spec: What is monitored.
        rules: What is significant.
        start: Start of the window to go back from.
    """
    windows = [w for w in _of_first(_existing(lakehouse, table, spec), spec) if w.start <= start]
    newest = windows[: -MOST_BACK - 1 : -1]
    metrics = (
        lakehouse.at(table.beside("profile_metrics")),
        lakehouse.at(table.beside("drift_metrics")),
    )
    found = read_findings(lakehouse, *metrics, spec, newest, rules.thresholds)
    since, drifted = start, None
    for window in newest:
        columns = {f.column for f in found.get(window.start, ()) if f.level == "significant"}
        drifted = columns if drifted is None else drifted & columns
        since = window.start
        if not drifted:
            break
    return since


def _existing(
    lakehouse: Lakehouse, table: TableName, spec: MonitorSpec
) -> list[tuple[tuple[str | None, ...], Window]]:
    profile = table.beside("profile_metrics")
    return existing_windows(lakehouse, profile, lakehouse.version(profile) or 0, spec)


def _of_first(
    existing: Sequence[tuple[tuple[str | None, ...], Window]], spec: MonitorSpec
) -> list[Window]:
    """Return the windows of the first granularity, oldest first."""
    first = spec.granularities[0] if spec.granularities else None
    return sorted({w for _, w in existing if w.granularity == first}, key=lambda w: w.start)


def _filled(
    lakehouse: Lakehouse, profile: TableAt, spec: MonitorSpec, windows: Sequence[Window]
) -> list[Window]:
    """Return the windows without the newest when it has far fewer rows than those before it.

    A week that has begun on a Sunday evening is not like a week, whatever the data.
    """
    if len(windows) < 2 or windows[-1].granularity is None:
        return list(windows)
    some = named(windows[-USUAL - 1 :])
    rows = lakehouse.query(
        "SELECT window.start AS start, max(count) AS count FROM profile WHERE log_type = 'INPUT' "
        f"AND column_name = '{TABLE_ROW}' AND slice_key IS NULL AND ({some}) "
        "GROUP BY 1 ORDER BY 1",
        {"profile": profile},
    )
    *before, newest = rows.read_all()["count"].to_pylist()
    enough = not before or newest >= FILLED * median(before)
    return list(windows if enough else windows[:-1])
