"""Metrics of many weighted samples at once.

A bootstrap sample is a vector of counts, how often each row was drawn. Each metric takes the counts
of all samples (shape `(samples, rows)`) and returns one value per sample, so that no Python loop
runs over samples. With counts of one it is the plain metric, equal to scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Weighted: TypeAlias = "Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]"


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        function: Takes labels `(n,)`, scores `(n,)` and counts `(samples, n)`; returns
            `(samples,)`.
        higher_is_better: Its direction.
    """

    function: Weighted
    higher_is_better: bool


def _roc_auc(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: share of pairs in order, ties half (Mann and Whitney)."""
    positive, negative = _by_score(y, score, counts)
    ahead = positive.cumsum(axis=1) - positive
    pairs = (negative * (ahead + positive / 2)).sum(axis=1)
    return _divide(pairs, positive.sum(axis=1) * negative.sum(axis=1))


def _pr_auc(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average precision: precision at each threshold weighted by the recall it adds."""
    positive, negative = _by_score(y, score, counts)
    hits = positive.cumsum(axis=1)
    precision = _divide(hits, hits + negative.cumsum(axis=1))
    return _divide((positive * precision).sum(axis=1), positive.sum(axis=1))


def _log_loss(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean negative logarithm of the probability given to what happened."""
    import numpy as np

    tiny = np.finfo(score.dtype).eps
    p = np.clip(score, tiny, 1 - tiny)
    return _mean(-(y * np.log(p) + (1 - y) * np.log(1 - p)), counts)


def _brier(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean squared error of the probability (Brier, 1950)."""
    return _mean((score - y) ** 2, counts)


def _ece(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Expected calibration error over ten bins of equal mass."""
    import numpy as np

    bins = (np.argsort(np.argsort(score, kind="stable"), kind="stable") * 10) // len(score)
    gap = counts * (score - y)
    per_bin = np.stack([gap[:, bins == b].sum(axis=1) for b in range(10)], axis=1)
    return np.abs(per_bin).sum(axis=1) / counts.sum(axis=1)


def _top(y: np.ndarray, score: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """Positives among the best-scored share of the rows; a tie at the border counts in part."""
    import numpy as np

    positive, negative = _by_score(y, score, counts)
    rows = positive + negative
    wanted = share * rows.sum(axis=1, keepdims=True)
    taken = np.clip(wanted - (rows.cumsum(axis=1) - rows), 0, rows)
    return (positive * _divide(taken, rows)).sum(axis=1)


def _precision_at_10(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of positives among the best-scored tenth."""
    return _top(y, score, counts, 0.1) / (0.1 * counts.sum(axis=1))


def _recall_at_20(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of all positives that the best-scored fifth holds."""
    return _divide(_top(y, score, counts, 0.2), (counts * y).sum(axis=1))


def _lift_at_10(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How many times more positives the best-scored tenth holds than a random one."""
    return _divide(_precision_at_10(y, score, counts), _mean(y, counts))


def _rmse(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Root of the mean squared error."""
    return _mean((score - y) ** 2, counts) ** 0.5


def _mae(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean absolute error."""
    return _mean(abs(score - y), counts)


def _average(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean of a number per row, which is given as the score."""
    return _mean(score, counts)


def _r2(y: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of the variance that is explained."""
    variance = _mean(y**2, counts) - _mean(y, counts) ** 2
    return 1 - _divide(_mean((score - y) ** 2, counts), variance)


CLASSIFICATION = {
    "roc_auc": Metric(_roc_auc, higher_is_better=True),
    "pr_auc": Metric(_pr_auc, higher_is_better=True),
    "log_loss": Metric(_log_loss, higher_is_better=False),
    "brier": Metric(_brier, higher_is_better=False),
    "ece": Metric(_ece, higher_is_better=False),
    "precision_at_10_percent": Metric(_precision_at_10, higher_is_better=True),
    "recall_at_20_percent": Metric(_recall_at_20, higher_is_better=True),
    "lift_at_10_percent": Metric(_lift_at_10, higher_is_better=True),
}
REGRESSION = {
    "rmse": Metric(_rmse, higher_is_better=False),
    "mae": Metric(_mae, higher_is_better=False),
    "r2": Metric(_r2, higher_is_better=True),
}
MEAN = Metric(_average, higher_is_better=True)
METRICS = {"classification": CLASSIFICATION, "regression": REGRESSION}


def _by_score(
    y: np.ndarray, score: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return positives and negatives per distinct score, best first, shape `(samples, scores)`."""
    import numpy as np

    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    drawn = counts[:, order]
    positive = np.add.reduceat(drawn * y[order], starts, axis=1)
    return positive, np.add.reduceat(drawn, starts, axis=1) - positive


def _mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return counts @ values / counts.sum(axis=1)


def _divide(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(other == 0, 0.0, one / np.where(other == 0, 1, other))
