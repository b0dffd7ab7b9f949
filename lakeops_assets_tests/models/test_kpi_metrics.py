from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from lakeops_assets.models import (
    METRICS,
    OUTCOMES,
    ModelError,
    Payoffs,
    kpi_metric,
    measure_kpi,
    undefined,
)

rows = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=60)


@settings(deadline=None)
@given(rows)
def test_decisions_are_measured_as_scikit_learn_does(drawn: list[tuple[float, float]]) -> None:
    labels, scores = (np.array(column) for column in zip(*drawn, strict=True))
    called = scores >= 0.5
    found = measure_kpi(kpi_metric("classification", "accuracy"), labels, scores)
    assert found.value == pytest.approx(accuracy_score(labels, called))
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    found = measure_kpi(kpi_metric("classification", "f1"), labels, scores)
    assert found.value == pytest.approx(f1_score(labels, called, zero_division=0.0))


def test_value_is_money_per_row() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    scores = np.array([0.9, 0.9, 0.1, 0.1])
    amounts = dict(zip(OUTCOMES["classification"], (50, -10, -60, 1), strict=True))
    payoffs = Payoffs("classification", amounts)
    metric = kpi_metric("classification", "value", payoffs)
    assert measure_kpi(metric, labels, scores).value == (50 - 10 - 60 + 1) / 4
    eager = kpi_metric("classification", "value", payoffs, threshold=0.05)
    assert measure_kpi(eager, labels, scores).value == (50 - 10 + 50 - 10) / 4


def test_an_unknown_metric_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ModelError, match=r"roc_auc.*accuracy, f1, value, and not auc"):
        kpi_metric("classification", "auc")
    with pytest.raises(ModelError, match="rmse, mae, r2, value, and not f1"):
        kpi_metric("regression", "f1")
    with pytest.raises(ModelError, match="needs an amount for over, under"):
        kpi_metric("regression", "value")


@pytest.mark.parametrize("name", [*METRICS["classification"], "accuracy", "f1"])
def test_a_metric_that_needs_two_classes_says_so(name: str) -> None:
    same, both = np.ones(5), np.array([0.0, 1.0])
    assert undefined("classification", name, both) == ""
    defined = name in ("log_loss", "brier", "ece", "accuracy")
    assert (undefined("classification", name, same) == "") == defined
