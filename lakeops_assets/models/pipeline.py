"""Columns to features and the estimator behind them, as one scikit-learn pipeline.

Everything that is learned from data, encoders included, is fitted inside the pipeline, so that it
is fitted on training rows alone.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakeops_assets.models.spec import ModelError, ModelSpec

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from sklearn.pipeline import Pipeline

MOST_CATEGORIES = 200
SMALL = 50_000
# Estimators that need all numbers present and of one scale.
SCALED = ("sklearn.linear_model", "sklearn.svm", "sklearn.neighbors", "sklearn.neural_network")


def build_pipeline(
    spec: ModelSpec, numeric: Sequence[str], categorical: Sequence[str], rows: int
) -> Pipeline:
    """Return the unfitted pipeline of a model that is fitted on so many rows."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    estimator = make_estimator(spec)
    if rows < SMALL and spec.estimator.startswith("lightgbm.") and "n_jobs" not in spec.params:
        # Threads that wait for each other cost more than they save on few rows.
        estimator.set_params(n_jobs=1)
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MOST_CATEGORIES,
        drop="if_binary",
        sparse_output=False,
    )
    if type(estimator).__module__.startswith(SCALED):
        numbers: Any = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    else:
        numbers = "passthrough"
    encode = ColumnTransformer(
        [("numbers", numbers, list(numeric)), ("categories", one_hot, list(categorical))],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    return Pipeline([("encode", encode), ("model", estimator)])


def make_estimator(spec: ModelSpec) -> Any:
    """Return the estimator with the parameters of the specification.

    Raises:
        ModelError: The path leads to no estimator, or a parameter is unknown.
    """
    module_name, _, class_name = spec.estimator.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ModelError(f"estimator {spec.estimator} cannot be imported: {error}") from error
    made = getattr(module, class_name, None)
    if made is None:
        kind = "Classifier" if spec.task == "classification" else "Regressor"
        there = [n for n in dir(module) if kind in n or n.endswith("Regression")]
        raise ModelError(
            f"{module_name} has no {class_name}; it has, for example: {', '.join(there[:12])}"
        )
    given = dict(spec.params)
    try:
        known = made().get_params()
    except (TypeError, AttributeError) as error:
        raise ModelError(f"{spec.estimator} is not a scikit-learn estimator: {error}") from error
    if module_name.startswith("lightgbm"):
        # Equal trees for equal rows, on however many processors.
        defaults = {"deterministic": True, "force_row_wise": True, "verbosity": -1}
        given = {**defaults, **given}
    else:
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ModelError(
                f"{spec.estimator} has no parameter {', '.join(unknown)}; it has: "
                f"{', '.join(sorted(known))}"
            )
    if "random_state" in known:
        given.setdefault("random_state", spec.seed)
    return made(**given)


def choose_columns(spec: ModelSpec, frame: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the numeric and the categorical features of a table.

    Raises:
        ModelError: A column is missing, or a date, from which nothing can be learned as it is.
    """
    reserved = {*spec.primary_key, spec.label, *spec.exclude}
    names = spec.features or tuple(c for c in frame.columns if c not in reserved)
    missing = [c for c in (*names, *spec.categorical) if c not in frame.columns]
    if missing:
        raise ModelError(
            f"model {spec.name} needs the column {', '.join(missing)}; there are: "
            f"{', '.join(map(str, frame.columns))}"
        )
    if not names:
        raise ModelError(f"model {spec.name} has no features: all columns are excluded")
    numeric: list[str] = []
    categorical: list[str] = []
    for name in names:
        kind = "text" if name in spec.categorical else _kind(spec, name, frame[name])
        (categorical if kind == "text" else numeric).append(name)
    return tuple(numeric), tuple(categorical)


def columns_by_type(spec: ModelSpec, schema: pa.Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the numeric and the categorical features of a table by the types of its columns.

    Raises:
        ModelError: A column is missing, or has a type from which nothing can be learned as it is.
    """
    reserved = {*spec.primary_key, spec.label, *spec.exclude}
    names = spec.features or tuple(c for c in schema.names if c not in reserved)
    missing = [c for c in names if c not in schema.names]
    if missing:
        raise ModelError(
            f"model {spec.name} needs the column {', '.join(missing)}; there are: "
            f"{', '.join(schema.names)}"
        )
    kinds = {n: "text" if n in spec.categorical else _type_kind(schema.field(n)) for n in names}
    return (
        tuple(n for n, kind in kinds.items() if kind == "number"),
        tuple(n for n, kind in kinds.items() if kind == "text"),
    )


def _type_kind(field: pa.Field) -> str:
    from pyarrow import types

    kind = field.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return "number"
    if types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    raise ModelError(f"feature {field.name} has the type {kind}, from which nothing can be learned")


def prepare(
    frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]
) -> pd.DataFrame:
    """Return the features as the pipeline takes them: doubles, and text with None for missing."""
    import numpy as np
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in numeric:
        values: Any = frame[name]
        if values.dtype == object:  # decimals, or booleans and numbers with gaps
            values = [np.nan if _missing(v) else float(v) for v in values]
        columns[name] = np.asarray(values, dtype="float64")
    for name in categorical:
        columns[name] = pd.Series(
            [None if _missing(v) else _category(v) for v in frame[name]], dtype=object
        ).to_numpy()
    return pd.DataFrame(columns, index=frame.index)


def _kind(spec: ModelSpec, name: str, column: pd.Series) -> str:
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return "text"
    found = pd.api.types.infer_dtype(column, skipna=True)
    if found in ("integer", "floating", "boolean", "decimal", "mixed-integer-float", "empty"):
        return "number"
    if found in ("string", "mixed", "mixed-integer"):
        return "text"
    raise ModelError(
        f"feature {name} of model {spec.name} holds values of the kind {found}, from which nothing "
        "can be learned as they are; exclude it, or derive numbers from it in the SQL"
    )


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _category(value: object) -> str:
    # 1 and 1.0 are one category: integers become floats where a column has gaps.
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:.15g}" if number else str(value)
