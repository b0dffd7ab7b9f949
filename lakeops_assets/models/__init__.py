"""From a table of features to a trained, measured, registered and scoring model.

Owns how rows are split, how a model is fitted and measured, and what MLflow stores of it.
"""

from lakeops_assets.models.evaluate import Comparison, Evaluation, Measured, compare, evaluate
from lakeops_assets.models.locks import Keep, needed_versions
from lakeops_assets.models.metrics import METRICS
from lakeops_assets.models.plots import figures, inline_plots
from lakeops_assets.models.recipe import Recipe, source_tags
from lakeops_assets.models.reference import Reference
from lakeops_assets.models.registry import (
    LoggedModelInfo,
    ModelRegistry,
    VersionInfo,
    registered_models,
)
from lakeops_assets.models.reproduce import Reproduction, reproduce
from lakeops_assets.models.rows import read_rows
from lakeops_assets.models.score import Scorer
from lakeops_assets.models.spec import ModelError, ModelSpec, fingerprint
from lakeops_assets.models.split import HELD_OUT, is_held_out, split_condition
from lakeops_assets.models.store import ensure_store
from lakeops_assets.models.train import Trained, labels, train

__all__ = [
    "HELD_OUT",
    "METRICS",
    "Comparison",
    "Evaluation",
    "Keep",
    "LoggedModelInfo",
    "Measured",
    "ModelError",
    "ModelRegistry",
    "ModelSpec",
    "Recipe",
    "Reference",
    "Reproduction",
    "Scorer",
    "Trained",
    "VersionInfo",
    "compare",
    "ensure_store",
    "evaluate",
    "figures",
    "fingerprint",
    "inline_plots",
    "is_held_out",
    "labels",
    "needed_versions",
    "read_rows",
    "registered_models",
    "reproduce",
    "source_tags",
    "split_condition",
    "train",
]
