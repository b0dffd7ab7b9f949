"""Which windows are compared again, and the write of the drift table."""

from __future__ import annotations

from lakeops_assets.lakehouse import Commit, Lakehouse, TableAt, TableName
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring.custom import with_drift
from lakeops_assets.monitoring.drift import comparisons, drift, drift_schema
from lakeops_assets.monitoring.profile import TABLE_ROW
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.state import State, recorded, write
from lakeops_assets.monitoring.windows import Window, followers, named


def existing_windows(
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


def write_drift(
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
