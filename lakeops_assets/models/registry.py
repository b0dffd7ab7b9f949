"""What MLflow stores of one model: runs, logged models, versions and aliases.

Only the client API is used. The fluent API keeps an active run per process, which two models that
are trained in one process would share.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lakeops_assets.models.artifacts import (
    dataset_input,
    dataset_of,
    load_pipeline,
    metrics_of,
    model_files,
    params_of,
    save_model,
)
from lakeops_assets.models.evaluate import Evaluation
from lakeops_assets.models.recipe import (
    Environment,
    Recipe,
    load_recipe,
    present_code,
    present_environment,
    save_recipe,
)
from lakeops_assets.models.score import Scorer
from lakeops_assets.models.spec import ModelError
from lakeops_assets.models.store import SQLITE, default_store, open_store
from lakeops_assets.models.train import Trained
from lakeops_assets.processes import is_running

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

# Tags of a logged model, which make it usable without the run that made it.
MODEL, FINGERPRINT, SPEC = "lakeops.model", "lakeops.fingerprint", "lakeops.spec_digest"
TABLE, DATA_VERSION = "lakeops.table", "lakeops.data_version"
SCORING = "lakeops.scoring"
# Tags of a version and of a run: who made it; authors of a version that was copied here.
USER, AUTHORS = "mlflow.user", "lakeops.authors"
# Tags of a run: the process that trains.
HOST, PID = "lakeops.host", "lakeops.pid"
MOST_MODELS = 1000
STAGES = {"champion": "Production"}


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


@dataclass(frozen=True)
class ModelRegistry:
    """The runs, versions and aliases of one registered model.

    Attributes:
        tracking_uri: MLflow store.
        artifact_root: Folder of the artifacts; used where the store is local.
        registered_name: `<catalog>.<schema>.<model>`.
        experiment: Name of the experiment of its runs.
    """

    tracking_uri: str
    artifact_root: Path
    registered_name: str
    experiment: str
    _cache: dict = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The registered name."""
        return self.registered_name

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client, on a store that is initialised."""
        return open_store(self.tracking_uri)

    # Training

    @cached_property
    def experiment_id(self) -> str:
        """Id of the experiment, which is made when it is missing."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(self.experiment)
        if found is not None:
            return found.experiment_id
        local = self.tracking_uri.startswith(SQLITE)
        place = (self.artifact_root / self.experiment).as_uri() if local else None
        try:
            return self.client.create_experiment(self.experiment, artifact_location=place)
        except MlflowException:
            found = self.client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return found.experiment_id  # another process was faster

    @contextmanager
    def start_run(self, name: str, tags: Mapping[str, str]) -> Iterator[str]:
        """Open an MLflow run and give its id; it ends as FINISHED, or FAILED on an exception.

        Runs of processes that were killed are closed first, as KILLED.
        """
        self._close_killed_runs()
        tags = {**tags, HOST: socket.gethostname(), PID: str(os.getpid())}
        run = self.client.create_run(self.experiment_id, run_name=name, tags=tags)
        run_id = run.info.run_id
        try:
            yield run_id
        except BaseException:
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def _close_killed_runs(self) -> None:
        here = f"attributes.status = 'RUNNING' AND tags.`{HOST}` = '{socket.gethostname()}'"
        for run in self.client.search_runs([self.experiment_id], here):
            if not is_running(int(run.data.tags[PID])):
                self.client.set_terminated(run.info.run_id, "KILLED")

    def log_training(
        self,
        run_id: str,
        trained: Trained,
        evaluation: Evaluation,
        *,
        figures: Mapping[str, Figure],
        data: pd.DataFrame,
        table: str,
        location: str,
        data_version: int,
        fingerprint: str,
        made_by: Mapping[str, str] | None = None,
    ) -> LoggedModelInfo:
        """Store a trained model with everything that is known of it.

        The model becomes READY last: a process that is killed before leaves one that nobody finds.

        Args:
            run_id: Run of the training.
            trained: The model.
            evaluation: Its metrics on the held-out rows.
            figures: Plots by name.
            data: Rows it was trained and measured on.
            table: Full name of their table.
            location: Where the table is.
            data_version: Delta version that was read.
            fingerprint: Identifies the model; see `fingerprint`.
            made_by: What the writer of that version of the table recorded with its commit.
        """
        client, spec = self.client, trained.spec
        dataset = dataset_of(data, table, location, data_version, spec.label)
        client.log_inputs(run_id, datasets=[dataset_input(dataset)])
        params = {"estimator": spec.estimator, "seed": spec.seed, "test_share": spec.test_share}
        params |= {"label": spec.label, "split_salt": spec.split_salt}
        params |= {f"params.{k}": v for k, v in spec.params.items()}
        shown = {k: str(v)[:500] for k, v in params.items()}
        tags = {
            MODEL: self.name,
            FINGERPRINT: fingerprint,
            SPEC: spec.digest(),
            TABLE: table,
            DATA_VERSION: str(data_version),
            SCORING: json.dumps(
                {
                    "task": spec.task,
                    "numeric": trained.numeric,
                    "categorical": trained.categorical,
                    "positive": str(spec.positive),
                    "negative": trained.negative,
                    "primary_key": spec.primary_key,
                }
            ),
        }
        logged = client.create_logged_model(
            self.experiment_id,
            name=re.sub(r"[^A-Za-z0-9_-]", "-", self.name),
            source_run_id=run_id,
            params=shown,
            tags=tags,
            model_type=spec.task,
        )
        with tempfile.TemporaryDirectory() as folder:
            save_model(trained, data, Path(folder) / "model")
            recipe = Recipe(spec, table, data_version, dict(made_by or {}), present_code())
            save_recipe(recipe, present_environment(), Path(folder) / "model")
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        for name, figure in figures.items():
            client.log_figure(run_id, figure, f"plots/{name}.png")
        values = {"rows_trained": float(trained.rows), "rows_held_out": float(evaluation.rows)}
        for name, measured in evaluation.metrics.items():
            values |= {name: measured.value, f"{name}_low": measured.low}
            values |= {f"{name}_high": measured.high}
        client.log_batch(
            run_id,
            metrics=metrics_of(values, logged.model_id, run_id, dataset),
            params=params_of(shown),
        )
        return _info(client.finalize_logged_model(logged.model_id, "READY"))

    def find_model(self, fingerprint: str) -> LoggedModelInfo | None:
        """Return the finished model with a fingerprint; None when there is none."""
        return next((m for m in self._models() if m.fingerprint == fingerprint), None)

    def newest_model(self) -> LoggedModelInfo | None:
        """Return the finished model that was trained last; None before the first."""
        return next(iter(self._models()), None)

    def _models(self) -> Iterator[LoggedModelInfo]:
        found = self.client.search_logged_models(
            experiment_ids=[self.experiment_id],
            order_by=[{"field_name": "creation_timestamp", "ascending": False}],
            max_results=MOST_MODELS,
        )
        for model in found:
            if model.tags.get(MODEL) == self.name and str(model.status) == "READY":
                yield _info(model)

    # Versions

    def register(self, model_id: str, run_id: str, tags: Mapping[str, str]) -> int:
        """Return the version of a trained model, which is made when there is none yet."""
        from mlflow.exceptions import MlflowException

        for version in self.versions():
            if version.model_id == model_id:
                return version.version
        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        with default_store(self.tracking_uri):  # in which MLflow looks the model up
            made = self.client.create_model_version(
                self.name,
                source=f"models:/{model_id}",
                run_id=run_id,
                model_id=model_id,
                tags=dict(tags),
            )
        return int(made.version)

    def versions(self) -> list[VersionInfo]:
        """Return all versions, newest first."""
        aliases = self._aliases()
        found = self.client.search_model_versions(f"name = '{self.name}'")
        return sorted(
            (
                VersionInfo(
                    version=int(v.version),
                    model_id=_model_id(v.source),
                    run_id=v.run_id or "",
                    created_at=datetime.fromtimestamp(v.creation_timestamp / 1000, UTC),
                    aliases=tuple(sorted(a for a, n in aliases.items() if n == int(v.version))),
                    tags=dict(v.tags or {}),
                    metrics=self._logged(_model_id(v.source)).metrics,
                )
                for v in found
            ),
            key=lambda v: -v.version,
        )

    def version(self, version: int) -> VersionInfo:
        """Return one version.

        Raises:
            ModelError: There is none of that number.
        """
        found = self.versions()
        for info in found:
            if info.version == version:
                return info
        there = ", ".join(str(v.version) for v in found) or "none"
        raise ModelError(f"{self.name} has no version {version}; it has: {there}")

    def alias(self, alias: str) -> int | None:
        """Return the version that carries an alias; None when none does."""
        return self._aliases().get(alias)

    def set_alias(self, alias: str, version: int) -> None:
        """Move an alias to a version; the champion gets its stage too, for older readers."""
        self.client.set_registered_model_alias(self.name, alias, str(version))
        if alias in STAGES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                self.client.transition_model_version_stage(
                    self.name, str(version), STAGES[alias], archive_existing_versions=True
                )

    def delete_alias(self, alias: str) -> None:
        """Remove an alias; does nothing where none is."""
        if self.alias(alias) is not None:
            self.client.delete_registered_model_alias(self.name, alias)

    def set_version_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(version), key, value)

    def version_tags(self, version: int) -> dict[str, str]:
        """Return the tags of a version."""
        return dict(self.version(version).tags)

    def metrics(self, version: int) -> Mapping[str, float]:
        """Return metrics on the held-out rows, with `_low` and `_high`."""
        return self.version(version).metrics

    def model_id(self, version: int) -> str:
        """Return the id of the model of a version; numbers can be given again, ids cannot."""
        return self.version(version).model_id

    def fingerprint(self, version: int) -> str:
        """Return what identifies the model of a version: specification, data and code."""
        return self._logged(self.version(version).model_id).fingerprint

    def authors(self, version: int) -> tuple[str, ...]:
        """Return who trained and registered a version, as far as it was recorded."""
        info = self.version(version)
        tags = [info.tags.get(USER, ""), *info.tags.get(AUTHORS, "").split(",")]
        if info.run_id:
            tags.append(self.client.get_run(info.run_id).data.tags.get(USER, ""))
        return tuple(sorted({name.strip() for name in tags if name.strip()}))

    def data_version(self, version: int) -> int:
        """Return the Delta version of the feature table that a version was trained on."""
        return self._logged(self.version(version).model_id).data_version

    def table(self, version: int) -> str:
        """Return the full name of the table that a version was trained on."""
        model = self.client.get_logged_model(self.version(version).model_id)
        return model.tags.get(TABLE, "")

    def primary_key(self, version: int) -> list[str]:
        """Return the key of the rows that a version scores."""
        model = self.client.get_logged_model(self.version(version).model_id)
        return list(json.loads(model.tags[SCORING])["primary_key"])

    def recipe(self, version: int) -> tuple[Recipe, Environment, str]:
        """Return what a version was made from, and the hash of its specification when trained.

        Raises:
            ModelError: There is no such version, or nothing was recorded with it.
        """
        model = self.client.get_logged_model(self.version(version).model_id)
        place, name = model.artifact_location, f"{self.name} version {version}"
        return *load_recipe(place, self.tracking_uri, name), model.tags.get(SPEC, "")

    def training_rows(self, version: int) -> TrainingRows:
        """Return which rows a version was trained on.

        Raises:
            ModelError: There is no such version, or it does not tell.
        """
        model = self.client.get_logged_model(self.version(version).model_id)
        params = model.params or {}
        if not {"label", "split_salt", "test_share"} <= params.keys():
            raise ModelError(
                f"version {version} of {self.name} does not tell how its rows were held out; "
                "train it again"
            )
        return TrainingRows(
            data_version=_info(model).data_version,
            label=params["label"],
            primary_key=tuple(json.loads(model.tags[SCORING])["primary_key"]),
            test_share=float(params["test_share"]),
            split_salt=params["split_salt"],
        )

    def load(self, version: int) -> Scorer:
        """Return a version ready to score.

        Raises:
            ModelError: There is no such version.
        """
        model = self.client.get_logged_model(self.version(version).model_id)
        scoring = json.loads(model.tags[SCORING])
        return Scorer(
            pipeline=load_pipeline(model.artifact_location, self.tracking_uri),
            task=scoring["task"],
            numeric=tuple(scoring["numeric"]),
            categorical=tuple(scoring["categorical"]),
            positive=scoring["positive"],
            negative=scoring["negative"],
            model=f"{self.name} version {version}",
        )

    def files(self, version: int) -> Path:
        """Return the folder of the files of a version's model."""
        model = self.client.get_logged_model(self.version(version).model_id)
        return model_files(model.artifact_location, self.tracking_uri)

    def _aliases(self) -> dict[str, int]:
        from mlflow.exceptions import MlflowException

        try:
            model = self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
        return {alias: int(version) for alias, version in model.aliases.items()}

    def _logged(self, model_id: str) -> LoggedModelInfo:
        if model_id not in self._cache:
            self._cache[model_id] = _info(self.client.get_logged_model(model_id))
        return self._cache[model_id]


def registered_models(tracking_uri: str, catalog: str) -> list[ModelRegistry]:
    """Return the registries of a catalog's models, sorted by name."""
    found = open_store(tracking_uri).search_registered_models()
    return [
        ModelRegistry(tracking_uri, Path(), model.name, ".".join(model.name.split(".")[:2]))
        for model in sorted(found, key=lambda m: m.name)
        if model.name.startswith(f"{catalog}.")
    ]


def _model_id(source: str | None) -> str:
    # The SQL store keeps the id of a version's model in its source alone.
    return (source or "").removeprefix("models:/")


def _info(model: LoggedModel) -> LoggedModelInfo:
    return LoggedModelInfo(
        model_id=model.model_id,
        run_id=model.source_run_id or "",
        experiment_id=model.experiment_id,
        fingerprint=model.tags.get(FINGERPRINT, ""),
        spec_digest=model.tags.get(SPEC, ""),
        data_version=int(model.tags.get(DATA_VERSION, -1)),
        metrics={m.key: float(m.value) for m in model.metrics or []},
    )
