"""The rows that a KPI is measured on: scores and labels that the version was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lakeops_assets import models
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.statements import literal, quote
from lakeops_assets.models import ModelError, ModelRegistry, TrainingRows
from lakeops_assets.models.spec import Task
from lakeops_assets.monitoring import KpiSource, KpiSpec, Measure, Measurement

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Of several labels of a key with the same time the one that was delivered last counts.
DELIVERY = ("_batch_id", "_source_file")


@dataclass(frozen=True)
class KpiInputs:
    """Where the rows of a KPI are.

    Attributes:
        scores: Table of scores.
        labels: Table of labels; its columns include the model's primary key.
        features: Feature table that the model is trained on.
        task: What is predicted.
        label: Column of the labels.
        positive: Label that counts as positive; for classification.
        timestamp: Column of the scores: the time for which a row was scored.
        score: Column of the scores: the probability, or the number.
        labelled_at: Column of the labels: since when a label is known. Where it is empty a label
            counts as known `label_delay` after the row's time.
    """

    scores: TableName
    labels: TableName
    features: TableName
    task: Task
    label: str
    positive: str | int | bool | None
    timestamp: str
    score: str
    labelled_at: str


@dataclass(frozen=True)
class KpiRows:
    """Rows to measure.

    Attributes:
        table: As `monitoring.kpi_windows` takes them.
        left_out: Version -> why its rows do not count.
    """

    table: pa.Table
    left_out: Mapping[str, str]


def measure_of(task: Task, spec: KpiSpec) -> Measure:
    """Return what measures a KPI.

    Raises:
        ModelError: The task has no such metric, or other outcomes than those with payoffs.
    """
    payoffs = models.Payoffs(task, dict(spec.payoffs)) if spec.payoffs else None
    metric = models.kpi_metric(task, spec.metric, payoffs, spec.decide_at)

    def measure(labels: np.ndarray, scores: np.ndarray) -> Measurement:
        reason = models.undefined(task, spec.metric, labels)
        if reason:
            return Measurement(None, reason=reason)
        found = models.measure_kpi(metric, labels, scores)
        return Measurement(found.value, found.low, found.high)

    return measure


def newest_source(
    lakehouse: Lakehouse, inputs: KpiInputs, *, now: datetime, of_data: bool
) -> KpiSource:
    """Return the newest versions of the tables, and the time at which they are looked at.

    Args:
        lakehouse: Where the tables are.
        inputs: Which tables.
        now: The present.
        of_data: Whether the time is the newest in the data and not the present; it is never later
            than the present.
    """
    versions = [lakehouse.data_version(table) for table in (inputs.scores, inputs.labels)]
    for table, version in zip((inputs.scores, inputs.labels), versions, strict=True):
        if version is None:
            lakehouse.at(table)  # raises the error that says which tables exist
    scores, labels = (version or 0 for version in versions)
    clock = now
    if of_data:
        times = [lakehouse.newest_time(inputs.scores, inputs.timestamp, version=scores)]
        if inputs.labelled_at:
            known = lakehouse.newest_time(inputs.labels, inputs.labelled_at, version=labels)
            times.append(known)
        found = [t for t in times if t is not None]
        clock = min(now, max(found)) if found else now
    return KpiSource(scores, labels, clock)


def read_rows(
    lakehouse: Lakehouse,
    registry: ModelRegistry,
    inputs: KpiInputs,
    spec: KpiSpec,
    source: KpiSource,
) -> KpiRows:
    """Return the rows of each version that it was never trained on.

    Those are rows whose keys were held out, and rows whose label was not in the version of the
    feature table that it was trained on. Of several scores of a row by one version the latest
    before its label was known counts; a score for a time after that is no prediction and does not
    count. Of several labels of a row the newest counts.
    """
    import pyarrow as pa

    trained, left_out = _training_rows(lakehouse, registry, inputs, source)
    parts = [
        lakehouse.query(_statement(lakehouse, inputs, spec, source, version, rows)).read_all()
        for version, rows in trained.items()
    ]
    time = pa.timestamp("us", "UTC")
    schema = pa.schema(
        [
            ("model_version", pa.string()),
            ("window_start", pa.int64()),
            ("at", time),
            ("score", pa.float64()),
            ("label", pa.float64()),
            ("known_at", time),
        ]
    )
    tables = [_cast(part, schema) for part in parts]
    return KpiRows(pa.concat_tables(tables) if tables else schema.empty_table(), left_out)


def _training_rows(
    lakehouse: Lakehouse, registry: ModelRegistry, inputs: KpiInputs, source: KpiSource
) -> tuple[dict[str, TrainingRows], dict[str, str]]:
    """Return what each version in the scores was trained on, and why others do not count."""
    found = lakehouse.query(
        f"SELECT DISTINCT model_version FROM {inputs.scores} VERSION AS OF {source.scores}"
    )
    trained: dict[str, TrainingRows] = {}
    left_out: dict[str, str] = {}
    for version in sorted(found.read_all()["model_version"].to_pylist()):
        try:
            trained[version] = registry.training_rows(int(version))
        except ModelError as error:
            left_out[version] = str(error)
    return trained, left_out


def _statement(
    lakehouse: Lakehouse,
    inputs: KpiInputs,
    spec: KpiSpec,
    source: KpiSource,
    version: str,
    trained: TrainingRows,
) -> str:
    keys = [quote(k) for k in trained.primary_key]
    listed = ", ".join(keys)
    same = " AND ".join(f"t.{k} = s.{k}" for k in keys)
    at = f"CAST(s.{quote(inputs.timestamp)} AS TIMESTAMP)"
    known = f"unix_micros({at}) + {spec.label_delay // timedelta(microseconds=1)}"
    if inputs.labelled_at:
        known = "t.known_at"
    # Scores carry the key alone: where something else decided, only rows that had no label count.
    held_out = "FALSE" if trained.split_by else models.split_condition(trained)
    return f"""
        SELECT {literal(version)} AS model_version, window_start, at, score, label,
            CASE WHEN label IS NULL THEN NULL ELSE known_at END AS known_at
        FROM (
            SELECT s.*, row_number() OVER (
                PARTITION BY {listed}
                ORDER BY at DESC, features_version DESC, scored_at DESC
            ) AS place
            FROM (
                SELECT {", ".join(f"s.{k}" for k in keys)}, s.features_version, s.scored_at,
                    {spec.granularity.start_sql(at)} AS window_start,
                    unix_micros({at}) AS at,
                    CAST(s.{quote(inputs.score)} AS DOUBLE) AS score,
                    t.label AS label,
                    {known} AS known_at
                FROM {inputs.scores} VERSION AS OF {source.scores} AS s
                LEFT JOIN ({_labels(lakehouse, inputs, source, listed)}) AS t ON {same}
                WHERE s.model_version = {literal(version)}
            ) AS s
            WHERE label IS NULL OR at <= known_at
        ) AS s
        WHERE place = 1 AND ({held_out} OR NOT EXISTS (
            SELECT 1 FROM {inputs.features} VERSION AS OF {trained.data_version} AS t
            WHERE {same} AND t.{quote(trained.label)} IS NOT NULL
        ))"""


def _labels(lakehouse: Lakehouse, inputs: KpiInputs, source: KpiSource, listed: str) -> str:
    """Return a SELECT of the newest label of each key."""
    there = lakehouse.schema(inputs.labels, source.labels).names
    wanted = (inputs.labelled_at, *DELIVERY, inputs.label)
    newest = ", ".join(f"{quote(c)} DESC" for c in wanted if c in there)
    known = "CAST(NULL AS BIGINT)"
    if inputs.labelled_at:
        known = f"unix_micros(CAST({quote(inputs.labelled_at)} AS TIMESTAMP))"
    return f"""
        SELECT {listed}, {_label(inputs)} AS label, {known} AS known_at
        FROM {inputs.labels} VERSION AS OF {source.labels}
        WHERE {quote(inputs.label)} IS NOT NULL
        QUALIFY row_number() OVER (
            PARTITION BY {listed} ORDER BY {newest}
        ) = 1"""


def _label(inputs: KpiInputs) -> str:
    if inputs.task == "regression":
        return f"CAST({quote(inputs.label)} AS DOUBLE)"
    positive = inputs.positive
    text = str(positive).lower() if isinstance(positive, bool) else str(positive)
    same = f"CAST({quote(inputs.label)} AS STRING) = {literal(text)}"
    return f"CASE WHEN {same} THEN 1.0 ELSE 0.0 END"


def _cast(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with times for microseconds."""
    import pyarrow as pa

    columns = [
        part[f.name].cast(pa.int64()).cast(f.type)
        if pa.types.is_timestamp(f.type)
        else part[f.name].cast(f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
