"""Bring the metric tables of a monitored table up to date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import (
    Commit,
    Lakehouse,
    LakehouseError,
    TableName,
    TableNotFoundError,
)
from lakeops_assets.monitoring.alerts import Alert, AlertRules
from lakeops_assets.monitoring.drifting import existing_windows, write_drift
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.findings import DriftFinding
from lakeops_assets.monitoring.judging import judge
from lakeops_assets.monitoring.measures import check_aggregates
from lakeops_assets.monitoring.profiling import Scope, profiled_rows, scope_of
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.state import Baseline, State, recorded, unchanged, write
from lakeops_assets.monitoring.statements import columns_of

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
        alerts: What of it somebody should look at, one per cause.
        reason: What was profiled and why, or why nothing was.
    """

    profile: Commit
    drift: Commit
    version: int
    baseline: Baseline | None
    windows: int
    refreshed: int
    findings: tuple[DriftFinding, ...]
    alerts: tuple[Alert, ...]
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
    rules: AlertRules | None = None,
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
        rules: When a drift is an alert; the defaults when None.

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
    scope = Scope(frozenset(), baseline=False, replaced="false", reason="")
    if recorded(lakehouse, profile_table) == state:
        profiled = unchanged(lakehouse, profile_table)
    else:
        scope = scope_of(lakehouse, name, spec, state)
        rows = profiled_rows(lakehouse, name, schema, compared, spec, now, state, scope)
        profiled = write(
            lakehouse,
            profile_table,
            rows,
            state,
            description=f"Profile of {name}",
            where=scope.replaced,
        )
    existing = existing_windows(lakehouse, profile_table, profiled.version, spec)
    if recorded(lakehouse, drift_table) == state:
        drifted = unchanged(lakehouse, drift_table)
    else:
        drifted = write_drift(lakehouse, name, profiled.version, existing, spec, state)

    metrics = (
        lakehouse.at(profile_table, profiled.version),
        lakehouse.at(drift_table, drifted.version),
    )
    found, raised = judge(
        lakehouse, name, at, compared, spec, rules or AlertRules(), existing, metrics
    )
    windows = {window for _, window in existing}
    refreshed = len(windows if scope.windows is None else windows & scope.windows)
    return MonitorResult(
        profile=profiled,
        drift=drifted,
        version=at,
        baseline=compared,
        windows=len(windows),
        refreshed=refreshed,
        findings=found,
        alerts=raised,
        reason=_reason(state, profiled, drifted, scope, len(windows), refreshed),
    )


def current_alerts(
    lakehouse: Lakehouse, table: TableName, spec: MonitorSpec, rules: AlertRules
) -> tuple[Alert, ...]:
    """Return the alerts of the newest window, as the metric tables have them; computes no metric.

    Args:
        lakehouse: Where the tables are.
        table: Monitored table; its spec names the baseline.
        spec: What is monitored.
        rules: When a drift is an alert.
    """
    profile_table, drift_table = table.beside("profile_metrics"), table.beside("drift_metrics")
    if not (lakehouse.exists(profile_table) and lakehouse.exists(drift_table)):
        return ()
    version = lakehouse.version(profile_table) or 0
    existing = existing_windows(lakehouse, profile_table, version, spec)
    metrics = (lakehouse.at(profile_table, version), lakehouse.at(drift_table))
    compared = _baseline(lakehouse, spec, None, None)
    at = _version(lakehouse, table)
    return judge(lakehouse, table, at, compared, spec, rules, existing, metrics)[1]


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


# Reason


def _reason(
    state: State, profiled: Commit, drifted: Commit, scope: Scope, windows: int, refreshed: int
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
