from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.monitoring import (
    GranularityError,
    KpiSource,
    KpiSpec,
    KpiSpecError,
    KpiWindow,
    Measurement,
    decide,
    kpi_windows,
    read_source,
    read_windows,
    replay,
    write_windows,
)
from lakeops_assets.monitoring.granularity import length

DAY = timedelta(days=1)
START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
END = START + 100 * DAY
TABLE = TableName("dev", "shop", "scores_kpi_windows")
SCHEMA = pa.schema(
    [
        ("model_version", pa.string()),
        ("window_start", pa.int64()),
        ("at", pa.timestamp("us", "UTC")),
        ("score", pa.float64()),
        ("label", pa.float64()),
        ("known_at", pa.timestamp("us", "UTC")),
    ]
)


def spec(**options: Any) -> KpiSpec:
    defaults = {"metric": "mae", "at_most": 0.5, "window": "1 day", "min_rows": 2}
    return KpiSpec(**{**defaults, "label_delay": 7 * DAY, **options})


def mae(labels: np.ndarray, scores: np.ndarray) -> Measurement:
    value = float(np.abs(labels - scores).mean())
    return Measurement(value, value, value)


def row(
    day: int, error: float, *, version: str = "1", late: float | None = 7, label: float = 1.0
) -> dict[str, Any]:
    """A row scored at noon of a day, whose label is known some days later, or never."""
    at = START + day * DAY
    return {
        "model_version": version,
        "window_start": int(at.timestamp()) * 1_000_000,
        "at": at + DAY / 2,
        "score": label + error,
        "label": None if late is None else label,
        "known_at": None if late is None else at + late * DAY,
    }


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def days(errors: dict[int, float], **options: Any) -> pa.Table:
    return table([row(d, e, **options) for d, e in errors.items() for _ in range(4)])


def window(day: int, *, violates: bool, mature: bool = True, version: str = "1") -> KpiWindow:
    start = START + day * DAY
    number = 1.0 if violates else 0.0
    return KpiWindow(
        version, start, start + DAY, 9, 9, number, number, number, violates, mature, "", ""
    )


# The rule

verdicts = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12)
rules = st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n)))


@settings(deadline=None)
@given(verdicts, rules, st.randoms())
def test_k_of_the_last_n_mature_windows_and_the_latest(
    found: list[tuple[bool, bool]], rule: tuple[int, int], shuffle: random.Random
) -> None:
    k, n = rule
    windows = [window(i, violates=v and m, mature=m) for i, (v, m) in enumerate(found)]
    mature = [v for v, m in found if m]
    expected = bool(mature) and mature[-1] and sum(mature[-n:]) >= k
    shuffle.shuffle(windows)
    decision = decide(windows, spec(violations=k, of=n), "1")
    assert decision.fires == expected
    assert len(decision.windows) == min(n, len(mature))
    assert all(w.mature for w in decision.windows)
    assert not decide(windows, spec(violations=k, of=n), "2").fires


@settings(deadline=None)
@given(verdicts, rules)
def test_windows_that_are_not_mature_never_decide(
    found: list[tuple[bool, bool]], rule: tuple[int, int]
) -> None:
    k, n = rule
    every = [window(i, violates=v, mature=m) for i, (v, m) in enumerate(found)]
    judged = [w for w in every if w.mature]
    rule_ = spec(violations=k, of=n)
    assert decide(every, rule_, "1") == decide(judged, rule_, "1")


def test_the_reason_says_why_a_version_stays() -> None:
    windows = [window(d, violates=d < 2) for d in range(3)]
    decision = decide(windows, spec(), "1")
    assert not decision.fires
    assert "in 2 of its last 3 mature windows" in decision.reason
    assert "the latest does not violate it" in decision.reason
    assert "no mature window yet" in decide([], spec(), "7").reason


# Maturity

errors = st.lists(
    st.tuples(
        st.integers(0, 9), st.floats(0, 2), st.none() | st.floats(0.5, 30), st.sampled_from("12")
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=50)
@given(errors, st.randoms(), st.integers(0, 40))
def test_the_order_of_arrival_does_not_matter(
    found: list[tuple[int, float, float | None, str]], shuffle: random.Random, clock: int
) -> None:
    rows = [row(d, e, late=late, version=v) for d, e, late, v in found]
    at = START + clock * DAY
    before = kpi_windows(table(rows), spec(), mae, clock=at)
    shuffle.shuffle(rows)
    assert kpi_windows(table(rows), spec(), mae, clock=at) == before
    for w in before:
        assert w.labelled <= w.rows
        assert w.violates <= w.mature
        if w.mature:
            assert w.end + 7 * DAY <= at
            assert w.labelled >= 0.8 * w.rows


@settings(deadline=None, max_examples=50)
@given(errors, st.integers(0, 40))
def test_nothing_that_is_later_than_the_clock_is_seen(
    found: list[tuple[int, float, float | None, str]], clock: int
) -> None:
    at = START + clock * DAY
    rows = [row(d, e, late=late, version=v) for d, e, late, v in found]
    then = []
    for r in rows:
        if r["at"] <= at:
            unknown = r["known_at"] is None or r["known_at"] > at
            then.append({**r, "label": None, "known_at": None} if unknown else r)
    seen = kpi_windows(table(rows), spec(), mae, clock=at)
    assert seen == kpi_windows(table(then), spec(), mae, clock=at)


@pytest.mark.parametrize(
    ("rows", "clock", "because"),
    [
        ([row(0, 0, late=1)] * 9, 7, "its labels are due on 2026-01-13"),
        ([row(0, 0)] * 3 + [row(0, 0, late=None)] * 2, 50, "60% of 5 rows have a label"),
        ([row(0, 0)], 50, "1 rows have a label, fewer than 2"),
    ],
)
def test_a_window_says_what_it_waits_for(
    rows: list[dict[str, Any]], clock: int, because: str
) -> None:
    [found] = kpi_windows(table(rows), spec(), mae, clock=START + clock * DAY)
    assert not found.mature
    assert not found.violates
    assert because in found.reason


def test_a_metric_that_is_not_defined_makes_no_window_mature() -> None:
    def undefined(labels: np.ndarray, scores: np.ndarray) -> Measurement:
        return Measurement(None, reason="all labels are the same")

    [found] = kpi_windows(days({0: 0.0}), spec(), undefined, clock=END)
    assert (found.mature, found.violates, found.reason) == (False, False, "all labels are the same")


def test_scores_that_are_no_numbers_violate() -> None:
    rows = days({0: 0.0}).to_pylist()
    rows[0]["score"], rows[1]["score"] = float("nan"), None
    [found] = kpi_windows(table(rows), spec(), mae, clock=END)
    assert found.mature
    assert found.violates
    assert found.reason == "2 of 4 scores are no numbers"


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"at_least": 0.1}, "either at_least or at_most"),
        ({"at_most": None}, "either at_least or at_most"),
        ({"violations": 4}, "between 1 and of"),
        ({"label_delay": -DAY}, "negative"),
        ({"labelled_at_least": 0}, "share"),
        ({"min_rows": 0}, "min_rows"),
        ({"payoffs": (("over", -1.0),)}, "payoffs are for the metric value"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(options: dict[str, Any], because: str) -> None:
    with pytest.raises(KpiSpecError, match=because):
        spec(**options)


def test_lengths_of_time() -> None:
    assert length("0 days") == timedelta(0)
    assert length("12 hours") == timedelta(hours=12)
    with pytest.raises(GranularityError, match="such as '7 days'"):
        length("1 month")


# The table


def source(clock: datetime = END) -> KpiSource:
    return KpiSource(scores=3, labels=5, clock=clock)


def test_late_labels_open_only_the_windows_that_they_touch(lakehouse: Lakehouse) -> None:
    rows = days({0: 0.1, 1: 0.2, 2: 0.9}).to_pylist()
    rows.append(row(1, 3.0, late=40))
    measured: list[int] = []

    def counting(labels: np.ndarray, scores: np.ndarray) -> Measurement:
        measured.append(len(labels))
        return mae(labels, scores)

    def refresh(clock: datetime) -> Any:
        known = {(w.model_version, w.start): w for w in read_windows(lakehouse, TABLE, spec())}
        windows = kpi_windows(table(rows), spec(), counting, clock=clock, known=known)
        return write_windows(lakehouse, TABLE, windows, spec(), source(clock))

    first = refresh(START + 20 * DAY)
    assert (first.inserted, measured) == (3, [4, 4, 4])
    again = refresh(START + 21 * DAY)
    assert not again.written
    late = refresh(START + 50 * DAY)
    assert (late.inserted, late.updated, late.deleted) == (0, 1, 0)
    assert measured == [4, 4, 4, 5]
    by_day = {w.start: w for w in read_windows(lakehouse, TABLE, spec())}
    assert by_day[START + DAY].violates
    assert by_day[START + DAY].value == pytest.approx((4 * 0.2 + 3) / 5)
    assert read_source(lakehouse, TABLE) == source(START + 50 * DAY)
    assert read_source(lakehouse, TABLE, first.version) == source(START + 20 * DAY)


def test_windows_of_another_rule_are_not_read(lakehouse: Lakehouse) -> None:
    windows = kpi_windows(days({0: 0.1, 1: 0.2}), spec(), mae, clock=END)
    write_windows(lakehouse, TABLE, windows, spec(), source())
    assert read_windows(lakehouse, TABLE, spec()) == windows
    assert read_windows(lakehouse, TABLE, spec(violations=1)) == ()
    write_windows(lakehouse, TABLE, windows[:1], spec(violations=1), source())
    assert read_windows(lakehouse, TABLE, spec(violations=1)) == windows[:1]
    assert lakehouse.row_count(TABLE) == 1


# Replay


def test_a_replay_tells_when_a_rule_fired_how_late_and_whether_wrongly() -> None:
    good, bad = 0.1, 0.9
    rows = days({0: good, 1: bad, 2: good, 3: bad, 4: good, 5: good, 6: good})
    found = replay(rows, spec(), mae, clock=END)
    [firing] = found.firings
    assert firing.window == START + 3 * DAY
    assert firing.at == START + (4 + 7) * DAY
    assert firing.values == pytest.approx((bad, good, bad))
    assert firing.late_windows == 2
    assert firing.late_days == 9
    assert (firing.wrong, firing.later_rows) == (True, 12)
    assert (found.decisions, found.wrong, found.versions) == (7, 1, {"1": 7})

    worse = replay(days({0: good, 1: bad, 2: bad, 3: bad, 4: bad}), spec(), mae, clock=END)
    assert [f.wrong for f in worse.firings] == [False]
    last = replay(days({0: bad, 1: bad}), spec(), mae, clock=END)
    assert [f.wrong for f in last.firings] == [None]


def test_a_rule_that_recovers_can_fire_again() -> None:
    rows = days({0: 0.9, 1: 0.9, 2: 0.1, 3: 0.1, 4: 0.9, 5: 0.9})
    found = replay(rows, spec(), mae, clock=END)
    assert [(f.window - START).days for f in found.firings] == [1, 5]


def test_a_replay_does_not_know_labels_that_came_later() -> None:
    """Seen in the end the second day is fine; on the day it matured it was not."""
    rows = days({0: 0.9, 1: 0.9}).to_pylist() + [row(1, -0.0, late=30)] * 1
    rows += [row(1, 0.0, late=20) for _ in range(1)]
    seen = replay(table(rows), spec(labelled_at_least=0.5), mae, clock=END)
    assert len(seen.firings) == 1
    assert seen.firings[0].at == START + 9 * DAY
    assert seen.firings[0].values == pytest.approx((0.9, 0.9))
    slow = replay(table(rows), spec(), mae, clock=END)
    assert slow.firings[0].at == START + (1 + 20) * DAY
    assert slow.firings[0].values[1] == pytest.approx(4 * 0.9 / 5)


@settings(deadline=None, max_examples=25)
@given(errors, rules, st.randoms())
def test_a_replay_says_what_the_monitor_would_have_said(
    found: list[tuple[int, float, float | None, str]],
    rule: tuple[int, int],
    shuffle: random.Random,
) -> None:
    rows = [row(d, e, late=late, version=v) for d, e, late, v in found]
    shuffle.shuffle(rows)
    kpi = spec(violations=rule[0], of=rule[1], min_rows=1)
    for firing in replay(table(rows), kpi, mae, clock=END).firings:
        then = decide(kpi_windows(table(rows), kpi, mae, clock=firing.at), kpi, firing.version)
        assert then.fires
        assert then.reason == firing.reason
        before = firing.at - timedelta(microseconds=1)
        earlier = kpi_windows(table(rows), kpi, mae, clock=before)
        assert decide(earlier, kpi, firing.version).windows != then.windows
