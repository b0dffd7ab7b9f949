"""Drift of a large table: CPU of this project's monitor beside Evidently and NannyML.

Two tables of one million rows by default, 12 numeric and 8 text columns, of which a third drifted.
Ours is a whole refresh: both tables are read from Delta, and every column of both metric tables is
computed and written. Evidently runs its default drift preset; NannyML computes the one statistic
per column that is cheapest for it, Kolmogorov-Smirnov for numbers and chi-squared for texts. The
peers start with both tables in memory as data frames, which is not counted for them. Each way runs
in a process of its own; imports are counted apart. The statistics of ours are compared with those
that scipy computes from all rows.

The peers need versions of pandas that this project does not: they are installed with uv into an
environment of their own, in a temporary folder or in the one that is named.

    python benchmarks/monitoring_peers.py [--rows N] [--peers FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PEERS = ("evidently==0.7.23", "nannyml==0.13.1", "pandas<3", "statsmodels", "pyarrow")
TEXT_VALUES = (2, 3, 5, 10, 20, 50, 100, 200)

OURS = """
import json, sys, time
from datetime import UTC, datetime
folder = sys.argv[1]
start = time.process_time()
from pathlib import Path
from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.monitoring import MonitorSpec, refresh
import deltalake, duckdb, numpy, pyarrow, scipy.special, scipy.stats
import sqlglot.dialects.duckdb, sqlglot.dialects.postgres, sqlglot.dialects.spark
imported = time.process_time()
lakehouse = Lakehouse(Path(folder) / "lakehouse", "dev", create_engine("duckdb"))
result = refresh(
    lakehouse, "peers.current", MonitorSpec("snapshot"), baseline="peers.reference",
    now=datetime.now(UTC),
)
done = time.process_time()
print(json.dumps({"import": imported - start, "cpu": done - imported,
                  "drifted": len(result.findings)}))
"""

EVIDENTLY = """
import json, sys, time
import pandas as pd
folder = sys.argv[1]
reference, current = (pd.read_parquet(f"{folder}/{n}.parquet") for n in ("reference", "current"))
start = time.process_time()
from evidently import Report
from evidently.presets import DataDriftPreset
imported = time.process_time()
result = Report([DataDriftPreset()]).run(current, reference)
result.dict()
done = time.process_time()
print(json.dumps({"import": imported - start, "cpu": done - imported}))
"""

NANNYML = """
import json, os, sys, time
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
import pandas as pd
folder = sys.argv[1]
reference, current = (pd.read_parquet(f"{folder}/{n}.parquet") for n in ("reference", "current"))
start = time.process_time()
import nannyml
imported = time.process_time()
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(reference.columns), chunk_size=len(current),
    continuous_methods=["kolmogorov_smirnov"], categorical_methods=["chi2"],
)
calculator.fit(reference)
calculator.calculate(current).to_df()
done = time.process_time()
print(json.dumps({"import": imported - start, "cpu": done - imported}))
"""


def make(folder: Path, rows: int) -> None:
    """Write the two tables, as Delta for us and as Parquet for the peers."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lakeops_assets.lakehouse import Lakehouse
    from lakeops_assets.lakehouse.engines import create_engine

    lakehouse = Lakehouse(folder / "lakehouse", "dev", create_engine("duckdb"))
    for seed, name in enumerate(("reference", "current")):
        rng = np.random.default_rng(seed)
        columns: dict[str, Any] = {}
        for i in range(3):
            moved = 0.2 if seed and i == 0 else 0.0
            columns[f"normal_{i}"] = rng.normal(moved, size=rows)
            columns[f"lognormal_{i}"] = rng.lognormal(moved, size=rows)
            columns[f"poisson_{i}"] = rng.poisson(3 + moved, size=rows).astype(float)
            columns[f"zero_inflated_{i}"] = np.where(
                rng.random(rows) < 0.4 + moved, 0, rng.gamma(2, size=rows)
            )
        for k in TEXT_VALUES:
            names = pa.array([f"value {j}" for j in range(k)])
            skew = rng.random(rows) ** (1.3 if seed and k in (5, 100) else 1)
            columns[f"text_{k}"] = names.take(pa.array((skew * k).astype(int)))
        table = pa.table(columns)
        lakehouse.create(f"peers.{name}", table.schema)
        lakehouse.append(f"peers.{name}", table)
        pq.write_table(table, folder / f"{name}.parquet")


def compare_with_scipy(folder: Path) -> dict[str, float]:
    """Return the largest difference of each statistic from what all rows give."""
    import pyarrow.parquet as pq
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

    from lakeops_assets.lakehouse import Lakehouse
    from lakeops_assets.lakehouse.engines import create_engine

    lakehouse = Lakehouse(folder / "lakehouse", "dev", create_engine("duckdb"))
    drift = lakehouse.read("peers.current_drift_metrics").read_all().to_pylist()
    sides = [pq.read_table(folder / f"{name}.parquet") for name in ("current", "reference")]
    worst: dict[str, float] = {}
    for row in drift:
        column = row["column_name"]
        if column == ":table":
            continue
        if row["ks_test"]:
            a, b = (side[column].to_numpy() for side in sides)
            span = b.std()
            errors = {
                "KS statistic": abs(row["ks_test"]["statistic"] - ks_2samp(a, b).statistic),
                "Wasserstein / standard deviation": abs(
                    row["wasserstein_distance"] - wasserstein_distance(a, b)
                ) / span,
            }  # fmt: skip
        else:
            counts = [side[column].value_counts().to_pylist() for side in sides]
            tables = [{c["values"]: c["counts"] for c in side} for side in counts]
            items = sorted(tables[1])
            p, q = ([table.get(item, 0) for item in items] for table in tables)
            chi = chi2_contingency([p, q], correction=False)
            errors = {"JS distance": abs(row["js_distance"] - jensenshannon(p, q, base=2))}
            if len(items) <= 100:
                found = row["chi_squared_test"]["statistic"]
                errors["chi-squared / itself"] = abs(found / chi.statistic - 1)
        for name, error in errors.items():
            worst[name] = max(worst.get(name, 0.0), float(error))
    return worst


def environment(folder: Path) -> Path:
    """Return the Python of the peers' environment; install it where it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([*uv, "pip", "install", "-q", "--python", str(python), *PEERS], check=True)
    return python


def run(python: str, code: str, folder: Path) -> dict[str, float]:
    """Run one way in a process of its own and return what it measured."""
    done = subprocess.run(
        [python, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peers", type=Path, help="Folder of the peers' environment.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        peers = str(environment(options.peers or folder / "peers"))
        make(folder, options.rows)
        ways = {
            "lakeops, all columns of both tables": (sys.executable, OURS),
            "NannyML, KS and chi-squared": (peers, NANNYML),
            "Evidently, default drift preset": (peers, EVIDENTLY),
        }
        ours = None
        for name, (python, code) in ways.items():
            found = run(python, code, folder)
            ours = ours or found["cpu"]
            print(
                f"{name}: {found['cpu']:.2f} CPU s, ratio {found['cpu'] / ours:.1f}, "
                f"import {found['import']:.2f} CPU s",
                flush=True,
            )
        for statistic, error in compare_with_scipy(folder).items():
            print(f"largest difference of {statistic} from all rows: {error:.6f}")


if __name__ == "__main__":
    main()
