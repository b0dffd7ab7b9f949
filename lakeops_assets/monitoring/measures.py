"""What is said of a group of rows beyond its columns: model quality, estimates, aggregates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.statements import literal, quote
from lakeops_assets.monitoring import quality
from lakeops_assets.monitoring.custom import WHOLE_TABLE, CustomMetric, of_type
from lakeops_assets.monitoring.estimate import (
    Calibration,
    Histogram,
    estimated_values,
    histogram_select,
)
from lakeops_assets.monitoring.quality import Classes, Values
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.state import Baseline
from lakeops_assets.monitoring.statements import Grouping, columns_of

if TYPE_CHECKING:
    import pyarrow as pa

Key: TypeAlias = tuple[Any, ...]
Run: TypeAlias = Callable[[str], Iterator["pa.RecordBatch"]]


def measure(
    run: Run,
    grouping: Grouping,
    spec: MonitorSpec,
    schema: pa.Schema,
    calibration: Calibration | None,
) -> dict[Key, Values]:
    """Return the metrics of the whole table for each group: quality, and what is estimated of it.

    Args:
        run: Runs a statement over the table.
        grouping: How its rows are grouped.
        spec: What to monitor.
        schema: Columns of the table; what it does not have is not measured.
        calibration: What probabilities mean; None where nothing is estimated.
    """
    found: dict[Key, Values] = {}
    known = {spec.prediction_col, spec.label_col} <= set(schema.names)
    if known and spec.problem_type == "classification":
        found = _classification(run, grouping, spec, Classes.of(spec, schema))
    if known and spec.problem_type == "regression":
        sql = quality.regression_select(spec, grouping.keys, grouping.condition)
        for row in _rows(run(sql)):
            if row["n"]:
                found[grouping.key(row)] = quality.regression_values(row)
    if calibration is not None and spec.prediction_proba_col in schema.names:
        sql = histogram_select(
            None, spec, grouping.keys, grouping.condition, _predicted(spec, schema)
        )
        histograms: dict[Key, list[dict[str, Any]]] = {}
        for row in _rows(run(sql)):
            histograms.setdefault(grouping.key(row), []).append(row)
        for key, rows in histograms.items():
            found.setdefault(key, {}).update(estimated_values(Histogram.of(rows), calibration))
    return found


def aggregates(
    run: Run, grouping: Grouping, spec: MonitorSpec, schema: pa.Schema
) -> dict[Key, dict[str, Values]]:
    """Return the custom aggregates of each group: column or `:table` -> name -> value.

    One whose columns the table does not have, which a baseline may not, is left out.
    """
    wanted: list[tuple[str, CustomMetric, str]] = []
    names = {name.lower() for name in schema.names}
    for metric in of_type(spec.custom_metrics, "aggregate"):
        for column in metric.input_columns:
            sql = metric.expression({**spec.template_columns, "input_column": quote(column)})
            if columns_of(sql) <= names:
                wanted.append((column, metric, sql))
    if not wanted:
        return {}
    selected = [f"{sql} AS {key}" for key, sql in grouping.keys.items()]
    selected += [f"{sql} AS m{i}" for i, (_, _, sql) in enumerate(wanted)]
    where = f" WHERE ({grouping.condition})" if grouping.condition else ""
    by = f" GROUP BY {', '.join(grouping.keys.values())}" if grouping.keys else ""
    found: dict[Key, dict[str, Values]] = {}
    for row in _rows(run(f"SELECT {', '.join(selected)} FROM source{where}{by}")):
        values: dict[str, Values] = {}
        for i, (column, metric, _) in enumerate(wanted):
            values.setdefault(column, {})[metric.name] = row[f"m{i}"]
        found[grouping.key(row)] = values
    return found


def calibrate(lakehouse: Lakehouse, baseline: Baseline, spec: MonitorSpec) -> Calibration | None:
    """Fit what probabilities mean on a baseline; None where it does not tell."""
    schema = lakehouse.schema(baseline.table, baseline.version)
    needed = {spec.prediction_col, spec.prediction_proba_col, spec.label_col}
    if not spec.estimated or not needed <= set(schema.names):
        return None
    predicted = _predicted(spec, schema)
    sql = histogram_select(Classes.of(spec, schema), spec, {}, baseline.where or "", predicted)
    source = {"source": lakehouse.at(baseline.table, baseline.version)}
    return Calibration.fit(Histogram.of(_rows(iter(lakehouse.query(sql, source)))))


def check_aggregates(spec: MonitorSpec, schema: pa.Schema) -> list[str]:
    """Return the columns that custom aggregates read and the table does not have."""
    names = {name.lower() for name in schema.names}
    missing: set[str] = set()
    for metric in of_type(spec.custom_metrics, "aggregate"):
        for column in metric.input_columns:
            sql = metric.expression({**spec.template_columns, "input_column": quote(column)})
            missing |= columns_of(sql) - names
    return sorted(missing - {WHOLE_TABLE})


def _classification(
    run: Run, grouping: Grouping, spec: MonitorSpec, classes: Classes
) -> dict[Key, Values]:
    confusions: dict[Key, dict[tuple[str, str], int]] = {}
    sql = quality.confusion_select(classes, grouping.keys, grouping.condition)
    for row in _rows(run(sql)):
        cell = (classes.name(row["predicted"]), classes.name(row["actual"]))
        confusions.setdefault(grouping.key(row), {})[cell] = row["n"]
    found = {key: quality.confusion_values(c) for key, c in confusions.items()}
    if spec.prediction_proba_col:
        sql = quality.probability_select(classes, spec, grouping.keys, grouping.condition)
        for row in _rows(run(sql)):
            values = found.setdefault(grouping.key(row), {})
            values["log_loss"] = row["loss"]
            if row["auc"] is not None:
                one = {str(spec.positive): row["auc"]}
                values["roc_auc_score"] = quality.averaged(one, dict.fromkeys(one, 1))
    if grouping.slice_key is not None:
        at = list(grouping.keys).index("slice_value")
        other = {"true": "false", "false": "true"}
        for key, confusion in confusions.items():
            rest = (*key[:at], other.get(key[at]), *key[at + 1 :])
            if rest in confusions:
                found[key] |= quality.fairness_values(confusion, confusions[rest])
    return found


def _predicted(spec: MonitorSpec, schema: pa.Schema) -> str:
    """Return the condition under which the prediction is the class of the probability."""
    import pyarrow.types as is_

    column = quote(str(spec.prediction_col))
    kind = schema.field(spec.prediction_col).type
    positive = literal(str(spec.positive))
    if is_.is_integer(kind) or is_.is_floating(kind) or is_.is_decimal(kind):
        return f"CAST({column} AS DOUBLE) = CAST({positive} AS DOUBLE)"
    return f"CAST({column} AS STRING) = {positive}"


def _rows(batches: Iterator[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()
