"""Decisions in money: payoffs per outcome, and the threshold that is worth most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeops_assets.models import (
    ModelError,
    Payoffs,
    choose_threshold,
    compare_means,
    measure,
    measure_mean,
)

CELLS = {"true_positive": 120, "false_positive": -20, "false_negative": -200, "true_negative": 0}
CHURN = Payoffs("classification", CELLS)
amounts = st.floats(-100, 100, allow_nan=False)


def test_each_cell_of_the_confusion_matrix_has_its_payoff() -> None:
    worth = CHURN.per_row(np.array([1, 0, 1, 0]), np.array([0.5, 0.9, 0.4, 0.1]), 0.5)
    assert worth.tolist() == [120, -20, -200, 0]


def test_over_and_under_prediction_cost_per_unit() -> None:
    costs = Payoffs("regression", {"over": -1, "under": -3})
    worth = costs.per_row(np.array([10.0, 10.0, 10.0]), np.array([12.0, 9.0, 10.0]))
    assert worth.tolist() == [-2, -3, 0]


def test_an_outcome_without_an_amount_is_an_error() -> None:
    with pytest.raises(ModelError, match="needs an amount for over, under; given are: over"):
        Payoffs("regression", {"over": -1})
    with pytest.raises(ModelError, match="true_positive"):
        Payoffs("classification", {"over": -1, "under": -1})
    with pytest.raises(ModelError, match="needs a threshold"):
        CHURN.per_row(np.array([1]), np.array([0.5]))


@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.5001, 1.0])), min_size=1
    ),
    cells=st.tuples(amounts, amounts, amounts, amounts),
)
def test_no_threshold_is_worth_more_than_the_best(
    rows: list[tuple[bool, float]], cells: tuple[float, float, float, float]
) -> None:
    payoffs = Payoffs("classification", dict(zip(CELLS, cells, strict=True)))
    y = np.array([int(label) for label, _ in rows])
    score = np.array([s for _, s in rows])
    best = choose_threshold(payoffs, y, score, "best")
    assert best is not None
    others = [payoffs.per_row(y, score, t).sum() for t in (*score, 0.0, 0.3, 1.0, 1.1)]
    assert payoffs.per_row(y, score, best).sum() >= max(others) - 1e-9


def test_a_threshold_that_is_given_is_kept_and_a_regression_has_none() -> None:
    y, score = np.array([0, 1]), np.array([0.1, 0.9])
    assert choose_threshold(CHURN, y, score, 0.25) == 0.25
    costs = Payoffs("regression", {"over": -1, "under": -3})
    assert choose_threshold(costs, y, score, "best") is None
    with pytest.raises(ModelError, match="no threshold can be chosen"):
        choose_threshold(CHURN, y[:0], score[:0], "best")
    with pytest.raises(ModelError, match="finite"):
        choose_threshold(CHURN, y, np.array([0.1, np.nan]), "best")


def test_a_mean_has_an_interval_and_a_paired_comparison() -> None:
    generator = np.random.default_rng(0)
    ours = generator.normal(5, 2, 400)
    found = measure_mean(ours, resamples=500, seed=0)
    assert found.value == pytest.approx(ours.mean())
    half = 1.96 * ours.std() / 20
    assert found.low == pytest.approx(found.value - half, abs=0.05)
    assert found.high == pytest.approx(found.value + half, abs=0.05)
    # Pairs: what both have in common cancels out.
    compared = compare_means(ours - 0.1, ours, resamples=500, seed=0)
    assert (compared.low, compared.high) == (pytest.approx(0.1), pytest.approx(0.1))
    with pytest.raises(ModelError, match="not numbers"):
        measure_mean(np.array([1.0, np.nan]), resamples=10, seed=0)
    with pytest.raises(ModelError, match="no held-out rows"):
        measure_mean(np.array([]), resamples=10, seed=0)


def test_one_metric_is_measured_as_among_all() -> None:
    from lakeops_assets.models import evaluate

    generator = np.random.default_rng(1)
    y = generator.integers(0, 2, 200)
    score = np.clip(y * 0.3 + generator.random(200) * 0.7, 0, 1)
    every = evaluate("classification", y, score, resamples=50, seed=3)
    one = measure("classification", y, score, "brier", resamples=50, seed=3)
    assert one == every.metrics["brier"]
    with pytest.raises(ModelError, match="no metric 'rmse'"):
        measure("classification", y, score, "rmse", resamples=50, seed=3)
