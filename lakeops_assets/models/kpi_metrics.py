"""Metrics of a KPI: those of a model, and those of the decisions that are made with it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lakeops_assets.models.evaluate import Measured, bootstrap
from lakeops_assets.models.metrics import METRICS, Metric
from lakeops_assets.models.payoffs import Payoffs
from lakeops_assets.models.spec import ModelError, Task

if TYPE_CHECKING:
    import numpy as np

# Defined when all labels are equal, too.
_ONE_CLASS = ("log_loss", "brier", "ece", "accuracy", "value")
RESAMPLES = 500


def kpi_metric(
    task: Task, name: str, payoffs: Payoffs | None = None, threshold: float = 0.5
) -> Metric:
    """Return a metric by name.

    Args:
        task: What is predicted.
        name: A metric of the task; `value`; for classification `accuracy` and `f1`, too.
        payoffs: What each outcome is worth; for `value`, which is the mean per row.
        threshold: Probability from which a row counts as called positive.

    Raises:
        ModelError: The task has no such metric, or `value` has no payoffs.
    """
    there = dict(METRICS[task])
    if task == "classification":
        there["accuracy"] = Metric(partial(_accuracy, threshold), higher_is_better=True)
        there["f1"] = Metric(partial(_f1, threshold), higher_is_better=True)
    if name == "value":
        # Without amounts the error says which are needed.
        payoffs = payoffs or Payoffs(task, {})
        return Metric(partial(_value, payoffs, threshold), higher_is_better=True)
    if name not in there:
        names = ", ".join([*there, "value"])
        raise ModelError(f"a KPI of a {task} has the metrics {names}, and not {name}")
    return there[name]


def undefined(task: Task, name: str, labels: np.ndarray) -> str:
    """Return why a metric is not defined for some labels; empty when it is."""
    if task == "classification" and name not in _ONE_CLASS and (labels == labels[0]).all():
        return f"all {len(labels)} labels are the same, so {name} is not defined"
    return ""


def measure_kpi(metric: Metric, labels: np.ndarray, scores: np.ndarray) -> Measured:
    """Return a metric with its 95 % interval (percentile bootstrap), from 500 samples.

    Args:
        metric: What to measure.
        labels: Numbers, shape `(n,)`, n above 0; 0 and 1 for classification.
        scores: Finite numbers, shape `(n,)`.
    """
    return bootstrap({"kpi": metric}, labels, scores, RESAMPLES, seed=0)["kpi"]


def _accuracy(threshold: float, y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of rows that are called what they are."""
    right = (score >= threshold) == (y == 1)
    return counts @ right / counts.sum(axis=1)


def _f1(threshold: float, y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall; 0 where nothing is called positive."""
    import numpy as np

    called = score >= threshold
    hits = counts @ (called & (y == 1))
    both = counts @ called + counts @ (y == 1)
    return np.divide(2 * hits, both, out=np.zeros_like(both, dtype=float), where=both > 0)


def _value(
    payoffs: Payoffs, threshold: float, y: np.ndarray, score: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Mean worth of a row."""
    return counts @ payoffs.per_row(y, score, threshold) / counts.sum(axis=1)
