"""How right a classifier probably is while its labels are missing.

A probability that is calibrated says how often the prediction is right. Added up over the rows of
a window, it gives the confusion matrix that is to be expected, and with it accuracy, precision,
recall and F1; the same holds for the area under the ROC curve and the log loss. This is
confidence-based performance estimation (CBPE). It holds as long as the same features mean the same
label: it sees that rows became harder, and not that the world behind them changed. So it is an
estimate, its columns are called `estimated_*`, and what it is worth is measured where labels come
later.

Probabilities are calibrated on the baseline, whose labels are known, by isotonic regression.
Source: NannyML, "Confidence-based Performance Estimation"; Zadrozny and Elkan, Transforming
classifier scores into accurate multiclass probability estimates, 2002.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring.quality import EPSILON, Classes
from lakeops_assets.monitoring.spec import MonitorSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Numbers = npt.NDArray[np.float64]

# Probabilities are counted in this many bins: an estimate is off by half a bin at most for it.
BINS = 1000
# Estimate -> the measured metric that it is of; of a struct, the class of the probability.
ESTIMATES = {
    "estimated_accuracy_score": "accuracy_score",
    "estimated_precision": "precision",
    "estimated_recall": "recall",
    "estimated_f1_score": "f1_score",
    "estimated_roc_auc_score": "roc_auc_score",
    "estimated_log_loss": "log_loss",
}


def estimate_fields(spec: MonitorSpec) -> list[pa.Field]:
    """Return the columns of the profile table that hold estimates."""
    import pyarrow as pa

    return [pa.field(name, pa.float64()) for name in ESTIMATES if spec.estimated]


@dataclass(frozen=True)
class Histogram:
    """Rows of a group by their probability.

    Attributes:
        counts: Rows per bin, of those that are predicted negative and positive; shape `(2, BINS)`.
        sums: Sum of their probabilities; same shape.
        positives: Rows whose label is positive; same shape, zero where labels are unknown.
    """

    counts: Numbers
    sums: Numbers
    positives: Numbers

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Histogram:
        """Return it from rows of `histogram_select`."""
        import numpy as np

        counts, sums, positives = (np.zeros((2, BINS)) for _ in range(3))
        for row in rows:
            at = (int(row["predicted"]), int(row["bin"]))
            counts[at], sums[at], positives[at] = row["n"], row["p"], row["positives"] or 0
        return cls(counts, sums, positives)


@dataclass(frozen=True)
class Calibration:
    """What a probability means, as an increasing function.

    Attributes:
        given: Mean probability of each step, ascending.
        true: Share of positive labels there, ascending.
    """

    given: tuple[float, ...]
    true: tuple[float, ...]

    @classmethod
    def fit(cls, histogram: Histogram) -> Calibration | None:
        """Fit on rows whose labels are known; None without a row of each class."""
        counts, positives = histogram.counts.sum(axis=0), histogram.positives.sum(axis=0)
        used = counts > 0
        if not 0 < positives.sum() < counts.sum():
            return None
        given = histogram.sums.sum(axis=0)[used] / counts[used]
        true = isotonic((positives[used] / counts[used]).tolist(), counts[used].tolist())
        return cls(tuple(given.tolist()), tuple(true))

    def __call__(self, probabilities: Numbers) -> Numbers:
        """Return the calibrated probabilities."""
        import numpy as np

        return np.interp(probabilities, self.given, self.true)


def isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the increasing values that are closest to given ones in weighted squares.

    Neighbours that decrease are pooled into their mean until none do.
    """
    blocks: list[list[float]] = []  # mean, weight, how many values
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, more, count = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + mean * more) / (last[1] + more)
            last[1] += more
            last[2] += count
    return [mean for mean, _, count in blocks for _ in range(int(count))]


def estimated_values(histogram: Histogram, calibration: Calibration) -> dict[str, float | None]:
    """Return the expected metrics of a group; a metric that cannot be defined is None."""
    import numpy as np

    counts = histogram.counts
    total = counts.sum()
    if total == 0:
        return {}
    given = np.divide(histogram.sums, counts, out=np.zeros_like(counts), where=counts > 0)
    positive = calibration(given.ravel()).reshape(given.shape) * counts
    negative = counts - positive
    right, false_alarms = positive[1].sum(), negative[1].sum()
    missed, rejected = positive[0].sum(), negative[0].sum()
    clipped = np.clip(given, EPSILON, 1 - EPSILON)
    loss = -(positive * np.log(clipped) + negative * np.log1p(-clipped)).sum()
    per_bin, others = positive.sum(axis=0), negative.sum(axis=0)
    below = np.cumsum(others) - others
    pairs = per_bin.sum() * others.sum()
    found = {
        "estimated_accuracy_score": (right + rejected) / total,
        "estimated_precision": _ratio(right, right + false_alarms),
        "estimated_recall": _ratio(right, right + missed),
        "estimated_f1_score": _ratio(2 * right, 2 * right + false_alarms + missed),
        "estimated_roc_auc_score": _ratio((per_bin * (below + others / 2)).sum(), pairs),
        "estimated_log_loss": loss / total,
    }
    return {name: None if value is None else float(value) for name, value in found.items()}


@dataclass(frozen=True)
class EstimateError:
    """How far an estimate was from what the labels said later.

    Attributes:
        metric: Name of the estimate.
        windows: Windows in which both are known.
        mean_absolute: Mean absolute error over them.
        largest: Largest absolute error.
    """

    metric: str
    windows: int
    mean_absolute: float
    largest: float


def estimate_errors(profile: pa.Table, spec: MonitorSpec) -> tuple[EstimateError, ...]:
    """Compare the estimates of windows with the metrics of those whose labels have come.

    Args:
        profile: Rows of a profile table; those of the whole table that are about a window count.
        spec: What was monitored.
    """
    from lakeops_assets.monitoring.sketch import ALL_MODELS

    rows = [
        row
        for row in profile.to_pylist()
        if row["log_type"] == "INPUT"
        and row["column_name"] == ":table"
        and row["slice_key"] is None
        and row[str(spec.model_id_col)] == ALL_MODELS
    ]
    found = []
    for name, metric in ESTIMATES.items():
        pairs = [(row[name], _measured(row[metric], spec)) for row in rows]
        errors = [abs(e - m) for e, m in pairs if e is not None and m is not None]
        if errors:
            found.append(EstimateError(name, len(errors), sum(errors) / len(errors), max(errors)))
    return tuple(found)


def histogram_select(
    classes: Classes | None,
    spec: MonitorSpec,
    grouping_keys: Mapping[str, str],
    condition: str,
    predicted_positive: str,
) -> str:
    """Return the SELECT for histograms: `bin`, `predicted` (0 or 1), `n`, `p` and `positives`.

    Args:
        classes: How labels become classes; None where they are unknown or not wanted.
        spec: What to monitor.
        grouping_keys: Name of a key -> its expression.
        condition: Which rows are read; empty for all.
        predicted_positive: Condition under which the prediction is the class of the probability.
    """
    keys = "".join(f"{sql} AS {key}, " for key, sql in grouping_keys.items())
    names = "".join(f"{key}, " for key in grouping_keys)
    p = f"CAST({quote(str(spec.prediction_proba_col))} AS DOUBLE)"
    positive = f"CASE WHEN {classes.positive(spec)} THEN 1 ELSE 0 END" if classes else "0"
    wanted = [f"{p} BETWEEN 0 AND 1"]
    wanted += [f"{classes.label} IS NOT NULL"] if classes else []
    wanted += [f"({condition})"] if condition else []
    return (
        f"SELECT {names}bin, predicted, count(*) AS n, sum(p) AS p, sum(positive) AS positives "
        f"FROM (SELECT {keys}{p} AS p, CAST(least(floor({p} * {BINS}), {BINS - 1}) AS INT) AS bin, "
        f"CASE WHEN {predicted_positive} THEN 1 ELSE 0 END AS predicted, {positive} AS positive "
        f"FROM source WHERE {' AND '.join(wanted)}) AS r GROUP BY {names}bin, predicted"
    )


def _measured(value: Any, spec: MonitorSpec) -> float | None:
    if isinstance(value, dict):
        return dict(value["one_vs_all"]).get(spec.positive)
    return None if value is None else float(value)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
