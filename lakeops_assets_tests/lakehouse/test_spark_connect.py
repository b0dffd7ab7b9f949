"""The engine with a server in between: one server, and clients that are processes of their own.

A process of pyspark is either a client of a server or has its own Spark, so the clients are not
this one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from command_line import environment

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.engines import create_engine

PROJECT = Path(__file__).parents[2]
FEW_ROWS = "spark.sql.codegen.wholeStage=false;spark.sql.codegen.factoryMode=NO_CODEGEN"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of what `lakeops spark` started."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lakeops_assets.cli", "spark", "--port", str(port)]
    env = {**environment(folder), "LAKEOPS_SPARK_CONF": FEW_ROWS, "PYTHONPATH": str(PROJECT)}
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, env=env, stdout=said, stderr=said, cwd=folder)
    try:
        until = time.monotonic() + 180
        while "export LAKEOPS_ENGINE=spark" not in (folder / "said").read_text():
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < until, (folder / "state" / "logs" / "spark.log").read_text()
            time.sleep(0.2)
        yield f"sc://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0
        with socket.socket() as probe:  # nothing of it is left
            assert probe.connect_ex(("127.0.0.1", port))


def client(server: str, root: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose Spark is the server's."""
    before = textwrap.dedent(
        """
        import json, pathlib, sys
        import pyarrow as pa
        from lakeops_assets.lakehouse import *
        from lakeops_assets.lakehouse.engines import create_engine
        from lakeops_assets.settings import spark_options
        options = spark_options()
        lakehouse = Lakehouse(pathlib.Path(sys.argv[1]), "dev", create_engine("spark", options))
        def rows(sql="SELECT * FROM a.t ORDER BY k", inputs=None):
            return lakehouse.query(sql, inputs).read_all().to_pylist()
        def table(**columns):
            return pa.table(columns)
        def refused(error, write):
            try:
                write()
            except error as raised:
                return str(raised)
            raise AssertionError(f"nothing raised {error}")
        """
    )
    env = {**os.environ, "LAKEOPS_SPARK_REMOTE": server, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", before + textwrap.dedent(body), str(root)],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def test_the_engine_does_through_a_server_what_it_does_without(server: str, tmp_path: Path) -> None:
    """Each line is a test of `test_tables.py`; the process never starts a Java."""
    client(
        server,
        tmp_path,
        """
        schema = pa.schema([pa.field("k", pa.int64(), metadata={"comment": "the key"}),
                            pa.field("v", pa.string())])
        lakehouse.create("a.t", schema)
        assert lakehouse.append("a.t", table(k=[1, 2], v=["a", None])).inserted == 2
        query = lakehouse.bind("SELECT k + 2 AS k, 'q' AS v FROM a.t")
        assert lakehouse.append("a.t", query).inserted == 2
        assert [r["k"] for r in rows()] == [1, 2, 3, 4]
        assert lakehouse.append("a.t", table(k=[], v=[]).cast(schema)).written is False
        assert lakehouse.schema("a.t").field("k").metadata == {b"comment": b"the key"}
        print("overwrite")
        done = lakehouse.overwrite("a.t", table(k=[4, 4], v=["z", "z"]), where="k = 4")
        assert (done.inserted, done.deleted) == (2, 1), done
        done = lakehouse.overwrite("a.t", table(k=[1, 2, 3], v=["a", "b", None]))
        assert (done.inserted, done.deleted) == (3, 5), done
        nine = table(k=[9], v=["z"])
        refused(LakehouseError, lambda: lakehouse.overwrite("a.t", nine, where="k = 4"))
        print("merge")
        merged = lakehouse.merge("a.t", table(k=[1, 2, 4], v=["a", "B", "d"]), ["k"],
                                 metadata={"why": "test"})
        assert (merged.inserted, merged.updated, merged.deleted) == (1, 1, 0)
        assert lakehouse.history("a.t", 1)[0].metadata == {"why": "test"}
        assert lakehouse.merge("a.t", table(k=[1], v=["a"]), ["k"]).reason == "no row differs"
        source = lakehouse.bind("SELECT k, v FROM a.t WHERE k < 4")
        merged = lakehouse.merge("a.t", source, ["k"], delete_missing=True)
        assert (merged.inserted, merged.updated, merged.deleted) == (0, 0, 1)
        twice = table(k=[1, 1], v=["a", "b"])
        said = refused(SchemaError, lambda: lakehouse.merge("a.t", twice, ["k"]))
        assert "more than once" in said
        merged = lakehouse.merge("a.t", table(k=[3], v=["c"], w=[1.5]), ["k"], evolve=True)
        assert merged.updated == 1 and rows()[2] == {"k": 3, "v": "c", "w": 1.5}
        print("transactions")
        once = Transaction("job", 7)
        assert lakehouse.append("a.t", table(k=[5], v=["e"]), transaction=once).written
        for version in (7, 6):
            again = Transaction("job", version)
            assert not lakehouse.append("a.t", table(k=[5], v=["e"]), transaction=again).written
            sixth = table(k=[6], v=["f"])
            assert not lakehouse.merge("a.t", sixth, ["k"], transaction=again).written
        eighth = Transaction("job", 8)
        assert lakehouse.merge("a.t", table(k=[6], v=["f"]), ["k"], transaction=eighth).written
        assert lakehouse.transaction_version("a.t", "job") == 8
        print("delete")
        assert lakehouse.delete("a.t", "k = 6").deleted == 1
        assert not lakehouse.delete("a.t", "k = 6").written
        refused(QueryError, lambda: lakehouse.delete("a.t", "1 = 1; DROP TABLE t"))
        assert lakehouse.delete_keys("a.t", table(k=[5, 5, 77])).deleted == 1
        assert not lakehouse.delete_keys("a.t", table(k=[77])).written
        assert [r["k"] for r in rows()] == [1, 2, 3]
        print("optimize")
        before = rows()
        assert lakehouse.optimize("a.t", zorder=["k"]).files_added == 1
        assert rows() == before
        lakehouse.vacuum("a.t", retention_hours=0, keep_versions=[1], dry_run=False)
        assert len(rows("SELECT * FROM a.t VERSION AS OF 1")) == 2
        sql = "SELECT * FROM a.t VERSION AS OF 77"
        assert "vacuumed" in refused(LakehouseError, lambda: rows(sql))
        print("changes")
        first = lakehouse.version("a.t") + 1
        lakehouse.merge("a.t", table(k=[3, 9], v=["C", "n"]), ["k"])
        feed = rows("SELECT k, v, _change_type AS c FROM feed ORDER BY k, c",
                    {"feed": lakehouse.changes("a.t", first)})
        assert [(r["k"], r["c"]) for r in feed] == [
            (3, "update_postimage"), (3, "update_preimage"), (9, "insert")]
        print("errors")
        said = refused(QueryError, lambda: rows("SELECT nope FROM a.t"))
        assert "has the columns k, v, w" in said
        refused(SchemaError, lambda: lakehouse.append("a.t", table(k=[1], nope=["x"])))
        print("large")
        from lakeops_assets.lakehouse.engines import spark_query, spark_stage
        spark_query.AT_ONCE_BYTES = spark_stage.IN_MEMORY_BYTES = 0
        assert len(rows()) == 4
        lakehouse.append("a.t", table(k=[10, 11], v=["x", "y"]))
        assert [r["k"] for r in rows()][-2:] == [10, 11]
        assert lakehouse.merge("a.t", table(k=[11, 12], v=["y", "z"]), ["k"]).inserted == 1
        """,
    )
    duckdb = Lakehouse(tmp_path, "dev", create_engine("duckdb"))
    found = duckdb.read("a.t", columns=["k"]).read_all()["k"].to_pylist()
    assert sorted(found) == [1, 2, 3, 9, 10, 11, 12]
    assert list((tmp_path / "dev" / "a" / "t" / "_staging").iterdir()) == []


def test_conflicts_through_a_server_are_conflicts(server: str, tmp_path: Path) -> None:
    """What another engine writes between compare and merge, and a transaction that is there."""
    done = client(
        server,
        tmp_path,
        """
        import lakeops_assets.lakehouse.engines.spark as engine
        duckdb = Lakehouse(lakehouse.root, "dev", create_engine("duckdb"))
        duckdb.create("a.t", pa.schema([("k", pa.int64()), ("v", pa.string())]))
        duckdb.append("a.t", table(k=[1, 2], v=["a", "b"]))
        compare = engine.differences
        def between(write):
            def differences(*args, **options):
                engine.differences = compare
                found = compare(*args, **options)
                write()
                return found
            engine.differences = differences
        between(lambda: duckdb.merge("a.t", table(k=[1], v=["theirs"]), ["k"]))
        mine = table(k=[1], v=["mine"])
        refused(ConcurrentWriteError, lambda: lakehouse.merge("a.t", mine, ["k"]))
        between(lambda: duckdb.delete("a.t", "k = 2"))
        refused(ConcurrentWriteError,
                lambda: lakehouse.merge("a.t", table(k=[1, 2], v=["mine", "mine"]), ["k"]))
        between(lambda: duckdb.merge("a.t", table(k=[3], v=["c"]), ["k"]))
        assert lakehouse.merge("a.t", table(k=[3], v=["c"]), ["k"]).reason == "no row differs"
        print(json.dumps(rows()))
        """,
    )
    assert json.loads(done.stdout) == [{"k": 1, "v": "theirs"}, {"k": 3, "v": "c"}]


def test_a_server_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    lakehouse = Lakehouse(tmp_path, "dev", create_engine("duckdb"))
    lakehouse.create("a.t", pa.schema([("k", pa.int64())]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"sc://127.0.0.1:{probe.getsockname()[1]}"
        done = client(
            address,
            tmp_path,
            """
            print(refused(UnsupportedError, rows))
            """,
        )
    assert address in done.stdout
    assert "lakeops spark" in done.stdout
