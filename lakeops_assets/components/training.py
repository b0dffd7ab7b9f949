"""Steps between a feature table and a champion that need tables and the model registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from lakeops_assets import models
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.retraining import ALWAYS, Alerting, RetrainPolicy, decide
from lakeops_assets.lakehouse import Commit, Lakehouse, LakehouseError, TableName
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.models import ModelRegistry, ModelSpec, VersionInfo, read_rows
from lakeops_assets.models.entities import USER

RESAMPLES = 1000


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training did.

    Attributes:
        model_id: MLflow's LoggedModel.
        run_id: MLflow run that made it.
        reused: Whether it was there already.
        reason: Why it was trained, or why not.
        data_version: Delta version of the feature table that it was trained on.
        metrics: Metric -> value on the held-out rows, with `_low` and `_high`.
        curves: Markdown of small plots; empty when the model was reused.
        experiment_id: MLflow experiment, for links.
    """

    model_id: str
    run_id: str
    reused: bool
    reason: str
    data_version: int
    metrics: Mapping[str, float]
    experiment_id: str
    curves: Mapping[str, str] = field(default_factory=dict)


# Training


def train(
    lakehouse: Lakehouse,
    registry: ModelRegistry,
    spec: ModelSpec,
    features: TableName,
    *,
    tags: Mapping[str, str],
    policy: RetrainPolicy = ALWAYS,
    alerts: Callable[[], Sequence[Alerting]] = tuple,
) -> TrainingOutcome:
    """Train on the labelled rows of the feature table, unless an equal model is there.

    A model is known by its fingerprint: specification, data version and code. So a run that is
    repeated, or was killed after the model was stored, finds it and trains nothing.

    Args:
        lakehouse: Where the features are.
        registry: Where models go.
        spec: What is trained.
        features: Feature table.
        tags: Tags of the MLflow run.
        policy: When new data is worth a new model.
        alerts: Alerts of the scores; asked only where the policy wants to know.
    """
    version = lakehouse.data_version(features)
    if version is None:
        lakehouse.at(features)  # raises the error that says which tables exist
        raise LakehouseError(f"there is no table {features}")
    fingerprint = models.fingerprint(spec, version)
    known = registry.find_model(fingerprint)
    reason = f"the model of {features} version {version} is there already"
    if known is None:
        newest = registry.newest_model()
        decision = decide(lakehouse, spec, features, version, newest, policy, alerts)
        reason = decision.reason
        known = None if decision.train else newest
    if known is not None:
        return TrainingOutcome(
            model_id=known.model_id,
            run_id=known.run_id,
            reused=True,
            reason=reason,
            data_version=known.data_version,
            metrics=known.metrics,
            experiment_id=known.experiment_id,
        )
    frame = read_rows(lakehouse, spec, features, version)
    held_out = frame.pop(models.HELD_OUT).to_numpy(dtype=bool)
    with registry.start_run(f"{spec.name} on {features.table} v{version}", tags) as run_id:
        trained = models.train(spec, frame[~held_out])
        test = frame[held_out]
        labels, scores = models.labels(spec, test), trained.score(test)
        evaluation = models.evaluate(spec.task, labels, scores, resamples=RESAMPLES, seed=spec.seed)
        logged = registry.log_training(
            run_id,
            trained,
            evaluation,
            figures=models.figures(spec.task, labels, scores),
            data=frame,
            table=str(features),
            location=lakehouse.location(features),
            data_version=version,
            fingerprint=fingerprint,
            made_by=made_by(lakehouse, features, version),
        )
    return TrainingOutcome(
        model_id=logged.model_id,
        run_id=run_id,
        reused=False,
        reason=f"trained on {len(frame) - len(test)} rows of {features} version {version}, because "
        f"{reason}",
        data_version=version,
        metrics=logged.metrics,
        experiment_id=logged.experiment_id,
        curves=models.inline_plots(spec.task, labels, scores),
    )


def made_by(lakehouse: Lakehouse, table: TableName, version: int) -> dict[str, str]:
    """Return what the writer of a version recorded: for features the SQL's hash and its inputs."""
    found = (c.metadata for c in lakehouse.history(table, limit=50) if c.version == version)
    return dict(next(found, {}))


# Versions and gates


def register(registry: ModelRegistry, actor: str) -> VersionInfo:
    """Register the newest trained model and make it the challenger, unless it is champion.

    The version says who registered it: who made a version may not be who approves it.
    """
    newest = registry.newest_model()
    if newest is None:
        raise models.ModelError(f"no model of {registry.name} was trained yet; materialize it")
    version = registry.register(newest.model_id, newest.run_id, tags={USER: actor})
    if version != registry.alias("champion"):
        registry.set_alias("challenger", version)
    return registry.version(version)


def candidate(registry: ModelRegistry) -> int:
    """Return the version that waits for promotion: the newest."""
    versions = registry.versions()
    if not versions:
        raise models.ModelError(f"{registry.name} has no version; materialize its model version")
    return max(v.version for v in versions)


def write_baseline(
    lakehouse: Lakehouse,
    registry: ModelRegistry,
    spec: ModelSpec,
    features: TableName,
    table: TableName,
    champion: int,
) -> Commit:
    """Write the champion's training and held-out rows with its predictions."""
    import pyarrow as pa

    version = registry.data_version(champion)
    wanted = {"baseline": f"{registry.name}/v{champion}"}
    if lakehouse.exists(table):
        written = lakehouse.last_change(table)
        if written is not None and wanted.items() <= written.metadata.items():
            reason = f"holds the rows of version {champion}"
            return Commit(lakehouse.version(table) or 0, written=False, reason=reason)
    scorer = registry.load(champion)
    # A row whose key is gone from the features was deleted: an old version does not bring it back.
    key = " AND ".join(f"now.{quote(k)} = trained.{quote(k)}" for k in spec.primary_key)
    reader = lakehouse.query(
        f"SELECT *, CASE WHEN {models.split_condition(spec)} THEN 'test' ELSE 'train' END AS split "
        f"FROM {features} VERSION AS OF {version} AS trained WHERE {quote(spec.label)} IS NOT NULL "
        f"AND EXISTS (SELECT 1 FROM {features} AS now WHERE {key})"
    )
    predictions = scorer.prediction_fields()
    schema = pa.schema([*reader.schema, *predictions, pa.field("model_version", pa.string())])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            predicted = scorer.predict(batch)
            columns = [*batch.columns]
            columns += [predicted.column(f.name) for f in predictions]
            columns.append(pa.repeat(pa.scalar(str(champion)), batch.num_rows))
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    lakehouse.create(table, schema, description=f"Training and held-out rows of {registry.name}.")
    rows = pa.RecordBatchReader.from_batches(schema, batches())
    return lakehouse.overwrite(table, rows, metadata=wanted, evolve=True)


# What the UI shows


def dagster_tags(lakeops: LakeopsResource, run_id: str, key: dg.AssetKey) -> dict[str, str]:
    """Return tags of an MLflow run that lead back to Dagster."""
    url = f"{lakeops.dagster_url}/runs/{run_id}"
    asset = f"{lakeops.dagster_url}/assets/{'/'.join(key.path)}"
    return {
        "dagster.run_id": run_id,
        "dagster.asset_key": key.to_user_string(),
        "dagster.run_url": url,
        "mlflow.user": lakeops.actor,
        **models.source_tags(lakeops.settings().project),
        "mlflow.note.content": f"Materialized by Dagster: [asset]({asset}), [run]({url}).",
    }


def training_metadata(outcome: TrainingOutcome, mlflow_url: str) -> dict[str, Any]:
    """Return what the trained model shows: numbers to plot, intervals, curves and links."""
    run = f"{mlflow_url}/#/experiments/{outcome.experiment_id}/runs/{outcome.run_id}"
    values = {k: v for k, v in outcome.metrics.items() if not k.endswith(("_low", "_high"))}
    with_interval = {k: v for k, v in values.items() if f"{k}_low" in outcome.metrics}
    lines = [
        f"| {name} | {value:.4f} | {outcome.metrics[f'{name}_low']:.4f} – "
        f"{outcome.metrics[f'{name}_high']:.4f} |"
        for name, value in with_interval.items()
    ]
    table = "\n".join(["| metric | held-out rows | 95 % interval |", "| --- | --- | --- |", *lines])
    return {
        "mlflow": dg.MetadataValue.md(f"[MLflow run]({run})"),
        "metrics": dg.MetadataValue.md(table),
        **{name: dg.MetadataValue.md(text) for name, text in outcome.curves.items()},
        "reason": outcome.reason,
        "features_version": outcome.data_version,
        **{name: _number(value) for name, value in values.items()},
    }


def version_metadata(version: VersionInfo, mlflow_url: str, registered: str) -> dict[str, Any]:
    """Return what a registered version shows."""
    return {
        "version": version.version,
        "aliases": ", ".join(version.aliases),
        "mlflow": dg.MetadataValue.md(version_link(mlflow_url, registered, version.version)),
        **{
            name: _number(value)
            for name, value in version.metrics.items()
            if not name.endswith(("_low", "_high"))
        },
    }


def _number(value: float) -> dg.FloatMetadataValue:
    # Six digits are more than any interval here is exact to, and can be read.
    return dg.MetadataValue.float(float(f"{value:.6g}"))


def version_link(mlflow_url: str, registered: str, version: int) -> str:
    """Return a markdown link to a version's page in MLflow."""
    return (
        f"[{registered} version {version}]({mlflow_url}/#/models/{registered}/versions/{version})"
    )
