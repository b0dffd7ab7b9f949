"""Bring the metric tables of a monitored table up to date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import (
    Commit,
    Lakehouse,
    LakehouseError,
    TableAt,
    TableName,
    TableNotFoundError,
)
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring.columns import monitored_columns
from lakeops_assets.monitoring.custom import with_derived, with_drift
from lakeops_assets.monitoring.drift import comparisons, drift, drift_schema
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.findings import DriftFinding, newest_findings
from lakeops_assets.monitoring.measures import calibrate, check_aggregates
from lakeops_assets.monitoring.profile import TABLE_ROW, profile, profile_schema
from lakeops_assets.monitoring.scan import scan
from lakeops_assets.monitoring.sketch import GroupSketch
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.state import Baseline, State, recorded, unchanged, write
from lakeops_assets.monitoring.statements import columns_of
from lakeops_assets.monitoring.windows import Window, changed_windows, followers, named

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class MonitorResult:
    """What a refresh did.

    Attributes:
        profile: Write of the profile table.
        drift: Write of the drift table.
        version: Delta version of the monitored table that was profiled.
        baseline: What it was compared with; None without a baseline.
        windows: Windows in the profile table, over all granularities.
        refreshed: How many of them this refresh computed.
        findings: Columns whose newest window is unlike the baseline, the largest effect first.
        reason: What was profiled and why, or why nothing was.
    """

    profile: Commit
    drift: Commit
    version: int
    baseline: Baseline | None
    windows: int
    refreshed: int
    findings: tuple[DriftFinding, ...]
    reason: str


@dataclass(frozen=True)
class _Scope:
    """What of a profile is computed.

    Attributes:
        windows: Windows; None for all.
        baseline: Whether the rows of the baseline are.
        replaced: Condition for the rows that the new ones replace; None for all.
        reason: Why not less.
    """

    windows: frozenset[Window] | None
    baseline: bool
    replaced: str | None
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

    Each table is written in one commit, which records the versions and the spec it was made from.
    When those are the same again nothing is read and nothing written; a run that was killed
    between the two commits goes on with the second. A snapshot keeps the windows of earlier
    versions of the table, so that versions can be compared: its window starts and ends at `now`.
    Of the other kinds only the windows are computed again in which a row was added, changed or
    removed since, by the table's change feed; what comes out is what a profile of all rows would
    be, except that each row says the version it was computed from. Where the change feed does not
    tell, all windows are computed, and the result says why.

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
    there = lakehouse.schema(compared.table, compared.version) if compared else None
    spec.check(schema, name, baseline=there)
    _check_expressions(spec, schema, name)
    state = State.of(name, at, schema, compared, spec.digest, monitor_version)

    profile_table, drift_table = name.beside("profile_metrics"), name.beside("drift_metrics")
    scope = _Scope(frozenset(), baseline=False, replaced="false", reason="")
    if recorded(lakehouse, profile_table) == state:
        profiled = unchanged(lakehouse, profile_table)
    else:
        scope = _scope(lakehouse, name, spec, state)
        rows = _profile(lakehouse, name, schema, compared, spec, now, state, scope)
        profiled = write(
            lakehouse,
            profile_table,
            rows,
            state,
            description=f"Profile of {name}",
            where=scope.replaced,
        )
    existing = _existing(lakehouse, profile_table, profiled.version, spec)
    if recorded(lakehouse, drift_table) == state:
        drifted = unchanged(lakehouse, drift_table)
    else:
        drifted = _drift(lakehouse, name, profiled.version, existing, spec, state)

    windows = {window for _, window in existing}
    refreshed = len(windows if scope.windows is None else windows & scope.windows)
    return MonitorResult(
        profile=profiled,
        drift=drifted,
        version=at,
        baseline=compared,
        windows=len(windows),
        refreshed=refreshed,
        findings=newest_findings(
            lakehouse.at(profile_table, profiled.version),
            lakehouse.at(drift_table, drifted.version),
            spec,
            lakehouse,
        ),
        reason=_reason(state, profiled, drifted, scope, len(windows), refreshed),
    )


def _version(lakehouse: Lakehouse, table: TableName) -> int:
    version = lakehouse.data_version(table)
    if version is None:
        lakehouse.at(table)  # raises the error that says which tables exist
        raise TableNotFoundError(f"there is no table {table}")
    return version


def _check_expressions(spec: MonitorSpec, schema: pa.Schema, table: TableName) -> None:
    known = {name.lower() for name in schema.names}
    for expression in spec.slicing_exprs:
        missing = sorted(columns_of(expression) - known)
        if missing:
            raise MonitorSpecError(
                f"{table} has no column {', '.join(missing)}, which the slicing expression "
                f"{expression!r} of its monitor reads; it has: {', '.join(schema.names)}"
            )
    missing = check_aggregates(spec, schema)
    if missing:
        raise MonitorSpecError(
            f"{table} has no column {', '.join(missing)}, which custom metrics of its monitor "
            f"read; it has: {', '.join(schema.names)}"
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


# Profile


def _scope(lakehouse: Lakehouse, table: TableName, spec: MonitorSpec, state: State) -> _Scope:
    """Return the least that has to be computed for the profile to be what the state says."""
    there = table.beside("profile_metrics")
    before = recorded(lakehouse, there)
    fits = before is not None and lakehouse.schema(there).names == profile_schema(spec).names
    if spec.kind == "snapshot":
        version = f"log_type = 'BASELINE' OR logging_table_commit_version = {state.version}"
        return _Scope(None, baseline=True, replaced=version if fits else None, reason="")
    everything = _Scope(None, baseline=True, replaced=None, reason="")
    if before is None or not fits:
        return replace(everything, reason="the first profile of this format")
    why = state.why_other(before)
    if why:
        return replace(everything, reason=why)
    same_baseline = before.baseline == state.baseline
    if spec.estimated and not same_baseline:
        return replace(everything, reason="the baseline changed, on which estimates are calibrated")
    windows, why = frozenset[Window](), ""
    if before.version < state.version:
        found, why = changed_windows(lakehouse, table, before.version + 1, state.version, spec)
        if found is None:
            return replace(everything, reason=why)
        windows = found
    replaced = named(windows)
    if not same_baseline:
        replaced = f"log_type = 'BASELINE' OR {replaced}"
    return _Scope(windows, baseline=not same_baseline, replaced=replaced, reason="")


def _profile(
    lakehouse: Lakehouse,
    table: TableName,
    schema: pa.Schema,
    baseline: Baseline | None,
    spec: MonitorSpec,
    now: datetime,
    state: State,
    scope: _Scope,
) -> pa.Table:
    import pyarrow as pa

    columns = monitored_columns(schema, spec)
    parts = [profile_schema(spec).empty_table()]
    if scope.windows is None or scope.windows:
        sketches = scan(
            lakehouse,
            table,
            state.version,
            columns,
            spec,
            windowed=spec.kind != "snapshot",
            by_model=spec.kind == "inference_log",
            only=scope.windows,
            calibration=calibrate(lakehouse, baseline, spec) if baseline is not None else None,
        )
        if spec.kind == "snapshot":
            sketches = [_at(s, now) for s in sketches]
        parts.append(
            profile(
                sketches,
                spec,
                log_type="INPUT",
                version=state.version,
                monitor_version=state.monitor_version,
            )
        )
    if baseline is not None and scope.baseline:
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
                monitor_version=state.monitor_version,
            )
        )
    rows = pa.concat_tables(parts)
    return with_derived(rows, spec.custom_metrics, spec.template_columns, lakehouse.query)


def _at(sketched: GroupSketch, now: datetime) -> GroupSketch:
    return replace(sketched, group=replace(sketched.group, start=now, end=now))


def _existing(
    lakehouse: Lakehouse, table: TableName, version: int, spec: MonitorSpec
) -> list[tuple[tuple[str | None, ...], Window]]:
    """Return model and slice -> window of all groups of a profile table, oldest first."""
    model = quote(spec.model_id_col) if spec.model_id_col else "CAST(NULL AS STRING)"
    sql = (
        f"SELECT {model} AS model, slice_key, slice_value, granularity, window.start AS start "
        f"FROM profile WHERE log_type = 'INPUT' AND column_name = '{TABLE_ROW}' ORDER BY start"
    )
    rows = lakehouse.query(sql, {"profile": lakehouse.at(table, version)}).read_all().to_pylist()
    return [
        ((r["model"], r["slice_key"], r["slice_value"]), Window(r["granularity"], r["start"]))
        for r in rows
    ]


# Drift


def _drift(
    lakehouse: Lakehouse,
    table: TableName,
    profile_version: int,
    existing: list[tuple[tuple[str | None, ...], Window]],
    spec: MonitorSpec,
    state: State,
) -> Commit:
    """Compare the windows that were profiled since the drift was computed, and those after them."""
    profile_table, drift_table = table.beside("profile_metrics"), table.beside("drift_metrics")
    before = recorded(lakehouse, drift_table)
    only = replaced = where = None
    if (
        before is not None
        and before.baseline == state.baseline
        and not state.why_other(before)
        and lakehouse.schema(drift_table).names == drift_schema(spec).names
    ):
        inputs = {"profile": lakehouse.at(profile_table, profile_version)}
        touched = _windows_of(
            lakehouse,
            "SELECT DISTINCT granularity, window.start AS start FROM profile WHERE log_type = "
            f"'INPUT' AND logging_table_commit_version > {before.version}",
            inputs,
        )
        inputs = {"drift": lakehouse.at(drift_table)}
        compared = _windows_of(
            lakehouse,
            "SELECT DISTINCT granularity, window.start AS start FROM drift UNION "
            "SELECT DISTINCT granularity, window_cmp.start AS start FROM drift "
            "WHERE window_cmp IS NOT NULL",
            inputs,
        )
        gone = compared - {window for _, window in existing}
        only, needed = followers(existing, touched | gone)
        replaced = named(only | gone)
        where = f"log_type = 'BASELINE' OR {named(only | needed)}"
    rows = lakehouse.read(profile_table, version=profile_version, where=where).read_all()
    pairs = comparisons(rows, spec, only)
    compared_rows = with_drift(
        drift(rows, spec, pairs),
        rows,
        [(c.current, c.base) for c in pairs],
        spec.custom_metrics,
        spec.template_columns,
        lakehouse.query,
    )
    return write(
        lakehouse,
        drift_table,
        compared_rows,
        state,
        description=f"Drift of {table}",
        where=replaced,
    )


def _windows_of(lakehouse: Lakehouse, sql: str, inputs: dict[str, TableAt]) -> frozenset[Window]:
    rows = lakehouse.query(sql, inputs).read_all().to_pylist()
    return frozenset(Window(r["granularity"], r["start"]) for r in rows)


# Reason


def _reason(
    state: State, profiled: Commit, drifted: Commit, scope: _Scope, windows: int, refreshed: int
) -> str:
    what = f"version {state.version} of {state.table}"
    against = state.baseline
    what += (
        f" against version {against['version']} of {against['table']}"
        if against
        else ", without a baseline to compare with"
    )
    if not windows:
        return f"{what}: no row falls into a window, so there is nothing to profile"
    if not profiled.written and not drifted.written:
        return f"nothing new: {what} is profiled already"
    if not profiled.written:
        return f"compared {what}"
    if scope.windows is None:
        return f"profiled {what}" + (f", all windows: {scope.reason}" if scope.reason else "")
    return f"profiled {what}: {refreshed} of {windows} windows have changed rows"
