"""What is planted in a source is what triage names first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeops_assets.features import FeatureSpec
from lakeops_assets.features.lineage import point_in_time_origins, sql_origins
from lakeops_assets.features.point_in_time import Events, PointInTimeSpec
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.monitoring import Column, ColumnKind, MonitorSpecError, Sketch
from lakeops_assets.monitoring.triage import Kind, Lineage, Origin, TracedTable, Triage, triage
from lakeops_assets.monitoring.triage.signatures import (
    best_shift,
    hours_apart,
    renamed,
    unit_change,
)

SOURCE = TableName("dev", "plant", "readings")
FEATURES = TableName("dev", "plant", "features")
OTHER = TableName("dev", "plant", "other")
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = (START + 28 * DAY, START + 35 * DAY)
PER_DAY = 96
LINEAGE = Lineage(
    (
        TracedTable(SOURCE, "at"),
        TracedTable(OTHER, "at"),
        TracedTable(
            FEATURES,
            "at",
            {
                "at": (Origin(SOURCE, "at"),),
                "warmth": (Origin(SOURCE, "temp"), Origin(SOURCE)),
                "kind": (Origin(SOURCE, "site"), Origin(SOURCE)),
                "elsewhere": (Origin(OTHER, "temp"),),
            },
        ),
    )
)


Rows = dict[str, list]
Change = Callable[[Rows], Rows]


def readings(day: int) -> Rows:
    """Rows of a day, as nature makes them: a level of the day, and noise."""
    generator = np.random.default_rng(day)
    start = START + day * DAY
    at = [start + i * timedelta(minutes=15) for i in range(PER_DAY)]
    at = [a for a in at if 5 <= a.hour < 23]
    temp = np.round(50 + generator.normal(0, 6) + generator.normal(0, 12, len(at)), 0)
    return {
        "at": at,
        "seen": [a - timedelta(minutes=30) for a in at],
        "temp": temp.tolist(),
        "site": generator.choice(["north", "south", "west"], len(at), p=[0.5, 0.3, 0.2]).tolist(),
    }


def written(lakehouse: Lakehouse, change: Change | None, from_day: int = 30) -> None:
    time = pa.timestamp("us", "UTC")
    columns = [("at", time), ("seen", time), ("temp", pa.float64()), ("site", pa.string())]
    schema = pa.schema(columns)
    lakehouse.create(SOURCE, schema)
    days = [readings(d) for d in range(35)]
    if change is not None:
        days = [change(rows) if d >= from_day else rows for d, rows in enumerate(days)]
    lakehouse.append(SOURCE, pa.concat_tables(pa.table(rows, schema=schema) for rows in days))
    lakehouse.create(OTHER, schema)
    lakehouse.append(
        OTHER, pa.concat_tables(pa.table(readings(d), schema=schema) for d in range(35))
    )
    made = lakehouse.query(f"SELECT at, temp / 10 AS warmth, site AS kind FROM {SOURCE}").read_all()
    lakehouse.create(FEATURES, made.schema)
    lakehouse.append(FEATURES, made)


def asked(lakehouse: Lakehouse, change: Change | None) -> Triage:
    written(lakehouse, change)
    return triage(lakehouse, LINEAGE, FEATURES, WEEK)


def test_an_untouched_week_has_no_fault(lakehouse: Lakehouse) -> None:
    found = asked(lakehouse, None)
    assert not any(s.move.fault for s in found.suspects)
    assert found.looked_at == (SOURCE, OTHER, FEATURES)


def to_celsius(rows: Rows) -> Rows:
    return {**rows, "temp": [round((t - 32) / 1.8, 1) for t in rows["temp"]]}


def without_values(rows: Rows) -> Rows:
    return {**rows, "temp": [None if i % 2 else t for i, t in enumerate(rows["temp"])]}


def other_name(rows: Rows) -> Rows:
    return {**rows, "site": ["NORTH" if s == "north" else s for s in rows["site"]]}


def nothing(rows: Rows) -> Rows:
    return {name: [] for name in rows}


def late(rows: Rows) -> Rows:
    return {**rows, "at": [a + timedelta(hours=3) for a in rows["at"]]}


def twice(rows: Rows) -> Rows:
    return {name: [*values, *values] for name, values in rows.items()}


@pytest.mark.parametrize(
    ("change", "column", "kind"),
    [
        (to_celsius, "temp", Kind.UNIT),
        (without_values, "temp", Kind.NULLS),
        (other_name, "site", Kind.RENAMED),
        (nothing, None, Kind.STOPPED),
        (late, "at", Kind.CLOCK),
        (twice, None, Kind.REPEATED),
    ],
)
def test_what_is_planted_comes_first(
    lakehouse: Lakehouse, change: Change, column: str | None, kind: Kind
) -> None:
    found = asked(lakehouse, change)
    first = found.suspects[0]
    assert (first.move.where, first.move.kind) == (Origin(SOURCE, column), kind)
    assert first.move.fault
    assert first.source
    assert first.move.since >= START + 30 * DAY - timedelta(hours=21)
    # What moved behind it is no suspect of its own.
    assert FEATURES not in {s.move.where.table for s in found.suspects}
    assert first.path[0].table == SOURCE
    assert first.path[-1].table == FEATURES


def test_a_unit_change_says_which(lakehouse: Lakehouse) -> None:
    evidence = asked(lakehouse, to_celsius).suspects[0].move.evidence
    assert "Fahrenheit to Celsius" in evidence


def test_days_that_nobody_has_reached_are_not_missing(lakehouse: Lakehouse) -> None:
    written(lakehouse, None)
    later = (START + 33 * DAY, START + 40 * DAY)
    found = triage(lakehouse, LINEAGE, FEATURES, later)
    assert not any(s.move.kind == Kind.STOPPED for s in found.suspects)


def test_a_table_without_a_past_is_left_out_with_the_reason(lakehouse: Lakehouse) -> None:
    written(lakehouse, None)
    found = triage(lakehouse, LINEAGE, FEATURES, (START, START + 7 * DAY))
    assert found.suspects == ()
    assert found.left_out[str(SOURCE)] == "it has fewer than two partitions before the window"


def test_an_empty_window_is_an_error(lakehouse: Lakehouse) -> None:
    with pytest.raises(MonitorSpecError, match="is empty"):
        triage(lakehouse, LINEAGE, FEATURES, (START, START))


# Signatures


@given(
    st.lists(st.integers(0, 50), min_size=24, max_size=24),
    st.integers(-11, 12),
)
def test_the_shift_of_a_day_is_found(hours: list[int], shift: int) -> None:
    if not any(hours):
        hours = [*hours[:-1], 1]
    moved = [hours[(h - shift) % 24] for h in range(24)]
    found, left = best_shift(moved, hours)
    assert left == pytest.approx(0)
    assert abs(found) <= abs(shift)
    assert hours_apart(moved, [hours[(h - found) % 24] for h in range(24)]) == pytest.approx(0)


def sketch(values: list[float]) -> Sketch:
    ordered = np.sort(np.array(values))
    quantiles = ordered[(np.arange(200) * len(ordered)) // 200]
    column = Column("x", ColumnKind.NUMERIC, "double")
    deviation = float(ordered.std())
    return Sketch(
        column, len(values), nulls=0, nan=0, stddev=deviation, median=float(np.median(ordered)),
        quantiles=quantiles.tolist(),
    )  # fmt: skip


@given(st.integers(0, 2**32 - 1), st.floats(20, 90), st.floats(3, 25))
def test_a_conversion_is_told_from_a_calm_day(seed: int, mean: float, spread: float) -> None:
    generator = np.random.default_rng(seed)
    before = sketch(np.round(generator.normal(mean, spread, 2000)).tolist())
    celsius = np.round((generator.normal(mean, spread, 300) - 32) / 1.8, 1)
    calm = np.round(generator.normal(mean, spread / 3, 300))
    assert unit_change(sketch(calm.tolist()), before) == ""
    assert "Fahrenheit to Celsius" in unit_change(sketch(celsius.tolist()), before)


def items(counts: dict[str, int]) -> Sketch:
    column = Column("x", ColumnKind.CATEGORICAL, "string")
    listed = tuple(sorted(counts.items(), key=lambda pair: -pair[1]))
    return Sketch(column, sum(counts.values()), nulls=0, distinct=len(counts), items=listed)


def test_a_category_that_only_became_rare_has_no_other_name() -> None:
    before = items({"a": 500, "b": 300, "c": 200})
    assert renamed(items({"a": 600, "b": 400}), before) == ""
    assert renamed(items({"a": 500, "b": 300, "d": 2}), before) == ""
    assert "c (20.0%) is gone and d (20.0%) is new" in renamed(
        items({"a": 500, "b": 300, "d": 200}), before
    )


# Lineage


def test_a_feature_knows_the_columns_that_it_is_made_of() -> None:
    spec = PointInTimeSpec(
        FEATURES,
        rows="plant.orders",
        primary_key=("id",),
        timestamp="due",
        lead="1 hour",
        columns={"size": "width * height"},
        events=(
            Events("line", "plant.events", "known_at", {"site": "site"}, ("1 hour",),
                   {"delay": "avg(delay)"}, "kind = 'late'"),
        ),
        derived={"both": "size + line_delay_1h"},
    )  # fmt: skip
    found = point_in_time_origins(spec)
    assert found["size"] == (("plant.orders", "width"), ("plant.orders", "height"))
    assert set(found["line_delay_1h"]) == {
        ("plant.events", "delay"),
        ("plant.events", "known_at"),
        ("plant.events", "site"),
        ("plant.orders", "site"),
        ("plant.events", "kind"),
        ("plant.events", None),
    }
    assert set(found["both"]) == {*found["size"], *found["line_delay_1h"]}


def test_sql_knows_the_columns_through_stars_and_subqueries() -> None:
    spec = FeatureSpec(
        FEATURES,
        "SELECT s.*, upper(t.y) AS label FROM (SELECT k, a + b AS c FROM plant.one "
        "QUALIFY row_number() OVER (PARTITION BY k ORDER BY a) = 1) AS s "
        "LEFT JOIN plant.two AS t ON t.k = s.k",
        ("k",),
    )
    found = sql_origins(spec, {"plant.one": ["k", "a", "b"], "plant.two": ["k", "y"]})
    assert set(found) == {"k", "c", "label"}
    assert found["c"] == (("plant.one", "a"), ("plant.one", "b"), ("plant.one", None))
    # A left join decides which values there are, and not which rows.
    assert found["label"] == (("plant.two", "y"), ("plant.two", None), ("plant.one", None))
