"""From a table of features to a trained, measured, registered and scoring model.

Owns how rows are split, how a model is fitted and measured, and what MLflow stores of it.
"""

from lakeops_assets.models.evaluate import Comparison, Evaluation, Measured, compare, evaluate
from lakeops_assets.models.kpi_metrics import kpi_metric, measure, undefined
from lakeops_assets.models.metrics import METRICS
from lakeops_assets.models.plots import figures, inline_plots
from lakeops_assets.models.registry import (
    LoggedModelInfo,
    ModelRegistry,
    TrainingRows,
    VersionInfo,
    registered_models,
)
from lakeops_assets.models.score import Scorer
from lakeops_assets.models.spec import ModelError, ModelSpec, fingerprint
from lakeops_assets.models.split import HELD_OUT, is_held_out, split_condition
from lakeops_assets.models.store import ensure_store, glance
from lakeops_assets.models.train import Trained, labels, train

__all__ = [
    "HELD_OUT",
    "METRICS",
    "Comparison",
    "Evaluation",
    "LoggedModelInfo",
    "Measured",
    "ModelError",
    "ModelRegistry",
    "ModelSpec",
    "Scorer",
    "Trained",
    "TrainingRows",
    "VersionInfo",
    "compare",
    "ensure_store",
    "evaluate",
    "figures",
    "fingerprint",
    "glance",
    "inline_plots",
    "is_held_out",
    "kpi_metric",
    "labels",
    "measure",
    "registered_models",
    "split_condition",
    "train",
    "undefined",
]
