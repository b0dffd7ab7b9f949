"""An entity is removed from tables, change feeds, old versions and logs, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeops_assets.governance import (
    ForgetKeyError,
    ForgetPlan,
    Key,
    carry_out,
    plan_forget,
    read_salt,
    search,
    subject_hash,
)
from lakeops_assets.lakehouse import Lakehouse, TableName, open_lakehouse
from lakeops_assets.settings import Settings

TABLE = TableName("dev", "shop", "orders")
SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("amount", pa.int64())])
KEY = Key((("id", "42"),))


def rows(*numbers: int, amount: int = 1) -> pa.Table:
    values = [{"id": n, "name": f"n{n}", "amount": amount} for n in numbers]
    return pa.Table.from_pylist(values, schema=SCHEMA)


def plan(lakehouse: Lakehouse, key: Key = KEY, **locks: dict[int, tuple[str, ...]]) -> ForgetPlan:
    needed = {str(TABLE): locks["locked"]} if locks else {}
    return plan_forget(lakehouse, "shop", key, lakehouse.tables(schema="shop"), needed)


def ids(lakehouse: Lakehouse, version: int | None = None) -> list[int]:
    return sorted(r["id"] for r in lakehouse.read(TABLE, version=version).read_all().to_pylist())


def holds(folder: Path, number: int) -> list[str]:
    """Return the Parquet files with a row of a number, found without the code under test."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.parquet")
        if "_delta_log" not in path.parts and number in pq.read_table(path)["id"].to_pylist()
    )


@pytest.fixture
def orders(lakehouse: Lakehouse) -> Lakehouse:
    """A table with the key in an old version, in the change feed and as the largest of a file."""
    lakehouse.create(TABLE, SCHEMA)
    lakehouse.append(TABLE, rows(7, 42))
    lakehouse.merge(TABLE, rows(42, amount=2), ("id",))
    lakehouse.append(TABLE, rows(8))
    return lakehouse


def test_nothing_of_the_entity_is_left(orders: Lakehouse) -> None:
    planned = plan(orders)
    assert planned.rows == 1
    kinds = {hit.kind for hit in planned.tables[0].hits}
    assert kinds == {"data", "change data", "log"}
    done = carry_out(orders, planned)
    folder = TABLE.location(orders.root)
    assert done.rows == {str(TABLE): 1}
    assert done.log_entries_removed > 0
    assert (done.proof.left, done.proof.kept) == ((), ())
    assert ids(orders) == [7, 8]
    assert holds(folder, 42) == []
    assert not [p for p in (folder / "_delta_log").glob("*.json") if '\\"id\\":42' in p.read_text()]
    assert plan(orders).empty


def test_versions_that_a_model_needs_stay_and_are_named(orders: Lakehouse) -> None:
    locked = {1: ("dev.shop.model@1",)}
    done = carry_out(orders, plan(orders, locked=locked))
    assert done.proof.left == ()
    [kept] = [k for k in done.proof.kept if k.hit.kind == "data"]
    assert kept.reason == f"version 1 of {TABLE} is needed by dev.shop.model@1"
    assert holds(TABLE.location(orders.root), 42) == [kept.hit.path]
    assert ids(orders, version=1) == [7, 42]
    assert ids(orders) == [7, 8]
    assert plan(orders, locked=locked).empty
    # The model version is deleted: the same command takes the rest.
    done = carry_out(orders, plan(orders))
    assert (done.proof.left, done.proof.kept) == ((), ())
    assert holds(TABLE.location(orders.root), 42) == []


@pytest.mark.parametrize("step", ["delete_keys", "vacuum", "truncate_log"])
def test_killed_after_a_step_the_next_one_finishes(orders: Lakehouse, step: str) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from lakeops_assets.governance import Key, carry_out, plan_forget\n"
        "from lakeops_assets.lakehouse import Lakehouse, TableName\n"
        "from lakeops_assets.lakehouse.engines import create_engine\n"
        f"real = Lakehouse.{step}\n"
        "def killed(*args, **kwargs):\n"
        "    real(*args, **kwargs); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Lakehouse.{step} = killed\n"
        f"lakehouse = Lakehouse(Path({str(orders.root)!r}), 'dev', create_engine('duckdb'))\n"
        f"tables, key = [TableName.parse({str(TABLE)!r})], Key((('id', '42'),))\n"
        "carry_out(lakehouse, plan_forget(lakehouse, 'shop', key, tables, {}))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    done = carry_out(orders, plan(orders))
    assert (done.proof.left, done.proof.kept) == ((), ())
    assert holds(TABLE.location(orders.root), 42) == []
    assert ids(orders) == [7, 8]


def test_a_condition_that_somebody_wrote_into_the_log_is_found_and_goes(orders: Lakehouse) -> None:
    orders.delete(TABLE, "id = 42")
    assert any("text of predicate" in hit.where for hit in plan(orders).tables[0].hits)
    done = carry_out(orders, plan(orders))
    assert done.proof.left == ()
    assert ids(orders) == [7, 8]


def test_a_key_that_is_nowhere_changes_nothing(orders: Lakehouse) -> None:
    key = Key((("id", "4711"),))
    version = orders.version(TABLE)
    done = carry_out(orders, plan(orders, key))
    assert plan(orders, key).empty
    assert (done.rows, done.files_removed, done.log_entries_removed) == ({}, 0, 0)
    assert orders.version(TABLE) == version


def test_a_key_of_several_columns_takes_rows_that_have_all_of_it(lakehouse: Lakehouse) -> None:
    lines = TableName("dev", "shop", "lines")
    schema = pa.schema([("shop", pa.string()), ("day", pa.date32()), ("v", pa.int64())])
    days = ["2026-01-01", "2026-01-02", "2026-01-01"]
    table = pa.table({"shop": ["a", "a", "b"], "day": days, "v": [1, 2, 3]})
    lakehouse.create(lines, schema)
    lakehouse.append(lines, table.cast(schema))
    lakehouse.create(TABLE, SCHEMA)
    lakehouse.append(TABLE, rows(1))
    key = Key.parse(["shop=a", "day=2026-01-01"], [])
    planned = plan_forget(lakehouse, "shop", key, [lines, TABLE], {})
    assert [str(t.table) for t in planned.tables] == [str(lines)]
    done = carry_out(lakehouse, planned)
    assert done.proof.left == ()
    assert sorted(lakehouse.read(lines).read_all()["v"].to_pylist()) == [2, 3]


def test_tables_of_others_are_named_and_left_alone(orders: Lakehouse) -> None:
    theirs = TableName("dev", "other", "copy")
    orders.create(theirs, SCHEMA)
    orders.append(theirs, rows(42))
    planned = plan(orders)
    assert planned.elsewhere == (str(theirs),)
    carry_out(orders, planned)
    assert orders.row_count(theirs) == 1


def test_the_same_value_in_another_column_is_said_and_left_alone(orders: Lakehouse) -> None:
    orders.append(TABLE, rows(9, amount=42))
    planned = plan(orders)
    assert planned.tables[0].same_value == (("amount", 1),)
    carry_out(orders, planned)
    assert ids(orders) == [7, 8, 9]


def test_a_file_that_nobody_can_read_is_no_proof(orders: Lakehouse) -> None:
    folder = TABLE.location(orders.root)
    carry_out(orders, plan(orders))
    path = folder / orders.files(TABLE)[0]
    path.write_bytes(path.read_bytes()[:-20])
    entry = folder / "_delta_log" / f"{orders.version(TABLE):020}.json"
    entry.write_text("{")
    hits = {hit.path: hit.where for hit in search(folder, str(TABLE), KEY).hits}
    assert set(hits) == {path.name, f"_delta_log/{entry.name}"}
    assert all("cannot be decoded" in where for where in hits.values())


def test_a_dropped_file_that_no_version_names_goes_too(orders: Lakehouse) -> None:
    stray = TABLE.location(orders.root) / "part-stray.parquet"
    pq.write_table(rows(42), stray)
    assert carry_out(orders, plan(orders)).proof.left == ()
    assert not stray.exists()


def test_the_log_of_a_delete_by_key_holds_no_value(orders: Lakehouse) -> None:
    commit = orders.delete_keys(TABLE, pa.table({"id": pa.array([42], pa.int64())}))
    assert commit.deleted == 1
    entry = TABLE.location(orders.root) / "_delta_log" / f"{commit.version:020}.json"
    assert '"id":42' not in entry.read_text().replace("\\", "")
    again = orders.delete_keys(TABLE, pa.table({"id": pa.array([42], pa.int64())}))
    assert (again.written, again.version) == (False, commit.version)


def test_a_log_starts_at_the_version_that_was_asked_for(orders: Lakehouse) -> None:
    newest = orders.version(TABLE) or 0
    orders.truncate_log(TABLE, oldest=newest - 1)
    assert ids(orders, version=newest - 1) == [7, 42]
    assert ids(orders) == [7, 8, 42]
    orders.append(TABLE, rows(9))
    assert ids(orders) == [7, 8, 9, 42]
    assert orders.history(TABLE)[-1].version == newest - 1


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    writes=st.lists(
        st.tuples(
            st.sampled_from(["append", "merge", "overwrite", "delete"]),
            st.sets(st.integers(0, 4), min_size=1),
        ),
        min_size=1,
        max_size=4,
    ),
    key=st.integers(0, 4),
)
def test_whatever_was_written_no_file_holds_it_and_the_rest_stays(
    config: Settings,
    tmp_path_factory: pytest.TempPathFactory,
    writes: list[tuple[str, set[int]]],
    key: int,
) -> None:
    root = tmp_path_factory.mktemp("any")
    lakehouse = Lakehouse(root, "dev", open_lakehouse(config).engine)
    lakehouse.create(TABLE, SCHEMA)
    for number, (write, numbers) in enumerate(writes):
        batch = rows(*numbers, amount=1000 + number)
        if write == "merge":
            fresh = ids(lakehouse)
            if len(fresh) == len(set(fresh)):
                lakehouse.merge(TABLE, batch, ("id",))
        elif write == "delete":
            lakehouse.delete_keys(TABLE, batch.select(["id"]))
        else:
            getattr(lakehouse, write)(TABLE, batch)
    before = ids(lakehouse)
    done = carry_out(lakehouse, plan(lakehouse, Key((("id", str(key)),))))
    assert done.proof.left == ()
    assert holds(TABLE.location(root), key) == []
    assert ids(lakehouse) == [n for n in before if n != key]


@pytest.mark.parametrize(
    ("texts", "keys", "expected"),
    [
        (["4711"], [("id",)], (("id", "4711"),)),
        (["a=1", "b=x=y"], [("id",)], (("a", "1"), ("b", "x=y"))),
    ],
)
def test_how_a_key_is_written(
    texts: list[str], keys: list[tuple[str, ...]], expected: tuple[tuple[str, str], ...]
) -> None:
    assert Key.parse(texts, keys).values == expected


@pytest.mark.parametrize(
    ("texts", "keys"),
    [(["4711"], [("a",), ("b",)]), (["4711"], []), (["a=1", "a=2"], []), ([], [])],
)
def test_a_key_that_is_not_clear_is_refused(texts: list[str], keys: list[tuple[str, ...]]) -> None:
    with pytest.raises(ForgetKeyError):
        Key.parse(texts, keys)


def test_the_hash_of_an_entity_needs_the_secret_of_the_state_root(tmp_path: Path) -> None:
    salt = read_salt(tmp_path / "state" / "salt")
    assert read_salt(tmp_path / "state" / "salt") == salt
    assert (tmp_path / "state" / "salt").stat().st_mode & 0o077 == 0
    mine = subject_hash(salt, "shop", (("a", "1"), ("b", "2")))
    assert mine == subject_hash(salt, "shop", (("b", "2"), ("a", "1")))
    assert mine != subject_hash(b"another", "shop", (("a", "1"), ("b", "2")))
