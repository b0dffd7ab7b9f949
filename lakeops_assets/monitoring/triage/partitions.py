"""What each partition of a table looks like: the sketches of its columns, and its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lakeops_assets.lakehouse import Lakehouse, TableAt
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring.columns import Column, ColumnKind, monitored_columns
from lakeops_assets.monitoring.granularity import Granularity, instant
from lakeops_assets.monitoring.scan import scan
from lakeops_assets.monitoring.sketch import GroupSketch, Sketch
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.triage.lineage import TracedTable
from lakeops_assets.monitoring.windows import Window, within

# Quantiles of a partition: enough for a distance, and cheap for a hundred columns.
QUANTILES = 200
HOURS = 24
PROVENANCE = "_"


@dataclass(frozen=True)
class Partition:
    """The rows of a table within a stretch of its time.

    Attributes:
        start: When the stretch starts.
        rows: Rows.
        repeated: Rows that are there already, equal in every column but those of provenance.
        hours: Rows per hour of the day.
        lags: Other time of a row -> median of it minus the time of the row, in minutes.
        sketches: Column -> its sketch.
    """

    start: datetime
    rows: int
    repeated: int = 0
    hours: tuple[int, ...] = (0,) * HOURS
    lags: Mapping[str, float] = field(default_factory=dict)
    sketches: Mapping[str, Sketch] = field(default_factory=dict)


def read_partitions(
    lakehouse: Lakehouse, traced: TracedTable, starts: Sequence[datetime], length: Granularity
) -> list[Partition]:
    """Return partitions of a table, those without a row included, in the order that is asked for.

    Args:
        lakehouse: Where the table is.
        traced: The table; it has a time.
        starts: Starts of the partitions.
        length: Length of each.
    """
    table = traced.table
    version = lakehouse.data_version(table) or 0
    schema = lakehouse.schema(table, version)
    left_out = tuple(c for c in schema.names if _left_out(c, traced))
    spec = MonitorSpec(
        "time_series",
        timestamp_col=traced.time,
        granularities=(length.text,),
        exclude=left_out,
        quantiles=QUANTILES,
    )
    kinds = (ColumnKind.NUMERIC, ColumnKind.CATEGORICAL)
    there = monitored_columns(schema, spec) if len(left_out) < len(schema.names) else ()
    columns = tuple(c for c in there if c.kind in kinds)
    only = frozenset(Window(length.text, start) for start in starts)
    sketched: dict[datetime, GroupSketch] = {}
    if columns:
        for found in scan(
            lakehouse, table, version, columns, spec, windowed=True, by_model=False, only=only
        ):
            if found.group.start is not None:
                sketched[found.group.start] = found
    condition = within(spec, only, length.text) or "FALSE"
    at = lakehouse.at(table, version)
    names = [c for c in schema.names if c == traced.time or not c.startswith(PROVENANCE)]
    rows = _rows(lakehouse, at, traced, names, condition, length)
    lags = _lags(lakehouse, at, traced, _times(schema, traced), condition, length)
    return [
        Partition(
            start,
            sum(rows[start][0]),
            rows[start][1],
            tuple(rows[start][0]),
            lags.get(start, {}),
            {s.column.name: s for s in sketched[start].columns} if start in sketched else {},
        )
        for start in starts
    ]


def _left_out(column: str, traced: TracedTable) -> bool:
    return column.startswith(PROVENANCE) or column == traced.time or column in traced.ignored


def _times(schema: object, traced: TracedTable) -> list[str]:
    import pyarrow.types as is_

    return [
        f.name
        for f in schema  # type: ignore[attr-defined]
        if is_.is_timestamp(f.type) and f.name != traced.time and not f.name.startswith(PROVENANCE)
    ]


def _rows(
    lakehouse: Lakehouse,
    at: TableAt,
    traced: TracedTable,
    names: Sequence[str],
    condition: str,
    length: Granularity,
) -> dict[datetime, tuple[list[int], int]]:
    """Return rows per hour of the day, and how many of them are repeated, per partition."""
    time = f"CAST({quote(str(traced.time))} AS TIMESTAMP)"
    listed = ", ".join(quote(n) for n in names)
    found: dict[datetime, tuple[list[int], int]] = defaultdict(lambda: ([0] * HOURS, 0))
    statement = (
        f"SELECT {length.start_sql(time)} AS start, hour({time}) AS hour, sum(n) AS n, "
        f"sum(n - 1) AS repeated FROM (SELECT {listed}, count(*) AS n FROM source "
        f"WHERE {condition} GROUP BY {listed}) AS counted GROUP BY 1, 2"
    )
    for row in lakehouse.query(statement, {"source": at}).read_all().to_pylist():
        hours, repeated = found[instant(row["start"])]
        hours[row["hour"]] += int(row["n"])
        found[instant(row["start"])] = (hours, repeated + int(row["repeated"]))
    return found


def _lags(
    lakehouse: Lakehouse,
    at: TableAt,
    traced: TracedTable,
    others: Sequence[str],
    condition: str,
    length: Granularity,
) -> dict[datetime, dict[str, float]]:
    if not others:
        return {}
    time = f"CAST({quote(str(traced.time))} AS TIMESTAMP)"
    medians = ", ".join(
        f"median((unix_micros(CAST({quote(c)} AS TIMESTAMP)) - unix_micros({time})) / 60e6) "
        f"AS lag{i}"
        for i, c in enumerate(others)
    )
    statement = (
        f"SELECT {length.start_sql(time)} AS start, {medians} FROM source WHERE {condition} "
        "GROUP BY 1"
    )
    return {
        instant(row["start"]): {
            c: row[f"lag{i}"] for i, c in enumerate(others) if row[f"lag{i}"] is not None
        }
        for row in lakehouse.query(statement, {"source": at}).read_all().to_pylist()
    }


def columns_of(partitions: Sequence[Partition]) -> list[Column]:
    """Return the columns that some partition has a sketch of."""
    return list({n: s.column for p in partitions for n, s in p.sketches.items()}.values())
