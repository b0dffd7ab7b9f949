"""The SELECTs that sketches are read from, in Spark's dialect.

Rows are grouped in several ways at once: by window, by window and slice, by window and model.
Each way is a `Grouping`, and each grouping is read by three statements that touch only the columns
they need: moments (one aggregation), ranks (quantiles) and items (frequent values).

Quantiles are exact. An engine on one machine hands the numbers over to be sorted (`numbers`); a
distributed one ranks them in a window function, and of the ranks only the wanted ones leave it
(`ranks`). The approximate alternative, `percentile_approx`, holds a sketch instead of the values,
but on DuckDB (a t-digest) a quantile next to a value that many rows share can be off by three
percent of the rows, and the order of the rows shows in the result. It is for tables that are too
large to be sorted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakeops_assets.lakehouse.statements import parse_select, quote
from lakeops_assets.monitoring.columns import Column, ColumnKind
from lakeops_assets.monitoring.granularity import Granularity
from lakeops_assets.monitoring.sketch import FREQUENT_ITEMS
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.windows import Window, within

# Larger numbers cannot be squared and added up in a double.
LARGEST = "1e140"
# Relative accuracy of Spark's percentile_approx: ranks are right to one in this many rows.
ACCURACY = 10_000


@dataclass(frozen=True)
class Grouping:
    """One way of grouping the rows of a table.

    Attributes:
        keys: Name of a key in the result -> its expression over the table's columns. Names are
            `start` (microseconds since the epoch), `slice_value` and `model_id`.
        granularity: Length of the windows; None for a single one.
        slice_key: Slicing expression; None for all rows.
        condition: Which rows are read; empty for all.
    """

    keys: dict[str, str]
    granularity: Granularity | None = None
    slice_key: str | None = None
    condition: str = ""

    def key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the keys of a row of a result."""
        return tuple(row[key] for key in self.keys)


def groupings(
    spec: MonitorSpec,
    *,
    windowed: bool,
    by_model: bool,
    condition: str | None,
    only: Collection[Window] | None = None,
) -> list[Grouping]:
    """Return the ways of grouping that a spec asks for.

    Args:
        spec: What to monitor.
        windowed: Group by windows of the timestamp; a baseline and a snapshot have none.
        by_model: Also group by the model's id.
        condition: Which rows are read; None for all.
        only: Windows that are wanted; None for all.
    """
    found: list[Grouping] = []
    for granularity in spec.windows if windowed else (None,):
        window = {}
        if granularity is not None and only is not None:
            condition = within(spec, only, granularity.text)
            if condition is None:
                continue
        if granularity is not None:
            timestamp = f"CAST({quote(str(spec.timestamp_col))} AS TIMESTAMP)"
            window["start"] = granularity.start_sql(timestamp)
        for slice_key in (None, *spec.slicing_exprs):
            sliced = {} if slice_key is None else {"slice_value": f"CAST(({slice_key}) AS STRING)"}
            models: list[dict[str, str]] = [{}]
            if by_model:
                models.append({"model_id": f"CAST({quote(str(spec.model_id_col))} AS STRING)"})
            found.extend(
                Grouping({**window, **sliced, **model}, granularity, slice_key, condition or "")
                for model in models
            )
    return found


def columns_of(expression: str) -> set[str]:
    """Return the columns that an expression in Spark's dialect reads, in lower case."""
    from sqlglot import exp

    return {c.name.lower() for c in parse_select(f"SELECT {expression}").find_all(exp.Column)}


def most_slices(grouping: Grouping) -> str:
    """Return the SELECT for the number of slices of the window that has most of them: `n`."""
    return (
        "SELECT max(n) AS n FROM (SELECT count(DISTINCT slice_value) AS n "
        f"FROM ({_sliced(grouping)}) AS sliced GROUP BY start) AS counted"
    )


def only_frequent_slices(grouping: Grouping) -> str:
    """Return a condition that keeps the rows of each window's most frequent slices."""
    frequent = (
        "SELECT concat(start, ' ', slice_value) FROM (SELECT start, slice_value, row_number() "
        "OVER (PARTITION BY start ORDER BY count(*) DESC, slice_value) AS position "
        f"FROM ({_sliced(grouping)}) AS sliced WHERE slice_value IS NOT NULL "
        f"GROUP BY start, slice_value) AS counted WHERE position <= {FREQUENT_ITEMS}"
    )
    kept = f"concat({_window(grouping)}, ' ', {grouping.keys['slice_value']}) IN ({frequent})"
    return f"({grouping.condition}) AND {kept}" if grouping.condition else kept


def _sliced(grouping: Grouping) -> str:
    where = f"WHERE ({grouping.condition})" if grouping.condition else ""
    value = grouping.keys["slice_value"]
    return f"SELECT {_window(grouping)} AS start, {value} AS slice_value FROM source {where}"


def _window(grouping: Grouping) -> str:
    return f"CAST({grouping.keys.get('start', '0')} AS STRING)"


def moments(
    grouping: Grouping,
    columns: Sequence[Column],
    *,
    quantiles: int,
    approximate: bool,
    of_numbers: bool = True,
) -> str:
    """Return the SELECT for counts, moments and lengths: one row per group.

    Args:
        grouping: How rows are grouped.
        columns: Columns of the table.
        quantiles: How many.
        approximate: Whether they are computed here, approximately.
        of_numbers: Whether moments of numbers are; else only their values are counted.

    Returns:
        The statement.

    Columns of the result are the grouping's keys, `n` for the rows, and for column i `<what>_i`.
    """
    wanted = ["count(*) AS n"]
    for i, column in enumerate(columns):
        found = {"present": f"count(v{i})"}
        if column.kind is ColumnKind.NUMERIC and of_numbers:
            x = f"x{i}"
            found |= {"finite": f"count({x})", "zeros": f"count_if({x} = 0)"}
            found |= {"avg": f"avg({x})", "stddev": f"stddev_samp({x})"}
        if column.kind is ColumnKind.TEMPORAL:
            x = f"v{i}"
        if column.kind in (ColumnKind.NUMERIC, ColumnKind.TEMPORAL) and of_numbers:
            found |= {"min": f"min({x})", "max": f"max({x})"}
            found |= {"distinct": f"approx_count_distinct({x})"}
            if approximate:
                shares = [(j + 0.5) / quantiles for j in range(quantiles)]
                listed = ", ".join(f"{share:.6g}" for share in (*shares, 0.5))
                found["approx"] = f"percentile_approx({x}, array({listed}), {ACCURACY})"
        if column.data_type == "string":
            length = f"length(v{i})"
            found |= {"min_length": f"min({length})", "max_length": f"max({length})"}
            found |= {"avg_length": f"avg({length})"}
        wanted += [f"{sql} AS {what}_{i}" for what, sql in found.items()]
    rows = _rows(grouping, list(enumerate(columns)))
    return f"SELECT {_listed(grouping, *wanted)} FROM ({rows}) AS r{_grouped(grouping)}"


def numbers(grouping: Grouping, columns: Sequence[tuple[int, Column]]) -> str:
    """Return the SELECT for the numbers of some columns: the grouping's keys and `x<i>`."""
    values = [
        f"x{i}" if column.kind is ColumnKind.NUMERIC else f"v{i} AS x{i}" for i, column in columns
    ]
    rows = _rows(grouping, columns)
    return f"SELECT {_listed(grouping, *values)} FROM ({rows}) AS r"


def ranks(grouping: Grouping, columns: Sequence[Column], *, quantiles: int) -> str:
    """Return the SELECT for exact quantiles: one row per group and column.

    Columns of the result are the grouping's keys, `i` for the column's position, and `ranked`: an
    array of structs in ascending order. `points` is how many of the quantiles are at or below the
    value `x`, and `median` whether it is the median.
    """
    over = _over(grouping)
    branches = []
    for i, column in _of_kind(columns, ColumnKind.NUMERIC, ColumnKind.TEMPORAL):
        x = f"x{i}" if column.kind is ColumnKind.NUMERIC else f"v{i}"
        branches.append(
            f"SELECT {_listed(grouping, f'{i} AS i', f'{x} AS x')}, "
            f"row_number() OVER ({over} ORDER BY {x}) AS rank, count(*) OVER ({over}) AS n "
            f"FROM ({_rows(grouping, [(i, column)])}) AS r WHERE {x} IS NOT NULL"
        )
    if not branches:
        return ""
    k = 2 * quantiles
    # Quantile j is the value of rank r with (j + 1/2) / quantiles in ((r - 1) / n, r / n].
    points = (
        f"SELECT {_listed(grouping, 'i', 'x')}, rank = (n + 1) div 2 AS median, "
        f"({k} * rank + n) div (2 * n) AS points, "
        f"({k} * (rank - 1) + n) div (2 * n) AS points_before "
        f"FROM ({' UNION ALL '.join(branches)}) AS ranked"
    )
    value = "named_struct('points', points, 'x', x, 'median', median)"
    return (
        f"SELECT {_listed(grouping, 'i')}, sort_array(collect_list({value})) AS ranked "
        f"FROM ({points}) AS points WHERE points > points_before OR median "
        f"GROUP BY {_listed(grouping, 'i')}"
    )


def items(grouping: Grouping, columns: Sequence[Column]) -> str:
    """Return the SELECT for frequent items: one row per group and column that has a value.

    Columns of the result are the grouping's keys, `i` for the column's position, `distinct_count`,
    and `items`: an array of structs `position`, `item`, `n`, most frequent first.
    """
    branches = [
        f"SELECT {_listed(grouping, f'{i} AS i', f'v{i} AS item')}, count(*) AS n "
        f"FROM ({_rows(grouping, [(i, column)])}) AS r WHERE v{i} IS NOT NULL "
        f"GROUP BY {_listed(grouping, f'v{i}')}"
        for i, column in _of_kind(columns, ColumnKind.CATEGORICAL)
    ]
    if not branches:
        return ""
    over = f"PARTITION BY {_listed(grouping, 'i')}"
    # Equal counts are ordered by the item, so that the same rows give the same sketch.
    ordered = (
        f"SELECT {_listed(grouping, 'i', 'item', 'n')}, count(*) OVER ({over}) AS different, "
        f"row_number() OVER ({over} ORDER BY n DESC, item) AS position "
        f"FROM ({' UNION ALL '.join(branches)}) AS counted"
    )
    value = "named_struct('position', position, 'item', item, 'n', n)"
    return (
        f"SELECT {_listed(grouping, 'i')}, max(different) AS distinct_count, "
        f"sort_array(collect_list({value})) AS items FROM ({ordered}) AS ordered "
        f"WHERE position <= {FREQUENT_ITEMS} GROUP BY {_listed(grouping, 'i')}"
    )


def _rows(grouping: Grouping, columns: Sequence[tuple[int, Column]]) -> str:
    """Return the SELECT for keys and values: `v<i>` as it is, `x<i>` where it is a number."""
    wanted = [f"{sql} AS {key}" for key, sql in grouping.keys.items()]
    for i, column in columns:
        name = quote(column.name)
        if column.kind is ColumnKind.NUMERIC:
            number = f"CAST({name} AS DOUBLE)"
            # NaN is larger than any number in both dialects, so this drops it as well. Adding zero
            # makes a negative zero positive.
            wanted += [
                f"{number} AS v{i}",
                f"CASE WHEN abs({number}) < {LARGEST} THEN {number} + 0 END AS x{i}",
            ]
        elif column.kind is ColumnKind.CATEGORICAL:
            wanted.append(f"CAST({name} AS STRING) AS v{i}")
        elif column.kind is ColumnKind.TEMPORAL:
            wanted.append(f"unix_micros(CAST({name} AS TIMESTAMP)) / 1e6 AS v{i}")
        else:
            wanted.append(f"CASE WHEN {name} IS NOT NULL THEN 1 END AS v{i}")
    condition = f" WHERE ({grouping.condition})" if grouping.condition else ""
    return f"SELECT {', '.join(wanted)} FROM source{condition}"


def _of_kind(columns: Sequence[Column], *kinds: ColumnKind) -> list[tuple[int, Column]]:
    return [(i, c) for i, c in enumerate(columns) if c.kind in kinds]


def _listed(grouping: Grouping, *more: str) -> str:
    return ", ".join((*grouping.keys, *more))


def _over(grouping: Grouping) -> str:
    return f"PARTITION BY {', '.join(grouping.keys)}" if grouping.keys else ""


def _grouped(grouping: Grouping) -> str:
    return f" GROUP BY {', '.join(grouping.keys)}" if grouping.keys else ""
