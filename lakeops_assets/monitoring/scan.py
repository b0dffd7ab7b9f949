"""From the rows of a table to sketches."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse import Lakehouse, TableAt, TableName
from lakeops_assets.monitoring import statements
from lakeops_assets.monitoring.columns import Column, ColumnKind
from lakeops_assets.monitoring.custom import WHOLE_TABLE
from lakeops_assets.monitoring.estimate import Calibration
from lakeops_assets.monitoring.granularity import instant
from lakeops_assets.monitoring.measures import aggregates, measure
from lakeops_assets.monitoring.quantiles import Key, Ranked, ranked_there, sorted_here
from lakeops_assets.monitoring.sketch import (
    ALL_MODELS,
    FREQUENT_ITEMS,
    Group,
    GroupSketch,
    Sketch,
)
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.statements import Grouping
from lakeops_assets.monitoring.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa

# Up to this many numbers are sorted for exact quantiles; of them are held what `quantiles` says.
EXACT_VALUES = 50_000_000


@dataclass(frozen=True)
class _Items:
    distinct: int
    items: tuple[tuple[str, int], ...]


def scan(
    lakehouse: Lakehouse,
    table: TableName,
    version: int,
    columns: Sequence[Column],
    spec: MonitorSpec,
    *,
    windowed: bool,
    by_model: bool,
    condition: str | None = None,
    only: Collection[Window] | None = None,
    calibration: Calibration | None = None,
    exact_values: int = EXACT_VALUES,
) -> list[GroupSketch]:
    """Read a table and return the sketches of all groups.

    Each grouping reads it with three statements, one per kind of statistic, that touch only the
    columns they need. No row leaves the engine: what is held here are the sketches. Rows whose
    timestamp, slicing expression or model id is null are in no group of that grouping. A slicing
    expression over columns that the table does not have makes no slices.

    Args:
        lakehouse: Where the table is.
        table: Table to read.
        version: Delta version to read.
        columns: Columns to sketch.
        spec: How rows fall into windows, slices and models.
        windowed: Group by windows of the timestamp.
        by_model: Also group by the model's id.
        condition: Which rows are read, in Spark's dialect; None for all.
        only: Windows that are wanted; None for all.
        calibration: What probabilities mean; None where performance is not estimated.
        exact_values: Quantiles are exact when a grouping has at most this many numbers.

    Raises:
        QueryError: An expression of the spec cannot be run.
    """
    source = lakehouse.at(table, version)
    schema = lakehouse.schema(table, version)
    spec = replace(spec, slicing_exprs=_possible(spec, schema.names))
    ranked = sum(c.kind in (ColumnKind.NUMERIC, ColumnKind.TEMPORAL) for c in columns)
    rows = lakehouse.row_count(table, version)
    approximate = rows * ranked > exact_values
    has_models = spec.kind == "inference_log"
    found: list[GroupSketch] = []
    for grouping in statements.groupings(
        spec, windowed=windowed, by_model=by_model, condition=condition, only=only
    ):
        limited = _limit_slices(lakehouse, source, grouping)
        groups = _scan_grouping(
            lakehouse,
            source,
            schema,
            limited,
            columns,
            spec,
            has_models,
            calibration,
            rows,
            approximate=approximate,
        )
        found += sorted(groups, key=lambda g: _order(g.group))
    return found


def _scan_grouping(
    lakehouse: Lakehouse,
    source: TableAt,
    schema: pa.Schema,
    grouping: Grouping,
    columns: Sequence[Column],
    spec: MonitorSpec,
    has_models: bool,
    calibration: Calibration | None,
    rows: int,
    *,
    approximate: bool,
) -> Iterator[GroupSketch]:
    k = spec.quantiles

    def run(sql: str) -> Iterator[pa.RecordBatch]:
        return iter(lakehouse.query(sql, {"source": source}) if sql else ())

    items = _read_items(run(statements.items(grouping, columns)), grouping)
    here = not approximate and not lakehouse.engine.capabilities.distributed.available
    ranked: dict[tuple[Key, int], Ranked] = {}
    if here:
        ranked = sorted_here(run, grouping, columns, rows, quantiles=k)
    elif not approximate:
        ranked = ranked_there(run, grouping, columns, quantiles=k)
    measured = measure(run, grouping, spec, schema, calibration)
    custom = aggregates(run, grouping, spec, schema)
    sql = statements.moments(
        grouping, columns, quantiles=k, approximate=approximate, of_numbers=not here
    )
    for batch in run(sql):
        for row in batch.to_pylist():
            key = grouping.key(row)
            if None in key:
                continue
            own = custom.get(key, {})
            sketches = tuple(
                _sketch(
                    column,
                    row["n"],
                    {w: row.get(f"{w}_{i}") for w in _MOMENTS},
                    ranked.get((key, i)),
                    items.get((key, i)),
                    own.get(column.name, {}),
                )
                for i, column in enumerate(columns)
            )
            metrics = {**measured.get(key, {}), **own.get(WHOLE_TABLE, {})}
            yield GroupSketch(_group(row, grouping, has_models), row["n"], sketches, metrics)


_MOMENTS = (
    "present", "finite", "zeros", "avg", "stddev", "min", "max", "distinct", "approx",
    "min_length", "max_length", "avg_length",
)  # fmt: skip


def _sketch(
    column: Column,
    count: int,
    found: dict[str, Any],
    ranked: Ranked | None,
    items: _Items | None,
    custom: dict[str, Any],
) -> Sketch:
    sketch = Sketch(column, count, nulls=count - found["present"], custom=custom)
    if found["approx"] is not None and ranked is None:
        *quantiles, median = found["approx"]
        ranked = Ranked(array("d", quantiles), median)
    if ranked is not None:
        found = {**found, **ranked.moments}
    elif found["finite"] is None:
        found = {**found, "finite": 0, "zeros": 0, "distinct": 0}  # it has no number
    if column.kind in (ColumnKind.NUMERIC, ColumnKind.TEMPORAL):
        # The estimate of a small number can be above what there is.
        values = found["present"] if column.kind is ColumnKind.TEMPORAL else found["finite"]
        sketch = replace(
            sketch,
            distinct=min(found["distinct"], values),
            min=found["min"],
            max=found["max"],
            median=ranked.median if ranked else None,
            quantiles=ranked.quantiles if ranked else None,
        )
    if column.kind is ColumnKind.NUMERIC:
        return replace(
            sketch,
            nan=found["present"] - found["finite"],
            zeros=found["zeros"],
            avg=found["avg"],
            stddev=found["stddev"],
        )
    if column.kind is ColumnKind.CATEGORICAL:
        return replace(
            sketch,
            distinct=items.distinct if items else 0,
            items=items.items if items else (),
            min_length=_float(found["min_length"]),
            max_length=_float(found["max_length"]),
            avg_length=_float(found["avg_length"]),
        )
    return sketch


def _read_items(
    batches: Iterator[pa.RecordBatch], grouping: Grouping
) -> dict[tuple[Key, int], _Items]:
    found = {}
    for batch in batches:
        for row in batch.to_pylist():
            pairs = tuple((item["item"], item["n"]) for item in row["items"])
            found[grouping.key(row), row["i"]] = _Items(row["distinct_count"], pairs)
    return found


def _possible(spec: MonitorSpec, names: Sequence[str]) -> tuple[str, ...]:
    """Return the slicing expressions whose columns are there."""
    known = {name.lower() for name in names}
    return tuple(e for e in spec.slicing_exprs if statements.columns_of(e) <= known)


def _limit_slices(lakehouse: Lakehouse, source: TableAt, grouping: Grouping) -> Grouping:
    """Return a grouping that makes no more slices per window than are kept."""
    if grouping.slice_key is None:
        return grouping
    sql = statements.most_slices(grouping)
    most = lakehouse.query(sql, {"source": source}).read_all()["n"][0].as_py() or 0
    if most <= FREQUENT_ITEMS:
        return grouping
    return replace(grouping, condition=statements.only_frequent_slices(grouping))


def _order(group: Group) -> tuple[str, ...]:
    start = group.start.isoformat() if group.start else ""
    return (start, group.slice_value or "", group.model_id or "")


def _group(row: dict[str, Any], grouping: Grouping, has_models: bool) -> Group:
    start = instant(row["start"]) if grouping.granularity else None
    return Group(
        granularity=grouping.granularity.text if grouping.granularity else None,
        start=start,
        end=grouping.granularity.end(start) if grouping.granularity and start else None,
        slice_key=grouping.slice_key,
        slice_value=row.get("slice_value"),
        model_id=row.get("model_id", ALL_MODELS) if has_models else None,
    )


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
