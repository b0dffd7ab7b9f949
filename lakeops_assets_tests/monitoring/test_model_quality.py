"""Quality of predictions on the `:table` rows, against scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sklearn.metrics as sk

from lakeops_assets import settings
from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
from lakeops_assets.monitoring import (
    CustomMetric,
    MonitorSpec,
    MonitorSpecError,
    estimate_errors,
    refresh,
)

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
DAY = datetime(2026, 3, 2, tzinfo=UTC)
CHURN = MonitorSpec(
    "inference_log",
    timestamp_col="at",
    granularities=("1 day",),
    prediction_col="said",
    prediction_proba_col="p",
    positive="Yes",
    model_id_col="version",
    label_col="churn",
    problem_type="classification",
    slicing_exprs=("senior",),
    columns=("p",),
    quantiles=10,
)


def predictions(n: int, *, seed: int, power: float = 1.0, labels: bool = True) -> pa.Table:
    """Return rows whose true probability is `p ** power`."""
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 2, size=n), 2)  # with ties
    churn = np.where(rng.random(n) < p**power, "Yes", "No")
    return pa.table(
        {
            "at": pa.array([DAY] * n, pa.timestamp("us", tz="UTC")),
            "p": p,
            "said": np.where(p >= 0.5, "Yes", "No"),
            "churn": pa.array(churn if labels else [None] * n, pa.string()),
            "senior": rng.random(n) < 0.4,
            "version": pa.array(rng.integers(1, 3, size=n).astype("int32")),
        }
    )


def put(lakehouse: Lakehouse, data: pa.Table, table: str = "shop.log") -> None:
    lakehouse.create(table, data.schema)
    lakehouse.append(table, data)


def whole(lakehouse: Lakehouse, **equal: Any) -> dict[str, Any]:
    """Return the one `:table` row that is meant; of the whole input unless said otherwise."""
    wanted = {"log_type": "INPUT", "version": "*", "slice_value": None} | equal
    found = lakehouse.read("shop.log_profile_metrics", where="column_name = ':table'").read_all()
    (row,) = [r for r in found.to_pylist() if all(r[k] == v for k, v in wanted.items())]
    return row


def test_a_classifier_is_measured_as_scikit_learn_does(lakehouse: Lakehouse) -> None:
    data = predictions(700, seed=1)
    put(lakehouse, pa.concat_tables([data, predictions(50, seed=2, labels=False)]))
    refresh(lakehouse, "shop.log", CHURN, now=NOW)
    for version in ("*", "1"):
        frame = data.to_pandas()
        if version != "*":
            frame = frame[frame["version"] == int(version)]
        row = whole(lakehouse, version=version)
        true, said, p = frame["churn"], frame["said"], frame["p"]
        assert row["accuracy_score"] == pytest.approx(sk.accuracy_score(true, said))
        assert row["log_loss"] == pytest.approx(sk.log_loss(true == "Yes", p))
        auc = sk.roc_auc_score(true == "Yes", p)
        assert dict(row["roc_auc_score"]["one_vs_all"]) == {"Yes": pytest.approx(auc)}
        labels = ["No", "Yes"]
        assert {(c["prediction"], c["label"]): c["count"] for c in row["confusion_matrix"]} == {
            (labels[j], labels[i]): n
            for (i, j), n in np.ndenumerate(sk.confusion_matrix(true, said, labels=labels))
        }
        for name in ("precision", "recall", "f1_score"):
            function = getattr(sk, name if name == "f1_score" else f"{name}_score")
            each = dict(row[name]["one_vs_all"])
            assert [each[c] for c in labels] == pytest.approx(
                list(function(true, said, average=None, labels=labels))
            )
            for average in ("macro", "weighted"):
                assert row[name][average] == pytest.approx(function(true, said, average=average))
    assert row["count"] < 750
    column = lakehouse.read("shop.log_profile_metrics", where="column_name = 'p'").read_all()
    assert column["accuracy_score"].null_count == column.num_rows


def test_groups_are_compared_where_a_slice_has_two_sides(lakehouse: Lakehouse) -> None:
    data = predictions(900, seed=3)
    put(lakehouse, data)
    refresh(lakehouse, "shop.log", CHURN, now=NOW)
    frame = data.to_pandas()
    rates = {}
    for side in (True, False):
        group = frame[frame["senior"] == side]
        tn, fp, fn, tp = sk.confusion_matrix(
            group["churn"], group["said"], labels=["No", "Yes"]
        ).ravel()
        rates[side] = {
            "predictive_parity": tp / (tp + fp),
            "predictive_equality": fp / (fp + tn),
            "equal_opportunity": tp / (tp + fn),
            "statistical_parity": (tp + fp) / len(group),
        }
    seniors = whole(lakehouse, slice_value="true")
    others = whole(lakehouse, slice_value="false")
    for name, rate in rates[True].items():
        assert dict(seniors[name])["Yes"] == pytest.approx(rate - rates[False][name])
        assert dict(others[name])["Yes"] == pytest.approx(rates[False][name] - rate)
        assert whole(lakehouse)[name] is None
    assert dict(seniors["statistical_parity"])["No"] == pytest.approx(
        -dict(seniors["statistical_parity"])["Yes"]
    )


def test_a_regression_is_measured_as_scikit_learn_does(lakehouse: Lakehouse) -> None:
    rng = np.random.default_rng(4)
    n = 400
    true = rng.integers(1, 50, size=n)
    said = true * 1.1 + rng.normal(size=n)
    put(
        lakehouse,
        pa.table(
            {
                "at": pa.array([DAY] * n, pa.timestamp("us", tz="UTC")),
                "said": said,
                "delay": pa.array(true, pa.int32()),
                "version": ["1"] * n,
            }
        ),
    )
    spec = replace(
        CHURN,
        problem_type="regression",
        label_col="delay",
        prediction_proba_col=None,
        positive=None,
        columns=("said",),
        slicing_exprs=(),
    )
    refresh(lakehouse, "shop.log", spec, now=NOW)
    row = whole(lakehouse)
    assert row["mean_squared_error"] == pytest.approx(sk.mean_squared_error(true, said))
    assert row["root_mean_squared_error"] == pytest.approx(sk.root_mean_squared_error(true, said))
    assert row["mean_average_error"] == pytest.approx(sk.mean_absolute_error(true, said))
    assert row["mean_absolute_percentage_error"] == pytest.approx(
        sk.mean_absolute_percentage_error(true, said)
    )
    assert row["r2_score"] == pytest.approx(sk.r2_score(true, said))


def test_numbers_and_flags_that_are_equal_are_one_class(lakehouse: Lakehouse) -> None:
    data = pa.table(
        {
            "at": pa.array([DAY] * 4, pa.timestamp("us", tz="UTC")),
            "said": [1.0, 0.0, 1.0, 2.0],
            "p": [0.9, 0.2, 0.8, 0.1],
            "churn": pa.array([True, False, False, True]),
            "version": ["1"] * 4,
        }
    )
    put(lakehouse, data)
    refresh(lakehouse, "shop.log", replace(CHURN, positive="1", slicing_exprs=()), now=NOW)
    row = whole(lakehouse)
    assert row["accuracy_score"] == 0.5
    assert {c["prediction"] for c in row["confusion_matrix"]} == {"0", "1", "2"}
    assert row["recall"]["macro"] == pytest.approx(
        sk.recall_score([1, 0, 0, 1], [1, 0, 1, 2], average="macro", zero_division=0)
    )
    assert dict(row["roc_auc_score"]["one_vs_all"]) == {"1": 0.5}


# Estimates


def test_quality_is_estimated_before_labels_come_and_measured_when_they_do(
    lakehouse: Lakehouse,
) -> None:
    """The model is overconfident: without calibration the estimate would be far off."""
    put(lakehouse, predictions(20_000, seed=5, power=2.0), "shop.baseline")
    late = predictions(15_000, seed=6, power=2.0)
    put(lakehouse, late.drop_columns("churn").append_column("churn", pa.nulls(15_000, pa.string())))
    spec = replace(CHURN, slicing_exprs=(), baseline="shop.baseline")
    refresh(lakehouse, "shop.log", spec, now=NOW)
    row = whole(lakehouse)
    assert row["accuracy_score"] is row["confusion_matrix"] is None
    frame = late.to_pandas()
    true, said, p = frame["churn"] == "Yes", frame["said"] == "Yes", frame["p"]
    measured = {
        "estimated_accuracy_score": sk.accuracy_score(true, said),
        "estimated_precision": sk.precision_score(true, said),
        "estimated_recall": sk.recall_score(true, said),
        "estimated_f1_score": sk.f1_score(true, said),
        "estimated_roc_auc_score": sk.roc_auc_score(true, p),
        "estimated_log_loss": sk.log_loss(true, p),
    }
    for name, value in measured.items():
        assert row[name] == pytest.approx(value, abs=0.03), name
    assert whole(lakehouse, log_type="BASELINE")["estimated_log_loss"] is None
    profile = lakehouse.read("shop.log_profile_metrics").read_all()
    assert estimate_errors(profile, spec) == ()

    lakehouse.overwrite("shop.log", late.select(lakehouse.schema("shop.log").names))
    refresh(lakehouse, "shop.log", spec, now=NOW)
    errors = estimate_errors(lakehouse.read("shop.log_profile_metrics").read_all(), spec)
    assert {e.metric for e in errors} == set(measured)
    assert all(e.windows == 1 and 0 <= e.mean_absolute <= e.largest < 0.03 for e in errors)


def test_estimates_of_the_churn_model_are_close_to_what_labels_say(copied: Path) -> None:
    """One half of the held-out customers calibrates, the other half is estimated."""
    lakehouse = open_lakehouse(settings.load({"LAKEOPS_HOME": str(copied / "state")}))
    held_out = "SELECT * FROM churn.baseline WHERE split = 'test' AND customer_id % 2 = "
    for half, table in enumerate(("churn.known", "churn.late")):
        put(lakehouse, lakehouse.query(held_out + str(half)).read_all(), table)
    spec = replace(
        CHURN,
        timestamp_col="snapshot_date",
        granularities=("1 year",),
        prediction_col="prediction",
        prediction_proba_col="prediction_proba",
        model_id_col="model_version",
        columns=("prediction_proba",),
        slicing_exprs=(),
    )
    refresh(lakehouse, "churn.late", spec, now=NOW, baseline="churn.known")
    errors = estimate_errors(lakehouse.read("churn.late_profile_metrics").read_all(), spec)
    found = {e.metric: round(e.mean_absolute, 4) for e in errors}
    assert len(found) == 6
    assert all(error < 0.08 for error in found.values()), found
    assert found["estimated_accuracy_score"] < 0.04, found


def test_a_label_that_only_the_baseline_has_is_enough_to_estimate(lakehouse: Lakehouse) -> None:
    put(lakehouse, predictions(500, seed=7), "shop.baseline")
    put(lakehouse, predictions(300, seed=8).drop_columns("churn"))
    spec = replace(CHURN, slicing_exprs=())
    refresh(lakehouse, "shop.log", spec, now=NOW, baseline="shop.baseline")
    assert whole(lakehouse)["accuracy_score"] is None
    assert 0.5 < whole(lakehouse)["estimated_accuracy_score"] < 1
    with pytest.raises(MonitorSpecError, match="no column churn"):
        refresh(lakehouse, "shop.log", spec, now=NOW)


# Custom metrics


def test_custom_metrics_become_columns_of_both_tables(lakehouse: Lakehouse) -> None:
    metrics = (
        CustomMetric(
            "aggregate",
            "expected_loss",
            "avg(CASE WHEN {{prediction_col}} = {{label_col}} THEN 0 "
            "WHEN {{label_col}} = 'Yes' THEN 10 ELSE 1 END)",
        ),
        CustomMetric("aggregate", "squares", "sum({{input_column}} * {{input_column}})", ("p",)),
        CustomMetric("derived", "mean_square", "squares / (count - num_nulls)", ("p",)),
        CustomMetric("derived", "root_mean_square", "sqrt(mean_square)", ("p",)),
        CustomMetric("derived", "large", "count > 100", (":table", "p"), "boolean"),
        CustomMetric(
            "drift", "loss_delta", "{{current_df}}.expected_loss - {{base_df}}.expected_loss"
        ),
    )
    spec = replace(CHURN, slicing_exprs=(), custom_metrics=metrics)
    current, base = predictions(300, seed=9), predictions(90, seed=10)
    put(lakehouse, current)
    put(lakehouse, base, "shop.baseline")
    refresh(lakehouse, "shop.log", spec, now=NOW, baseline="shop.baseline")

    def loss(data: pa.Table) -> float:
        frame = data.to_pandas()
        cost = np.where(frame["churn"] == "Yes", 10, 1) * (frame["churn"] != frame["said"])
        return float(cost.mean())

    assert whole(lakehouse)["expected_loss"] == pytest.approx(loss(current))
    assert whole(lakehouse)["large"] is True
    assert whole(lakehouse, log_type="BASELINE")["large"] is False
    column = lakehouse.read(
        "shop.log_profile_metrics", where="column_name = 'p' AND log_type = 'INPUT'"
    ).read_all()
    (row,) = [r for r in column.to_pylist() if r["version"] == "*"]
    assert row["root_mean_square"] == pytest.approx((current["p"].to_numpy() ** 2).mean() ** 0.5)
    assert row["expected_loss"] is None
    drift = lakehouse.read("shop.log_drift_metrics", where="version = '*'").read_all().to_pylist()
    deltas = {r["column_name"]: r["loss_delta"] for r in drift}
    assert deltas == {":table": pytest.approx(loss(current) - loss(base)), "p": None}


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("avg({{nothing}})", "nothing.*It can use: input_column, label_col"),
        ("avg(x", "one SQL expression"),
        ("avg(x), max(x)", "one SQL expression"),
        ("{{ ''.__class__.__mro__ }}", "cannot be filled in"),
    ],
)
def test_a_definition_that_cannot_work_is_refused(definition: str, message: str) -> None:
    with pytest.raises(MonitorSpecError, match=message):
        replace(CHURN, custom_metrics=(CustomMetric("aggregate", "m", definition),))


def test_an_aggregate_of_a_column_that_is_not_there_is_refused(lakehouse: Lakehouse) -> None:
    put(lakehouse, predictions(3, seed=1))
    metric = CustomMetric("aggregate", "m", "avg(nope)")
    with pytest.raises(MonitorSpecError, match="no column nope, which custom metrics"):
        refresh(lakehouse, "shop.log", replace(CHURN, custom_metrics=(metric,)), now=NOW)
    twice = CustomMetric("aggregate", "avg", "1")
    with pytest.raises(MonitorSpecError, match="avg is a column of the format"):
        refresh(lakehouse, "shop.log", replace(CHURN, custom_metrics=(twice,)), now=NOW)
