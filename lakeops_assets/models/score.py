"""A registered model that scores rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeops_assets.models.pipeline import prepare
from lakeops_assets.models.spec import ModelError, Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from sklearn.pipeline import Pipeline

THRESHOLD = 0.5


@dataclass(frozen=True)
class Scorer:
    """Scores rows with one version.

    Attributes:
        pipeline: Encoders and estimator, fitted.
        task: What is predicted.
        numeric: Numeric features.
        categorical: Categorical features.
        positive: Label of the positive class, as text.
        negative: Label of the other.
        model: Name and version, for errors.
    """

    pipeline: Pipeline
    task: Task
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    positive: str
    negative: str
    model: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a row needs."""
        return (*self.numeric, *self.categorical)

    def score(self, frame: pd.DataFrame) -> np.ndarray:
        """Return per row (shape `(n,)`) the probability of the positive class, or the number.

        Raises:
            ModelError: A column is missing.
        """
        missing = [c for c in self.columns if c not in frame.columns]
        if missing:
            raise ModelError(
                f"{self.model} needs the column {', '.join(missing)}; the rows have: "
                f"{', '.join(map(str, frame.columns))}"
            )
        rows = prepare(frame, self.numeric, self.categorical)
        if self.task == "classification":
            return self.pipeline.predict_proba(rows)[:, 1]
        return self.pipeline.predict(rows)

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return `prediction` and, for classification, `prediction_proba` of each row."""
        import numpy as np
        import pyarrow as pa

        schema = pa.schema(self.prediction_fields())
        if batch.num_rows == 0:
            return pa.RecordBatch.from_pylist([], schema=schema)
        wanted = [c for c in self.columns if c in batch.schema.names]
        scores = np.asarray(self.score(batch.select(wanted).to_pandas()), dtype=float)
        columns = [pa.array(scores)]
        if self.task == "classification":
            said = np.where(scores >= THRESHOLD, self.positive, self.negative)
            columns = [pa.array(said, pa.string()), pa.array(scores)]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def prediction_fields(self) -> list[pa.Field]:
        """Return the columns that `predict` makes."""
        import pyarrow as pa

        if self.task == "regression":
            return [pa.field("prediction", pa.float64(), metadata={"comment": "Predicted value."})]
        likely = f"{self.positive} when its probability is at least {THRESHOLD}."
        probability = f"Probability of {self.positive}."
        return [
            pa.field("prediction", pa.string(), metadata={"comment": likely}),
            pa.field("prediction_proba", pa.float64(), metadata={"comment": probability}),
        ]
