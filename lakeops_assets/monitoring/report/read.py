"""From the metric tables to what a report says; no row of the monitored table is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.statements import literal, quote
from lakeops_assets.monitoring.alerts import AlertRules
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.findings import DriftFinding, Thresholds, read_findings
from lakeops_assets.monitoring.kpi import KpiSpec, KpiWindow
from lakeops_assets.monitoring.profile import TABLE_ROW
from lakeops_assets.monitoring.report.value import Distribution, Line, Report
from lakeops_assets.monitoring.sketch import ALL_MODELS
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.windows import Window, named

# Windows that are shown: a year of weeks, two months of days.
MOST_WINDOWS = 60
# Quality that is drawn, when the monitor has it, and whether it is inside a struct.
QUALITY = {
    "roc_auc_score": "roc_auc_score.macro",
    "accuracy_score": "accuracy_score",
    "log_loss": "log_loss",
    "root_mean_squared_error": "root_mean_squared_error",
    "mean_average_error": "mean_average_error",
    "r2_score": "r2_score",
}
STATISTICS = {
    "population_stability_index": ("PSI", "population_stability_index"),
    "js_distance": ("Jensen-Shannon distance", "js_distance"),
}


def read_report(
    lakehouse: Lakehouse,
    table: TableName,
    spec: MonitorSpec,
    rules: AlertRules,
    *,
    alerts: Sequence[str] = (),
    kpi: tuple[KpiSpec, Sequence[KpiWindow]] | None = None,
) -> Report:
    """Return what a monitor has to say, from its metric tables.

    Args:
        lakehouse: Where the tables are.
        table: Monitored table.
        spec: What is monitored.
        rules: When a drift is an alert.
        alerts: Alerts of the newest window, in words.
        kpi: KPI of the same scores with its windows; None without one.

    Raises:
        MonitorSpecError: Nothing has been profiled yet.
    """
    profile, drift = table.beside("profile_metrics"), table.beside("drift_metrics")
    if not lakehouse.exists(profile):
        raise MonitorSpecError(f"{table} has not been profiled yet; materialize {profile} first")
    granularity = spec.granularities[0] if spec.granularities else None
    whole = _whole(spec, granularity)
    rows = lakehouse.query(
        f"SELECT window.start AS start, logging_table_commit_version AS version, count"
        f"{_quality_columns(lakehouse, profile)} FROM {profile} "
        f"WHERE {whole} AND log_type = 'INPUT' AND column_name = '{TABLE_ROW}' ORDER BY start"
    )
    tables = rows.read_all().to_pylist()
    if not tables:
        raise MonitorSpecError(f"no row of {table} falls into a window, so there is no report")
    shown = tables[-MOST_WINDOWS:]
    starts = tuple(row["start"] for row in shown)
    windows = [Window(granularity, start) for start in starts]
    found = read_findings(
        lakehouse, lakehouse.at(profile), lakehouse.at(drift), spec, windows, rules.thresholds
    )
    base_rows = _columns(lakehouse, profile, f"{_whole(spec, None)} AND log_type = 'BASELINE'")
    now_rows = _columns(
        lakehouse, profile, f"{whole} AND log_type = 'INPUT' AND {named(windows[-1:])}"
    )
    strongest = {f.column: f for f in found.get(starts[-1], ())}
    distributions = _distributions(now_rows, base_rows, strongest)
    order = [d.column for d in distributions]
    quality = [*_score(lakehouse, profile, spec, whole, starts), *_quality(shown)]
    if kpi is not None:
        quality.insert(0, _kpi_line(*kpi))
    return Report(
        table=table,
        verdict=_verdict(alerts, found.get(starts[-1], ()), len(order), bool(base_rows)),
        alerts=tuple(alerts),
        windows=starts,
        granularity=granularity or "each version of the table",
        rows=shown[-1]["count"],
        version=max(row["version"] for row in tables),
        baseline=f"{spec.baseline}" if base_rows and spec.baseline else "",
        quality=tuple(quality),
        drift=_drift_lines(lakehouse, drift, whole, starts, found, order, rules.thresholds),
        distributions=distributions,
        champions=_champions(lakehouse, profile, spec, granularity, starts),
        left_out=len(tables) - len(shown),
    )


def _whole(spec: MonitorSpec, granularity: str | None) -> str:
    """Return a condition for rows about all rows and all models of windows of a granularity."""
    condition = "slice_key IS NULL"
    if granularity:
        condition += f" AND granularity = {literal(granularity)}"
    if spec.model_id_col:
        condition += f" AND {quote(spec.model_id_col)} = '{ALL_MODELS}'"
    return condition


def _quality_columns(lakehouse: Lakehouse, profile: TableName) -> str:
    there = lakehouse.schema(profile).names
    found = [f"{path} AS {name}" for name, path in QUALITY.items() if name in there]
    found += [f"estimated_{n}" for n in QUALITY if f"estimated_{n}" in there]
    return "".join(f", {text}" for text in found)


def _columns(lakehouse: Lakehouse, profile: TableName, where: str) -> dict[str, dict[str, Any]]:
    rows = lakehouse.query(
        "SELECT column_name, count, num_nulls, num_nan, quantiles, frequent_items, data_type "
        f"FROM {profile} WHERE {where} AND column_name <> '{TABLE_ROW}'"
    )
    return {row["column_name"]: row for row in rows.read_all().to_pylist()}


# Lines


def _score(
    lakehouse: Lakehouse,
    profile: TableName,
    spec: MonitorSpec,
    whole: str,
    starts: Sequence[datetime],
) -> list[Line]:
    column = spec.prediction_proba_col or spec.prediction_col
    if column is None:
        return []
    rows = lakehouse.query(
        f"SELECT window.start AS start, avg FROM {profile} WHERE {whole} "
        f"AND log_type = 'INPUT' AND column_name = {literal(column)}"
    )
    values = {row["start"]: row["avg"] for row in rows.read_all().to_pylist()}
    if not any(v is not None for v in values.values()):
        return []
    return [Line(f"mean {column}", {s: values.get(s) for s in starts})]


def _quality(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    found = []
    for name in QUALITY:
        values = {row["start"]: row.get(name) for row in rows}
        estimated = {row["start"]: row.get(f"estimated_{name}") for row in rows}
        known = any(v is not None for v in values.values())
        guessed = any(v is not None for v in estimated.values())
        if known or guessed:
            note = "" if known else "no labels yet: all values are estimates"
            found.append(Line(name, values, estimated if guessed else {}, note=note))
    return found


def _kpi_line(spec: KpiSpec, windows: Sequence[KpiWindow]) -> Line:
    newest: dict[datetime, KpiWindow] = {}
    for window in sorted(windows, key=lambda w: int(w.model_version)):
        newest[window.start] = window
    limit = spec.at_least if spec.at_least is not None else spec.at_most
    return Line(
        f"KPI {spec.metric}",
        {start: w.value for start, w in sorted(newest.items())},
        threshold=limit,
        marked=frozenset(start for start, w in newest.items() if w.violates),
        note="on rows that the version was not trained on",
    )


def _drift_lines(
    lakehouse: Lakehouse,
    drift: TableName,
    whole: str,
    starts: Sequence[datetime],
    found: Mapping[datetime, Sequence[DriftFinding]],
    order: Sequence[str],
    thresholds: Thresholds,
) -> tuple[Line, ...]:
    rows = lakehouse.query(
        "SELECT window.start AS start, column_name, population_stability_index, js_distance "
        f"FROM {drift} WHERE {whole} AND drift_type = 'BASELINE' "
        f"AND column_name <> '{TABLE_ROW}'"
    )
    values: dict[tuple[str, str], dict[datetime, float | None]] = {}
    for row in rows.read_all().to_pylist():
        for statistic in STATISTICS:
            if row[statistic] is not None and row["start"] in starts:
                values.setdefault((row["column_name"], statistic), {})[row["start"]] = row[
                    statistic
                ]
    lines = []
    for (column, statistic), by_window in values.items():
        title, threshold = STATISTICS[statistic]
        marked = frozenset(
            start
            for start in starts
            if any(f.column == column and f.level == "significant" for f in found.get(start, ()))
        )
        lines.append(
            Line(
                column,
                {start: by_window.get(start) for start in starts},
                threshold=getattr(thresholds, threshold),
                marked=marked,
                note=title,
            )
        )
    place = {column: i for i, column in enumerate(order)}
    return tuple(sorted(lines, key=lambda line: place.get(line.name, len(place))))


def _champions(
    lakehouse: Lakehouse,
    profile: TableName,
    spec: MonitorSpec,
    granularity: str | None,
    starts: Sequence[datetime],
) -> dict[datetime, str]:
    if not spec.model_id_col or not granularity:
        return {}
    model = quote(spec.model_id_col)
    rows = lakehouse.query(
        f"SELECT {model} AS model, min(window.start) AS start FROM {profile} WHERE slice_key IS "
        f"NULL AND log_type = 'INPUT' AND granularity = {literal(granularity)} "
        f"AND {model} <> '{ALL_MODELS}' GROUP BY {model} ORDER BY start, model"
    )
    first: dict[datetime, str] = {}
    for row in rows.read_all().to_pylist():
        if row["start"] in starts:
            first[row["start"]] = row["model"]
    return first


# Distributions


def _distributions(
    now: Mapping[str, Mapping[str, Any]],
    base: Mapping[str, Mapping[str, Any]],
    strongest: Mapping[str, DriftFinding],
) -> tuple[Distribution, ...]:
    found = []
    for column, row in now.items():
        other: Mapping[str, Any] = base.get(column, {})
        finding = strongest.get(column)
        found.append(
            Distribution(
                column,
                _drift_text(finding) if finding else "",
                finding.strength[1] + finding.strength[0] if finding else 0.0,
                tuple(row["quantiles"] or ()),
                tuple(other.get("quantiles") or ()),
                _shares(row),
                _shares(other),
                (_missing(row), _missing(other)),
            )
        )
    return tuple(sorted(found, key=lambda d: (-d.strength, d.column)))


def _drift_text(finding: DriftFinding) -> str:
    return f"{finding.statistic.replace('_', ' ')} {finding.value:.3g}, {finding.level}"


def _shares(row: Mapping[str, Any]) -> dict[str, float]:
    items = row.get("frequent_items") or ()
    present = (row.get("count") or 0) - (row.get("num_nulls") or 0)
    return {str(i["item"]): i["count"] / present for i in items} if present else {}


def _missing(row: Mapping[str, Any]) -> float:
    return (row.get("num_nulls") or 0) / row["count"] if row.get("count") else 0.0


def _verdict(
    alerts: Sequence[str], findings: Sequence[DriftFinding], columns: int, has_baseline: bool
) -> str:
    if alerts:
        return f"{len(alerts)} alert{'s' if len(alerts) > 1 else ''} in the newest window."
    if not has_baseline:
        return "There is no baseline to compare with."
    drifted = [f.column for f in findings if f.level == "significant"]
    if drifted:
        return (
            f"No alert: {', '.join(drifted[:3])} drifted in the newest window, in too few windows "
            "so far."
        )
    return f"Steady: none of {columns} columns has drifted from the baseline in the newest window."
