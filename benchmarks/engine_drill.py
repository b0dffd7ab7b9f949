"""Let processes of both engines write one table at once, kill some of them, then count.

Usage: python benchmarks/engine_drill.py [--seconds 60] [--duckdb 2] [--spark 1] [--kills 3]

Each writer goes through steps, in order: rows appended, rows merged (its own, and keys that all
writers bring at the same step), rows replaced by a condition. A step is one commit with the
writer's transaction. Who is killed, with everything that it started, is started again and goes on
behind the last step that the table knows. In the end the table has to hold what each writer's last
step says: nothing lost, nothing twice, for whichever engine reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lakeops_assets.lakehouse import ConcurrentWriteError, Lakehouse, Transaction
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.settings import SparkOptions, spark_options

TABLE = "drill.rows"
KINDS = ("append", "merge", "replace")
ROWS = 5
PATIENCE_SECONDS = 180.0
# DuckDB's steps take a hundredth of Spark's; without it they would take the machine as well.
PAUSE_SECONDS = 0.1
# Generated code pays off with more rows than these.
FEW_ROWS = (
    ("spark.sql.codegen.wholeStage", "false"),
    ("spark.sql.codegen.factoryMode", "NO_CODEGEN"),
)


@dataclass(frozen=True)
class Writer:
    """A process that writes.

    Attributes:
        name: Its name, also of its transactions.
        engine: What it writes with.
    """

    name: str
    engine: str


def open_drill(root: Path, engine: str) -> Lakehouse:
    """Return the lakehouse of the drill."""
    found = spark_options()
    options = SparkOptions(
        remote=found.remote, cache=found.cache, java_home=found.java_home, confs=FEW_ROWS
    )
    return Lakehouse(root, "drill", create_engine(engine, options))


def prepare(root: Path) -> None:
    """Create the empty table."""
    import pyarrow as pa

    schema = pa.schema([("k", pa.string()), ("writer", pa.string()), ("step", pa.int64())])
    open_drill(root, "duckdb").create(TABLE, schema)


def keys_of(writer: str, step: int) -> list[str]:
    """Return the keys that a step writes."""
    kind = KINDS[step % len(KINDS)]
    if kind == "append":
        return [f"{writer} append {step} {i}" for i in range(ROWS)]
    if kind == "merge":
        return [f"{writer} merge {i}" for i in range(ROWS)] + [f"all {step}"]
    return [f"{writer} replace {i}" for i in range(ROWS)]


def write(lakehouse: Lakehouse, writer: str, step: int) -> bool:
    """Carry out a step; return whether it was committed now."""
    import pyarrow as pa

    keys = keys_of(writer, step)
    rows = pa.table({"k": keys, "writer": [writer] * len(keys), "step": [step] * len(keys)})
    once = Transaction(writer, step)
    kind = KINDS[step % len(KINDS)]
    if kind == "append":
        return lakehouse.append(TABLE, rows, transaction=once).written
    if kind == "merge":
        return lakehouse.merge(TABLE, rows, ["k"], transaction=once).written
    where = f"writer = '{writer}' AND k LIKE '{writer} replace %'"
    return lakehouse.overwrite(TABLE, rows, where=where, transaction=once).written


def work(root: Path, writer: Writer, until: float) -> None:
    """Carry out one step after the other; note each that is done in a journal."""
    lakehouse = open_drill(root, writer.engine)
    conflicts, parent = 0, os.getppid()
    with (root / f"{writer.name}.jsonl").open("a") as journal:
        known = lakehouse.transaction_version(TABLE, writer.name)
        step = 0 if known is None else known + 1
        # Nobody writes on when the drill itself was ended.
        while time.time() < until and os.getppid() == parent:
            try:
                written = write(lakehouse, writer.name, step)
            except ConcurrentWriteError:
                conflicts += 1
                continue
            journal.write(json.dumps({"step": step, "written": written}) + "\n")
            journal.flush()
            step += 1
            if writer.engine == "duckdb":
                time.sleep(PAUSE_SECONDS)
        journal.write(json.dumps({"conflicts": conflicts}) + "\n")


def start(root: Path, writer: Writer, until: float) -> subprocess.Popen[bytes]:
    """Start a writer in a process group of its own."""
    command = [sys.executable, __file__, "--work", str(root), writer.name, writer.engine]
    with (root / f"{writer.name}.log").open("ab") as log:
        return subprocess.Popen(
            [*command, str(until)], stdout=log, stderr=log, start_new_session=True
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a writer with everything that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def journaled(root: Path, writer: Writer) -> tuple[list[int], int]:
    """Return the steps that a writer knew to be done, and how often it was refused."""
    lines = [json.loads(line) for line in (root / f"{writer.name}.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "step" in line]
    return steps, sum(line.get("conflicts", 0) for line in lines)


def expected(last: dict[str, int]) -> Counter[tuple[str, str, int]]:
    """Return the rows that there must be after each writer's last step; `all` rows without owner.

    Rows that all writers bring are the last one's: of them only the keys are certain.
    """
    rows: dict[str, tuple[str, int]] = {}
    for writer, newest in last.items():
        for step in range(newest + 1):
            for key in keys_of(writer, step):
                rows[key] = ("", step) if key.startswith("all ") else (writer, step)
    return Counter((key, writer, step) for key, (writer, step) in rows.items())


def differences(root: Path, writers: list[Writer], reader: Lakehouse) -> Iterator[str]:
    """Compare the table, as an engine reads it, with what the writers' last steps say."""
    last = {}
    for writer in writers:
        steps, _ = journaled(root, writer)
        known = reader.transaction_version(TABLE, writer.name)
        if steps and (known is None or known < max(steps)):
            yield f"{writer.name} did step {max(steps)}, and the table knows {known}"
        if known is not None:
            last[writer.name] = known
    there = Counter(
        (row["k"], "" if row["k"].startswith("all ") else row["writer"], row["step"])
        for row in reader.read(TABLE).read_all().to_pylist()
    )
    wanted = expected(last)
    for row in sorted((wanted - there).elements())[:10]:
        yield f"lost for {reader.engine.name}: {row}"
    for row in sorted((there - wanted).elements())[:10]:
        yield f"too much for {reader.engine.name}: {row}"


def drill(
    root: Path, writers: list[Writer], seconds: float, kills: int, chance: random.Random
) -> None:
    """Run all writers for some seconds, and kill some of those of Spark meanwhile.

    The time counts from when each has committed something.
    """
    until = time.time() + PATIENCE_SECONDS + seconds
    running = {writer: start(root, writer, until) for writer in writers}
    try:
        wait_for_all(root, running)
        deadline = time.time() + seconds
        moments = sorted(chance.uniform(0.2, 0.8) * seconds for _ in range(kills))
        begun = time.time()
        for moment in moments:
            time.sleep(max(0.0, begun + moment - time.time()))
            victim = chance.choice([w for w in writers if w.engine == "spark"] or writers)
            kill(running[victim])
            print(f"killed {victim.name} after {time.time() - begun:.1f} s", flush=True)
            if time.time() < deadline:
                running[victim] = start(root, victim, until)
        time.sleep(max(0.0, deadline - time.time()))
    finally:
        for process in running.values():
            if process.poll() is None:
                kill(process)


def wait_for_all(
    root: Path, running: dict[Writer, subprocess.Popen[bytes]], seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until each writer has committed something."""
    deadline = time.time() + seconds
    while True:
        there = [(root / f"{w.name}.jsonl") for w in running]
        if all(path.is_file() and path.stat().st_size for path in there):
            return
        ended = [w.name for w, process in running.items() if process.poll() is not None]
        if ended or time.time() > deadline:
            name = (ended or ["a writer"])[0]
            log = (root / f"{name}.log").read_text()[-2000:] if ended else ""
            raise SystemExit(f"{name} did not begin\n{log}")
        time.sleep(0.1)


def report(root: Path, writers: list[Writer]) -> None:
    """Print what each writer did."""
    newest = open_drill(root, "duckdb").version(TABLE)
    print(f"{newest} versions")
    for writer in writers:
        steps, conflicts = journaled(root, writer)
        print(f"{writer.name:10} {len(steps)} steps, refused {conflicts} times")


def main() -> None:
    """Run the drill from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--duckdb", type=int, default=2, help="writers with DuckDB")
    parser.add_argument("--spark", type=int, default=1, help="writers with Spark")
    parser.add_argument("--kills", type=int, default=3, help="of writers with Spark")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        root, name, engine, until = arguments.work
        work(Path(root), Writer(name, engine), float(until))
        return
    writers = [Writer(f"duckdb-{i}", "duckdb") for i in range(arguments.duckdb)]
    writers += [Writer(f"spark-{i}", "spark") for i in range(arguments.spark)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root)
        chance = random.Random(arguments.seed)
        drill(root, writers, arguments.seconds, arguments.kills, chance)
        report(root, writers)
        found = [
            line
            for engine in ("duckdb", "spark")
            for line in differences(root, writers, open_drill(root, engine))
        ]
    print("\n".join(found) or "no difference")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
