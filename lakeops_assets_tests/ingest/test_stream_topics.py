"""A table fed by a topic of a real broker: nothing is lost and nothing comes twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from contracted import aside
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kafka_broker import broker
from landing import NOW, TABLE, Landing, landing

from lakeops_assets.ingest import Column, IngestError, Topic
from lakeops_assets.ingest.records import ingest_records
from lakeops_assets.lakehouse import Lakehouse, RecordsOf, UnsupportedError, open_lakehouse
from lakeops_assets.settings import Settings

TESTS = Path(__file__).parents[1]
# A process of its own has the session with the connector, and can be killed.
PROCESS = """
    import json, os, shutil, signal, sys
    from dataclasses import replace
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from conftest import FEW_ROWS
    from contracted import contract, screen
    from landing import landing, NOW, TABLE
    from lakeops_assets import settings
    from lakeops_assets.ingest import IngestError, StreamSpec, Surroundings, Topic, stream
    from lakeops_assets.lakehouse import Lakehouse, TableName, open_lakehouse
    room = sys.modules["lakeops_assets.ingest.records"]
    config = settings.load()
    spark = replace(config.spark, confs=FEW_ROWS, packages=("kafka",))
    lakehouse = open_lakehouse(replace(config, engine="spark", spark=spark))
    topic = Topic({servers!r}, "orders", max_records=100)
    place = landing(lakehouse, Path({folder!r}), topic=topic)
    rules = contract(Path({folder!r}).parent)
    around = Surroundings(
        lambda: NOW, config.home / "checkpoints", screen=lambda: screen(rules)
    )
    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
    def produce(*values, topic="orders"):
        rows = [(str(i), v) for i, v in enumerate(values)]
        frame = lakehouse.engine.session.createDataFrame(rows, "key string, value string")
        sink = frame.write.format("kafka").option("kafka.bootstrap.servers", {servers!r})
        sink.option("topic", topic).save()
    def order(number, **more):
        return json.dumps(dict(id=number, amount=number / 2, day="2026-01-05", **more))
    def streamed(**options):
        return stream(lakehouse, place.spec, StreamSpec(every_seconds=0.5), around, **options)
"""
# Half of a pair is no text; no table can have one of these names, and two it has already.
SURROGATE, NAMES = '{"id": "\\ud800"}', '{"ID": 7, "_offset": 1, "": 2}'
KILLED_BEHIND_ROWS = """
    produce(*map(order, range(300)))
    real, times = room.record, []
    def record(*args):
        times.append(1)
        if len(times) == 2:
            die()
        real(*args)
    room.record = record
    streamed()
"""
KILLED_BEFORE_ROWS = """
    real, times = Lakehouse.append, []
    def append(self, table, *args, **kwargs):
        if str(table) == str(TABLE):
            die()
        return real(self, table, *args, **kwargs)
    Lakehouse.append = append
    streamed()
"""
FINISHED = """
    poison = ["not json", None, "[1]", {surrogate!r}, {names!r}]
    # Not the quarantine: it has the rows of the try that was killed, which come once more.
    held = sum(o.rows + o.quarantined_rows for o in place.ledger().values())
    seen = []
    def each(result):
        if not seen:
            produce(order(300, channel="web"), *poison)
        seen.append(result.rows + result.quarantined_rows)
    streamed(each=each, go_on=lambda: held + sum(seen) < 306)
    shutil.rmtree(around.checkpoints)
    again = streamed()
    frozen = replace(
        place.spec, table=TableName("dev", "shop", "frozen"), schema_policy="freeze",
        topic=replace(topic, topic="frozen"),
    )
    produce(order(1), '{{"id": "many"}}', topic="frozen")
    try:
        stream(lakehouse, frozen, StreamSpec(), around)
    except IngestError as error:
        refused = str(error)
    print(json.dumps([again.rows, again.reason, len(again.files), refused]))
"""


def process(place: Landing, servers: str, body: str) -> subprocess.CompletedProcess[str]:
    start = textwrap.dedent(PROCESS) + textwrap.dedent(body)
    script = start.format(
        tests=str(TESTS),
        folder=str(place.spec.landing),
        servers=servers,
        surrogate=SURROGATE,
        names=NAMES,
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_records_come_once_whatever_is_killed(config: Settings, tmp_path: Path) -> None:
    """Read with the other engine than the one that streamed."""
    place = landing(open_lakehouse(config), tmp_path / "in")
    try:
        running = broker(tmp_path / "kafka", config.spark)
        servers = running.__enter__()
    except UnsupportedError as error:
        pytest.skip(f"no broker: {error}")
    try:
        for body in (KILLED_BEHIND_ROWS, KILLED_BEFORE_ROWS):
            killed = process(place, servers, body)
            assert killed.returncode == -9, killed.stderr
        done = process(place, servers, FINISHED)
        assert done.returncode == 0, done.stderr
    finally:
        running.__exit__(None, None, None)
    rows, reason, files, refused = json.loads(done.stdout.splitlines()[-1])
    assert (rows, reason, files) == (0, "0 rows of 0 new files", 0), "the checkpoint is no record"
    assert "kafka:frozen/" in refused
    assert "1 of" in refused
    held = aside(place.lakehouse)
    good = [r for r in place.rows() if r["id"] is not None]
    # Amounts above 100 break the contract.
    assert sorted(r["id"] for r in good) == list(range(201))
    assert sorted(r["id"] for r in held if r["id"] is not None) == list(range(201, 301))
    everything = [*place.rows(), *held]
    offsets = sorted((r["_partition"], r["_offset"]) for r in everything)
    assert len(offsets) == len(set(offsets)) == 306
    for number in (0, 1):
        of_one = [o for p, o in offsets if p == number]
        assert of_one == list(range(len(of_one)))
    assert {r["_topic"] for r in everything} == {"orders"}
    odd = {json.dumps(r["_rescued_data"] and json.loads(r["_rescued_data"])) for r in everything}
    assert odd == {
        "null",
        '{"_value": "not json"}',
        '{"_value": "[1]"}',
        json.dumps({"_value": SURROGATE}),
        '{"ID": "7", "_offset": "1", "": "2"}',
    }
    [web] = [r for r in everything if r.get("channel")]
    assert (web["id"], web["channel"], web["_key"]) == (300, "web", "0")
    assert {o.status for o in place.ledger().values()} == {"ingested"}
    assert {p.split("/")[0] for p in place.ledger()} == {"kafka:orders"}


def records(*values: bytes | None, partition: int = 0, first: int = 0) -> pa.Table:
    count = len(values)
    return pa.table(
        {
            "key": pa.array([None] * count, pa.binary()),
            "value": pa.array(values, pa.binary()),
            "topic": ["orders"] * count,
            "partition": pa.array([partition] * count, pa.int32()),
            "offset": pa.array(range(first, first + count), pa.int64()),
            "timestamp": pa.array([NOW] * count, pa.timestamp("us", "UTC")),
        }
    )


def fed(config: Settings, tmp_path: Path, **options: Any) -> tuple[Landing, Lakehouse]:
    options.setdefault("topic", Topic("127.0.0.1:9", "orders"))
    place = landing(open_lakehouse(config), tmp_path / "in", **options)
    return place, place.lakehouse


def test_a_micro_batch_that_overlaps_brings_what_is_new(config: Settings, tmp_path: Path) -> None:
    place, lakehouse = fed(config, tmp_path)
    one = records(b'{"id": 0}', b'{"id": 1}')
    more = pa.concat_tables(
        [records(b'{"id": 1}', b'{"id": 2}', first=1), records(b'{"id": 9}', partition=1)]
    )
    assert ingest_records(lakehouse, place.spec, one, now=NOW).rows == 2
    assert ingest_records(lakehouse, place.spec, more, now=NOW).rows == 2
    assert not ingest_records(lakehouse, place.spec, more, now=NOW).commit.written
    assert place.ids() == [0, 1, 2, 9]
    assert sorted(place.ledger()) == [
        "kafka:orders/0/0-1",
        "kafka:orders/0/2-2",
        "kafka:orders/1/0-0",
    ]


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 1)), max_size=4))
def test_whatever_comes_again_each_record_is_there_once(
    config: Settings, tmp_path_factory: pytest.TempPathFactory, windows: list[tuple[int, int, int]]
) -> None:
    """Micro-batches that go back and on by any number of records, as after kills."""
    place, lakehouse = fed(config, tmp_path_factory.mktemp("in"))
    shutil.rmtree(lakehouse.root, ignore_errors=True)
    ends = [0, 0]
    for back, on, partition in windows:
        start = max(ends[partition] - back, 0)
        ends[partition] = max(ends[partition], start + on)
        values = (f'{{"id": {1000 * partition + i}}}'.encode() for i in range(start, start + on))
        again = records(*values, partition=partition, first=start)
        ingest_records(lakehouse, place.spec, again, now=NOW)
    if lakehouse.exists(TABLE):
        assert place.ids() == [1000 * p + i for p in (0, 1) for i in range(ends[p])]
    else:
        assert ends == [0, 0]


def test_names_that_differ_in_their_case_alone_are_one_column(
    config: Settings, tmp_path: Path
) -> None:
    """Also when two partitions bring them at once: no table can have both."""
    place, lakehouse = fed(config, tmp_path)
    both = pa.concat_tables(
        [records(b'{"id": 1, "extra": 5}'), records(b'{"id": 2, "Extra": 6}', partition=1)]
    )
    ingest_records(lakehouse, place.spec, both, now=NOW)
    found = {r["id"]: (r["extra"], r["_rescued_data"]) for r in place.rows()}
    assert found == {1: (5, None), 2: (None, '{"Extra":"6"}')}


def test_lines_of_csv_are_records_too(config: Settings, tmp_path: Path) -> None:
    topic = Topic("127.0.0.1:9", "orders", format="csv")
    place, lakehouse = fed(config, tmp_path, topic=topic, schema_policy="discard_row")
    lines = records(b"1,0.5,2026-01-05,x", b"2,many,2026-01-05,x\n", b"3,1,2026-01-05,x,over")
    result = ingest_records(lakehouse, place.spec, lines, now=NOW)
    assert (place.ids(), result.discarded_rows) == ([1], 2)
    with pytest.raises(IngestError, match="lines of csv"):
        fed(config, tmp_path, topic=topic, columns=())


def test_records_that_tell_no_columns_need_them_declared(config: Settings, tmp_path: Path) -> None:
    place, lakehouse = fed(config, tmp_path, columns=())
    with pytest.raises(IngestError, match="declare them"):
        ingest_records(lakehouse, place.spec, records(b"not json", None), now=NOW)
    place, lakehouse = fed(config, tmp_path, columns=(Column("id", "bigint"),))
    assert ingest_records(lakehouse, place.spec, records(b"not json", None), now=NOW).rows == 2


def test_a_session_without_the_connector_says_so(lakehouse: Lakehouse) -> None:
    if not lakehouse.engine.capabilities.topics.available:
        pytest.skip(lakehouse.engine.capabilities.topics.reason)
    lakehouse.engine.session  # type: ignore[attr-defined]  # noqa: B018 - starts it
    source = RecordsOf("127.0.0.1:9", "orders", "earliest", 10)
    with pytest.raises(UnsupportedError, match="without the jars of Kafka"):
        lakehouse.engine.stream(source, print, checkpoint="")


def test_spark_connect_cannot_stream(config: Settings) -> None:
    far = replace(config.spark, remote="sc://127.0.0.1:1")
    engine = open_lakehouse(replace(config, engine="spark", spark=far)).engine
    with pytest.raises(UnsupportedError, match="LAKEOPS_SPARK_REMOTE"):
        engine.stream(RecordsOf("127.0.0.1:9", "orders", "earliest", 10), print, checkpoint="")
