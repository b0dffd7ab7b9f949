"""What a model is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Literal, TypeAlias

Task: TypeAlias = Literal["classification", "regression"]
# Libraries whose version changes what is trained from the same data.
LIBRARIES = ("scikit-learn", "lightgbm", "numpy")


class ModelError(ValueError):
    """A model is declared, trained or asked for in a way that cannot work."""


@dataclass(frozen=True)
class ModelSpec:
    """A model and how it is trained.

    Attributes:
        name: Name within the product.
        task: `classification` tells one label from the others, `regression` predicts a number.
        label: Column with the label.
        primary_key: Columns of integers or text that identify a row.
        features: Columns to learn from; all but key, label and excluded ones when empty.
        exclude: Columns that are no features.
        positive: Label that counts as positive; for classification.
        estimator: Import path of a scikit-learn estimator.
        params: Parameters of the estimator.
        categorical: Features that are categories though they are numbers; text always is.
        test_share: Share of the keys that is held out from training.
        split_by: Columns whose hash decides which rows are held out, so that rows with equal
            values are on one side; those of the primary key when empty. Change it and held-out
            rows are trained on.
        split_salt: Makes the split another one; change it and held-out rows are trained on.
        seed: Seed of the estimator and of the bootstrap.
    """

    name: str
    task: Task
    label: str
    primary_key: tuple[str, ...]
    features: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    positive: str | int | bool | None = None
    estimator: str = "lightgbm.LGBMClassifier"
    params: Mapping[str, Any] = field(default_factory=dict)
    categorical: tuple[str, ...] = ()
    test_share: float = 0.2
    split_by: tuple[str, ...] = ()
    split_salt: str = "lakeops"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in ("classification", "regression"):
            raise ModelError(f"task {self.task!r} of model {self.name}: classification, regression")
        if self.task == "classification" and self.positive is None:
            raise ModelError(
                f"model {self.name} is a classification and needs `positive`, the value of "
                f"{self.label} that counts as positive"
            )
        if not self.primary_key:
            raise ModelError(f"model {self.name} needs a primary key: its hash decides the split")
        if not 0 < self.test_share < 1:
            raise ModelError(f"test_share {self.test_share} of model {self.name}: between 0 and 1")
        if "." not in self.estimator:
            raise ModelError(
                f"estimator {self.estimator!r} of model {self.name} is no import path such as "
                "lightgbm.LGBMClassifier"
            )

    def digest(self) -> str:
        """Return a hash of everything that changes the trained model."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(spec: ModelSpec, data_version: int) -> str:
    """Return what identifies a trained model: specification, data and library versions."""
    versions = [f"{name}=={metadata.version(name)}" for name in LIBRARIES]
    text = "\n".join([spec.digest(), f"data version {data_version}", *versions])
    return hashlib.sha256(text.encode()).hexdigest()
