"""What the same work costs with each engine, and how that grows with the rows.

Usage: python benchmarks/engine_scale.py [ROWS ...] [--engine duckdb]

Generated rows, 10 columns, go through what a product does: a bronze append, features of each
customer merged twice (of half of the rows, then of all), the check of a contract, a profile.
Each engine and each number of rows has a process of its own. CPU seconds and memory are those of
the process and of all that it started, Java above all. Peak memory is the largest sum of resident
memory that was seen, looking twenty times a second; pages that two processes share count twice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.engines import ENGINES, create_engine

CHUNK = 500_000
ROWS_PER_CUSTOMER = 10
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BRONZE = TableName("bench", "shop", "orders")
FEATURES = TableName("bench", "shop", "features")
# Rounded: sums of floating-point numbers depend on the order, and so would what differs.
FEATURE_SQL = """
    SELECT customer, count(*) AS orders, round(sum(amount), 3) AS amount,
           round(avg(price), 6) AS price, max(at) AS last_at, count_if(kind = 'return') AS returns,
           count(DISTINCT city) AS cities
    FROM shop.orders WHERE {where} GROUP BY customer
"""
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
schema:
  - name: orders
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: customer, logicalType: integer, required: true}
      - {name: amount, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 100}}
      - {name: price, logicalType: number, required: true}
      - {name: kind, logicalType: string, logicalTypeOptions: {pattern: "^[a-z]+$"}}
      - {name: note, logicalType: string, logicalTypeOptions: {maxLength: 12}}
"""


def generated(rows: int) -> Iterator[Any]:
    """Yield the rows, the same ones each time."""
    import numpy as np
    import pyarrow as pa

    chance = np.random.default_rng(0)
    kinds = pa.array(["order", "return", "gift", "sample"])
    cities = pa.array([f"city {i}" for i in range(200)])
    notes = pa.array([f"note {i}" for i in range(999)])
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    for first in range(0, rows, CHUNK):
        n = min(CHUNK, rows - first)
        at = start + chance.integers(0, 28 * 86_400, n) * 1_000_000
        yield pa.record_batch(
            {
                "id": pa.array(np.arange(first, first + n)),
                "customer": pa.array(chance.integers(0, rows // ROWS_PER_CUSTOMER + 1, n)),
                "at": pa.array(at, pa.timestamp("us", "UTC")),
                "amount": pa.array(chance.gamma(2, 20, n), mask=chance.random(n) < 0.05),
                "price": pa.array(chance.lognormal(size=n)),
                "items": pa.array(chance.poisson(3, n), pa.int32()),
                "kind": kinds.take(pa.array(chance.integers(0, 4, n))),
                "city": cities.take(pa.array(chance.integers(0, 200, n))),
                "paid": pa.array(chance.random(n) < 0.7),
                "note": notes.take(
                    pa.array(chance.integers(0, 999, n), mask=chance.random(n) < 0.3)
                ),
            }
        )


def processes(root: int) -> list[int]:
    """Return a process and all that it started."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(path)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _stat(path: Path) -> list[str]:
    """Return what stands behind the name of a process, which may hold anything; empty if gone."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_seconds(root: int) -> float:
    """Return what processes have used, with those that they waited for."""
    stats = (_stat(Path(f"/proc/{pid}/stat")) for pid in processes(root))
    ticks = sum(sum(map(int, fields[11:15])) for fields in stats if fields)
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mb(root: int) -> float:
    """Return the resident memory of processes."""
    stats = (_stat(Path(f"/proc/{pid}/stat")) for pid in processes(root))
    pages = sum(int(fields[21]) for fields in stats if fields)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def measured(step: str, found: list[dict[str, Any]]) -> Iterator[None]:
    """Note what a block costs."""
    peak, done = [resident_mb(os.getpid())], threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], resident_mb(os.getpid()))

    watching = threading.Thread(target=look)
    watching.start()
    cpu, wall = cpu_seconds(os.getpid()), time.perf_counter()
    try:
        yield
    finally:
        wall, cpu = time.perf_counter() - wall, cpu_seconds(os.getpid()) - cpu
        done.set()
        watching.join()
    found.append({"step": step, "s": wall, "cpu_s": cpu, "mb": peak[0]})


def work(engine: str, rows: int, folder: Path) -> list[dict[str, Any]]:
    """Do the work once and return what each step cost."""
    import pyarrow as pa

    from lakeops_assets.contracts import evaluate, load
    from lakeops_assets.monitoring import MonitorSpec, monitored_columns, scan
    from lakeops_assets.settings import spark_options

    lakehouse = Lakehouse(folder, BRONZE.catalog, create_engine(engine, spark_options()))
    first = next(generated(1))
    contract = folder / "contracts" / "orders.yaml"
    contract.parent.mkdir(parents=True)
    contract.write_text(CONTRACT)
    found: list[dict[str, Any]] = []
    with measured("start", found):
        lakehouse.create("shop.start", first.schema)
        lakehouse.append("shop.start", pa.Table.from_batches([first]))
        lakehouse.read("shop.start").read_all()
    with measured("append", found):
        lakehouse.create(BRONZE, first.schema)
        reader = pa.RecordBatchReader.from_batches(first.schema, generated(rows))
        version = lakehouse.append(BRONZE, reader).version
    with measured("features", found):
        everything = lakehouse.bind(FEATURE_SQL.format(where="true"))
        half = lakehouse.bind(FEATURE_SQL.format(where="at < TIMESTAMP '2026-01-15'"))
        schema = lakehouse.query(FEATURE_SQL.format(where="false")).schema
        lakehouse.create(FEATURES, schema)
        lakehouse.merge(FEATURES, half, ["customer"])
        changed = lakehouse.merge(FEATURES, everything, ["customer"]).changed
    with measured("contract", found):
        results = evaluate(lakehouse, load(contract), BRONZE, now=NOW).results
    with measured("profile", found):
        spec = MonitorSpec("time_series", timestamp_col="at", granularities=("1 week",))
        columns = monitored_columns(first.schema, spec)
        sketches = scan(lakehouse, BRONZE, version, columns, spec, windowed=True, by_model=False)
    # The engines did the same work only if they found the same.
    violations = {r.rule: r.violations for r in results if r.violations}
    found.append({"step": "found", "same": [changed, violations, len(sketches)]})
    return found


def main() -> None:
    """Run each engine with each number of rows in a process of its own; print a table."""
    if sys.argv[1:2] == ["--work"]:
        engine, rows, folder = sys.argv[2:]
        print(json.dumps(work(engine, int(rows), Path(folder))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=int, nargs="*", default=[1_000_000, 3_000_000])
    parser.add_argument("--engine", choices=ENGINES, action="append", help="both when not given")
    arguments = parser.parse_args()
    print("| rows | engine | step | s | CPU s | peak MB |\n| --- | --- | --- | --- | --- | --- |")
    for rows in arguments.rows:
        same = []
        for engine in arguments.engine or ENGINES:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--work", engine, str(rows), folder]
                done = subprocess.run(
                    command,
                    check=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            steps = json.loads(done.stdout.splitlines()[-1])
            same.append(steps.pop()["same"])
            whole = {
                "step": "**all**",
                "s": sum(s["s"] for s in steps),
                "cpu_s": sum(s["cpu_s"] for s in steps),
                "mb": max(s["mb"] for s in steps),
            }
            for s in (*steps, whole):
                line = f"{s['step']} | {s['s']:.1f} | {s['cpu_s']:.1f} | {s['mb']:.0f} |"
                print(f"| {rows:,} | {engine} | {line}", flush=True)
        if same[0] != same[-1]:
            raise SystemExit(f"the engines did not find the same: {same}")


if __name__ == "__main__":
    main()
