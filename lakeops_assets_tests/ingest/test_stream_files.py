"""A table fed by a stream: the same files, the same policy, the same record as by batches."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FEW_ROWS
from contracted import aside, contract, screen
from landing import NOW, Landing, csv, good, landing

from lakeops_assets.ingest import (
    IngestError,
    IngestResult,
    StreamSpec,
    Surroundings,
    Topic,
    stream,
)
from lakeops_assets.lakehouse import Lakehouse, UnsupportedError, open_lakehouse
from lakeops_assets.settings import Settings, SparkOptions

TESTS = Path(__file__).parents[1]


def around(place: Landing, **options: object) -> Surroundings:
    checkpoints = place.lakehouse.root.parent / "checkpoints"
    return Surroundings(lambda: NOW, checkpoints, **options)  # type: ignore[arg-type]


def streamed(
    place: Landing,
    how: StreamSpec | None = None,
    *,
    go_on: Callable[[], bool] | None = None,
    each: Callable[[IngestResult], None] = lambda result: None,
) -> IngestResult:
    how = how or StreamSpec()
    return stream(place.lakehouse, place.spec, how, around(place), go_on=go_on, each=each)


def test_each_file_comes_once_whoever_takes_it_in(config: Settings, tmp_path: Path) -> None:
    """Batches and streams on either engine share one record of files, and it is not a checkpoint.

    Spark's stream leaves empty files out; they are looked at all the same.
    """
    one, other = (
        landing(
            open_lakehouse(replace(config, engine=engine, spark=quick(config))), tmp_path / "in"
        )
        for engine in ("duckdb", "spark")
    )
    one.drop("a.csv", good(1))
    assert one.ingest().rows == 1
    one.drop("2026/b c%20#1.csv", good(2))
    one.drop("bad.csv", "")
    one.drop(".hidden.csv", good(9))
    first = streamed(other)
    assert (first.rows, first.count("ingested"), first.count("rejected")) == (1, 1, 1)
    again = streamed(other)
    assert (again.files, again.commit.written, again.commit.reason) == ((), False, "no file is new")
    one.drop("c.csv", good(3))
    assert streamed(one).rows == 1
    shutil.rmtree(config.home / "checkpoints")
    one.drop("d.csv", good(4))
    assert streamed(other).rows == 1
    assert one.ingest().files == streamed(one).files == ()
    assert one.ids() == [1, 2, 3, 4]
    rows = one.rows("_source_file", "_batch_id")
    assert {r["_source_file"] for r in rows} == {"a.csv", "2026/b c%20#1.csv", "c.csv", "d.csv"}
    assert len({r["_batch_id"] for r in rows}) == 4


def quick(config: Settings) -> SparkOptions:
    return replace(config.spark, confs=FEW_ROWS)


def test_a_micro_batch_is_one_commit_of_no_more_files_than_it_may_have(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in")
    for number in range(5):
        place.drop(f"{number}.csv", good(number))
    sizes: list[int] = []
    result = streamed(place, StreamSpec(max_files=2), each=lambda r: sizes.append(len(r.files)))
    assert (result.batches, result.rows, place.ids()) == (3, 5, [0, 1, 2, 3, 4])
    assert max(sizes) <= (2 if lakehouse.engine.capabilities.streaming_ingest.available else 5)
    batches = [r["_batch_id"] for r in place.rows("_batch_id")]
    assert sorted(batches.count(b) for b in set(batches)) == [1, 2, 2]


def test_the_schema_policy_and_the_contract_are_those_of_batches(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in")
    rules = contract(tmp_path)
    place.drop("0.csv", csv((1, 1, "2026-01-05", "good"), (2, 999, "2026-01-05", "far")))
    place.drop("1.csv", "id,amount,day,note,extra\n3,many,2026-01-05,x,7\n")
    judged = around(place, screen=lambda: screen(rules))
    result = stream(lakehouse, place.spec, StreamSpec(max_files=1), judged)
    assert (result.rows, result.rescued_rows, result.quarantined_rows) == (2, 1, 1)
    [rescued] = [r for r in place.rows("id", "extra", "_rescued_data") if r["_rescued_data"]]
    assert rescued == {"id": 3, "extra": 7, "_rescued_data": '{"amount":"many"}'}
    [held] = aside(lakehouse)
    assert held["_row_id"].endswith(":0.csv#000000001")


def test_a_continuous_stream_takes_in_what_comes_and_stops_when_told(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """A file that a stream leaves behind, because it names each path once, comes all the same."""
    place = landing(lakehouse, tmp_path / "in")
    place.drop("0.csv", "")
    arrivals = iter([("1.csv", good(1)), ("0.csv", good(0)), (None, "")])

    def each(result: IngestResult) -> None:
        name, content = next(arrivals)
        if name is not None:
            place.drop(name, content)

    done = streamed(
        place,
        StreamSpec(every_seconds=0.5),
        go_on=lambda: "0.csv" not in {p for p, s in place.statuses().items() if s == "ingested"},
        each=each,
    )
    assert [f.status for f in done.files] == ["rejected", "ingested", "ingested"]
    assert place.ids() == [0, 1]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from conftest import FEW_ROWS
    from dataclasses import replace
    from landing import landing, NOW
    from lakeops_assets import settings
    from lakeops_assets.ingest import StreamSpec, Surroundings, stream
    from lakeops_assets.lakehouse import open_lakehouse
    room = sys.modules["lakeops_assets.ingest.ingest"]
    config = settings.load()
    config = replace(config, engine={engine!r}, spark=replace(config.spark, confs=FEW_ROWS))
    place = landing(open_lakehouse(config), Path({folder!r}))
    real, times = room.record, []
    def record(*args):
        times.append(1)
        if len(times) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args)
    room.record = record
    around = Surroundings(lambda: NOW, config.home / "checkpoints")
    stream(place.lakehouse, place.spec, StreamSpec(max_files=2), around)
"""


def test_a_stream_that_was_killed_goes_on_without_loss_or_double(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """Killed in its second micro-batch, between the rows and the record of their files."""
    place = landing(lakehouse, tmp_path / "in")
    for number in range(5):
        place.drop(f"{number}.csv", good(number))
    script = textwrap.dedent(KILLED).format(
        tests=str(TESTS), folder=str(place.spec.landing), engine=lakehouse.engine.name
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert len(place.ids()) == 4
    assert len(place.ledger()) == 2
    result = streamed(place, StreamSpec(max_files=2))
    assert (result.rows, place.ids()) == (1, [0, 1, 2, 3, 4])
    assert set(place.statuses().values()) == {"ingested"}
    assert len(place.ledger()) == 5


def test_an_engine_without_topics_says_what_to_do(config: Settings, tmp_path: Path) -> None:
    place = landing(open_lakehouse(config), tmp_path / "in", topic=Topic("127.0.0.1:9", "orders"))
    with pytest.raises(UnsupportedError, match=r"fed by the topic orders.*LAKEOPS_ENGINE=spark"):
        streamed(place)


def test_nothing_to_make_a_table_from_is_said_at_the_end(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """Not after the first micro-batch: what makes the table may be in the second."""
    place = landing(lakehouse, tmp_path / "in", columns=())
    with pytest.raises(IngestError, match="no file has landed"):
        streamed(place)
    place.drop("0.csv", "")
    place.drop("1.csv", good(1))
    assert streamed(place, StreamSpec(max_files=1)).rows == 1
