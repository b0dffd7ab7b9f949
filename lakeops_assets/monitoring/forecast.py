"""What a monitor will cost, before it is switched on.

The cost follows columns x slices x granularities: each grouping of the rows is read once, and each
window of each group gets one row per column in the profile, and up to two in the drift table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.meter import Usage
from lakeops_assets.monitoring import statements
from lakeops_assets.monitoring.columns import ColumnKind, monitored_columns
from lakeops_assets.monitoring.costs import worth
from lakeops_assets.monitoring.sketch import FREQUENT_ITEMS
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.settings import Prices

if TYPE_CHECKING:
    from lakeops_assets.monitoring.statements import Grouping

# CPU seconds, measured by benchmarks/monitoring_peers.py on DuckDB.
PER_VALUE = 1.5e-7
PER_REFRESH = 0.3
PER_GROUPING = 0.15
PER_PROFILE_ROW = 1e-4
PER_DRIFT_ROW = 4e-4
# Bytes of a row of a profile in Parquet, per quantile that differs and for the rest.
PER_QUANTILE = 8
PER_ROW = 60


@dataclass(frozen=True)
class Forecast:
    """What a first refresh of a monitor comes to; later ones cost the windows that changed.

    Attributes:
        rows: Rows of the monitored table.
        columns: Columns that are profiled.
        groupings: Ways of grouping the rows: granularities x (1 + slicing expressions), twice with
            models.
        groups: Groups that come of it: windows x slices x models.
        profile_rows: Rows of the profile table.
        drift_rows: Rows of the drift table, at most.
        bytes_written: Size of both.
        cpu_seconds: Time of all cores, to within a factor of about three.
        money: What that is worth.
    """

    rows: int
    columns: int
    groupings: int
    groups: int
    profile_rows: int
    drift_rows: int
    bytes_written: int
    cpu_seconds: float
    money: float


def forecast(
    lakehouse: Lakehouse, table: TableName | str, spec: MonitorSpec, prices: Prices
) -> Forecast:
    """Return what a monitor of a table would cost.

    Only the columns that make windows, slices and models are read, to count the groups.

    Raises:
        MonitorSpecError: The spec names a column that the table does not have.
        TableNotFoundError: There is no such table.
    """
    name = lakehouse.name(table)
    schema, rows = lakehouse.schema(name), lakehouse.row_count(name)
    columns = monitored_columns(schema, spec)
    numeric = sum(c.kind in (ColumnKind.NUMERIC, ColumnKind.TEMPORAL) for c in columns)
    groupings = statements.groupings(
        spec,
        windowed=spec.kind != "snapshot",
        by_model=spec.kind == "inference_log",
        condition=None,
    )
    groups = sum(_groups(lakehouse, name, grouping) for grouping in groupings)
    compared = groups * (2 if spec.baseline else 1)
    if spec.baseline and lakehouse.exists(spec.baseline):
        groups += _baseline_groups(lakehouse, lakehouse.name(spec.baseline), spec)
    profile_rows = groups * (len(columns) + 1)
    drift_rows = compared * (len(columns) + 1)
    # Parquet keeps each different value once: a group of few rows has few quantiles that differ.
    different = min(spec.quantiles, rows * len(groupings) / max(1, groups))
    size = profile_rows * PER_ROW + groups * numeric * different * PER_QUANTILE
    size += drift_rows * PER_ROW
    cpu = rows * len(columns) * len(groupings) * PER_VALUE
    cpu += PER_REFRESH + len(groupings) * (2 if spec.baseline else 1) * PER_GROUPING
    cpu += profile_rows * PER_PROFILE_ROW + drift_rows * PER_DRIFT_ROW
    usage = Usage(cpu, cpu, lakehouse.size_bytes(name) * len(groupings), int(size), profile_rows)
    return Forecast(
        rows=rows,
        columns=len(columns),
        groupings=len(groupings),
        groups=groups,
        profile_rows=profile_rows,
        drift_rows=drift_rows,
        bytes_written=int(size),
        cpu_seconds=cpu,
        money=worth(usage, prices),
    )


def _baseline_groups(lakehouse: Lakehouse, table: TableName, spec: MonitorSpec) -> int:
    names = {name.lower() for name in lakehouse.schema(table).names}
    possible = tuple(e for e in spec.slicing_exprs if statements.columns_of(e) <= names)
    groupings = statements.groupings(
        replace(spec, slicing_exprs=possible),
        windowed=False,
        by_model=spec.kind == "inference_log" and str(spec.model_id_col).lower() in names,
        condition=spec.baseline_where,
    )
    return sum(_groups(lakehouse, table, grouping) for grouping in groupings)


def _groups(lakehouse: Lakehouse, table: TableName, grouping: Grouping) -> int:
    """Return how many groups a grouping makes, with no more slices than are kept."""
    if not grouping.keys:
        return 1
    wanted = ", ".join(f"{sql} AS {key}" for key, sql in grouping.keys.items())
    where = f" WHERE ({grouping.condition})" if grouping.condition else ""
    present = " AND ".join(f"{key} IS NOT NULL" for key in grouping.keys)
    others = [key for key in grouping.keys if key != "slice_value"]
    distinct = f"SELECT DISTINCT * FROM (SELECT {wanted} FROM source{where}) AS r WHERE {present}"
    if "slice_value" in grouping.keys and others:
        listed = ", ".join(others)
        counted = f"SELECT least(count(*), {FREQUENT_ITEMS}) AS n FROM ({distinct}) AS d"
        sql = f"SELECT sum(n) AS n FROM ({counted} GROUP BY {listed}) AS c"
    else:
        most = FREQUENT_ITEMS if "slice_value" in grouping.keys else "count(*)"
        sql = f"SELECT least(count(*), {most}) AS n FROM ({distinct}) AS d"
    found = lakehouse.query(sql, {"source": lakehouse.at(table)}).read_all()
    return int(found["n"][0].as_py() or 0)
