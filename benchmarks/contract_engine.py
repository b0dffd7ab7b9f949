"""Cost of judging rows by a contract, beside datacontract-cli and pandera on the same rules.

One million rows by default, 20 columns, 40 rules (20 required, 8 enum, 8 range, 2 pattern, 1 length
and 1 unique), as Parquet in which about one row in fifty breaks a rule. Each engine reads it in a
process of its own, from its start to its end, and counts the rows that break each rule;
`split` is what an ingest does: it also takes the good rows apart from the others, and decodes every
column for that. The peers are installed into a temporary folder.

    python benchmarks/contract_engine.py [ROWS]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

PEERS = {"datacontract": "datacontract-cli[duckdb]==1.2.8", "pandera": "pandera[polars]"}
NUMBERS = [f"n{i}" for i in range(8)]
WORDS = [f"w{i}" for i in range(8)]
CODES = ["c0", "c1"]
VALUES = ["red", "green", "blue", "white", "black"]
PATTERN = "^[A-Z]{2}-[0-9]{4}$"
BAD = 1000


def make(path: Path, rows: int) -> None:
    """Write the rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": pa.array(np.arange(rows))}
    for name in NUMBERS:
        values = rng.random(rows) * 100
        values[rng.integers(0, rows, rows // BAD)] = 250
        columns[name] = pa.array(values)
    for name in WORDS:
        index = rng.integers(0, len(VALUES), rows)
        index[rng.integers(0, rows, rows // BAD)] = len(VALUES)
        columns[name] = pa.array([*VALUES, "mauve"]).take(pa.array(index))
    for name in CODES:
        codes = [f"AB-{i:04d}" for i in range(5000)] + ["bad"]
        index = rng.integers(0, 5000, rows)
        index[rng.integers(0, rows, rows // BAD)] = 5000
        columns[name] = pa.array(codes).take(pa.array(index))
    columns["text"] = pa.array([f"text {i % 977}" for i in range(rows)])
    pq.write_table(pa.table(columns), path)


def contract(data: Path) -> dict[str, Any]:
    """Return the rules as an ODCS contract, which ours and datacontract-cli read."""

    def column(name: str, logical: str, **about: Any) -> dict[str, Any]:
        physical = {"integer": "bigint", "number": "double", "string": "string"}[logical]
        return {
            "name": name,
            "logicalType": logical,
            "physicalType": physical,
            "required": True,
            **about,
        }

    # Ranges, patterns and values in the words that both engines check.
    ranged = {"logicalTypeOptions": {"minimum": 0, "maximum": 100}}
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "benchmark",
        "version": "1.0.0",
        "status": "active",
        "servers": [{"server": "local", "type": "local", "path": str(data), "format": "parquet"}],
        "schema": [
            {
                "name": "rows",
                "physicalType": "table",
                "properties": [
                    column("id", "integer", unique=True),
                    *(column(n, "number", **ranged) for n in NUMBERS),
                    *(column(w, "string", enum=[{"value": v} for v in VALUES]) for w in WORDS),
                    *(column(c, "string", logicalTypeOptions={"pattern": PATTERN}) for c in CODES),
                    column("text", "string", logicalTypeOptions={"maxLength": 40}),
                ],
            }
        ],
    }


def count(folder: Path) -> dict[str, int]:
    """Count, as a check of a table does."""
    from datetime import UTC, datetime

    from lakeops_assets.contracts import evaluate, load
    from lakeops_assets.lakehouse import Lakehouse, TableName
    from lakeops_assets.lakehouse.engines import create_engine

    lakehouse = Lakehouse(folder / "lakehouse", "benchmark", create_engine("duckdb"))
    rules, table = load(folder / "rows.yaml"), TableName("benchmark", "x", "rows")
    found = evaluate(lakehouse, rules, table, now=datetime.now(UTC))
    return {r.rule: r.violations for r in found.results if r.violations}


def table_of(folder: Path) -> None:
    """Write the rows as a Delta table."""
    import pyarrow.parquet as pq

    from lakeops_assets.lakehouse import Lakehouse, TableName
    from lakeops_assets.lakehouse.engines import create_engine

    lakehouse = Lakehouse(folder / "lakehouse", "benchmark", create_engine("duckdb"))
    rows = pq.read_table(folder / "rows.parquet")
    table = TableName("benchmark", "x", "rows")
    lakehouse.create(table, rows.schema)
    lakehouse.append(table, rows)


def split_rows(folder: Path) -> dict[str, int]:
    """Split the rows and count, as an ingest does."""
    import pyarrow.parquet as pq

    from lakeops_assets.contracts import load, split
    from lakeops_assets.contracts.split import take
    from lakeops_assets.lakehouse import Lakehouse, TableName
    from lakeops_assets.lakehouse.engines import create_engine

    def rows(columns: Any) -> Any:
        import pyarrow as pa

        file = pq.ParquetFile(folder / "rows.parquet")
        schema = file.schema_arrow
        wanted = schema if columns is None else pa.schema([schema.field(c) for c in columns])
        return pa.RecordBatchReader.from_batches(wanted, file.iter_batches(columns=columns))

    lakehouse = Lakehouse(folder / "nothing", "benchmark", create_engine("duckdb"))
    rules = load(folder / "rows.yaml")
    judged = split(lakehouse, rules, TableName("benchmark", "x", "rows"), rows)
    refused = judged.refused()
    good = sum(t.rows.num_rows for t in take(rows(None), refused, keep=False))
    assert good + len(refused) == judged.rows
    return {name: n for name, n in judged.counts().items() if n}


# The peers run in an environment of their own, so each is a script.
DATACONTRACT = """
import json, sys
from datacontract.data_contract import DataContract
run = DataContract(data_contract_file=sys.argv[1] + "/rows.yaml").test()
print(json.dumps({"checks": len(run.checks), "failed": sum(
    str(getattr(c.result, "value", c.result)) == "failed" for c in run.checks)}))
"""
PANDERA = """
import json, sys
import polars as pl
import pandera.polars as pa
rules = json.load(open(sys.argv[1] + "/rules.json"))
columns = {"id": pa.Column(pl.Int64, unique=True, nullable=False)}
for name in rules["numbers"]:
    columns[name] = pa.Column(pl.Float64, pa.Check.in_range(0, 100), nullable=False)
for name in rules["words"]:
    columns[name] = pa.Column(pl.String, pa.Check.isin(rules["values"]), nullable=False)
for name in rules["codes"]:
    columns[name] = pa.Column(pl.String, pa.Check.str_matches(rules["pattern"]), nullable=False)
columns["text"] = pa.Column(pl.String, pa.Check.str_length(max_value=40), nullable=False)
frame = pl.read_parquet(sys.argv[1] + "/rows.parquet")
failed = {}
try:
    pa.DataFrameSchema(columns).validate(frame, lazy=True)
except pa.errors.SchemaErrors as error:
    counts = error.failure_cases.group_by("column").len()
    failed = dict(counts.iter_rows())
print(json.dumps({"failed": len(failed), "cases": failed}))
"""


def measure(command: list[str]) -> dict[str, Any]:
    """Run a process and return its CPU seconds, peak memory and what it printed."""
    wrapper = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "lines = done.stdout.strip().splitlines() or ['null']\n"
        "print(json.dumps({'code': done.returncode, 'error': done.stderr[-1500:],\n"
        "  'cpu_s': round(used.ru_utime + used.ru_stime, 2),\n"
        "  'peak_mb': round(used.ru_maxrss / 1024), 'said': lines[-1]}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", wrapper, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "DO_NOT_TRACK": "1"},
    )
    return json.loads(done.stdout)


def install(peer: str, folder: Path) -> Path | None:
    """Return the Python of an environment with a peer; None when it cannot be had."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    uv, python = shutil.which("uv", path=beside), folder / peer / "bin" / "python"
    commands = [
        [sys.executable, "-m", "venv", str(folder / peer)],
        [str(python), "-m", "pip", "install", "-q", PEERS[peer]],
    ]
    if uv is not None:
        commands = [
            [uv, "venv", "-q", str(folder / peer)],
            [uv, "pip", "install", "-q", "--python", str(python), PEERS[peer]],
        ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{peer}: skipped, it cannot be installed: {done.stderr.strip()[-300:]}")
            return None
    return python


def main() -> None:
    """Measure each engine at ROWS and at twice as many."""
    if len(sys.argv) == 3:
        engine = {"--count": count, "--split": split_rows, "--table": table_of}[sys.argv[1]]
        print(json.dumps(engine(Path(sys.argv[2]))))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        commands = {
            "lakeops count": [sys.executable, __file__, "--count"],
            "lakeops split": [sys.executable, __file__, "--split"],
        }
        for peer, script in (("datacontract", DATACONTRACT), ("pandera", PANDERA)):
            python = install(peer, folder)
            if python is not None:
                commands[peer] = [str(python), "-c", script]
        for size in (rows, 2 * rows):
            data = folder / f"{size}"
            data.mkdir()
            make(data / "rows.parquet", size)
            (data / "rows.yaml").write_text(yaml.safe_dump(contract(data / "rows.parquet")))
            said = {"numbers": NUMBERS, "words": WORDS, "codes": CODES, "values": VALUES}
            (data / "rules.json").write_text(json.dumps({**said, "pattern": PATTERN}))
            measure([sys.executable, __file__, "--table", str(data)])
            base = 0.0
            for engine, command in commands.items():
                runs = [measure([*command, str(data)]) for _ in range(2)]
                best = min(runs, key=lambda r: r["cpu_s"])
                base = base or best["cpu_s"]
                ratio = f"{best['cpu_s'] / base:5.1f}x"
                print(
                    f"{size:>9,} {engine:13} {best['cpu_s']:7.2f} CPU s {ratio} "
                    f"{best['peak_mb']:6} MB  {best['said'][:160]}"
                )
                if best["code"]:
                    print(best["error"])


if __name__ == "__main__":
    main()
