"""Versions and aliases of one registered model, on top of its trainings."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lakeops_assets.models.artifacts import load_pipeline, model_files
from lakeops_assets.models.entities import (
    AUTHORS,
    SCORING,
    SPEC,
    TABLE,
    USER,
    LoggedModelInfo,
    TrainingRows,
    VersionInfo,
    logged_model_info,
)
from lakeops_assets.models.recipe import Environment, Recipe, load_recipe
from lakeops_assets.models.score import Scorer
from lakeops_assets.models.spec import ModelError
from lakeops_assets.models.store import default_store, open_store
from lakeops_assets.models.training_log import TrainingLog

STAGES = {"champion": "Production"}


@dataclass(frozen=True)
class ModelRegistry(TrainingLog):
    """The runs, versions and aliases of one registered model; fields as in `TrainingLog`."""

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
            data_version=logged_model_info(model).data_version,
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
            self._cache[model_id] = logged_model_info(self.client.get_logged_model(model_id))
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
