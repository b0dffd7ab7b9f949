"""Coverage: the share of entities with a present, real and fresh value, in one pass."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeops_assets.features import (
    CoverageSpec,
    FeatureSpec,
    FeatureSpecError,
    inputs_of,
    measure_coverage,
    refresh_features,
)
from lakeops_assets.lakehouse import Lakehouse

DAY = timedelta(days=1)
ROWS = [
    # key, day, charges, plan
    (1, date(2026, 1, 1), 1.0, "a"),
    (2, date(2026, 1, 20), None, "b"),
    (3, date(2026, 1, 25), math.nan, None),
    (4, date(2026, 1, 31), 4.0, "a"),
    (5, None, 5.0, "c"),
]


def write(lakehouse: Lakehouse, rows: list[tuple] = ROWS) -> None:
    import pyarrow as pa

    names = ("id", "day", "charges", "plan")
    kinds = (pa.int64(), pa.date32(), pa.float64(), pa.string())
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    lakehouse.create("churn.features", schema)
    table = pa.Table.from_pylist([dict(zip(names, r, strict=True)) for r in rows], schema=schema)
    lakehouse.overwrite("churn.features", table)


def share(lakehouse: Lakehouse, *specs: CoverageSpec, **options: object) -> list[float]:
    found = measure_coverage(lakehouse, "churn.features", specs, **options)
    return [found.shares[s.feature] for s in specs]


def test_missing_values_and_numbers_that_are_none_are_not_covered(lakehouse: Lakehouse) -> None:
    write(lakehouse)
    assert share(lakehouse, CoverageSpec("charges"), CoverageSpec("plan")) == [3 / 5, 4 / 5]


def test_each_feature_has_a_window_of_its_own(lakehouse: Lakehouse) -> None:
    write(lakehouse)
    specs = (
        CoverageSpec("charges", "day", 60 * DAY),
        CoverageSpec("plan", "day", 11 * DAY),
        CoverageSpec("id", "day", 10 * DAY),
        CoverageSpec("day"),
    )
    assert share(lakehouse, *specs) == [2 / 5, 2 / 5, 2 / 5, 4 / 5]


def test_age_is_measured_from_the_newest_row_or_from_now(lakehouse: Lakehouse) -> None:
    write(lakehouse)
    spec = CoverageSpec("id", "day", 7 * DAY)
    found = measure_coverage(lakehouse, "churn.features", [spec])
    assert found.as_of == {"day": datetime(2026, 1, 31, tzinfo=UTC)}
    assert found.shares["id"] == 2 / 5
    later = datetime(2026, 2, 7, 12, tzinfo=UTC)
    assert share(lakehouse, spec, now=later) == [0.0]
    # A row from after the clock is wrong and not fresh.
    assert share(lakehouse, spec, now=datetime(2026, 1, 26, tzinfo=UTC)) == [2 / 5]


def test_a_version_is_measured_as_it_was(lakehouse: Lakehouse) -> None:
    write(lakehouse)
    version = lakehouse.version("churn.features")
    write(lakehouse, [(9, date(2026, 3, 1), None, None)])
    assert share(lakehouse, CoverageSpec("plan"), version=version) == [4 / 5]
    assert share(lakehouse, CoverageSpec("plan")) == [0.0]


def test_an_empty_table_has_no_coverage(lakehouse: Lakehouse) -> None:
    write(lakehouse, [])
    found = measure_coverage(lakehouse, "churn.features", [CoverageSpec("id", "day", DAY)])
    assert (found.rows, found.shares, found.as_of) == (0, {}, {"day": None})


def test_what_cannot_be_measured_is_said(lakehouse: Lakehouse) -> None:
    write(lakehouse)
    with pytest.raises(FeatureSpecError, match=r"the column age, .* it has: id, day"):
        share(lakehouse, CoverageSpec("age"))
    with pytest.raises(FeatureSpecError, match=r"plan in .* is declared twice"):
        share(lakehouse, CoverageSpec("plan"), CoverageSpec("plan", "day", DAY))
    with pytest.raises(FeatureSpecError, match="names no timestamp"):
        CoverageSpec("plan", within=DAY)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.dates(date(2026, 1, 1), date(2026, 3, 1)),
            st.none() | st.floats(allow_nan=True, allow_infinity=False, width=32),
        ),
        min_size=1,
        max_size=12,
    ),
    window=st.integers(1, 40),
)
def test_sql_counts_what_python_counts(
    lakehouse: Lakehouse, rows: list[tuple], window: int
) -> None:
    write(lakehouse, [(i, day, value, None) for i, (day, value) in enumerate(rows)])
    newest = max((day for day, _ in rows if day), default=None)
    covered = [
        day is not None
        and newest is not None
        and newest - day <= window * DAY
        and value is not None
        and not math.isnan(value)
        for day, value in rows
    ]
    assert share(lakehouse, CoverageSpec("charges", "day", window * DAY)) == [
        sum(covered) / len(rows)
    ]


def test_a_feature_table_remembers_what_each_version_was_made_of(lakehouse: Lakehouse) -> None:
    write(lakehouse)
    spec = FeatureSpec(lakehouse.name("churn.made"), "SELECT id, plan FROM churn.features", ("id",))
    first = refresh_features(lakehouse, spec).commit.version
    write(lakehouse, [(9, date(2026, 3, 1), None, "z")])
    second = refresh_features(lakehouse, spec).commit.version
    assert inputs_of(lakehouse, spec.table, first) == {"dev.churn.features": 1}
    assert inputs_of(lakehouse, spec.table, second) == {"dev.churn.features": 2}
    assert inputs_of(lakehouse, spec.table, 0) == {}
