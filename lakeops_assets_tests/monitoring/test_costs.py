from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.meter import Meter, Usage
from lakeops_assets.monitoring import MonitorSpec, MonitorSpecError, refresh
from lakeops_assets.monitoring.costs import (
    AssetRun,
    Budget,
    asset_costs,
    judge,
    period_of,
    record,
    worth,
)
from lakeops_assets.monitoring.forecast import forecast
from lakeops_assets.settings import Prices, SettingsError, load

NOW = datetime(2026, 4, 15, 12, tzinfo=UTC)  # a Wednesday
USED = Usage(2.0, 3600.0, 500_000_000, 1_500_000_000, 7)
PRICES = Prices(cpu_hour=2.0, gigabyte=0.5, currency="EUR")
RUN = AssetRun("r1", "shop__scores", "shop", ("shop/scores",), NOW, "success", USED)


def test_a_meter_says_what_was_used_since_it_was_read() -> None:
    readings = iter([(0.0, 0.0, 10, 0), (2.0, 1.5, 30, 5), (2.5, 1.5, 30, 9)])
    meter = Meter(lambda: next(readings))
    meter.wrote(3)
    meter.wrote(4)
    assert meter.read() == Usage(2.0, 1.5, 20, 5, 7)
    assert meter.read() == Usage(0.5, 0.0, 0, 4, 0)
    unknown = Meter(iter([(0.0, 0.0, None, None), (1.0, 1.0, None, None)]).__next__).read()
    assert (unknown.bytes_read, unknown.bytes_written) == (None, None)


def test_the_counters_of_this_process_go_up() -> None:
    meter = Meter()
    sum(i * i for i in range(200_000))
    used = meter.read()
    assert used.cpu_seconds > 0
    assert used.wall_seconds > 0
    assert used.rows_written == 0


def test_money_is_hours_and_gigabytes_times_prices() -> None:
    assert worth(USED, PRICES) == 2.0 + 2 * 0.5
    assert worth(replace(USED, bytes_read=None, bytes_written=None), PRICES) == 2.0


def test_costs_are_added_up_per_asset(lakehouse: Lakehouse) -> None:
    assert asset_costs(lakehouse, since=NOW) == []
    assert judge(lakehouse, Budget("shop", "day", 1), PRICES, now=NOW).within
    record(lakehouse, RUN, PRICES)
    record(lakehouse, replace(RUN, outcome="failure", usage=replace(USED, bytes_read=None)), PRICES)
    record(lakehouse, replace(RUN, product="toys", assets=("toys/a", "toys/b")), PRICES)
    record(lakehouse, replace(RUN, finished_at=NOW - timedelta(days=3)), PRICES)
    scores, toys = asset_costs(lakehouse, since=NOW - timedelta(days=1))
    assert (scores.asset, scores.runs, scores.failures, scores.rows_written) == (
        "shop/scores",
        2,
        1,
        14,
    )
    assert scores.bytes_read == 500_000_000
    assert scores.money == pytest.approx(3.0 + 2.75)
    assert (toys.product, toys.asset, toys.money) == ("toys", "toys/a, toys/b", 3.0)
    assert asset_costs(lakehouse, ["toys"], since=NOW - timedelta(days=1)) == [toys]
    (row, *_) = lakehouse.read("lakeops.costs", where="product = 'toys'").read_all().to_pylist()
    assert (row["run_id"], row["currency"], row["money"]) == ("r1", "EUR", 3.0)

    day = judge(lakehouse, Budget("shop", "day", 5), PRICES, now=NOW)
    assert (day.within, day.spent) == (False, pytest.approx(5.75))
    assert day.expected == pytest.approx(11.5)  # half of the day is over
    assert "shop spent 5.75 of 5 EUR (115%) since 2026-04-15; 11.5 by 2026-04-16" in day.reason
    week = judge(lakehouse, Budget("shop", "week", 9), PRICES, now=NOW)
    assert (week.within, week.spent) == (True, pytest.approx(5.75))
    assert judge(lakehouse, Budget("shop", "month", 9), PRICES, now=NOW).spent == 8.75


def test_periods_are_those_of_the_calendar() -> None:
    assert period_of(NOW, "day")[0] == datetime(2026, 4, 15, tzinfo=UTC)
    assert period_of(NOW, "week") == (
        datetime(2026, 4, 13, tzinfo=UTC),
        datetime(2026, 4, 20, tzinfo=UTC),
    )
    assert period_of(datetime(2026, 12, 31, 23, tzinfo=UTC), "month") == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    with pytest.raises(MonitorSpecError, match="use: day, week, month"):
        Budget("shop", "year", 1)  # type: ignore[arg-type]
    with pytest.raises(MonitorSpecError, match="nothing to spend"):
        Budget("shop", "day", 0)


def test_prices_come_from_the_environment() -> None:
    assert load({}).prices == Prices()
    said = {"LAKEOPS_PRICE_CPU_HOUR": "0", "LAKEOPS_PRICE_GIGABYTE": "2", "LAKEOPS_CURRENCY": "EUR"}
    assert load(said).prices == Prices(0.0, 2.0, "EUR")
    for wrong in ("cheap", "-1", "nan", "inf"):
        with pytest.raises(SettingsError, match="LAKEOPS_PRICE_CPU_HOUR is"):
            load({"LAKEOPS_PRICE_CPU_HOUR": wrong})


def test_a_forecast_counts_the_rows_that_a_refresh_writes(lakehouse: Lakehouse) -> None:
    rng = np.random.default_rng(0)
    n = 400
    start = datetime(2026, 3, 2, tzinfo=UTC)
    data = pa.table(
        {
            "at": pa.array(
                [start + timedelta(days=i % 4) for i in range(n)], pa.timestamp("us", "UTC")
            ),
            "x": rng.normal(size=n),
            "plan": np.where(np.arange(n) // 4 % 2, "a", "b"),
            "version": (np.arange(n) // 8 % 2).astype("int32"),
            "score": rng.random(n),
        }
    )
    for table in ("shop.log", "shop.base"):
        lakehouse.create(table, data.schema)
        lakehouse.append(table, data)
    spec = MonitorSpec(
        "inference_log",
        timestamp_col="at",
        granularities=("1 day",),
        prediction_col="score",
        model_id_col="version",
        slicing_exprs=("plan", "x > 0"),
        exclude=("at",),
        baseline="shop.base",
        baseline_where="x < 5",
    )
    expected = forecast(lakehouse, "shop.log", spec, PRICES)
    refresh(lakehouse, "shop.log", spec, now=NOW)
    assert expected.groupings == 6
    assert expected.groups == (4 + 1) * 15
    assert expected.profile_rows == lakehouse.row_count("shop.log_profile_metrics")
    actual = lakehouse.row_count("shop.log_drift_metrics")
    assert actual <= expected.drift_rows < 1.3 * actual
    size = sum(lakehouse.size_bytes(f"shop.log_{m}_metrics") for m in ("profile", "drift"))
    assert size / 3 < expected.bytes_written < 3 * size
    more = forecast(lakehouse, "shop.log", replace(spec, slicing_exprs=("plan", "score")), PRICES)
    assert more.money > expected.money
    # A slice per score would be one per row; a hundred per window are kept.
    assert more.groups > expected.groups
