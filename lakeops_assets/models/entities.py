"""Records of a model in MLflow, and the tags that carry what MLflow has no field for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

# Tags of a logged model, which make it usable without the run that made it.
MODEL, FINGERPRINT, SPEC = "lakeops.model", "lakeops.fingerprint", "lakeops.spec_digest"
TABLE, DATA_VERSION = "lakeops.table", "lakeops.data_version"
SCORING = "lakeops.scoring"
# Tags of a version and of a run: who made it; authors of a version that was copied here.
USER, AUTHORS = "mlflow.user", "lakeops.authors"
# Tags of a run: the process that trains.
HOST, PID = "lakeops.host", "lakeops.pid"


@dataclass(frozen=True)
class LoggedModelInfo:
    """A trained model.

    Attributes:
        model_id: MLflow's id.
        run_id: Run that made it.
        experiment_id: Experiment of the run.
        fingerprint: Specification, data and libraries; see `fingerprint`.
        spec_digest: Hash of the specification.
        data_version: Delta version of the table it was trained on.
        metrics: Metric -> value, with `_low` and `_high`.
    """

    model_id: str
    run_id: str
    experiment_id: str
    fingerprint: str
    spec_digest: str
    data_version: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class VersionInfo:
    """A registered version of a model."""

    version: int
    model_id: str
    run_id: str
    created_at: datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrainingRows:
    """Which rows of the feature table a version was trained on: labelled ones not held out.

    Attributes:
        data_version: Delta version of the feature table.
        label: Column with the label.
        primary_key: Columns that identify a row.
        test_share: Share of the keys that was held out.
        split_salt: Salt of the split; see `split_condition`.
    """

    data_version: int
    label: str
    primary_key: tuple[str, ...]
    test_share: float
    split_salt: str


def logged_model_info(model: LoggedModel) -> LoggedModelInfo:
    """Return a trained model as it is in MLflow."""
    return LoggedModelInfo(
        model_id=model.model_id,
        run_id=model.source_run_id or "",
        experiment_id=model.experiment_id,
        fingerprint=model.tags.get(FINGERPRINT, ""),
        spec_digest=model.tags.get(SPEC, ""),
        data_version=int(model.tags.get(DATA_VERSION, -1)),
        metrics={m.key: float(m.value) for m in model.metrics or []},
    )
