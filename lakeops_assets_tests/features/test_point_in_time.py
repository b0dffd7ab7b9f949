"""What a row sees is what was known at its cut-off, however it is computed and whatever comes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeops_assets.features.point_in_time import (
    Bounds,
    Events,
    PointInTimeError,
    PointInTimeSpec,
    compute,
    decode,
    encode,
    explain,
    refresh_point_in_time,
)
from lakeops_assets.lakehouse import Lakehouse, TableName

START = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")
ORDERS = pa.schema([("id", pa.int64()), ("shop", pa.string()), ("at", TIME)])
SALES = pa.schema([("shop", pa.string()), ("known_at", TIME), ("amount", pa.int64())])
SPEC = PointInTimeSpec(
    table=TableName("dev", "t", "features"),
    rows="t.orders",
    primary_key=("id",),
    timestamp="at",
    lead="1 hour",
    columns={"name": "upper(shop)"},
    events=(
        Events(
            "shop",
            "t.sales",
            "known_at",
            {"shop": "shop"},
            ("2 hours", "1 day"),
            {
                "n": "count(*)",
                "total": "sum(amount)",
                "mean": "avg(amount)",
                "most": "max(amount)",
                "last": "last(amount)",
                "silent": "(unix_seconds(cut_off) - unix_seconds(max(known_at))) / 60",
            },
            where="amount <> 13",
        ),
        Events("all", "t.sales", "known_at", {}, ("3 hours",), {"n": "count(amount)"}),
    ),
    derived={"share": "shop_n_2h / nullif(shop_n_1d, 0)"},
    description="Orders.",
)

# Minutes are few, so that instants coincide with each other, with cut-offs and with window ends.
SHOPS = st.sampled_from(["a", "b"])
MINUTES = st.integers(0, 40).map(lambda n: START + timedelta(minutes=30 * n))
SALE = st.tuples(SHOPS, MINUTES, st.sampled_from([None, 1, 2, 5, 13]))
ORDER = st.tuples(st.one_of(st.none(), SHOPS), MINUTES)


def rows_of(found: pa.Table) -> dict[int, dict[str, Any]]:
    return {r["id"]: r for r in found.to_pylist()}


def put(lakehouse: Lakehouse, orders: list[tuple], sales: list[tuple], first_id: int = 0) -> None:
    numbered = [(first_id + i, *order) for i, order in enumerate(orders)]
    for name, schema, rows in (("t.orders", ORDERS, numbered), ("t.sales", SALES, sales)):
        lakehouse.create(name, schema)
        if rows:
            columns = [
                pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            lakehouse.append(name, pa.table(columns, schema=schema))


def by_hand(shop: str | None, at: datetime, sales: list[tuple]) -> dict[str, Any]:
    """Compute the features of one order from the sales that were known at its cut-off."""
    cut_off = at - timedelta(hours=1)
    known = [s for s in sales if s[1] <= cut_off]
    made: dict[str, Any] = {"cut_off": cut_off}
    for name, hours in (("2h", 2), ("1d", 24)):
        seen = [
            s
            for s in known
            if s[0] == shop and s[1] >= cut_off - timedelta(hours=hours) and s[2] not in (13, None)
        ]
        amounts = [s[2] for s in seen]
        newest = max(seen, key=lambda s: (s[1], s[2]), default=None)
        nobody = shop is None
        made |= {
            f"shop_n_{name}": None if nobody else len(seen),
            f"shop_total_{name}": sum(amounts) if amounts else None,
            f"shop_mean_{name}": sum(amounts) / len(amounts) if amounts else None,
            f"shop_most_{name}": max(amounts, default=None),
            f"shop_last_{name}": newest[2] if newest else None,
            f"shop_silent_{name}": (cut_off - newest[1]).total_seconds() / 60 if newest else None,
        }
    made["all_n_3h"] = sum(s[1] >= cut_off - timedelta(hours=3) and s[2] is not None for s in known)
    return made


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    orders=st.lists(ORDER, min_size=1, max_size=8),
    sales=st.lists(SALE, max_size=25),
    later=st.lists(SALE, max_size=5),
)
def test_a_row_is_what_was_known_at_its_cut_off(
    lakehouse: Lakehouse, orders: list[tuple], sales: list[tuple], later: list[tuple]
) -> None:
    """By hand, from the known sales alone; sales that became known later change nothing."""
    shutil.rmtree(lakehouse.root, ignore_errors=True)
    put(lakehouse, orders, sales)
    found = rows_of(compute(lakehouse, SPEC, Bounds()))
    assert set(found) == set(range(len(orders)))
    for i, (shop, at) in enumerate(orders):
        expected = by_hand(shop, at, sales)
        assert {k: found[i][k] for k in expected} == expected
    last = max(row["cut_off"] for row in found.values())
    after = last + timedelta(microseconds=1)
    put(lakehouse, [], [(shop, max(known, after), amount) for shop, known, amount in later])
    assert rows_of(compute(lakehouse, SPEC, Bounds())) == found


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(
        st.tuples(st.lists(ORDER, max_size=4), st.lists(SALE, max_size=6)), min_size=2, max_size=4
    )
)
def test_the_order_of_files_does_not_matter(
    lakehouse: Lakehouse, batches: list[tuple[list, list]]
) -> None:
    """After any batches, in or out of order, the table is what all sources together say."""
    shutil.rmtree(lakehouse.root, ignore_errors=True)
    put(lakehouse, [], [("a", START, 1)])
    count = 0
    for orders, sales in batches:
        put(lakehouse, orders, sales, first_id=count)
        count += len(orders)
        result = refresh_point_in_time(lakehouse, SPEC)
        again = refresh_point_in_time(lakehouse, SPEC)
        assert not again.commit.written
        held = rows_of(lakehouse.read(SPEC.table).read_all())
        everything = compute(lakehouse, SPEC, Bounds(last=result.known_until))
        assert held == rows_of(everything)


@pytest.fixture
def shop(lakehouse: Lakehouse) -> Lakehouse:
    hour = timedelta(hours=1)
    sales = [("a", START + i * hour, i) for i in range(10)]
    put(lakehouse, [("a", START + i * hour) for i in range(4, 8)], sales)
    refresh_point_in_time(lakehouse, SPEC)
    return lakehouse


def test_a_row_waits_until_its_cut_off_has_passed(shop: Lakehouse) -> None:
    hour = timedelta(hours=1)
    put(shop, [("a", START + 11 * hour), ("b", START + 12 * hour)], [], first_id=10)
    waiting = refresh_point_in_time(shop, SPEC)
    assert (waiting.mode, waiting.rows) == ("new", 0)
    put(shop, [], [("b", START + 10 * hour, 1)])
    due = refresh_point_in_time(shop, SPEC)
    assert (due.mode, due.commit.inserted, due.commit.updated) == ("new", 1, 0)
    assert {10, 11} & set(rows_of(shop.read(SPEC.table).read_all())) == {10}


def test_a_change_feed_with_a_gap_makes_all_rows_again(shop: Lakehouse) -> None:
    """VACUUM takes change data away; then nothing tells which rows were touched."""
    put(shop, [], [("a", START + timedelta(hours=12), 1)])
    put(shop, [], [("a", START + timedelta(hours=13), 1)])
    shop.delete("t.sales", "amount = 9")
    shop.optimize("t.sales")
    shop.vacuum("t.sales", retention_hours=0, dry_run=False)
    result = refresh_point_in_time(shop, SPEC)
    assert result.mode == "full"
    everything = compute(shop, SPEC, Bounds(last=result.known_until))
    assert rows_of(shop.read(SPEC.table).read_all()) == rows_of(everything)


def test_a_schedule_that_is_known_ahead_moves_no_clock(shop: Lakehouse) -> None:
    """Rows are events of their own kind: orders that were due look back on orders."""
    due = Events("due", "t.orders", "at", {"shop": "shop"}, ("1 day",), {"n": "count(*)"})
    spec = replace(SPEC, events=(*SPEC.events, due))
    hour = timedelta(hours=1)
    put(shop, [("a", START + 30 * hour)], [], first_id=10)
    result = refresh_point_in_time(shop, spec)
    assert (result.known_until, result.rows) == (START + 9 * hour, 4)
    put(shop, [], [("a", START + 29 * hour, 1)])
    result = refresh_point_in_time(shop, spec)
    assert (result.mode, result.rows) == ("new", 1)
    alone = replace(spec, events=(due,), derived={})
    assert refresh_point_in_time(shop, alone).known_until == START + 30 * hour


def test_what_comes_late_makes_the_rows_behind_it_be_computed_again(shop: Lakehouse) -> None:
    before = rows_of(shop.read(SPEC.table).read_all())
    put(shop, [], [("a", START + timedelta(hours=5), 100)])
    late = refresh_point_in_time(shop, SPEC)
    after = rows_of(shop.read(SPEC.table).read_all())
    assert (late.mode, late.commit.updated, late.commit.inserted) == ("again", 2, 0)
    assert {i for i in after if after[i] != before[i]} == {2, 3}


def test_online_rows_are_those_of_the_table(shop: Lakehouse) -> None:
    """A row that no table has, looked at now, is what the table will say later."""
    at = START + timedelta(hours=9)
    asked = pa.table({"id": [99], "shop": ["a"], "at": pa.array([at], TIME)})
    now = at - timedelta(hours=1)
    online = compute(shop, SPEC, Bounds(now=now), rows=asked)
    put(shop, [("a", at)], [("a", START + timedelta(hours=20), 7)], first_id=99)
    refresh_point_in_time(shop, SPEC)
    assert rows_of(online)[99] == rows_of(shop.read(SPEC.table).read_all())[99]
    early = compute(shop, SPEC, Bounds(now=now - timedelta(hours=2)), rows=asked)
    assert rows_of(early)[99]["shop_last_1d"] == 6
    assert rows_of(early)[99]["cut_off"] == now - timedelta(hours=2)


def test_a_row_names_the_source_rows_that_it_has_seen(shop: Lakehouse) -> None:
    found = explain(shop, SPEC, {"id": "1"})
    assert found.cut_off == START + timedelta(hours=4)
    itself, by_shop, everything = found.seen
    assert [r["id"] for r in itself.rows] == [1]
    assert [r["amount"] for r in by_shop.rows] == [4, 3, 2, 1, 0]
    assert len(by_shop.rows) == found.features["shop_n_1d"]
    assert [r["amount"] for r in everything.rows] == [4, 3, 2, 1]
    assert by_shop.version == shop.data_version("t.sales")
    with pytest.raises(PointInTimeError, match="no row with id = '77'"):
        explain(shop, SPEC, {"id": "77"})


def test_another_definition_makes_all_rows_again(shop: Lakehouse) -> None:
    other = replace(SPEC, derived={"share": "0.5", "more": "shop_n_2h + 1"})
    result = refresh_point_in_time(shop, other)
    assert (result.mode, result.rows) == ("full", 4)
    assert shop.read(SPEC.table).read_all()["more"].to_pylist().count(None) == 0


def test_a_definition_survives_being_written_down() -> None:
    assert decode(encode(SPEC)) == SPEC


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lead": "soon"}, "'soon' is no length of time"),
        ({"derived": {"name": "1"}}, "makes the column name twice"),
        ({"events": (replace(SPEC.events[0], features={"x": "amount"}),)}, "aggregates nothing"),
        (
            {"events": (replace(SPEC.events[0], features={"x": "stddev(amount)"}),)},
            "there are: count",
        ),
    ],
)
def test_what_cannot_work_is_said_when_it_is_declared(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PointInTimeError, match=said):
        replace(SPEC, **change)


def test_a_time_that_is_no_instant_is_refused(lakehouse: Lakehouse) -> None:
    put(lakehouse, [], [("a", START, 1)])
    with pytest.raises(PointInTimeError, match="has no column moment"):
        refresh_point_in_time(lakehouse, replace(SPEC, timestamp="moment"))
    with pytest.raises(PointInTimeError, match=r"shop of dev\.t\.orders is string"):
        refresh_point_in_time(lakehouse, replace(SPEC, timestamp="shop"))


def test_a_key_that_is_there_twice_is_refused(lakehouse: Lakehouse) -> None:
    put(lakehouse, [("a", START)], [("a", START, 1)])
    put(lakehouse, [("a", START)], [])
    with pytest.raises(PointInTimeError, match="same id twice"):
        refresh_point_in_time(lakehouse, SPEC)
