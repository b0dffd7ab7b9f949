"""What a refresh computes follows what changed, and is what computing everything would give."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.monitoring import MonitorResult, MonitorSpec, refresh

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
DAYS = MonitorSpec(
    "time_series",
    timestamp_col="at",
    granularities=("1 day",),
    columns=("x", "plan", "label"),
    quantiles=20,
)
WEEKS = replace(DAYS, granularities=("1 day", "1 week"), slicing_exprs=("plan",))


def rows(ids: Any, *, day: int, seed: int = 0, label: bool | None = None) -> pa.Table:
    rng = np.random.default_rng(seed)
    n = len(ids)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "at": pa.array([START + timedelta(days=day)] * n, pa.timestamp("us", tz="UTC")),
            "x": rng.integers(0, 8, size=n) / 4.0,
            "plan": rng.choice(["basic", "gold"], size=n),
            "label": pa.array([label] * n, pa.bool_()),
        }
    )


def put(lakehouse: Lakehouse, data: pa.Table, table: str = "shop.log") -> None:
    lakehouse.create(table, data.schema)
    lakehouse.append(table, data)


def run(lakehouse: Lakehouse, spec: MonitorSpec = DAYS, **options: Any) -> MonitorResult:
    return refresh(lakehouse, "shop.log", spec, **({"now": NOW} | options))


def content(lakehouse: Lakehouse, table: str) -> list[str]:
    """Return the rows of a metric table in a form that can be compared."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.9g}")
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return value

    found = lakehouse.read(table).read_all().to_pylist()
    for row in found:
        row.pop("logging_table_commit_version", None)
    return sorted(str(plain(row)) for row in found)


@pytest.fixture
def month(lakehouse: Lakehouse) -> Lakehouse:
    """Ten days of ten rows without labels."""
    days = [rows(range(day * 10, day * 10 + 10), day=day, seed=day) for day in range(10)]
    put(lakehouse, pa.concat_tables(days))
    put(lakehouse, rows(range(30), day=0, seed=99), "shop.baseline")
    return lakehouse


def test_late_labels_open_the_windows_that_they_touch_and_only_those(month: Lakehouse) -> None:
    run(month, WEEKS, baseline="shop.baseline")
    month.merge("shop.log", rows(range(30, 40), day=3, seed=3, label=True), ["id"])
    result = run(month, WEEKS, baseline="shop.baseline")
    assert (result.windows, result.refreshed) == (12, 2)  # a day and its week, of ten and two
    assert "2 of 12 windows have changed rows" in result.reason
    profile = month.read("shop.log_profile_metrics").read_all().to_pylist()
    fresh = [r for r in profile if r["logging_table_commit_version"] == result.version]
    assert {(r["granularity"], r["window"]["start"]) for r in fresh if r["window"]} == {
        ("1 day", START + timedelta(days=3)),
        ("1 week", START),
    }
    labelled = [r for r in fresh if r["column_name"] == "label" and r["slice_key"] is None]
    assert {(r["granularity"], r["num_nulls"]) for r in labelled} == {("1 day", 0), ("1 week", 60)}
    written = month.history("shop.log_profile_metrics", limit=1)[0].metrics
    assert written["num_added_rows"] == result.profile.inserted == len(fresh)
    # Drift: the two windows, and each one after them, whose window before is another now.
    compared = month.history("shop.log_drift_metrics", limit=1)[0].metrics["num_added_rows"]
    rows_of_all = month.row_count("shop.log_drift_metrics")
    assert compared == result.drift.inserted < rows_of_all / 2


def test_what_is_new_costs_what_is_new(month: Lakehouse) -> None:
    run(month, baseline="shop.baseline")
    for day in (10, 11):
        put(month, rows(range(day * 10, day * 10 + 10), day=day, seed=day))
        result = run(month, baseline="shop.baseline")
        assert result.refreshed == 1
        assert result.profile.inserted < month.row_count("shop.log_profile_metrics") / 4
    again = run(month, baseline="shop.baseline")
    assert (again.refreshed, again.profile.written, again.drift.written) == (0, False, False)


@pytest.mark.parametrize("seed", [1, 2])
def test_small_steps_come_to_what_one_large_step_gives(month: Lakehouse, seed: int) -> None:
    rng = np.random.default_rng(seed)
    run(month, WEEKS, baseline="shop.baseline")
    put(month, rows(range(100, 110), day=14, seed=seed))
    run(month, WEEKS, baseline="shop.baseline")
    ids = [int(i) for i in rng.choice(110, size=6, replace=False)]
    month.merge("shop.log", rows(ids, day=int(rng.integers(20)), seed=seed, label=True), ["id"])
    if seed == 2:
        month.optimize("shop.log")
    run(month, WEEKS, baseline="shop.baseline")
    gone = int(rng.integers(10))
    month.delete("shop.log", f"at = TIMESTAMP '{START + timedelta(days=gone)}'")
    put(month, rows([200], day=0).set_column(1, "at", pa.nulls(1, pa.timestamp("us", "UTC"))))
    result = run(month, WEEKS, baseline="shop.baseline")
    assert result.refreshed < result.windows
    put(month, rows(range(5), day=0, seed=7), "shop.baseline")
    assert run(month, WEEKS, baseline="shop.baseline").refreshed == 0
    steps = [content(month, f"shop.log_{m}_metrics") for m in ("profile", "drift")]

    # Another version of the monitor makes everything new; it is written to each row.
    run(month, WEEKS, baseline="shop.baseline", monitor_version=1)
    for m, stepped in zip(("profile", "drift"), steps, strict=True):
        whole = [r.replace("'monitor_version': 1", "'monitor_version': 0")
                 for r in content(month, f"shop.log_{m}_metrics")]  # fmt: skip
        assert stepped == whole


def test_a_run_that_is_killed_between_the_tables_leaves_no_window_behind(
    month: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    run(month, baseline="shop.baseline")
    put(month, rows(range(100, 110), day=2, seed=5))
    with monkeypatch.context() as patched:
        patched.setattr("lakeops_assets.monitoring.drifting.drift", killed)
        with pytest.raises(KeyboardInterrupt):
            run(month, baseline="shop.baseline")
    put(month, rows(range(110, 120), day=8, seed=6))
    run(month, baseline="shop.baseline")
    stepped = content(month, "shop.log_drift_metrics")
    run(month, baseline="shop.baseline", monitor_version=1)
    assert len(stepped) == month.row_count("shop.log_drift_metrics")
    assert stepped == [
        r.replace("'monitor_version': 1", "'monitor_version': 0")
        for r in content(month, "shop.log_drift_metrics")
    ]


def test_a_gap_in_the_change_feed_means_all_windows_and_is_said(month: Lakehouse) -> None:
    run(month, baseline="shop.baseline")
    put(month, rows(range(100, 110), day=9, seed=5))
    month.merge("shop.log", rows(range(30, 40), day=3, seed=3, label=True), ["id"])
    feed = Path(month.location("shop.log")) / "_change_data"
    for file in feed.rglob("*.parquet"):
        file.unlink()  # as VACUUM does
    result = run(month, baseline="shop.baseline")
    assert result.refreshed == result.windows == 10
    assert "all windows: the change feed of dev.shop.log from version 2 to 3" in result.reason
    (base,) = [
        r
        for r in month.read("shop.log_profile_metrics").read_all().to_pylist()
        if r["column_name"] == "x" and r["log_type"] == "BASELINE" and r["slice_key"] is None
    ]
    assert math.isfinite(base["avg"])


def test_columns_and_expressions_that_changed_mean_all_windows(month: Lakehouse) -> None:
    run(month, baseline="shop.baseline")
    wider = rows(range(100, 105), day=9, seed=5).append_column("new", pa.array([1.0] * 5))
    month.append("shop.log", wider, evolve=True)
    result = run(month, baseline="shop.baseline")
    assert result.refreshed == 10
    assert "the columns of the table changed" in result.reason
    other = MonitorSpec("time_series", timestamp_col="at", granularities=("1 day",), quantiles=20)
    assert "the monitor's configuration changed" in run(month, other).reason
