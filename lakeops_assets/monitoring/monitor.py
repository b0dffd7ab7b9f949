"""Bring the metric tables of a monitored table up to date."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse import (
    Commit,
    Lakehouse,
    LakehouseError,
    TableName,
    TableNotFoundError,
    Transaction,
)
from lakeops_assets.monitoring.columns import monitored_columns
from lakeops_assets.monitoring.drift import drift
from lakeops_assets.monitoring.findings import DriftFinding, newest_findings
from lakeops_assets.monitoring.profile import TABLE_ROW, profile, profile_schema
from lakeops_assets.monitoring.scan import scan
from lakeops_assets.monitoring.sketch import GroupSketch
from lakeops_assets.monitoring.spec import MonitorSpec, MonitorSpecError
from lakeops_assets.monitoring.statements import columns_of

if TYPE_CHECKING:
    import pyarrow as pa

# Names the writer in the metric tables' transactions and what it records with a commit.
APP_ID = "monitoring"


@dataclass(frozen=True)
class Baseline:
    """What a table is compared with.

    Attributes:
        table: The table.
        version: Delta version that is read.
        where: Which of its rows; None for all.
    """

    table: TableName
    version: int
    where: str | None


@dataclass(frozen=True)
class MonitorResult:
    """What a refresh did.

    Attributes:
        profile: Write of the profile table.
        drift: Write of the drift table.
        version: Delta version of the monitored table that was profiled.
        baseline: What it was compared with; None without a baseline.
        windows: Windows in the profile table, over all granularities.
        findings: Columns whose newest window is unlike the baseline, the largest effect first.
        reason: What was profiled and why, or why nothing was.
    """

    profile: Commit
    drift: Commit
    version: int
    baseline: Baseline | None
    windows: int
    findings: tuple[DriftFinding, ...]
    reason: str


def refresh(
    lakehouse: Lakehouse,
    table: TableName | str,
    spec: MonitorSpec,
    *,
    now: datetime,
    baseline: TableName | str | None = None,
    baseline_where: str | None = None,
    version: int | None = None,
    monitor_version: int = 0,
) -> MonitorResult:
    """Profile a table and its drift into `<table>_profile_metrics` and `<table>_drift_metrics`.

    Each table is replaced in one commit, which records the versions and the spec it was made
    from. When those are the same again nothing is read and nothing written; a run that was killed
    between the two commits goes on with the second. A snapshot keeps the windows of earlier
    versions of the table, so that versions can be compared: its window starts and ends at `now`.
    Windows of the other kinds are computed from the rows that the table has.

    Args:
        lakehouse: Where the tables are.
        table: Table to monitor.
        spec: What to monitor in it.
        now: Time of this refresh, with a time zone; the window of a snapshot.
        baseline: Table to compare with; the spec's when None.
        baseline_where: Which of its rows, in Spark's dialect; the spec's when `baseline` is None.
        version: Delta version to profile; the newest with other rows when None.
        monitor_version: Version of the monitor's configuration, written to each row.

    Raises:
        MonitorSpecError: The spec names a column that the table does not have.
        TableNotFoundError: The table or the baseline does not exist.
        QueryError: An expression of the spec cannot be run.
    """
    if now.tzinfo is None:
        raise LakehouseError(f"the time of a refresh needs a time zone, and {now} has none")
    name = lakehouse.name(table)
    at = _version(lakehouse, name) if version is None else version
    compared = _baseline(lakehouse, spec, baseline, baseline_where)
    schema = lakehouse.schema(name, at)
    spec.check(schema, name)
    _check_slices(spec, schema, name)
    state = _describe(name, at, compared, spec, monitor_version)

    profile_table, drift_table = name.beside("profile_metrics"), name.beside("drift_metrics")
    if _state(lakehouse, profile_table) == state:
        profiled = _unchanged(lakehouse, profile_table)
    else:
        rows = _profile(lakehouse, name, at, schema, compared, spec, now, monitor_version)
        profiled = _replace(lakehouse, profile_table, rows, state, f"Profile of {name}")
    if _state(lakehouse, drift_table) == state:
        drifted = _unchanged(lakehouse, drift_table)
    else:
        rows = lakehouse.read(profile_table, version=profiled.version).read_all()
        drifted = _replace(lakehouse, drift_table, drift(rows, spec), state, f"Drift of {name}")

    summary = _summary(lakehouse, profile_table, profiled.version)
    return MonitorResult(
        profile=profiled,
        drift=drifted,
        version=at,
        baseline=compared,
        windows=len(summary),
        findings=newest_findings(
            lakehouse.at(profile_table, profiled.version),
            lakehouse.at(drift_table, drifted.version),
            spec,
            lakehouse,
        ),
        reason=_reason(state, profiled, drifted, summary),
    )


def _version(lakehouse: Lakehouse, table: TableName) -> int:
    version = lakehouse.data_version(table)
    if version is None:
        lakehouse.at(table)  # raises the error that says which tables exist
        raise TableNotFoundError(f"there is no table {table}")
    return version


def _check_slices(spec: MonitorSpec, schema: pa.Schema, table: TableName) -> None:
    known = {name.lower() for name in schema.names}
    for expression in spec.slicing_exprs:
        missing = sorted(columns_of(expression) - known)
        if missing:
            raise MonitorSpecError(
                f"{table} has no column {', '.join(missing)}, which the slicing expression "
                f"{expression!r} of its monitor reads; it has: {', '.join(schema.names)}"
            )


def _baseline(
    lakehouse: Lakehouse,
    spec: MonitorSpec,
    baseline: TableName | str | None,
    where: str | None,
) -> Baseline | None:
    if baseline is None:
        baseline, where = spec.baseline, spec.baseline_where
    if baseline is None:
        return None
    name = lakehouse.name(baseline)
    return Baseline(name, _version(lakehouse, name), where)


# State: what the metric tables were made from


def _describe(
    table: TableName,
    version: int,
    baseline: Baseline | None,
    spec: MonitorSpec,
    monitor_version: int,
) -> dict[str, Any]:
    return {
        "table": str(table),
        "version": version,
        "baseline": None
        if baseline is None
        else {
            "table": str(baseline.table),
            "version": baseline.version,
            "where": baseline.where,
        },
        "spec": spec.digest,
        "monitor_version": monitor_version,
    }


def _state(lakehouse: Lakehouse, table: TableName) -> dict[str, Any]:
    """Return what the newest write of a metric table was made from; empty before the first."""
    if not lakehouse.exists(table):
        return {}
    for commit in lakehouse.history(table, limit=50):
        if APP_ID in commit.metadata:
            return dict(json.loads(commit.metadata[APP_ID]))
    return {}


def _unchanged(lakehouse: Lakehouse, table: TableName) -> Commit:
    version = lakehouse.version(table)
    return Commit(version or 0, written=False, reason="made from the same versions and spec")


def _replace(
    lakehouse: Lakehouse,
    table: TableName,
    rows: pa.Table,
    state: dict[str, Any],
    description: str,
) -> Commit:
    lakehouse.create(table, rows.schema, description=description)
    seen = lakehouse.transaction_version(table, APP_ID)
    return lakehouse.overwrite(
        table,
        rows,
        transaction=Transaction(APP_ID, 0 if seen is None else seen + 1),
        metadata={APP_ID: json.dumps(state)},
        evolve=lakehouse.schema(table).names != rows.schema.names,
    )


# Profile


def _profile(
    lakehouse: Lakehouse,
    table: TableName,
    version: int,
    schema: pa.Schema,
    baseline: Baseline | None,
    spec: MonitorSpec,
    now: datetime,
    monitor_version: int,
) -> pa.Table:
    import pyarrow as pa

    columns = monitored_columns(schema, spec)
    sketches = scan(
        lakehouse,
        table,
        version,
        columns,
        spec,
        windowed=spec.kind != "snapshot",
        by_model=spec.kind == "inference_log",
    )
    parts = []
    if spec.kind == "snapshot":
        sketches = [_at(s, now) for s in sketches]
        parts += _earlier(lakehouse, table, version, spec)
    parts.append(
        profile(sketches, spec, log_type="INPUT", version=version, monitor_version=monitor_version)
    )
    if baseline is not None:
        there = lakehouse.schema(baseline.table, baseline.version)
        wanted = [c.name for c in columns]
        shared = tuple(
            c
            for c in monitored_columns(there, replace(spec, columns=(), exclude=()))
            if c.name in wanted
        )
        sketches = scan(
            lakehouse,
            baseline.table,
            baseline.version,
            shared,
            spec,
            windowed=False,
            by_model=spec.kind == "inference_log" and spec.model_id_col in there.names,
            condition=baseline.where,
        )
        parts.append(
            profile(
                sketches,
                spec,
                log_type="BASELINE",
                version=baseline.version,
                monitor_version=monitor_version,
            )
        )
    return pa.concat_tables(parts)


def _at(sketched: GroupSketch, now: datetime) -> GroupSketch:
    return replace(sketched, group=replace(sketched.group, start=now, end=now))


def _earlier(
    lakehouse: Lakehouse, table: TableName, version: int, spec: MonitorSpec
) -> list[pa.Table]:
    """Return the windows that snapshots of other versions of the table have left."""
    there = table.beside("profile_metrics")
    wanted = profile_schema(spec)
    if not lakehouse.exists(there) or lakehouse.schema(there).names != wanted.names:
        return []
    where = f"log_type = 'INPUT' AND logging_table_commit_version <> {version}"
    return [lakehouse.read(there, where=where).read_all().cast(wanted)]


# Summary


def _summary(lakehouse: Lakehouse, table: TableName, version: int) -> list[dict[str, Any]]:
    """Return granularity, start and rows of each window, oldest first."""
    sql = (
        "SELECT granularity, window.start AS start, max(count) AS n FROM profile "
        f"WHERE log_type = 'INPUT' AND column_name = '{TABLE_ROW}' AND slice_key IS NULL "
        "GROUP BY granularity, window.start ORDER BY start"
    )
    rows = lakehouse.query(sql, {"profile": lakehouse.at(table, version)}).read_all()
    return list(rows.to_pylist())


def _reason(
    state: dict[str, Any], profiled: Commit, drifted: Commit, summary: list[dict[str, Any]]
) -> str:
    what = f"version {state['version']} of {state['table']}"
    against = state["baseline"]
    what += (
        f" against version {against['version']} of {against['table']}"
        if against
        else ", without a baseline to compare with"
    )
    if not summary:
        return f"{what}: no row falls into a window, so there is nothing to profile"
    if not profiled.written and not drifted.written:
        return f"nothing new: {what} is profiled already"
    return f"profiled {what}" if profiled.written else f"compared {what}"
