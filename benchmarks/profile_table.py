"""Cost of profiling a table, with exact and with approximate quantiles.

One million rows by default, 12 numeric columns (normal, lognormal, Poisson, and gamma with 40 %
zeros, three of each) and 8 text columns of 2 to 200 values. Each way runs in a process of its own,
so that peak memory is its own. The name is not `profile`, which would hide the module of the
standard library that `cProfile` imports from every script in this folder.

    python benchmarks/profile_table.py [ROWS]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.engines import create_engine

TABLE = "benchmark.rows"
TEXT_VALUES = (2, 3, 5, 10, 20, 50, 100, 200)
SHAPES = ("normal", "lognormal", "poisson", "zero_inflated")
CHUNK = 1_000_000


def make(lakehouse: Lakehouse, rows: int) -> None:
    """Write the table."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    for start in range(0, rows, CHUNK):
        n = min(CHUNK, rows - start)
        columns: dict[str, Any] = {}
        for i in range(3):
            columns[f"normal_{i}"] = rng.normal(size=n)
            columns[f"lognormal_{i}"] = rng.lognormal(size=n)
            columns[f"poisson_{i}"] = rng.poisson(3, size=n).astype(float)
            columns[f"zero_inflated_{i}"] = np.where(rng.random(n) < 0.4, 0, rng.gamma(2, size=n))
        for k in TEXT_VALUES:
            names = pa.array([f"value {j}" for j in range(k)])
            columns[f"text_{k}"] = names.take(pa.array(rng.integers(0, k, n)))
        table = pa.table(columns)
        lakehouse.create(TABLE, table.schema)
        lakehouse.append(TABLE, table)


def measure(lakehouse: Lakehouse, way: str) -> dict[str, Any]:
    """Profile the table and return what that cost and how far its quantiles are off."""
    import numpy as np

    from lakeops_assets.monitoring import MonitorSpec, monitored_columns, scan

    spec = MonitorSpec("snapshot")
    columns = monitored_columns(lakehouse.schema(TABLE), spec)
    version = lakehouse.version(TABLE) or 0
    before, cpu, wall = _peak_mb(), time.process_time(), time.perf_counter()
    (sketched,) = scan(
        lakehouse,
        lakehouse.name(TABLE),
        version,
        columns,
        spec,
        windowed=False,
        by_model=False,
        exact_values=0 if way == "approximate" else sys.maxsize,
    )
    result: dict[str, Any] = {
        "cpu_s": round(time.process_time() - cpu, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "peak_mb": round(_peak_mb()),
        "peak_mb_before": round(before),
    }
    shares = (np.arange(spec.quantiles) + 0.5) / spec.quantiles
    for sketch in sketched.columns:
        if sketch.column.name.removesuffix("_0") not in SHAPES:
            continue
        (values,) = lakehouse.read(TABLE, columns=[sketch.column.name]).read_all().columns
        ordered = np.sort(values.to_numpy())
        points = np.asarray(sketch.quantiles)
        first = np.searchsorted(ordered, points, side="left") / len(ordered)
        last = np.searchsorted(ordered, points, side="right") / len(ordered)
        # A value that many rows share has all of their ranks.
        off = np.maximum(np.maximum(first - shares, shares - last), 0)
        result[f"{sketch.column.name.removesuffix('_0')}_rank_error"] = round(float(off.max()), 5)
    return result


def measure_drift(lakehouse: Lakehouse) -> dict[str, Any]:
    """Return what it costs to compare two profiles: data is not read for it."""
    import pyarrow as pa

    from lakeops_assets.monitoring import (
        Group,
        GroupSketch,
        MonitorSpec,
        comparisons,
        drift,
        monitored_columns,
        profile,
        scan,
    )
    from lakeops_assets.monitoring.granularity import instant

    spec = MonitorSpec("snapshot")
    columns = monitored_columns(lakehouse.schema(TABLE), spec)
    version = lakehouse.version(TABLE) or 0

    def sketches(condition: str) -> list[GroupSketch]:
        name = lakehouse.name(TABLE)
        return scan(
            lakehouse, name, version, columns, spec,
            windowed=False, by_model=False, condition=condition,
        )  # fmt: skip

    base = profile(
        sketches("normal_0 < 0"), spec, log_type="BASELINE", version=version, monitor_version=0
    )
    current = profile(
        [
            replace(s, group=Group(start=instant(0), end=instant(0)))
            for s in sketches("normal_0 > 0")
        ],
        spec,
        log_type="INPUT",
        version=version,
        monitor_version=0,
    )
    both = pa.concat_tables([current, base])
    drift(both, spec, comparisons(both, spec))  # the first call imports scipy
    cpu = time.process_time()
    drift(both, spec, comparisons(both, spec))
    return {"cpu_s": round(time.process_time() - cpu, 3)}


def main() -> None:
    """Run each way in a process of its own and print what it cost."""
    if len(sys.argv) == 4:
        way, folder, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
        lakehouse = _lakehouse(folder)
        if way == "make":
            make(lakehouse, rows)
        else:
            result = measure_drift(lakehouse) if way == "drift" else measure(lakehouse, way)
            print(json.dumps(result))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        for way in ("make", "exact", "approximate", "drift"):
            command = [sys.executable, __file__, way, folder, str(rows)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            if done.stdout:
                print(f"{way:12} {done.stdout.strip()}")


def _lakehouse(folder: str) -> Lakehouse:
    return Lakehouse(Path(folder), "benchmark", create_engine("duckdb"))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
