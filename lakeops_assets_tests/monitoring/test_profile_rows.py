from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.monitoring import (
    MonitorSpec,
    comparisons,
    drift,
    monitored_columns,
    profile,
    scan,
)
from lakeops_assets.monitoring.quantiles import ranked_there, sorted_here
from lakeops_assets.monitoring.sketch import GroupSketch
from lakeops_assets.monitoring.statements import groupings

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
SNAPSHOT = MonitorSpec("snapshot")


@pytest.fixture
def sketches(lakehouse: Lakehouse) -> Callable[..., list[GroupSketch]]:
    """Scan rows that are written to a table first."""

    def run(rows: pa.Table, spec: MonitorSpec = SNAPSHOT, **options: Any) -> list[GroupSketch]:
        return scan_rows(lakehouse, rows, spec, **options)

    return run


def scan_rows(
    lakehouse: Lakehouse, rows: pa.Table, spec: MonitorSpec = SNAPSHOT, **options: Any
) -> list[GroupSketch]:
    lakehouse.create("test.rows", rows.schema)
    commit = lakehouse.overwrite("test.rows", rows, evolve=True)
    return scan(
        lakehouse,
        lakehouse.name("test.rows"),
        commit.version,
        monitored_columns(rows.schema, spec),
        spec,
        windowed=options.pop("windowed", spec.kind != "snapshot"),
        by_model=spec.kind == "inference_log",
        **options,
    )


def rows_of(sketches: list[GroupSketch], spec: MonitorSpec = SNAPSHOT) -> dict[str, dict]:
    table = profile(sketches, spec, log_type="BASELINE", version=1, monitor_version=0)
    return {row["column_name"]: row for row in table.to_pylist()}


def compared_rows(rows: pa.Table) -> list[dict]:
    return drift(rows, SNAPSHOT, comparisons(rows, SNAPSHOT)).to_pylist()


def test_numbers_agree_with_brute_force(sketches: Callable[..., list[GroupSketch]]) -> None:
    rng = np.random.default_rng(5)
    x = np.where(rng.random(4321) < 0.3, 0, rng.lognormal(size=4321))
    whole = rng.integers(-3, 4, size=4321)
    table = pa.table(
        {
            "x": x,
            "whole": whole,
            "money": pa.array([Decimal(int(w)) / 4 for w in whole], pa.decimal128(9, 2)),
        }
    )
    found = rows_of(sketches(table))
    for name, values in {"x": x, "whole": whole, "money": whole / 4}.items():
        row = found[name]
        assert row["count"] == 4321
        assert row["num_zeros"] == (values == 0).sum()
        assert row["avg"] == pytest.approx(values.mean())
        assert row["stddev"] == pytest.approx(values.std(ddof=1))
        assert (row["min"], row["max"]) == (values.min(), values.max())
        shares = (np.arange(1000) + 0.5) / 1000
        assert row["quantiles"] == list(np.quantile(values, shares, method="inverted_cdf"))
        assert row["median"] == np.quantile(values, 0.5, method="inverted_cdf")
        assert row["distinct_count"] == pytest.approx(len(np.unique(values)), rel=0.1, abs=1)
    assert found["x"]["data_type"] == "double"
    assert found["money"]["data_type"] == "decimal(9,2)"


def test_quantiles_of_a_table_too_large_to_sort_are_close(
    sketches: Callable[..., list[GroupSketch]],
) -> None:
    values = np.sort(np.random.default_rng(5).normal(size=20_000))
    exact = sketches(pa.table({"x": values}))[0].columns[0]
    close = sketches(pa.table({"x": values}), exact_values=10)[0].columns[0]
    assert len(close.quantiles or ()) == 1000
    ranks = np.searchsorted(values, close.quantiles) / len(values)
    assert np.abs(ranks - (np.arange(1000) + 0.5) / 1000).max() < 0.005
    assert close.median == pytest.approx(exact.median, abs=0.02)
    assert (close.avg, close.min, close.max) == (pytest.approx(exact.avg), exact.min, exact.max)


def test_quantiles_are_the_same_wherever_they_are_sorted(lakehouse: Lakehouse) -> None:
    rng = np.random.default_rng(8)
    n = 500
    missing = rng.random(n) < 0.2
    table = pa.table(
        {
            "x": pa.array(np.where(rng.random(n) < 0.4, 0, rng.normal(size=n)), mask=missing),
            "day": [date(2026, 3, 2 + i % 3) if i % 7 else None for i in range(n)],
            "plan": pa.array(rng.choice(["a", "b"], size=n), mask=rng.random(n) < 0.1),
            "nothing": pa.nulls(n, pa.float64()),
        }
    )
    lakehouse.create("test.q", table.schema)
    lakehouse.append("test.q", table)
    spec = MonitorSpec(
        "time_series", timestamp_col="day", granularities=("1 day",), slicing_exprs=("plan",)
    )
    columns = monitored_columns(table.schema, spec)
    source = {"source": lakehouse.at("test.q")}

    def run(sql: str) -> Iterator[pa.RecordBatch]:
        return iter(lakehouse.query(sql, source))

    for windowed in (True, False):
        for grouping in groupings(spec, windowed=windowed, by_model=False, condition="x < 2"):
            there = ranked_there(run, grouping, columns, quantiles=50)
            here = sorted_here(run, grouping, columns, n, quantiles=50)
            known = {key: r for key, r in there.items() if None not in key[0]}
            assert {k: (list(r.quantiles), r.median) for k, r in here.items()} == {
                k: (list(r.quantiles), r.median) for k, r in known.items()
            }
            assert len(here) == len(columns[:2]) * (3 if windowed else 1) * (
                2 if grouping.slice_key else 1
            )


def test_texts_and_flags_have_frequent_items(sketches: Callable[..., list[GroupSketch]]) -> None:
    words = ["b", "a", "it's", None, "a", "ünï", "b"]
    flags = [True, True, None, False, True, True, True]
    found = rows_of(sketches(pa.table({"word": words, "flag": flags})))
    assert found["word"]["frequent_items"] == [
        {"item": "a", "count": 2},
        {"item": "b", "count": 2},
        {"item": "it's", "count": 1},
        {"item": "ünï", "count": 1},
    ]
    assert (found["word"]["distinct_count"], found["word"]["num_nulls"]) == (4, 1)
    assert (found["word"]["min_length"], found["word"]["max_length"]) == (1, 4)
    assert found["word"]["avg_length"] == pytest.approx(11 / 6)
    assert found["flag"]["frequent_items"] == [
        {"item": "true", "count": 5},
        {"item": "false", "count": 1},
    ]
    assert found["word"]["quantiles"] is found["word"]["avg"] is None


def test_a_hundred_items_are_kept_and_all_are_counted(
    sketches: Callable[..., list[GroupSketch]],
) -> None:
    words = [f"w{i:03}" for i in range(150) for _ in range(1 + (i == 149))]
    found = rows_of(sketches(pa.table({"word": words})))["word"]
    assert found["distinct_count"] == 150
    assert [item["item"] for item in found["frequent_items"]] == [
        "w149",
        *(f"w{i:03}" for i in range(99)),
    ]


def test_times_are_profiled_in_epoch_seconds(sketches: Callable[..., list[GroupSketch]]) -> None:
    times = [START + timedelta(seconds=s) for s in (0, 1.5, 10)]
    table = pa.table(
        {
            "at": pa.array(times, pa.timestamp("us", tz="UTC")),
            "day": [date(1969, 12, 31), date(1970, 1, 2), None],
        }
    )
    found = rows_of(sketches(table))
    epoch = START.timestamp()
    at = found["at"]
    assert (at["min"], at["median"], at["max"]) == (epoch, epoch + 1.5, epoch + 10)
    assert at["avg"] is None
    assert (found["day"]["min"], found["day"]["max"]) == (-86400, 86400)
    assert [found[c]["data_type"] for c in ("at", "day")] == ["timestamp", "date"]


def test_what_has_no_statistics_is_counted(sketches: Callable[..., list[GroupSketch]]) -> None:
    table = pa.table(
        {
            "list": pa.array([[1.0], None, []], pa.list_(pa.float64())),
            "struct": pa.array([{"a": 1}, {"a": None}, None]),
            "bytes": pa.array([b"x", None, b""]),
            "none": pa.array([None] * 3, pa.float64()),
            "nothing": pa.array([None] * 3, pa.string()),
            "nan": [math.nan, math.inf, -math.inf],
            "huge": [1.7e308, -1.7e308, 1.0],
        }
    )
    found = rows_of(sketches(table))
    assert {name: row["num_nulls"] for name, row in found.items() if name != ":table"} == {
        "list": 1, "struct": 1, "bytes": 1, "none": 3, "nothing": 3, "nan": 0, "huge": 0,
    }  # fmt: skip
    assert found["nan"]["num_nan"] == 3
    assert found["nan"]["percent_nan"] == 100
    assert found["nan"]["avg"] is found["nan"]["quantiles"] is None
    assert (found["huge"]["num_nan"], found["huge"]["avg"], found["huge"]["stddev"]) == (2, 1, None)
    assert found[":table"]["non_null_columns"] == ["list", "struct", "bytes", "nan", "huge"]
    assert found["none"]["percent_null"] == 100


def test_an_empty_table_is_profiled_as_empty(sketches: Callable[..., list[GroupSketch]]) -> None:
    table = pa.schema([("x", pa.float64()), ("word", pa.string())]).empty_table()
    found = rows_of(sketches(table))
    assert found[":table"]["count"] == 0
    assert found[":table"]["non_null_columns"] == []
    assert found["x"]["percent_null"] is None
    assert found["x"]["quantiles"] is None


@pytest.mark.parametrize(
    ("granularity", "starts", "end"),
    [
        ("30 minutes", [(2, 0, 0), (2, 1, 30), (9, 0, 0)], timedelta(minutes=30)),
        ("1 hour", [(2, 0, 0), (2, 1, 0), (9, 0, 0)], timedelta(hours=1)),
        ("1 day", [(2, 0, 0), (9, 0, 0)], timedelta(days=1)),
        ("1 week", [(2, 0, 0), (9, 0, 0)], timedelta(weeks=1)),
        ("1 month", [(1, 0, 0)], timedelta(days=31)),
    ],
)
def test_rows_fall_into_windows(
    sketches: Callable[..., list[GroupSketch]],
    granularity: str,
    starts: list[tuple[int, int, int]],
    end: timedelta,
) -> None:
    spec = MonitorSpec("time_series", timestamp_col="at", granularities=(granularity,))
    times = [START, START + timedelta(minutes=99), START + timedelta(days=7), None]
    table = pa.table({"at": pa.array(times, pa.timestamp("us", tz="UTC")), "x": [1, 2, 3, 4]})
    groups = sorted((s.group for s in sketches(table, spec)), key=lambda g: g.start or START)
    assert [g.start for g in groups] == [
        datetime(2026, 3, day, hour, minute, tzinfo=UTC) for day, hour, minute in starts
    ]
    assert {g.end - g.start for g in groups if g.end and g.start} == {end}


def test_windows_before_the_epoch_and_of_several_weeks_are_aligned(
    sketches: Callable[..., list[GroupSketch]],
) -> None:
    spec = MonitorSpec("time_series", timestamp_col="day", granularities=("2 weeks", "1 day"))
    groups = [s.group for s in sketches(pa.table({"day": [date(1969, 12, 31)], "x": [1]}), spec)]
    assert [(g.granularity, g.start) for g in groups] == [
        ("2 weeks", datetime(1969, 12, 22, tzinfo=UTC)),
        ("1 day", datetime(1969, 12, 31, tzinfo=UTC)),
    ]


def test_slices_and_models_partition_the_rows(
    sketches: Callable[..., list[GroupSketch]],
) -> None:
    spec = MonitorSpec(
        "inference_log",
        timestamp_col="day",
        granularities=("1 day",),
        prediction_col="p",
        model_id_col="model",
        slicing_exprs=("p > 0.5", "plan"),
    )
    table = pa.table(
        {
            "day": [date(2026, 3, 2)] * 4,
            "p": [0.1, 0.9, 0.8, None],
            "plan": ["basic", "it's", None, "basic"],
            "model": [1, 2, 2, 2],
        }
    )
    found = {
        (s.group.slice_key, s.group.slice_value, s.group.model_id): s.count
        for s in sketches(table, spec)
    }
    assert found == {
        (None, None, "*"): 4, (None, None, "1"): 1, (None, None, "2"): 3,
        ("p > 0.5", "true", "*"): 2, ("p > 0.5", "false", "*"): 1,
        ("p > 0.5", "true", "2"): 2, ("p > 0.5", "false", "1"): 1,
        ("plan", "basic", "*"): 2, ("plan", "it's", "*"): 1,
        ("plan", "basic", "1"): 1, ("plan", "basic", "2"): 1, ("plan", "it's", "2"): 1,
    }  # fmt: skip


def test_no_more_than_a_hundred_slices_are_made(
    sketches: Callable[..., list[GroupSketch]],
) -> None:
    spec = MonitorSpec("snapshot", slicing_exprs=("word",))
    words = [rf"w\{i}'" for i in range(120) for _ in range(1 + (i >= 60))]
    found = sketches(pa.table({"word": words}), spec)
    values = [s.group.slice_value for s in found if s.group.slice_key]
    assert len(values) == 100
    assert {rf"w\{i}'" for i in range(60, 120)} <= set(values)


cells = st.fixed_dictionaries(
    {
        "x": st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 1.0])),
        "n": st.one_of(st.none(), st.integers(-(2**62), 2**62)),
        "word": st.one_of(st.none(), st.text(max_size=4), st.sampled_from("ab")),
        "flag": st.one_of(st.none(), st.booleans()),
    }
)
SCHEMA = pa.schema(
    [("x", pa.float64()), ("n", pa.int64()), ("word", pa.string()), ("flag", pa.bool_())]
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(cells, max_size=40), st.randoms(use_true_random=False))
def test_any_rows_give_a_finite_profile_that_does_not_depend_on_their_order(
    tmp_path: Path, rows: list[dict], random: Any
) -> None:
    lakehouse = Lakehouse(tmp_path, "dev", create_engine("duckdb"))
    first = scan_rows(lakehouse, pa.Table.from_pylist(rows, SCHEMA))
    random.shuffle(rows)
    second = scan_rows(lakehouse, pa.Table.from_pylist(rows, SCHEMA))
    found, again = rows_of(first), rows_of(second)
    for name, row in found.items():
        for key, value in row.items():
            if isinstance(value, float):
                assert math.isfinite(value), (name, key)
                if key.startswith("percent"):
                    assert 0 <= value <= 100
                if key in ("avg", "stddev"):  # sums of floats depend on their order a little
                    assert again[name][key] == pytest.approx(value, rel=1e-6, abs=1e-6)
                    continue
            if key not in ("avg", "stddev"):
                assert again[name][key] == value, (name, key)

    base = profile(first, SNAPSHOT, log_type="BASELINE", version=1, monitor_version=0)
    now = pa.array([{"start": START, "end": START}] * base.num_rows, base.schema.field(0).type)
    current = base.set_column(0, base.schema.field(0), now).set_column(
        1, "log_type", pa.array(["INPUT"] * base.num_rows)
    )
    for row in compared_rows(pa.concat_tables([current, base])):
        for key in ("js_distance", "wasserstein_distance", "population_stability_index",
                    "tv_distance", "l_infinity_distance", "count_delta", "avg_delta"):  # fmt: skip
            assert row[key] in (None, 0), (row["column_name"], key)
        for test in ("ks_test", "chi_squared_test"):
            assert row[test] in (None, {"statistic": 0, "pvalue": 1})
