"""Runs the products whole on each engine and compares every table, value by value.

Usage: python benchmarks/engine_parity.py [PRODUCT ...]
Prints the time of each run, the rows of each table, and whatever is not equal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.engines import ENGINES, create_engine

PRODUCTS = ("churn", "flight_delay")
# Sums of floating-point numbers depend on the order of the rows.
ROUNDING = 1e-6
# Two runs never agree in these: when they were, what they are called and what they used.
OF_A_RUN = frozenset(
    {
        *(
            "run_id",
            "_run_id",
            "evaluation_id",
            "model_id",
            "evidence",
            "plan_digest",
            "hash",
            "previous_hash",
        ),
        *("at", "seen_at", "modified_at", "_ingested_at", "scored_at", "evaluated_at"),
        *("finished_at", "wall_seconds", "cpu_seconds", "bytes_read", "bytes_written", "money"),
        *("_scanned_at", "requested_at", "quarantined_at", "_quarantined_at", "_batch_id"),
    }
)
# Estimates of a sketch that each engine has of its own; both are within a few per cent.
ESTIMATED = frozenset({"distinct_count", "percent_distinct", "percent_distinct_delta"})
ESTIMATE_ERROR = 0.15


@dataclass(frozen=True)
class Difference:
    """A column of a table that two lakehouses do not agree in.

    Attributes:
        table: The table.
        column: The column; empty for the number of rows or the schema.
        reason: What differs, with an example.
        expected: Two runs differ in it, whatever the engine.
    """

    table: TableName
    column: str
    reason: str
    expected: bool = False


def differences(one: Lakehouse, other: Lakehouse, table: TableName) -> Iterator[Difference]:
    """Compare a table of two lakehouses; rows in any order."""
    left, right = (lakehouse.read(table).read_all() for lakehouse in (one, other))
    if left.schema.names != right.schema.names or left.schema.types != right.schema.types:
        yield Difference(table, "", f"columns {left.schema} and {right.schema}")
        return
    if left.num_rows != right.num_rows:
        yield Difference(table, "", f"{left.num_rows} and {right.num_rows} rows")
        return
    left, right = _ordered(left), _ordered(right)
    for column in left.schema.names:
        pairs = zip(left[column].to_pylist(), right[column].to_pylist(), strict=True)
        unequal = [(a, b) for a, b in pairs if a != b]
        wrong = [pair for pair in unequal if not _close(*pair, column)]
        expected = column in OF_A_RUN or not wrong
        if unequal and (column in OF_A_RUN | ESTIMATED or wrong):
            reason = f"{len(unequal)} values, such as {(wrong or unequal)[0]}"
            yield Difference(table, column, reason, expected)


def _ordered(rows: pa.Table) -> pa.Table:
    """Return rows in an order that two runs agree in: by what is exact."""
    exact = [
        rows[field.name].to_pylist()
        for field in rows.schema
        if field.name not in OF_A_RUN | ESTIMATED and not pa.types.is_floating(field.type)
    ]
    return rows.take(sorted(range(rows.num_rows), key=lambda i: [repr(c[i]) for c in exact]))


def _close(one: Any, other: Any, column: str) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[k], other[k], column) for k in one)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(_close(a, b, column) for a, b in zip(one, other, strict=True))
    if not isinstance(one, int | float) or not isinstance(other, int | float):
        return one == other
    if column in ESTIMATED:
        return column.endswith("_delta") or abs(one - other) <= ESTIMATE_ERROR * max(one, other, 10)
    return abs(one - other) <= ROUNDING * max(1.0, abs(one))


def run(product: str, engine: str, folder: Path) -> float:
    """Run a product from nothing in a process of its own; return the seconds within the run."""
    env = {
        **os.environ,
        "LAKEOPS_HOME": str(folder / engine),
        "DAGSTER_HOME": str(folder / f"{engine}-dagster"),
        "LAKEOPS_ENGINE": engine,
    }
    command = [str(Path(sys.executable).with_name("lakeops")), "run", product, "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return float(json.loads(done.stdout)["seconds"])


def compare(product: str, folder: Path) -> int:
    """Run a product on each engine, print what was found, return how many columns are wrong."""
    seconds = {engine: run(product, engine, folder) for engine in ENGINES}
    print(f"{product}: " + ", ".join(f"{s:.1f} s on {e}" for e, s in seconds.items()))
    first, second = (
        Lakehouse(folder / e / "lakehouse", "dev", create_engine("duckdb")) for e in ENGINES
    )
    wrong = 0
    for table in first.tables():
        found = list(differences(first, second, table))
        wrong += sum(not d.expected for d in found)
        said = "; ".join(f"{d.column} {d.reason}" for d in found if not d.expected)
        print(f"  {table!s:45} {first.row_count(table):>8,} rows  {said or 'equal'}")
    return wrong


if __name__ == "__main__":
    wrong = 0
    for product in sys.argv[1:] or PRODUCTS:
        with tempfile.TemporaryDirectory() as folder:
            wrong += compare(product, Path(folder))
    sys.exit(1 if wrong else 0)
