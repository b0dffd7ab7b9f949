"""Fit a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeops_assets.models.pipeline import build_pipeline, choose_columns, prepare
from lakeops_assets.models.spec import ModelError, ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

FEWEST_ROWS = 20


@dataclass(frozen=True)
class Trained:
    """A fitted model.

    Attributes:
        spec: What was trained.
        pipeline: Encoders and estimator, fitted.
        numeric: Numeric features.
        categorical: Categorical features.
        negative: Label of the other class; empty for regression.
        rows: Rows that it was trained on.
    """

    spec: ModelSpec
    pipeline: Pipeline
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    negative: str
    rows: int

    @property
    def features(self) -> tuple[str, ...]:
        """Features in the order of the model's signature."""
        return (*self.numeric, *self.categorical)

    def score(self, frame: pd.DataFrame) -> np.ndarray:
        """Return per row (shape `(n,)`) the probability of the positive class, or the number."""
        rows = prepare(frame, self.numeric, self.categorical)
        if self.spec.task == "classification":
            return self.pipeline.predict_proba(rows)[:, 1]
        return self.pipeline.predict(rows)


def train(spec: ModelSpec, frame: pd.DataFrame) -> Trained:
    """Fit a model on the labelled rows of a table.

    The rows are sorted by their key first, so the model depends on which rows there are and not on
    their order.

    Args:
        spec: What to train.
        frame: Key, label and features; rows without a label are left out.

    Raises:
        ModelError: There are too few rows, one class only, or columns that cannot be used.
    """
    numeric, categorical = choose_columns(spec, frame)
    rows = frame[frame[spec.label].notna()].sort_values(list(spec.primary_key), kind="stable")
    if len(rows) < FEWEST_ROWS:
        raise ModelError(
            f"model {spec.name} has {len(rows)} rows with a label in {spec.label}; it needs at "
            f"least {FEWEST_ROWS}. Labels may not have arrived yet"
        )
    target = labels(spec, rows)
    pipeline = build_pipeline(spec, numeric, categorical, len(rows))
    pipeline.fit(prepare(rows, numeric, categorical), target)
    others = sorted({str(v) for v in rows[spec.label].unique()} - {str(spec.positive)})
    negative = others[0] if len(others) == 1 else f"not {spec.positive}"
    return Trained(
        spec,
        pipeline,
        numeric,
        categorical,
        negative if spec.task == "classification" else "",
        len(rows),
    )


def labels(spec: ModelSpec, frame: pd.DataFrame) -> np.ndarray:
    """Return the labels as numbers (shape `(n,)`): 1 for positive and 0 for others, or the value.

    Raises:
        ModelError: The label is missing, holds one class only, or is no number in a regression.
    """
    import numpy as np

    if spec.label not in frame:
        raise ModelError(
            f"the label {spec.label} of model {spec.name} is not a column; there are: "
            f"{', '.join(map(str, frame.columns))}"
        )
    column = frame[spec.label]
    if spec.task == "regression":
        try:
            return np.array([float(v) for v in column], dtype=float)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"the label {spec.label} of the regression {spec.name} is not a number: {error}"
            ) from error
    found = sorted({str(v) for v in column.unique()})
    if str(spec.positive) not in found or len(found) < 2:
        raise ModelError(
            f"the label {spec.label} of model {spec.name} needs {spec.positive!r} and another "
            f"value; it holds: {', '.join(found[:10]) or 'nothing'}"
        )
    return (column.astype(str) == str(spec.positive)).to_numpy(dtype=int)
