"""Which columns drift for one reason.

Two columns have one cause if, in the rows of the window or in those of the baseline, the one tells
much of the other: Cramer's V of their binned values, corrected for bias, is at least 0.5, which is
about a correlation of 0.75. So an amount that changed its unit and the taxes on it are one alert.
They also have one cause if they are missing in the same rows (nine of ten that miss one miss the
other), as after a join that found nothing. Columns are taken by the size of their drift: the
strongest one leads, whatever belongs to it follows, and of the others again the strongest leads.
There are no chains: what belongs to a follower need not belong to the leader.
Source: Bergsma, A bias-correction for Cramer's V and Tschuprow's T, 2013.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from lakeops_assets.lakehouse import Lakehouse, TableAt
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring.findings import DriftFinding

if TYPE_CHECKING:
    import pyarrow as pa

# Bins of a number, and of anything else; values beyond those share bins.
BINS = 5
ITEMS = 20
# Columns that are compared; weaker ones lead an alert of their own.
MOST_COLUMNS = 30
SAME_ROWS = 0.9


class Rows(NamedTuple):
    """Some rows of a table.

    Attributes:
        table: The table at a version.
        condition: Which rows, in Spark's dialect; None for all.
    """

    table: TableAt
    condition: str | None


def grouped(
    lakehouse: Lakehouse,
    sides: Sequence[Rows],
    findings: Sequence[DriftFinding],
    same_cause: float,
) -> list[tuple[DriftFinding, ...]]:
    """Return the findings by their cause.

    Args:
        lakehouse: Where the tables are.
        sides: The rows of the newest window, and those of the baseline.
        findings: One per column, the strongest first.
        same_cause: Association from which on two columns have one cause.
    """
    left = list(findings)
    groups: list[tuple[DriftFinding, ...]] = []
    while left:
        leader, *others = left
        candidates = [f.column for f in others[:MOST_COLUMNS]]
        following = set()
        for side in sides if candidates else ():
            for column, counts in _tables(lakehouse, side, leader.column, candidates).items():
                if association(counts) >= same_cause or missing_together(counts) >= SAME_ROWS:
                    following.add(column)
        groups.append((leader, *(f for f in others if f.column in following)))
        left = [f for f in others if f.column not in following]
    return groups


def association(counts: Mapping[tuple[int, int], int]) -> float:
    """Return Cramer's V of a contingency table, corrected for bias: 0 to 1.

    Args:
        counts: (bin of one, bin of the other) -> rows. A bin of -1 is a missing value.
    """
    n = sum(counts.values())
    rows: dict[int, int] = {}
    columns: dict[int, int] = {}
    for (a, b), count in counts.items():
        rows[a] = rows.get(a, 0) + count
        columns[b] = columns.get(b, 0) + count
    r, c = len(rows), len(columns)
    if min(r, c) < 2 or n < 2:
        return 0.0
    squares = sum(count * count / (rows[a] * columns[b]) for (a, b), count in counts.items())
    phi = max(0.0, squares - 1 - (r - 1) * (c - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return sqrt(min(1.0, phi / smaller)) if smaller > 0 else 0.0


def missing_together(counts: Mapping[tuple[int, int], int]) -> float:
    """Return in which share of the rows that miss one value both are missing; 0 if none does."""
    either = sum(n for cell, n in counts.items() if -1 in cell)
    return counts.get((-1, -1), 0) / either if either else 0.0


def _tables(
    lakehouse: Lakehouse, side: Rows, leader: str, others: Sequence[str]
) -> dict[str, dict[tuple[int, int], int]]:
    """Return the contingency table of a column with each of some others."""
    schema = lakehouse.engine.schema(side.table.location, side.table.version)
    if leader not in schema.names:
        return {}
    there = [column for column in others if column in schema.names]
    where = f" WHERE ({side.condition})" if side.condition else ""
    if not there:
        return {}
    bins = ", ".join(
        f"{_bin(schema.field(column).type, column)} AS b{i}"
        for i, column in enumerate([leader, *there])
    )
    pairs = " UNION ALL ".join(
        f"SELECT {i} AS i, b0 AS a, b{i} AS b, count(*) AS n FROM binned GROUP BY b0, b{i}"
        for i in range(1, len(there) + 1)
    )
    statement = f"WITH binned AS (SELECT {bins} FROM source{where}) {pairs}"
    found: dict[str, dict[tuple[int, int], int]] = {}
    for row in lakehouse.query(statement, {"source": side.table}).read_all().to_pylist():
        found.setdefault(there[row["i"] - 1], {})[row["a"], row["b"]] = row["n"]
    return found


def _bin(kind: pa.DataType, column: str) -> str:
    """Return SQL for the bin of a value: fifths of the numbers, up to 20 bins of the rest."""
    import pyarrow.types as is_

    name = quote(column)
    number = is_.is_integer(kind) or is_.is_floating(kind) or is_.is_decimal(kind)
    if number:
        x = f"CASE WHEN abs(CAST({name} AS DOUBLE)) < 1e140 THEN CAST({name} AS DOUBLE) END"
        # Equal values share a bin: each has the rank of the first. Missing ones come before all.
        before = f"rank() OVER (ORDER BY {x}) - 1 - count_if({x} IS NULL) OVER ()"
        share = f"({before}) * {BINS} div greatest(1, count({x}) OVER ())"
        return f"CASE WHEN {x} IS NULL THEN -1 ELSE CAST({share} AS INT) END"
    text = f"CAST({name} AS STRING)"
    order = f"dense_rank() OVER (ORDER BY {text})"
    return f"CASE WHEN {name} IS NULL THEN -1 ELSE CAST({order} % {ITEMS} AS INT) END"
