from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from lakeops_assets.models import METRICS, ModelError, kpi_metric, measure, undefined

rows = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=60)


@given(rows)
def test_decisions_are_measured_as_scikit_learn_does(drawn: list[tuple[float, float]]) -> None:
    labels, scores = (np.array(column) for column in zip(*drawn, strict=True))
    called = scores >= 0.5
    found = measure(kpi_metric("classification", "accuracy"), labels, scores)
    assert found.value == pytest.approx(accuracy_score(labels, called))
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    found = measure(kpi_metric("classification", "f1"), labels, scores)
    assert found.value == pytest.approx(f1_score(labels, called, zero_division=0.0))


def test_value_is_money_per_row() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    scores = np.array([0.9, 0.9, 0.1, 0.1])
    metric = kpi_metric("classification", "value", (50, -10, -60, 1))
    assert measure(metric, labels, scores).value == (50 - 10 - 60 + 1) / 4


def test_an_unknown_metric_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ModelError, match=r"roc_auc.*accuracy, f1, value, not auc"):
        kpi_metric("classification", "auc")
    with pytest.raises(ModelError, match="rmse, mae, r2, not f1"):
        kpi_metric("regression", "f1")


@pytest.mark.parametrize("name", [*METRICS["classification"], "accuracy", "f1"])
def test_a_metric_that_needs_two_classes_says_so(name: str) -> None:
    same, both = np.ones(5), np.array([0.0, 1.0])
    assert undefined("classification", name, both) == ""
    defined = name in ("log_loss", "brier", "ece", "accuracy")
    assert (undefined("classification", name, same) == "") == defined
