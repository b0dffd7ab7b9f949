"""One alert per cause, and none by chance or for one odd day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats.contingency import association as cramers_v

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.monitoring import (
    AlertRules,
    MonitorResult,
    MonitorSpec,
    MonitorSpecError,
    Thresholds,
    profiled_windows,
    refresh,
)
from lakeops_assets.monitoring.causes import association, missing_together
from lakeops_assets.monitoring.statistics import mean_by_chance, share_by_chance

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
START = datetime(2026, 3, 2, tzinfo=UTC)
SPEC = MonitorSpec(
    "time_series", timestamp_col="at", granularities=("1 day",), exclude=("at",), quantiles=100
)
EVERY = AlertRules(windows=1, at_least=1)


def day(number: int, *, euros: bool = False, joined: bool = True, young: bool = False) -> pa.Table:
    """Return a day of orders; amount and tax are one thing, age is another, x and y are noise."""
    rng = np.random.default_rng(number)
    n = 600
    amount = rng.lognormal(3, 0.5, size=n) * (1 if not euros else 0.1)
    region = rng.choice(["north", "south"], size=n)
    shops = rng.integers(1, 9, size=n)
    return pa.table(
        {
            "at": pa.array([START + timedelta(days=number)] * n, pa.timestamp("us", tz="UTC")),
            "amount": amount,
            "tax": amount * 0.2 + rng.normal(size=n) * 0.01 * amount.mean(),
            "age": rng.normal(30 if young else 50, 8, size=n),
            "region": pa.array(region if joined else [None] * n, pa.string()),
            "shop": pa.array(shops if joined else [None] * n, pa.int64()),
            "x": rng.normal(size=n),
            "y": rng.choice(["a", "b", "c"], size=n),
        }
    )


def put(lakehouse: Lakehouse, data: pa.Table, table: str = "shop.orders") -> None:
    lakehouse.create(table, data.schema)
    lakehouse.append(table, data)


def run(lakehouse: Lakehouse, rules: AlertRules | None = None, **options: Any) -> MonitorResult:
    return refresh(
        lakehouse, "shop.orders", SPEC, now=NOW, rules=rules, baseline="shop.base", **options
    )


def test_columns_of_one_cause_are_one_alert(lakehouse: Lakehouse) -> None:
    put(lakehouse, day(100), "shop.base")
    put(lakehouse, day(0))
    assert run(lakehouse, EVERY).alerts == ()
    put(lakehouse, day(1, euros=True, joined=False, young=True))
    result = run(lakehouse, EVERY)
    assert {frozenset(a.columns) for a in result.alerts} == {
        frozenset({"amount", "tax"}),
        frozenset({"region", "shop"}),
        frozenset({"age"}),
    }
    assert {f.statistic for a in result.alerts for f in a.findings} >= {"percent_null_delta"}
    assert len(result.findings) == 5
    text = next(str(a) for a in result.alerts if a.cause == "age")
    assert text.startswith("age: ")
    assert "in 1 of 1 windows" in text


def test_an_odd_day_is_no_alert_and_two_of_three_are(lakehouse: Lakehouse) -> None:
    put(lakehouse, day(100), "shop.base")
    alerted = []
    for number, odd in enumerate([True, False, True, True, False]):
        put(lakehouse, day(number, young=odd))
        result = run(lakehouse)
        alerted.append([(a.cause, a.drifted, a.windows) for a in result.alerts])
    assert alerted == [[], [], [("age", 2, 3)], [("age", 2, 3)], []]


def test_thresholds_are_the_owners(lakehouse: Lakehouse) -> None:
    put(lakehouse, day(100), "shop.base")
    put(lakehouse, day(1, young=True))
    deaf = Thresholds(population_stability_index=50, wasserstein=50)
    assert run(lakehouse, AlertRules(deaf, windows=1, at_least=1)).alerts == ()
    assert [a.cause for a in run(lakehouse, EVERY).alerts] == ["age"]
    with pytest.raises(MonitorSpecError, match="at_least 4 of 3"):
        AlertRules(at_least=4)
    with pytest.raises(MonitorSpecError, match="same_cause"):
        AlertRules(same_cause=0)


def test_association_is_that_of_the_literature() -> None:
    counts = {(0, 0): 400, (0, 1): 100, (1, 0): 90, (1, 1): 410, (2, 0): 30, (2, 1): 70}
    table = np.array([[400, 100], [90, 410], [30, 70]])
    assert association(counts) == pytest.approx(cramers_v(table, correction=False), abs=0.01)
    assert association({(0, 0): 10, (1, 1): 10}) == pytest.approx(1, abs=0.05)
    assert association({(0, 0): 10}) == association({}) == 0
    assert missing_together({(-1, -1): 9, (-1, 0): 1, (0, 0): 90}) == 0.9
    rng = np.random.default_rng(0)
    pairs = [tuple(p) for p in rng.integers(0, 5, size=(200, 2)).tolist()]
    independent = {pair: pairs.count(pair) for pair in pairs}
    assert association(independent) < 0.15


def test_chance_alone_stays_below_its_thresholds() -> None:
    rng = np.random.default_rng(1)
    n, m, times = 40, 300, 2000
    a, b = np.sort(rng.normal(size=(times, n))), rng.normal(size=(times, m))
    moved = np.abs(a.mean(axis=1) - b.mean(axis=1))
    assert (moved > mean_by_chance(n, m, 0.99)).mean() == pytest.approx(0.01, abs=0.008)
    shares = rng.binomial(n, 0.3, times) / n - rng.binomial(m, 0.3, times) / m
    assert (np.abs(shares) > share_by_chance(0.3, n, m, 0.99)).mean() == pytest.approx(
        0.01, abs=0.01
    )


def test_a_window_that_has_just_begun_is_not_judged(lakehouse: Lakehouse) -> None:
    put(lakehouse, pa.concat_tables(day(100 + i) for i in range(5)), "shop.base")
    for i in range(3):
        put(lakehouse, day(i, euros=i > 0))
    morning = day(3, young=True).slice(0, 200)
    put(lakehouse, morning)
    few = run(lakehouse)
    assert [a.cause for a in few.alerts] == ["amount"]
    assert "age" not in {f.column for f in few.findings}
    # The alert is about the day before, whatever has begun since.
    yesterday = START + timedelta(days=2)
    assert [a.start for a in few.alerts] == [yesterday]
    newest = profiled_windows(lakehouse, lakehouse.name("shop.orders"), SPEC)[-1]
    assert newest == yesterday + timedelta(days=1)
    put(lakehouse, day(3, young=True).slice(200))
    assert "age" in {f.column for f in run(lakehouse).findings}
