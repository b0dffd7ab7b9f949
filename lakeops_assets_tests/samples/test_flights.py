"""Real flights, replayed by what was known when."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lakeops_assets import samples
from lakeops_assets.samples import flights


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return flights.load()


@pytest.fixture(scope="module")
def tables(frames: dict[str, pd.DataFrame]) -> dict[str, tuple[Any, Any]]:
    return {d.table: d.rows(frames) for d in flights.FLIGHTS.deliveries}


def test_every_flight_is_scheduled_once_and_ends_once(tables: dict[str, tuple[Any, Any]]) -> None:
    schedule, outcomes = tables["schedule"][0], tables["outcomes"][0]
    assert schedule["flight_id"].is_unique
    assert len(schedule) == 336_776
    ends = outcomes[outcomes["event"] != "departed"]
    assert sorted(ends["flight_id"]) == sorted(schedule["flight_id"])
    counts = outcomes["event"].value_counts().to_dict()
    assert counts == {"departed": 328_521, "arrived": 327_346, "cancelled": 8255, "diverted": 1175}


def test_times_are_instants_of_one_clock(frames: dict[str, pd.DataFrame]) -> None:
    """What the plane was in the air fits between departure and arrival, on any side of any zone."""
    rows = frames["flights"]
    gate_to_gate = (rows["arrived_at"] - rows["departed_at"]).dt.total_seconds() / 60
    on_the_ground = (gate_to_gate - rows["air_time"]).dropna()
    assert on_the_ground.min() >= 5
    assert on_the_ground.max() < 240
    summer = rows[(rows["month"] == 7) & (rows["sched_dep_time"] == 900)].iloc[0]
    winter = rows[(rows["month"] == 1) & (rows["sched_dep_time"] == 900)].iloc[0]
    assert (summer["scheduled_departure"].hour, winter["scheduled_departure"].hour) == (13, 14)


def test_a_row_arrives_on_the_day_on_which_it_is_known(tables: dict[str, tuple[Any, Any]]) -> None:
    declared = {d.table: d for d in flights.FLIGHTS.deliveries}
    for table, (rows, days) in tables.items():
        assert set(days) == {d for d in flights.FLIGHTS.days if d <= declared[table].last_day} or (
            table in ("planes", "airports")
        )
        if "known_at" in rows:
            assert (rows["known_at"].str[:10] == days.map(date.isoformat)).all()
    schedule, outcomes = tables["schedule"][0], tables["outcomes"][0]
    both = outcomes.merge(schedule[["flight_id", "known_at"]], on="flight_id", suffixes=("", "_s"))
    assert (both["known_at"] >= both["known_at_s"]).mean() > 0.9999


def test_a_few_days_land(tmp_path: Path) -> None:
    landed = samples.land(flights.FLIGHTS, tmp_path, batches=2)
    names = sorted(p.relative_to(tmp_path / "flight_delay").as_posix() for p in landed.files)
    assert names == [
        "airports/2013-01-01.csv",
        "outcomes/2013-01-01.csv",
        "outcomes/2013-01-02.csv",
        "planes/2013-01-01.csv",
        "schedule/2013-01-01.csv",
        "schedule/2013-01-02.csv",
        "weather/2013-01-01.csv",
        "weather/2013-01-02.csv",
    ]
    assert landed.remaining == 364
