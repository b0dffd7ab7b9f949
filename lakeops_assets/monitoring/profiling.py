"""What of a profile has to be computed, and its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.monitoring.columns import monitored_columns
from lakeops_assets.monitoring.custom import with_derived
from lakeops_assets.monitoring.measures import calibrate
from lakeops_assets.monitoring.profile import profile, profile_schema
from lakeops_assets.monitoring.scan import scan
from lakeops_assets.monitoring.sketch import GroupSketch
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.state import Baseline, State, recorded
from lakeops_assets.monitoring.windows import Window, changed_windows, named

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Scope:
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


def scope_of(lakehouse: Lakehouse, table: TableName, spec: MonitorSpec, state: State) -> Scope:
    """Return the least that has to be computed for the profile to be what the state says."""
    there = table.beside("profile_metrics")
    before = recorded(lakehouse, there)
    fits = before is not None and lakehouse.schema(there).names == profile_schema(spec).names
    if spec.kind == "snapshot":
        version = f"log_type = 'BASELINE' OR logging_table_commit_version = {state.version}"
        return Scope(None, baseline=True, replaced=version if fits else None, reason="")
    everything = Scope(None, baseline=True, replaced=None, reason="")
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
    return Scope(windows, baseline=not same_baseline, replaced=replaced, reason="")


def profiled_rows(
    lakehouse: Lakehouse,
    table: TableName,
    schema: pa.Schema,
    baseline: Baseline | None,
    spec: MonitorSpec,
    now: datetime,
    state: State,
    scope: Scope,
) -> pa.Table:
    """Return the rows of a profile that a scope asks for.

    Args:
        lakehouse: Where the tables are.
        table: Monitored table.
        schema: Its columns.
        baseline: What it is compared with.
        spec: What to monitor.
        now: Window of a snapshot.
        state: Versions that are read.
        scope: What is computed.
    """
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
