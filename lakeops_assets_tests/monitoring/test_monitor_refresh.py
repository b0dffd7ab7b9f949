from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableNotFoundError
from lakeops_assets.monitoring import (
    MonitorResult,
    MonitorSpec,
    MonitorSpecError,
    drift_schema,
    profile_schema,
    refresh,
    statistics,
)

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
LOG = MonitorSpec(
    "inference_log",
    timestamp_col="at",
    granularities=("1 week",),
    prediction_col="score",
    model_id_col="version",
    exclude=("id",),
)


def rows(
    n: int, *, week: int = 0, shift: float = 0, plan: str = "basic", seed: int = 0
) -> pa.Table:
    rng = np.random.default_rng(seed + week)
    return pa.table(
        {
            "id": np.arange(n) + week * n,
            "at": pa.array([START + timedelta(weeks=week)] * n, pa.timestamp("us", tz="UTC")),
            "x": rng.normal(size=n) + shift,
            "plan": np.where(rng.random(n) < 0.5, plan, "basic"),
            "version": rng.integers(1, 3, size=n).astype("int32"),
            "score": rng.random(n),
        }
    )


def put(lakehouse: Lakehouse, table: str, data: pa.Table) -> None:
    lakehouse.create(table, data.schema)
    lakehouse.append(table, data)


def metrics(lakehouse: Lakehouse, table: str, **equal: Any) -> list[dict]:
    found = lakehouse.read(table).read_all().to_pylist()
    return [r for r in found if all(r[k] == v for k, v in equal.items())]


@pytest.fixture
def scored(lakehouse: Lakehouse) -> Lakehouse:
    """A baseline, a week like it and a week that is not."""
    put(lakehouse, "shop.baseline", rows(2000, seed=50))
    put(lakehouse, "shop.scores", rows(1500))
    put(lakehouse, "shop.scores", rows(1200, week=1, shift=1.0, plan="gold"))
    return lakehouse


def run(lakehouse: Lakehouse, spec: MonitorSpec = LOG, **options: Any) -> MonitorResult:
    options = {"now": NOW, "baseline": "shop.baseline"} | options
    return refresh(lakehouse, "shop.scores", spec, **options)


def test_the_columns_that_drifted_are_found(scored: Lakehouse) -> None:
    result = run(scored)
    assert result.windows == 2
    assert [(f.column, f.statistic, f.level) for f in result.findings] == [
        ("x", "population_stability_index", "significant"),
        ("plan", "js_distance", "significant"),
    ]
    assert all(f.value >= f.threshold == 0.2 for f in result.findings)
    assert "version 2 of dev.shop.scores against version 1 of dev.shop.baseline" in result.reason


def test_an_older_version_can_be_asked_for(scored: Lakehouse) -> None:
    result = run(scored, MonitorSpec("snapshot", exclude=("id",)), version=1)
    assert (result.version, result.windows, result.findings) == (1, 1, ())
    newer = run(scored, MonitorSpec("snapshot", exclude=("id",)), now=NOW + timedelta(days=1))
    assert (newer.version, newer.windows) == (2, 2)
    assert {f.column for f in newer.findings} == {"x", "plan"}


def test_a_small_window_has_no_findings_by_chance(lakehouse: Lakehouse) -> None:
    put(lakehouse, "shop.baseline", rows(2000, seed=50))
    put(lakehouse, "shop.scores", rows(12, week=2))
    result = run(lakehouse)
    assert (result.windows, result.findings) == (1, ())
    newest = metrics(
        lakehouse, "shop.scores_drift_metrics", column_name="x", version="*", drift_type="BASELINE"
    )[-1]
    assert newest["population_stability_index"] > 0.1  # what chance gives for twelve rows


def test_the_tables_have_the_format(scored: Lakehouse) -> None:
    run(scored, monitor_version=7)
    profile, drift = (f"shop.scores_{m}_metrics" for m in ("profile", "drift"))
    assert scored.schema(profile).names == profile_schema(LOG).names
    assert scored.schema(drift).names == drift_schema(LOG).names
    newest = metrics(scored, profile, column_name=":table", version="*", log_type="INPUT")[-1]
    assert newest["window"] == {
        "start": START + timedelta(weeks=1),
        "end": START + timedelta(weeks=2),
    }
    assert (newest["count"], newest["granularity"], newest["monitor_version"]) == (
        1200,
        "1 week",
        7,
    )
    assert newest["logging_table_commit_version"] == 2
    assert newest["non_null_columns"] == ["at", "x", "plan", "score"]
    assert newest["data_type"] is newest["avg"] is None
    base = metrics(scored, profile, column_name="x", version="*", log_type="BASELINE")
    assert [(r["window"], r["granularity"], r["count"]) for r in base] == [(None, None, 2000)]
    assert {r["version"] for r in metrics(scored, profile)} == {"*", "1", "2"}

    compared = metrics(scored, drift, column_name="x", version="*")
    assert [(r["drift_type"], r["window_cmp"] is None) for r in compared] == [
        ("BASELINE", True),
        ("CONSECUTIVE", False),
        ("BASELINE", True),
    ]
    week = compared[1]
    assert week["window_cmp"]["start"] == START
    assert week["count_delta"] == -300
    assert week["avg_delta"] == pytest.approx(1, abs=0.2)
    assert week["js_distance"] is None
    plan = metrics(scored, drift, column_name="plan", version="*")[1]
    assert plan["ks_test"] is plan["avg_delta"] is None
    at = metrics(scored, drift, column_name="at", version="*")[1]
    assert at["ks_test"] is at["population_stability_index"] is None


def test_the_same_versions_are_not_read_again(
    scored: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(scored)
    read = []
    query = scored.query

    def watched(sql: str, inputs: Any = None, **options: Any) -> pa.RecordBatchReader:
        read.extend(getattr(source, "location", "") for source in (inputs or {}).values())
        return query(sql, inputs, **options)

    monkeypatch.setattr(scored, "query", watched)
    again = run(scored, now=NOW + timedelta(days=1))
    assert not again.profile.written
    assert not again.drift.written
    assert (again.profile.version, again.drift.version) == (
        first.profile.version,
        first.drift.version,
    )
    assert again.findings == first.findings
    assert "nothing new" in again.reason
    assert scored.location("shop.scores") not in read
    assert scored.location("shop.baseline") not in read

    scored.optimize("shop.scores")
    assert not run(scored).profile.written  # maintenance changes no row


def test_a_change_is_profiled(scored: Lakehouse) -> None:
    def changed(spec: MonitorSpec = LOG, **options: Any) -> float:
        """Return the smallest x of the baseline after a refresh that had to write."""
        result = run(scored, spec, **options)
        assert result.profile.written
        assert result.drift.written
        (base,) = metrics(
            scored, "shop.scores_profile_metrics", log_type="BASELINE", column_name="x", version="*"
        )
        return base["min"]

    assert changed() < 0
    put(scored, "shop.scores", rows(10, week=3))
    assert changed() < 0
    put(scored, "shop.baseline", rows(1, shift=-50))
    assert changed() < -40
    assert changed(baseline_where="x > 0") > 0
    assert changed(replace(LOG, exclude=("id", "plan"))) < -40
    spec = replace(LOG, baseline="shop.baseline", baseline_where="x > 0.5")
    assert changed(spec, baseline=None) > 0.5


def test_a_run_that_was_killed_is_repeated_without_a_second_profile(
    scored: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lakeops_assets.monitoring.drifting.drift", killed)
        with pytest.raises(KeyboardInterrupt):
            run(scored)
    assert not scored.exists("shop.scores_drift_metrics")
    result = run(scored)
    assert not result.profile.written
    assert result.drift.written
    assert result.reason.startswith("compared")
    keys = [
        (str(r["window"]), r["log_type"], r["version"], r["column_name"])
        for r in metrics(scored, "shop.scores_profile_metrics")
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("n1", "n2", "statistic", "pvalue"),
    [
        (1344, 1192, 0.062, 0.014853915612309707),
        (1192, 941, 0.038, 0.4228041687817168),
        (523, 941, 0.049, 0.3829208808885818),
    ],
)
def test_published_pvalues_come_out_of_the_tables(
    lakehouse: Lakehouse, n1: int, n2: int, statistic: float, pvalue: float
) -> None:
    def at(values: np.ndarray) -> np.ndarray:
        return np.quantile(values, (np.arange(1000) + 0.5) / 1000, method="inverted_cdf")

    current, base = (np.arange(n) + 0.5 for n in (n1, n2))
    current, base = current / n1, base / n2
    shift = next(
        s
        for s in statistic + np.arange(-20, 20) / 10_000
        if statistics.ks(at(current + s), at(base), n1, n2).statistic == statistic
    )
    put(lakehouse, "shop.scores", pa.table({"x": current + shift}))
    put(lakehouse, "shop.baseline", pa.table({"x": base}))
    run(lakehouse, MonitorSpec("snapshot"))
    (found,) = metrics(lakehouse, "shop.scores_drift_metrics", column_name="x")
    assert found["ks_test"] == {"statistic": statistic, "pvalue": pvalue}


def test_snapshots_are_compared_with_the_one_before(lakehouse: Lakehouse) -> None:
    spec = MonitorSpec("snapshot", columns=("x",))
    put(lakehouse, "shop.scores", rows(500))
    first = run(lakehouse, spec, baseline=None)
    assert first.windows == 1
    assert first.findings == ()
    assert "without a baseline" in first.reason
    assert metrics(lakehouse, "shop.scores_drift_metrics") == []
    lakehouse.overwrite("shop.scores", rows(400, shift=2))
    second = run(lakehouse, spec, baseline=None, now=NOW + timedelta(days=1))
    assert second.windows == 2
    found = metrics(lakehouse, "shop.scores_drift_metrics", column_name="x")
    assert [(r["drift_type"], r["window"]["start"], r["window_cmp"]["end"]) for r in found] == [
        ("CONSECUTIVE", NOW + timedelta(days=1), NOW)
    ]
    assert found[0]["avg_delta"] == pytest.approx(2, abs=0.3)
    assert found[0]["population_stability_index"] > 1
    # Another spec for the same version replaces its window; the one before stays.
    other = MonitorSpec("snapshot", columns=("x", "plan"))
    again = run(lakehouse, other, baseline=None, now=NOW + timedelta(days=2))
    assert again.windows == 2


def test_a_baseline_without_some_columns_compares_the_others(lakehouse: Lakehouse) -> None:
    put(lakehouse, "shop.scores", rows(300))
    put(lakehouse, "shop.baseline", rows(300).select(["x"]))
    result = run(lakehouse, replace(LOG, slicing_exprs=("plan", "x > 0")))
    assert result.findings == ()
    found = metrics(lakehouse, "shop.scores_drift_metrics")
    assert {r["column_name"] for r in found} == {":table", "x"}
    assert {r["slice_key"] for r in found} == {None, "x > 0"}
    assert {r["version"] for r in found} == {"*", "1", "2"}
    delta = next(r for r in found if r["column_name"] == ":table")["non_null_columns_delta"]
    assert delta == {"added": 3, "missing": 0}


def test_rows_without_a_time_make_no_window(lakehouse: Lakehouse) -> None:
    data = rows(5)
    put(
        lakehouse,
        "shop.scores",
        data.set_column(1, data.schema.field(1), pa.nulls(5, data.schema.field(1).type)),
    )
    result = run(lakehouse, baseline=None)
    assert result.windows == 0
    assert "no row falls into a window" in result.reason


def test_what_is_missing_is_said(lakehouse: Lakehouse) -> None:
    with pytest.raises(TableNotFoundError, match=r"no table dev\.shop\.scores"):
        run(lakehouse)
    put(lakehouse, "shop.scores", rows(5))
    with pytest.raises(TableNotFoundError, match=r"no table dev\.shop\.baseline"):
        run(lakehouse)
    with pytest.raises(MonitorSpecError, match="no column nope"):
        run(lakehouse, MonitorSpec("snapshot", exclude=("nope",)), baseline=None)
    with pytest.raises(MonitorSpecError, match="no column nope, which the slicing expression"):
        run(lakehouse, MonitorSpec("snapshot", slicing_exprs=("nope > 1",)), baseline=None)
    with pytest.raises(LakehouseError, match="time zone"):
        run(lakehouse, now=datetime(2026, 4, 1))  # noqa: DTZ001
    assert not lakehouse.exists("shop.scores_profile_metrics")
