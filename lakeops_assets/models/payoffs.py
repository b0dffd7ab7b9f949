"""What decisions are worth in money: a payoff per outcome instead of a metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lakeops_assets.models.spec import ModelError, Task

if TYPE_CHECKING:
    import numpy as np

OUTCOMES: Mapping[Task, tuple[str, ...]] = {
    "classification": ("true_positive", "false_positive", "false_negative", "true_negative"),
    "regression": ("over", "under"),
}


@dataclass(frozen=True)
class Payoffs:
    """What each outcome is worth.

    Attributes:
        task: Which outcomes there are.
        amounts: Outcome -> amount. For classification one per cell of the confusion matrix; for
            regression the amount per unit by which a prediction is over or under the truth, so
            costs are negative.
    """

    task: Task
    amounts: Mapping[str, float]

    def __post_init__(self) -> None:
        wanted = OUTCOMES[self.task]
        if sorted(self.amounts) != sorted(wanted):
            raise ModelError(
                f"the value of a {self.task} needs an amount for {', '.join(wanted)}; given are: "
                f"{', '.join(self.amounts) or 'none'}"
            )

    def per_row(
        self, y: np.ndarray, score: np.ndarray, threshold: float | None = None
    ) -> np.ndarray:
        """Return what each row is worth, shape `(n,)`.

        Args:
            y: Labels, shape `(n,)`; 0 and 1 for classification.
            score: Probabilities of 1, or predicted numbers, shape `(n,)`.
            threshold: Probability from which a row is treated as positive; not for regression.
        """
        import numpy as np

        y, score = np.asarray(y, dtype=float), np.asarray(score, dtype=float)
        a = self.amounts
        if self.task == "regression":
            error = score - y
            return np.where(error > 0, a["over"] * error, a["under"] * -error)
        if threshold is None:
            raise ModelError("the value of a classification needs a threshold to decide at")
        treated = score >= threshold
        return np.where(
            treated,
            np.where(y == 1, a["true_positive"], a["false_positive"]),
            np.where(y == 1, a["false_negative"], a["true_negative"]),
        ).astype(float)


def choose_threshold(
    payoffs: Payoffs, y: np.ndarray, score: np.ndarray, wanted: float | Literal["best"] | None
) -> float | None:
    """Return the threshold to decide at: the one given, or the best on some rows.

    The best is chosen among the scores of the rows and 1. Give training rows: chosen on held-out
    rows it would flatter the model that is measured on them. Of equal ones the highest is chosen,
    which treats the fewest rows.

    Raises:
        ModelError: There are no rows to choose on, or a score is not a number.
    """
    import numpy as np

    if payoffs.task == "regression":
        return None
    if wanted != "best":
        return wanted
    y, score = np.asarray(y, dtype=float), np.asarray(score, dtype=float)
    if not len(y) or not np.isfinite(score).all():
        raise ModelError(f"no threshold can be chosen on {len(y)} rows with finite scores")
    a = payoffs.amounts
    order = np.argsort(-score, kind="stable")
    y, score = y[order], score[order]
    gained = np.where(
        y == 1, a["true_positive"] - a["false_negative"], a["false_positive"] - a["true_negative"]
    )
    # The value of treating the best-scored rows up to the last one of each score; none at first.
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    totals = np.concatenate([[0.0], gained.cumsum()[last]])
    thresholds = np.concatenate([[np.nextafter(1.0, 2.0)], score[last]])
    return float(thresholds[int(np.argmax(totals))])
