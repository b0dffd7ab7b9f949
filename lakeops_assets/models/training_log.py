"""What MLflow stores of the trainings of one model: runs and logged models.

Only the client API is used. The fluent API keeps an active run per process, which two models that
are trained in one process would share.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lakeops_assets.models.artifacts import (
    dataset_input,
    dataset_of,
    metrics_of,
    params_of,
    save_model,
)
from lakeops_assets.models.entities import (
    DATA_VERSION,
    FINGERPRINT,
    HOST,
    MODEL,
    PID,
    SCORING,
    SPEC,
    TABLE,
    LoggedModelInfo,
    logged_model_info,
)
from lakeops_assets.models.evaluate import Evaluation
from lakeops_assets.models.recipe import Recipe, present_code, present_environment, save_recipe
from lakeops_assets.models.store import SQLITE, open_store
from lakeops_assets.models.train import Trained
from lakeops_assets.processes import is_running

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

MOST_MODELS = 1000


@dataclass(frozen=True)
class TrainingLog:
    """The runs and trained models of one registered model.

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
        return logged_model_info(client.finalize_logged_model(logged.model_id, "READY"))

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
                yield logged_model_info(model)
