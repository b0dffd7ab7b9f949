"""Processes of both engines write one table at once, and one of them is killed.

`benchmarks/engine_drill.py` does the same for longer, and more often.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from conftest import FEW_ROWS
from engine_drill import (
    TABLE,
    Writer,
    differences,
    drill,
    journaled,
    keys_of,
    kill,
    open_drill,
    prepare,
    start,
    wait_for_all,
    write,
)

from lakeops_assets.lakehouse import ConcurrentWriteError, Lakehouse
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.settings import spark_options

# With all other tests of Spark, in one process.
WRITERS = [Writer("duckdb-0", "duckdb"), Writer("spark-0", "spark")]


def readers(root: Path) -> list[Lakehouse]:
    """The drill's lakehouse with each engine, in this process."""
    options = replace(spark_options(), confs=FEW_ROWS)
    spark = Lakehouse(root, "drill", create_engine("spark", options))
    return [open_drill(root, "duckdb"), spark]


def test_nothing_is_lost_or_doubled_when_both_engines_write_and_one_is_killed(
    tmp_path: Path,
) -> None:
    """In the end both are killed, Spark with its Java, in the middle of what they do then."""
    prepare(tmp_path)
    drill(tmp_path, WRITERS, seconds=6, kills=0, chance=random.Random(time.time_ns()))
    done = {writer.name: journaled(tmp_path, writer)[0] for writer in WRITERS}
    assert min(len(steps) for steps in done.values()) >= 1, done
    duckdb, spark = readers(tmp_path)
    # Who was killed is repeated from the last step that the table knows, here in this process.
    known = spark.transaction_version(TABLE, "spark-0")
    assert known is not None
    for step in range(known, known + 2):
        assert write(spark, "spark-0", step) == (step > known)
    for lakehouse in (duckdb, spark):
        assert list(differences(tmp_path, WRITERS, lakehouse)) == []
    assert duckdb.row_count(TABLE) == len(duckdb.read(TABLE).read_all())


def test_the_drill_itself_sees_what_is_lost_and_what_is_doubled(tmp_path: Path) -> None:
    prepare(tmp_path)
    writer = Writer("duckdb-0", "duckdb")
    process = start(tmp_path, writer, time.time() + 60)
    wait_for_all(tmp_path, {writer: process})
    kill(process)
    lakehouse = open_drill(tmp_path, "duckdb")
    assert list(differences(tmp_path, [writer], lakehouse)) == []
    key = keys_of("duckdb-0", 0)[0]
    lakehouse.delete(TABLE, f"k = '{key}'")
    doubled = pa.table({"k": [keys_of("duckdb-0", 0)[1]], "writer": ["duckdb-0"], "step": [0]})
    lakehouse.append(TABLE, doubled)
    journal = tmp_path / "duckdb-0.jsonl"
    journal.write_text(journal.read_text() + json.dumps({"step": 999, "written": True}) + "\n")
    found = list(differences(tmp_path, [writer], lakehouse))
    assert [line.split()[0] for line in found] == ["duckdb-0", "lost", "too"]


def test_new_keys_that_both_bring_in_lock_step_are_there_once(tmp_path: Path) -> None:
    """DuckDB in a process of its own and Spark here start each merge at the same moment."""
    rounds = 2
    script = textwrap.dedent(
        """
        import pathlib, sys
        import pyarrow as pa
        from engine_drill import *
        root, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
        lakehouse = open_drill(root, "duckdb")
        for i in range(rounds):
            print("ready", flush=True)
            sys.stdin.readline()
            keys = [f"new {i} {j}" for j in range(3)]
            # The more often, the likelier that it falls between Spark's look and its commit.
            for j, key in enumerate(keys):
                rows = pa.table({"k": [key], "writer": ["duckdb"], "step": [i]})
                try:
                    lakehouse.merge(TABLE, rows, ["k"])
                except ConcurrentWriteError:
                    print("refused", flush=True)
                time.sleep(0.3)
        """
    )
    prepare(tmp_path)
    _, spark = readers(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(rounds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert other.stdin is not None
    assert other.stdout is not None
    for i in range(rounds):
        while other.stdout.readline().strip() != "ready":
            pass
        other.stdin.write("go\n")
        other.stdin.flush()
        keys = [f"new {i} {j}" for j in range(3)]
        rows = pa.table({"k": keys, "writer": ["spark"] * 3, "step": [i] * 3})
        try:
            spark.merge(TABLE, rows, ["k"])
        except ConcurrentWriteError:
            spark.merge(TABLE, rows, ["k"])
    other.communicate(timeout=60)
    found = spark.read(TABLE, columns=["k"]).read_all()["k"].to_pylist()
    assert sorted(found) == sorted(f"new {i} {j}" for i in range(rounds) for j in range(3))
