"""The features of real flights: no leak, and the same for training and for scoring."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import flights
import pyarrow as pa
import pytest

from lakeops_assets import settings
from lakeops_assets.features.point_in_time import (
    Bounds,
    Events,
    compute,
    refresh_point_in_time,
)
from lakeops_assets.features.refresh import refresh_features
from lakeops_assets.features.spec import FeatureSpec
from lakeops_assets.lakehouse import Lakehouse, TableName, open_lakehouse

SPEC = flights.spec()
# The storm of 8 and 9 February is in it: hundreds of cancelled flights.
FIRST, LAST = date(2013, 1, 1), date(2013, 2, 11)
SAMPLE = 2000


@pytest.fixture(scope="module")
def sample() -> dict[str, tuple[Any, Any]]:
    return flights.tables()


@pytest.fixture(scope="module")
def bronze(
    sample: dict[str, tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Lakehouse:
    """Six weeks of flights in bronze tables."""
    home = tmp_path_factory.mktemp("flights")
    lakehouse = open_lakehouse(settings.load({"LAKEOPS_HOME": str(home)}, Path(home)))
    flights.arrive(lakehouse, sample, FIRST, LAST)
    return lakehouse


@pytest.fixture(scope="module")
def everything(bronze: Lakehouse) -> pa.Table:
    return compute(bronze, SPEC, Bounds()).sort_by("flight_id")


def naive(events: Events, window: str) -> str:
    """Return the features of one source and window as a join of rows with what they may see."""
    seen = [f"e.{a} = r.row_{b}" for a, b in events.key.items()]
    seen += [f"e.{events.known_at} <= r.cut_off"]
    seen += [f"e.{events.known_at} >= r.cut_off - INTERVAL {window}"]
    made = []
    for name, text in events.features.items():
        inner = text[len("last(") : -1]
        if text.startswith("last("):
            text = (
                f"max_by({inner}, struct(e.{events.known_at} AS a, {inner} AS b)) "
                f"FILTER (WHERE {inner} IS NOT NULL)"
            )
        made.append(f"{text.replace('cut_off', 'any_value(r.cut_off)')} AS {name}")
    return (
        f"SELECT r.flight_id AS row_id, {', '.join(made)} FROM asked AS r "
        f"JOIN (SELECT * FROM {events.table} WHERE {events.where or 'TRUE'}) AS e "
        f"ON {' AND '.join(seen)} GROUP BY r.flight_id"
    )


def test_two_thousand_flights_see_only_what_was_known(
    bronze: Lakehouse, everything: pa.Table
) -> None:
    """Each feature equals the one computed from the rows that were known, joined one by one."""
    from random import Random

    rows = bronze.read("flight_delay.schedule").read_all().to_pylist()
    chosen = Random(0).sample(rows, SAMPLE)
    for row in chosen:
        row["cut_off"] = row["scheduled_departure"] - timedelta(hours=2)
    asked = pa.Table.from_pylist(
        [
            {k if k in ("flight_id", "cut_off") else f"row_{k}": v for k, v in r.items()}
            for r in chosen
        ]
    )
    found = {r["flight_id"]: r for r in everything.to_pylist()}
    compared = 0
    for events in SPEC.events:
        for window in events.windows:
            expected = {
                r["row_id"]: r
                for r in bronze.query(naive(events, window), {"asked": asked})
                .read_all()
                .to_pylist()
            }
            for row in chosen:
                keys = [row[b] for b in events.key.values()]
                for name, text in events.features.items():
                    ours = found[row["flight_id"]][events.feature_name(name, window)]
                    nothing = 0 if text.startswith("count") and None not in keys else None
                    theirs = expected.get(row["flight_id"], {}).get(name, nothing)
                    assert ours == theirs, (row["flight_id"], events.name, name, window)
                    compared += 1
    features = sum(len(e.windows) * len(e.features) for e in SPEC.events)
    assert compared == features * SAMPLE > 150_000


def test_a_source_row_past_the_cut_off_changes_nothing(
    bronze: Lakehouse, everything: pa.Table
) -> None:
    """The one flight whose outcome is moved past every cut-off is seen by nobody any more."""
    cut = datetime(2013, 2, 9, 18, tzinfo=UTC)
    kept = bronze.query(
        f"SELECT * FROM flight_delay.outcomes WHERE known_at <= TIMESTAMP '{cut.isoformat()}'"
    ).read_all()
    home = bronze.root.parent / "cut"
    other = open_lakehouse(settings.load({"LAKEOPS_HOME": str(home)}, home.parent))
    for table in ("schedule", "weather", "planes", "airports"):
        rows = bronze.read(f"flight_delay.{table}").read_all()
        other.create(f"flight_delay.{table}", rows.schema)
        other.append(f"flight_delay.{table}", rows)
    other.create("flight_delay.outcomes", kept.schema)
    other.append("flight_delay.outcomes", kept)
    bounds = Bounds(last=cut)
    import pyarrow.compute as pc

    before = everything.filter(pc.less_equal(everything["cut_off"], cut))
    assert compute(other, SPEC, bounds).sort_by("flight_id").equals(before)
    assert before.num_rows > 30_000


def test_day_by_day_gives_what_all_at_once_gives(
    sample: dict[str, tuple[Any, Any]], lakehouse: Lakehouse
) -> None:
    """Rows that were scored on their day are, bit for bit, those that are trained on later."""
    training = FeatureSpec(
        TableName("dev", "flight_delay", "training"),
        (flights.PRODUCT.parent / "training.sql").read_text(),
        ("flight_id",),
        refresh="by_key",
    )
    first = FIRST
    for last in (date(2013, 1, 3), date(2013, 1, 4), date(2013, 1, 5)):
        flights.arrive(lakehouse, sample, first, last)
        first = last + timedelta(days=1)
        result = refresh_point_in_time(lakehouse, SPEC)
        labels = refresh_features(lakehouse, training)
    assert (result.mode, labels.mode) == ("new", "by_key")
    assert result.commit.updated == labels.commit.updated == 0
    assert 600 < result.commit.inserted < 1000
    held = lakehouse.read(SPEC.table).read_all().sort_by("flight_id")
    once = compute(lakehouse, SPEC, Bounds(last=result.known_until)).sort_by("flight_id")
    assert held.cast(once.schema).equals(once)

    # Cancelled flights are there to be scored, and have no label to be trained on.
    outcomes = lakehouse.query(
        "SELECT o.event, count(*) AS n, count(f.flight_id) AS scored, "
        "count(t.flight_id) AS trained FROM flight_delay.outcomes AS o "
        "LEFT JOIN flight_delay.features AS f ON f.flight_id = o.flight_id "
        "LEFT JOIN flight_delay.training AS t ON t.flight_id = o.flight_id GROUP BY o.event"
    )
    by_event = {r["event"]: r for r in outcomes.read_all().to_pylist()}
    assert by_event["cancelled"]["scored"] == by_event["cancelled"]["n"] > 10
    assert by_event["cancelled"]["trained"] == by_event["diverted"]["trained"] == 0
    arrived = by_event["arrived"]
    assert arrived["trained"] == arrived["scored"] > 3000
    late = lakehouse.query(
        "SELECT count(*) AS n FROM flight_delay.training AS t JOIN flight_delay.outcomes AS o "
        "ON o.flight_id = t.flight_id AND o.event = 'arrived' "
        "WHERE (t.arrival = 'late') <> (o.delay_minutes > 15)"
    )
    assert late.read_all()["n"][0].as_py() == 0
