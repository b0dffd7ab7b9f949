"""What is measured for the gates, and how a part that cannot be measured is noted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from lakeops_assets import models
from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableName
from lakeops_assets.models import ModelRegistry, ModelSpec, read_rows

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Scored:
    """Labelled rows and what a version says about them.

    Attributes:
        y: Labels of the held-out rows, shape `(n,)`.
        score: Scores of the held-out rows.
        train_y: Labels of the training rows, shape `(m,)`.
        train_score: Scores of the training rows.
    """

    y: np.ndarray
    score: np.ndarray
    train_y: np.ndarray
    train_score: np.ndarray


@dataclass(frozen=True)
class Subject:
    """A version of a model, the version to compare it with, and the rows for both.

    Attributes:
        lakehouse: Where the tables are.
        registry: Where the versions are.
        spec: The model.
        features: Feature table.
        data_version: Delta version of it that the candidate was trained on.
        candidate: Version that is measured.
        rival: Champion to compare it with; None without one, or when it is the candidate.
    """

    lakehouse: Lakehouse
    registry: ModelRegistry
    spec: ModelSpec
    features: TableName
    data_version: int
    candidate: int
    rival: int | None

    def scored_by(self, version: int) -> Scored:
        """Return the rows of the candidate's data with the scores of a version."""
        frame = read_rows(self.lakehouse, self.spec, self.features, self.data_version)
        held_out = frame.pop(models.HELD_OUT).to_numpy(dtype=bool)
        score = self.registry.load(version).score(frame)
        y = models.labels(self.spec, frame)
        return Scored(y[held_out], score[held_out], y[~held_out], score[~held_out])


@dataclass
class Parts:
    """Takes the parts of the evidence, each on its own.

    Attributes:
        unmeasured: Part -> why it could not be measured.
    """

    unmeasured: dict[str, str] = field(default_factory=dict)

    def take(self, part: str, measure: Callable[[], T]) -> T | None:
        """Return a part, or None when it cannot be measured, which is noted with the reason.

        Reasons are errors of our rooms, of the registry and of files, and what pandas,
        scikit-learn and pyarrow raise about values. Anything else is a programming error and
        crashes: then nothing is stored, and nothing is promoted.
        """
        from mlflow.exceptions import MlflowException

        reasons = (LakehouseError, MlflowException, ValueError, OSError, subprocess.SubprocessError)
        try:
            return measure()
        except reasons as error:
            said = (str(error).strip().splitlines() or [""])[0]
            self.unmeasured[part] = f"{type(error).__name__}: {said}"
            return None
