"""From a table of features to a trained, measured, registered and scoring model.

Owns how rows are split, how a model is fitted and measured, and what MLflow stores of it.
"""

from lakeops_assets.models.entities import LoggedModelInfo, TrainingRows, VersionInfo
from lakeops_assets.models.evaluate import (
    Comparison,
    Evaluation,
    Measured,
    compare,
    compare_means,
    evaluate,
    measure,
    measure_mean,
)
from lakeops_assets.models.kpi_metrics import kpi_metric, measure_kpi, undefined
from lakeops_assets.models.locks import Keep, needed_versions
from lakeops_assets.models.metrics import METRICS
from lakeops_assets.models.payoffs import OUTCOMES, Payoffs, choose_threshold
from lakeops_assets.models.pipeline import columns_by_type
from lakeops_assets.models.plots import figures, inline_plots
from lakeops_assets.models.readiness import Readiness, check_readiness
from lakeops_assets.models.recipe import Recipe, source_tags
from lakeops_assets.models.reference import Reference
from lakeops_assets.models.registry import ModelRegistry, registered_models
from lakeops_assets.models.reproduce import Reproduction, reproduce
from lakeops_assets.models.rows import read_rows
from lakeops_assets.models.score import Scorer
from lakeops_assets.models.spec import ModelError, ModelSpec, fingerprint
from lakeops_assets.models.split import HELD_OUT, is_held_out, split_condition
from lakeops_assets.models.store import artifact_root, ensure_store, glance
from lakeops_assets.models.train import Trained, labels, train
from lakeops_assets.models.transfer import Copied, copy_version, find_copy

__all__ = [
    "HELD_OUT",
    "METRICS",
    "OUTCOMES",
    "Comparison",
    "Copied",
    "Evaluation",
    "Keep",
    "LoggedModelInfo",
    "Measured",
    "ModelError",
    "ModelRegistry",
    "ModelSpec",
    "Payoffs",
    "Readiness",
    "Recipe",
    "Reference",
    "Reproduction",
    "Scorer",
    "Trained",
    "TrainingRows",
    "VersionInfo",
    "artifact_root",
    "check_readiness",
    "choose_threshold",
    "columns_by_type",
    "compare",
    "compare_means",
    "copy_version",
    "ensure_store",
    "evaluate",
    "figures",
    "find_copy",
    "fingerprint",
    "glance",
    "inline_plots",
    "is_held_out",
    "kpi_metric",
    "labels",
    "measure",
    "measure_kpi",
    "measure_mean",
    "needed_versions",
    "read_rows",
    "registered_models",
    "reproduce",
    "source_tags",
    "split_condition",
    "train",
    "undefined",
]
