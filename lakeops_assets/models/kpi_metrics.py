"""Metrics of a KPI: those of a model, and those of the decisions that are made with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakeops_assets.models.evaluate import HIGH, LOW, Measured, samples
from lakeops_assets.models.metrics import METRICS, Metric
from lakeops_assets.models.score import THRESHOLD
from lakeops_assets.models.spec import ModelError, Task

if TYPE_CHECKING:
    import numpy as np

Payoff = tuple[float, float, float, float]

# Defined when all labels are equal, too.
_ONE_CLASS = ("log_loss", "brier", "ece", "accuracy", "value")
RESAMPLES = 500


def kpi_metric(task: Task, name: str, payoff: Payoff | None = None) -> Metric:
    """Return a metric by name.

    Args:
        task: What is predicted.
        name: A metric of the task; for classification `accuracy`, `f1` and `value`, too.
        payoff: Money per true positive, false positive, false negative and true negative, a row
            being called positive when its probability is at least 0.5; for `value`.

    Raises:
        ModelError: The task has no such metric.
    """
    there = dict(METRICS[task])
    if task == "classification":
        there |= {
            "accuracy": Metric(_accuracy, higher_is_better=True),
            "f1": Metric(_f1, higher_is_better=True),
        }
        if payoff is not None:
            there["value"] = _value(payoff)
    if name not in there:
        names = [*there, "value"] if task == "classification" and payoff is None else list(there)
        raise ModelError(f"a KPI of a {task} has the metrics {', '.join(names)}, not {name}")
    return there[name]


def undefined(task: Task, name: str, labels: np.ndarray) -> str:
    """Return why a metric is not defined for some labels; empty when it is."""
    if task == "classification" and name not in _ONE_CLASS and (labels == labels[0]).all():
        return f"all {len(labels)} labels are the same, so {name} is not defined"
    return ""


def measure(metric: Metric, labels: np.ndarray, scores: np.ndarray) -> Measured:
    """Return a metric with its 95 % interval (percentile bootstrap), from 500 samples.

    Args:
        metric: What to measure.
        labels: Numbers, shape `(n,)`, n above 0; 0 and 1 for classification.
        scores: Finite numbers, shape `(n,)`.
    """
    import numpy as np

    drawn = [metric.function(labels, scores, c) for c in samples(len(labels), RESAMPLES, seed=0)]
    low, high = np.percentile(np.concatenate(drawn), [LOW, HIGH])
    [value] = metric.function(labels, scores, np.ones((1, len(labels))))
    return Measured(float(value), float(low), float(high))


def _accuracy(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of rows that are called what they are."""
    right = (score >= THRESHOLD) == (y == 1)
    return counts @ right / counts.sum(axis=1)


def _f1(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall; 0 where nothing is called positive."""
    import numpy as np

    called = score >= THRESHOLD
    hits = counts @ (called & (y == 1))
    both = counts @ called + counts @ (y == 1)
    return np.divide(2 * hits, both, out=np.zeros_like(both, dtype=float), where=both > 0)


def _value(payoff: Payoff) -> Metric:
    """Return the mean money per row."""
    hit, false_alarm, miss, rest = payoff

    def value(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
        import numpy as np

        called, positive = score >= THRESHOLD, y == 1
        money = np.where(
            called, np.where(positive, hit, false_alarm), np.where(positive, miss, rest)
        )
        return counts @ money / counts.sum(axis=1)

    return Metric(value, higher_is_better=True)
