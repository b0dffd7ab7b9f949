"""Measure scores on held-out rows, with intervals, alone or against a champion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeops_assets.models.metrics import MEAN, METRICS, Metric
from lakeops_assets.models.spec import ModelError, Task

if TYPE_CHECKING:
    import numpy as np

# Counts of one chunk of bootstrap samples: 8 bytes each.
CHUNK_CELLS = 4_000_000
LOW, HIGH = 2.5, 97.5


@dataclass(frozen=True)
class Measured:
    """A metric with its 95 % interval (percentile bootstrap, Efron 1979)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """All metrics of one model on some rows.

    Attributes:
        rows: Number of rows.
        metrics: Name -> value with interval.
    """

    rows: int
    metrics: Mapping[str, Measured]


@dataclass(frozen=True)
class Comparison:
    """Champion and challenger on the same rows.

    Attributes:
        metric: Name of the metric.
        champion: Value of the champion.
        challenger: Value of the challenger.
        difference: How much better the challenger is; negative when it is worse.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        probability: Share of the samples in which the challenger is better.
    """

    metric: str
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    probability: float


def evaluate(
    task: Task, y: np.ndarray, score: np.ndarray, *, resamples: int, seed: int
) -> Evaluation:
    """Return every metric of a task with its interval.

    Args:
        task: Which metrics.
        y: Labels, shape `(n,)`; 0 and 1 for classification.
        score: Probabilities of 1, or predicted numbers, shape `(n,)`.
        resamples: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Raises:
        ModelError: No rows, one class only, or a score that is not a number.
    """
    y, score = _checked(task, y, score)
    return Evaluation(len(y), bootstrap(METRICS[task], y, score, resamples, seed))


def measure(
    task: Task, y: np.ndarray, score: np.ndarray, metric: str, *, resamples: int, seed: int
) -> Measured:
    """Return one metric with its interval; see `evaluate`."""
    found = _metric(task, metric)
    y, score = _checked(task, y, score)
    return bootstrap({metric: found}, y, score, resamples, seed)[metric]


def measure_mean(values: np.ndarray, *, resamples: int, seed: int) -> Measured:
    """Return the mean of a number per row (shape `(n,)`) with its interval."""
    y, values = _checked("regression", values, values)
    return bootstrap({"mean": MEAN}, y, values, resamples, seed)["mean"]


def compare(
    task: Task,
    y: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    metric: str,
    *,
    resamples: int,
    seed: int,
) -> Comparison:
    """Compare two models on the same rows with a paired bootstrap.

    Each sample draws rows once and measures both models on them, so what makes a row hard for both
    cancels out.

    Raises:
        ModelError: The metric is unknown, or scores cannot be measured; see `evaluate`.
    """
    found = _metric(task, metric)
    y, champion = _checked(task, y, champion)
    y, challenger = _checked(task, y, challenger)
    return _paired(metric, found, y, champion, challenger, resamples, seed)


def compare_means(
    champion: np.ndarray, challenger: np.ndarray, *, resamples: int, seed: int
) -> Comparison:
    """Compare a number per row (shape `(n,)`, more is better) of two models; see `compare`."""
    _, champion = _checked("regression", champion, champion)
    y, challenger = _checked("regression", champion, challenger)
    return _paired("mean", MEAN, y, champion, challenger, resamples, seed)


def _metric(task: Task, metric: str) -> Metric:
    if metric not in METRICS[task]:
        raise ModelError(
            f"there is no metric {metric!r} for {task}; there are: {', '.join(METRICS[task])}"
        )
    return METRICS[task][metric]


def bootstrap(
    metrics: Mapping[str, Metric], y: np.ndarray, score: np.ndarray, resamples: int, seed: int
) -> dict[str, Measured]:
    """Return metrics with their intervals; labels and scores, shape `(n,)`, must be checked."""
    import numpy as np

    drawn: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for counts in _samples(len(y), resamples, seed):
        for name, metric in metrics.items():
            drawn[name].append(metric.function(y, score, counts))
    measured = {}
    for name, metric in metrics.items():
        low, high = np.percentile(np.concatenate(drawn[name]), [LOW, HIGH])
        measured[name] = Measured(_plain(metric, y, score), float(low), float(high))
    return measured


def _paired(
    name: str,
    metric: Metric,
    y: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    resamples: int,
    seed: int,
) -> Comparison:
    import numpy as np

    sign = 1.0 if metric.higher_is_better else -1.0
    differences = np.concatenate(
        [
            sign * (metric.function(y, challenger, counts) - metric.function(y, champion, counts))
            for counts in _samples(len(y), resamples, seed)
        ]
    )
    low, high = np.percentile(differences, [LOW, HIGH])
    one, other = _plain(metric, y, champion), _plain(metric, y, challenger)
    return Comparison(
        name,
        champion=one,
        challenger=other,
        difference=sign * (other - one),
        low=float(low),
        high=float(high),
        probability=float((differences > 0).mean()),
    )


def _checked(task: Task, y: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    y, score = np.asarray(y, dtype=float), np.asarray(score, dtype=float)
    if y.shape != score.shape or y.ndim != 1:
        raise ModelError(f"labels have the shape {y.shape} and scores {score.shape}")
    if len(y) == 0:
        raise ModelError("there are no held-out rows with a label to measure on")
    if not (np.isfinite(score).all() and np.isfinite(y).all()):
        raise ModelError(f"{int((~np.isfinite(score)).sum())} scores or labels are not numbers")
    if task == "classification" and len(np.unique(y)) < 2:
        raise ModelError(f"all {len(y)} held-out rows have the same label; nothing can be measured")
    return y, score


def _plain(metric: Metric, y: np.ndarray, score: np.ndarray) -> float:
    import numpy as np

    return float(metric.function(y, score, np.ones((1, len(y))))[0])


def _samples(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    import numpy as np

    generator = np.random.default_rng(seed)
    chunk = max(1, min(resamples, CHUNK_CELLS // rows))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(0, rows, (size, rows))
        cells = (drawn + np.arange(size)[:, None] * rows).ravel()
        yield np.bincount(cells, minlength=size * rows).reshape(size, rows).astype(float)
