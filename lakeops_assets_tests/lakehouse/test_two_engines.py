"""Tables that one engine writes and the other goes on with, in one process and one Spark."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import FEW_ROWS

from lakeops_assets.lakehouse import (
    ConcurrentWriteError,
    Lakehouse,
    LakehouseError,
    TableName,
    Transaction,
    open_lakehouse,
)
from lakeops_assets.lakehouse.engines.commit_lock import committing
from lakeops_assets.settings import Settings

# With all other tests of Spark, in one process.
SCHEMA = pa.schema([("k", pa.int64()), ("v", pa.string())])
INSTANT = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=500)


@pytest.fixture
def duckdb(config: Settings) -> Lakehouse:
    return open_lakehouse(replace(config, engine="duckdb"))


@pytest.fixture
def spark(config: Settings) -> Lakehouse:
    options = replace(config.spark, confs=FEW_ROWS)
    return open_lakehouse(replace(config, engine="spark", spark=options))


@pytest.fixture(params=["duckdb then spark", "spark then duckdb"])
def both(
    request: pytest.FixtureRequest, duckdb: Lakehouse, spark: Lakehouse
) -> tuple[Lakehouse, Lakehouse]:
    """Who writes a table and who goes on with it."""
    return (duckdb, spark) if request.param.startswith("duckdb") else (spark, duckdb)


def rows(lakehouse: Lakehouse, table: str = "a.t") -> list[dict]:
    return lakehouse.query(f"SELECT * FROM {table} ORDER BY 1").read_all().to_pylist()


def between(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[], object]
) -> None:
    """Let somebody write after the next write of an engine has looked and before it commits."""
    engine = importlib.import_module(f"lakeops_assets.lakehouse.engines.{lakehouse.engine.name}")
    look = getattr(engine, name)

    def looked(*args: object, **options: object) -> object:
        monkeypatch.setattr(engine, name, look)
        found = look(*args, **options)
        write()
        return found

    monkeypatch.setattr(engine, name, looked)


# One after the other


def test_a_table_lives_on_with_the_other_engine(both: tuple[Lakehouse, Lakehouse]) -> None:
    """Every kind of write of the one, then of the other, and both see the same at each step."""
    first, second = both
    first.create("a.t", SCHEMA, description="things")
    first.append("a.t", pa.table({"k": [1, 2, 3], "v": ["a", "b", None]}))
    first.merge("a.t", pa.table({"k": [3, 4], "v": ["c", "d"]}), ["k"])
    assert rows(second) == rows(first)
    done = second.merge("a.t", pa.table({"k": [4, 5], "v": ["D", "e"]}), ["k"])
    assert (done.inserted, done.updated) == (1, 1)
    assert first.merge("a.t", pa.table({"k": [4], "v": ["D"]}), ["k"]).reason == "no row differs"
    assert second.delete("a.t", "k = 1").deleted == 1
    assert first.delete_keys("a.t", pa.table({"k": [2, 77]})).deleted == 1
    done = second.overwrite("a.t", pa.table({"k": [5], "v": ["E"]}), where="k >= 5")
    assert (done.inserted, done.deleted) == (1, 1)
    assert rows(first) == rows(second)
    assert [(r["k"], r["v"]) for r in rows(first)] == [(3, "c"), (4, "D"), (5, "E")]
    kept = second.version("a.t")
    assert first.optimize("a.t", zorder=["k"]).files_added == 1
    second.append("a.t", pa.table({"k": [6], "v": ["f"]}), transaction=Transaction("job", 1))
    again = pa.table({"k": [7], "v": ["twice"]})
    assert not first.append("a.t", again, transaction=Transaction("job", 1)).written
    assert second.optimize("a.t").files_added == 1
    first.vacuum("a.t", retention_hours=0, keep_versions=[kept], full=True, dry_run=False)
    assert [r["k"] for r in rows(second)] == [3, 4, 5, 6] == [r["k"] for r in rows(first)]
    assert len(second.read("a.t", version=kept).read_all()) == 3
    second.truncate_log("a.t", oldest=kept)
    for lakehouse in both:
        assert [r["k"] for r in rows(lakehouse)] == [3, 4, 5, 6]
        with pytest.raises(LakehouseError):
            lakehouse.read("a.t", version=kept - 1).read_all()
    first.append("a.t", pa.table({"k": [8], "v": ["h"], "w": [1.5]}), evolve=True)
    assert second.merge("a.t", pa.table({"k": [8], "v": ["H"], "w": [2.5]}), ["k"]).updated == 1
    assert rows(first)[-1] == {"k": 8, "v": "H", "w": 2.5} == rows(second)[-1]


TYPES = pa.schema(
    [
        ("k", pa.int64()),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("flag", pa.bool_()),
        ("tiny", pa.int8()),
        ("small", pa.int16()),
        ("whole", pa.int32()),
        ("real", pa.float32()),
        ("number", pa.float64()),
        ("money", pa.decimal128(20, 4)),
        ("raw", pa.binary()),
        ("list", pa.list_(pa.int32())),
        ("part", pa.struct([("x", pa.int64()), ("y", pa.string())])),
        ("map", pa.map_(pa.string(), pa.float64())),
    ]
)


def of_each_type() -> pa.Table:
    instants = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)]
    full = {
        "day": [date(1, 1, 1), date(9999, 12, 31)],
        "flag": [True, False],
        "tiny": [-128, 127],
        "small": [-(2**15), 2**15 - 1],
        "whole": [-(2**31), 2**31 - 1],
        "real": [1.5, -0.0],
        "number": [5e-324, float("inf")],
        "money": [Decimal("1234567890123456.7891"), Decimal("-0.0001")],
        "raw": [b"\x00\xff", b""],
        "list": [[1, None], []],
        "part": [{"x": 1, "y": None}, {"x": None, "y": ""}],
        "map": [[("a", 1.0), ("b", None)], []],
    }
    columns = {"k": [1, 2, 3, 4], "at": [*instants, None, datetime(1600, 2, 29, tzinfo=UTC)]}
    columns |= {name: [*values, None, None] for name, values in full.items()}
    return pa.table(columns, schema=TYPES)


def test_values_of_every_type_survive_a_rewrite_by_the_other(
    both: tuple[Lakehouse, Lakehouse],
) -> None:
    """Also times that do not fit into nanoseconds since 1970: an update writes all rows anew."""
    first, second = both
    there = of_each_type()
    first.create("a.t", TYPES)
    first.append("a.t", there)
    assert second.merge("a.t", there, ["k"]).reason == "no row differs"
    changed = there.slice(2, 1).set_column(7, "real", pa.array([2.5], pa.float32()))
    assert second.merge("a.t", changed, ["k"]).updated == 1
    expected = [*there.to_pylist()[:2], changed.to_pylist()[0], there.to_pylist()[3]]
    for lakehouse in both:
        assert rows(lakehouse) == expected
    assert first.merge("a.t", there, ["k"]).updated == 1
    assert rows(second) == there.to_pylist()


def test_keys_that_are_times_are_found_to_the_microsecond(
    both: tuple[Lakehouse, Lakehouse],
) -> None:
    """Statistics in the log are of milliseconds: a file must not be passed over for that."""
    first, second = both
    instants = pa.array([INSTANT], pa.timestamp("us", "UTC"))
    table = pa.table({"at": instants, "v": ["old"]})
    first.create("a.t", table.schema)
    first.append("a.t", table)
    done = second.merge("a.t", table.set_column(1, "v", pa.array(["new"])), ["at"])
    assert (done.inserted, done.updated) == (0, 1)
    condition = "at > TIMESTAMP '2026-01-01 00:00:00.0002+00:00'"
    assert [r["v"] for r in first.read("a.t", where=condition).read_all().to_pylist()] == ["new"]
    assert second.delete("a.t", condition).deleted == 1
    assert rows(first) == []


def test_what_a_killed_write_of_spark_staged_is_no_row_and_is_cleaned_up(
    both: tuple[Lakehouse, Lakehouse],
) -> None:
    """VACUUM leaves the folder alone, as a write may be under way, until it is a day old."""
    import os

    import pyarrow.parquet as pq

    first, second = both
    first.create("a.t", SCHEMA)
    first.append("a.t", pa.table({"k": [1], "v": ["a"]}))
    staging = Path(first.location("a.t")) / "_staging"
    for name in ("under way", "killed"):
        (staging / name).mkdir(parents=True)
        pq.write_table(pa.table({"k": [7], "v": ["staged"]}), staging / name / "rows.parquet")
    os.utime(staging / "killed", (0, 0))
    for lakehouse in both:
        assert [r["k"] for r in rows(lakehouse)] == [1]
    second.vacuum("a.t", retention_hours=0, full=True, dry_run=True)
    assert len(list(staging.iterdir())) == 2
    second.vacuum("a.t", retention_hours=0, full=True, dry_run=False)
    assert [p.name for p in staging.iterdir()] == ["under way"]
    assert (staging / "under way" / "rows.parquet").is_file()


# At the same time


def test_a_row_that_the_other_deleted_is_not_merged_as_if_it_were_there(
    both: tuple[Lakehouse, Lakehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update of two rows, one of which is gone by then: not half of it is written."""
    me, other = both
    other.create("a.t", SCHEMA)
    other.append("a.t", pa.table({"k": [1, 2], "v": ["a", "b"]}))
    between(me, monkeypatch, "differences", lambda: other.delete("a.t", "k = 1"))
    with pytest.raises(ConcurrentWriteError):
        me.merge("a.t", pa.table({"k": [1, 2], "v": ["A", "B"]}), ["k"])
    assert rows(me) == [{"k": 2, "v": "b"}]


def test_new_keys_that_the_other_appends_meanwhile_are_not_there_twice(
    both: tuple[Lakehouse, Lakehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append looks at no row, and conflicts with nothing by itself."""
    me, other = both
    other.create("a.t", SCHEMA)
    for new in (pa.table({"k": [4], "v": ["d"]}), pa.table({"k": [4, 5], "v": ["D", "e"]})):
        added = new.slice(len(new) - 1)
        between(me, monkeypatch, "differences", lambda rows=added: other.append("a.t", rows))
        try:
            me.merge("a.t", new, ["k"])
        except ConcurrentWriteError:
            me.merge("a.t", new, ["k"])
        assert [r["k"] for r in rows(other)] == [4, 5][: len(new)]


def test_instants_that_the_other_appends_meanwhile_are_not_there_twice(
    both: tuple[Lakehouse, Lakehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    me, other = both
    instants = pa.array([INSTANT, INSTANT + timedelta(days=1)], pa.timestamp("us", "UTC"))
    table = pa.table({"at": instants, "v": ["old", "old"]})
    other.create("a.t", table.schema)
    other.append("a.t", table.slice(1))
    mine = table.set_column(1, "v", pa.array(["new", "new"]))
    between(me, monkeypatch, "differences", lambda: other.append("a.t", table.slice(0, 1)))
    with pytest.raises(ConcurrentWriteError):
        me.merge("a.t", mine, ["at"])
    assert len(rows(other)) == 2


@pytest.mark.parametrize("where", [None, "k < 10"])
def test_of_two_that_fill_an_empty_table_the_rows_of_one_are_there(
    both: tuple[Lakehouse, Lakehouse], monkeypatch: pytest.MonkeyPatch, where: str | None
) -> None:
    """There is no file that both would remove, which is what a conflict is seen by else."""
    me, other = both
    other.create("a.t", SCHEMA)
    new = pa.table({"k": [1, 2], "v": ["a", "b"]})
    between(me, monkeypatch, "already_committed", lambda: other.overwrite("a.t", new, where=where))
    with suppress(ConcurrentWriteError):
        me.overwrite("a.t", new, where=where)
    assert [r["k"] for r in rows(other)] == [1, 2]


def test_a_write_does_not_carry_the_transaction_of_another_thread(spark: Lakehouse) -> None:
    """It would be taken for done already, or let the other's be."""
    spark.create("a.t", SCHEMA)
    location = spark.location("a.t")
    write = threading.Thread(
        target=lambda: spark.append("a.t", pa.table({"k": [1], "v": ["a"]})), daemon=True
    )
    with spark.engine.carrying(Transaction("job", 1), None, "x"):  # type: ignore[attr-defined]
        write.start()
        write.join(timeout=1)
        waiting = write.is_alive()
    write.join(timeout=60)
    assert waiting
    assert [r["k"] for r in rows(spark)] == [1]
    assert spark.engine.transaction_version(location, "job") is None


def test_a_commit_of_spark_waits_for_those_of_others(duckdb: Lakehouse, spark: Lakehouse) -> None:
    """On a disk it would replace the log entry that another process writes in the same moment."""
    duckdb.create("a.t", SCHEMA)
    location = duckdb.location("a.t")
    done: list[str] = []

    def append(lakehouse: Lakehouse) -> threading.Thread:
        def run() -> None:
            lakehouse.append("a.t", pa.table({"k": [1], "v": ["a"]}))
            done.append(lakehouse.engine.name)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    with committing(location, alone=False):
        append(duckdb).join(timeout=60)  # beside each other, those of delta-rs are safe
        assert done == ["duckdb"]
        waiting = append(spark)
        waiting.join(timeout=1)
        assert done == ["duckdb"]
    waiting.join(timeout=60)
    assert done == ["duckdb", "spark"]
    with (
        committing(location, alone=True),
        pytest.raises(ConcurrentWriteError, match=r"holds .*/_delta_log/"),
        committing(location, alone=False, patience_seconds=0.0),
    ):
        pass
    assert duckdb.append("a.t", pa.table({"k": [2], "v": ["b"]})).written
    with committing("s3://bucket/table", alone=True), committing(location + "x", alone=True):
        pass


# What is computed from them


def people(n: int) -> pa.Table:
    chance = np.random.default_rng(7)
    nulls = chance.random(n) < 0.1
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "id": np.arange(n),
            "at": pa.array(
                [start + timedelta(minutes=int(m)) for m in chance.integers(0, 4320, n)],
                pa.timestamp("us", "UTC"),
            ),
            "amount": pa.array(chance.lognormal(size=n), mask=nulls),
            "count": pa.array(chance.poisson(3, n), pa.int32()),
            "kind": np.array(["a", "b", "c", "d"])[chance.integers(0, 4, n)],
            "flag": chance.random(n) < 0.3,
        }
    )


def test_both_engines_profile_a_table_alike(duckdb: Lakehouse, spark: Lakehouse) -> None:
    """Counts and frequent values exactly, sums to rounding, quantiles within the sketch's grid."""
    from lakeops_assets.monitoring import MonitorSpec, monitored_columns, scan

    table = people(2000)
    duckdb.create("a.t", table.schema)
    version = duckdb.append("a.t", table).version
    spec = MonitorSpec("time_series", timestamp_col="at", granularities=("1 day",))
    columns = monitored_columns(table.schema, spec)
    found = [
        scan(
            lakehouse, lakehouse.name("a.t"), version, columns, spec, windowed=True, by_model=False
        )
        for lakehouse in (duckdb, spark)
    ]
    assert [g.group for g in found[0]] == [g.group for g in found[1]]
    assert len(found[0]) == 3
    for one, two in zip(*found, strict=True):
        for a, b in zip(one.columns, two.columns, strict=True):
            agree(a, b)


def agree(a: object, b: object) -> None:
    import dataclasses

    for field in dataclasses.fields(a):  # type: ignore[arg-type]
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, float) and isinstance(y, float):
            assert x == pytest.approx(y, rel=1e-9), field.name
        elif field.name == "distinct" and x is not None and getattr(a, "items", None) is None:
            assert x == pytest.approx(y, rel=0.15)  # estimated, by different means
        elif field.name == "quantiles" and x is not None:
            assert np.allclose(np.asarray(x, float), np.asarray(y, float), rtol=1e-9)
        else:
            assert x == y, field.name


def test_both_engines_find_the_same_rows_broken(
    duckdb: Lakehouse, spark: Lakehouse, tmp_path: Path
) -> None:
    """What the check of a table counts, and what is set aside before it is written: exactly."""
    from contracted import contract, screen
    from landing import NOW, TABLE

    from lakeops_assets.contracts import evaluate

    chance = np.random.default_rng(3)
    n = 400
    table = pa.table(
        {
            "id": pa.array(chance.integers(0, 350, n), mask=chance.random(n) < 0.02),
            "amount": pa.array(chance.normal(50, 40, n), mask=chance.random(n) < 0.1),
            "day": pa.array([date(2026, 1, 1)] * n),
            "note": np.array(["ok", "no", "a b", "ÄÖ", "x" * 30])[chance.integers(0, 5, n)],
        }
    )

    def landed(columns: list[str] | None) -> pa.RecordBatchReader:
        batch = pa.array([0] * n, pa.int64())
        rows = table.append_column("_batch_id", batch)
        rows = rows.append_column("_source_file", pa.array(["0.csv"] * n))
        return (rows if columns is None else rows.select(columns)).to_reader()

    rules = contract(
        tmp_path,
        {
            "id": {"logicalType": "integer", "primaryKey": True},
            "amount": {
                "logicalType": "number",
                "required": True,
                "logicalTypeOptions": {"minimum": 0, "maximum": 100},
            },
            "day": {"logicalType": "date"},
            "note": {
                "logicalType": "string",
                "logicalTypeOptions": {"pattern": "^[a-z ]+$", "maxLength": 20},
            },
        },
    )
    duckdb.create(TABLE, table.schema)
    duckdb.append(TABLE, table)
    counted, kept = [], []
    for lakehouse in (duckdb, spark):
        results = evaluate(lakehouse, rules, TABLE, now=NOW).results
        counted.append({r.rule: (r.passed, r.violations) for r in results})
        other = TableName("dev", "shop", f"orders_{lakehouse.engine.name}")
        done = screen(rules).batch(
            lakehouse, other, landed, batch_id=0, files=["0.csv"], existing=None
        )
        valid = sorted(map(repr, done.valid.read_all().to_pylist()))
        sql = f"SELECT _row_id, _failed_rules FROM {other.beside('quarantine')} ORDER BY _row_id"
        held = [
            (row["_row_id"], sorted(row["_failed_rules"]))
            for row in lakehouse.query(sql).read_all().to_pylist()
        ]
        kept.append((valid, held))
    assert counted[0] == counted[1]
    assert sum(bool(violations) for _, violations in counted[0].values()) >= 4
    assert kept[0] == kept[1]
    assert len(kept[0][0]) + len(kept[0][1]) == n
    assert min(map(len, kept[0])) > 50
