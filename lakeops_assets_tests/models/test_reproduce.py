"""A registered model is made again from its record, and what is not as recorded is named."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from command_line import environment, lakeops

import lakeops_assets
from lakeops_assets import models, settings
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.training import train
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.models import ModelError, ModelRegistry, ModelSpec, Reference, reproduce
from lakeops_assets.models.recipe import Recipe, code_digest

FEATURES = TableName("dev", "shop", "features")
SPEC = ModelSpec(
    "model",
    "classification",
    "left",
    ("id",),
    positive="Yes",
    params={"n_estimators": 10, "min_child_samples": 5},
)


def rows(first: int, count: int) -> pa.Table:
    generator = np.random.default_rng(first)
    x = generator.normal(size=count)
    frame = pd.DataFrame(
        {
            "id": range(first, first + count),
            "x": x,
            "plan": generator.choice(["a", "b"], count),
            "left": np.where(x + generator.normal(size=count) > 0, "Yes", "No"),
        }
    )
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.fixture
def registry(finished: Path, tmp_path: Path) -> ModelRegistry:
    """The registry of a new model, in a copy of a store, for making a store takes seconds."""
    store = tmp_path / "mlflow.db"
    store.write_bytes((finished / "state" / "mlflow" / "mlflow.db").read_bytes())
    return ModelRegistry(f"sqlite:///{store}", tmp_path / "artifacts", "dev.shop.model", "dev.shop")


@pytest.fixture
def version(lakehouse: Lakehouse, registry: ModelRegistry) -> int:
    """Version of a model that was trained on version 1 of the features."""
    table = rows(0, 300)
    lakehouse.create(FEATURES, table.schema)
    lakehouse.append(FEATURES, table)
    return trained(lakehouse, registry)


def trained(lakehouse: Lakehouse, registry: ModelRegistry) -> int:
    outcome = train(lakehouse, registry, SPEC, FEATURES, tags={})
    return registry.register(outcome.model_id, outcome.run_id, {})


def record(registry: ModelRegistry, version: int, name: str) -> Path:
    model = registry.client.get_logged_model(registry.version(version).model_id)
    return Path(model.artifact_location.removeprefix("file://")) / name


def written(folder: Path) -> dict[Path, int]:
    """Return when each file was last written, but for the one that only keeps others out."""
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.name != "mlflow.lock"}


def edit(path: Path, **changes: Any) -> None:
    text = json.loads(path.read_text())
    for place, value in changes.items():
        *above, last = place.split("__")
        inner = text
        for key in above:
            inner = inner[key]
        inner[last] = value
    path.write_text(json.dumps(text))


def test_the_champion_of_the_product_is_made_again(finished: Path) -> None:
    before = written(finished / "state")
    done = lakeops(finished, "reproduce", "churn@champion", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["identical"] is True
    assert found["max_abs_difference"] == 0.0
    assert found["rows"] == 7043
    assert found["differences"] == []
    assert written(finished / "state") == before


def test_the_record_tells_how_the_features_were_made(finished: Path) -> None:
    lakeops_resource = LakeopsResource.from_settings(settings.load(environment(finished)))
    recipe, where, digest = lakeops_resource.registry("churn", "model").recipe(1)
    assert (recipe.table, recipe.data_version) == ("dev.churn.features", 1)
    assert json.loads(recipe.made_by["features"])["inputs"] == {
        "dev.churn.customers": 1,
        "dev.churn.churn_labels": 1,
    }
    assert recipe.spec.digest() == digest
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert {"lightgbm", "numpy", "scikit-learn", "joblib", "duckdb"} <= set(where.packages)


def test_an_old_version_is_made_again_after_data_and_models_moved_on(
    lakehouse: Lakehouse, registry: ModelRegistry, version: int
) -> None:
    lakehouse.append(FEATURES, rows(300, 100))
    lakehouse.merge(FEATURES, rows(0, 50).set_column(1, "x", pa.array([9.0] * 50)), ("id",))
    newer = trained(lakehouse, registry)
    assert newer != version
    edit(record(registry, version, "environment.json"), packages__lightgbm="0.0.1")
    found = reproduce(registry, version, lakehouse)
    assert (found.identical, found.max_abs_difference, found.rows) == (True, 0.0, 300)
    [difference] = found.differences
    assert difference.startswith("lightgbm is ")
    assert difference.endswith(" and was 0.0.1")


def test_a_record_that_was_changed_is_found(
    lakehouse: Lakehouse, registry: ModelRegistry, version: int
) -> None:
    edit(record(registry, version, "recipe.json"), spec__params__n_estimators=11)
    found = reproduce(registry, version, lakehouse)
    assert not found.identical
    assert found.max_abs_difference is not None
    assert found.max_abs_difference > 0
    assert "the recorded specification is not the one that was trained" in found.reason


def test_a_table_version_that_was_vacuumed_is_named(
    lakehouse: Lakehouse, registry: ModelRegistry, version: int
) -> None:
    lakehouse.overwrite(FEATURES, rows(0, 20))
    lakehouse.vacuum(FEATURES, retention_hours=0, dry_run=False)
    found = reproduce(registry, version, lakehouse)
    assert (found.identical, found.rows, found.max_abs_difference) == (False, 0, None)
    assert "version 1 of dev.shop.features" in found.reason
    assert "vacuumed" in found.reason


def test_a_model_without_a_record_says_so(
    lakehouse: Lakehouse, registry: ModelRegistry, version: int
) -> None:
    record(registry, version, "recipe.json").unlink()
    with pytest.raises(ModelError, match=r"has no recipe\.json"):
        reproduce(registry, version, lakehouse)


def test_the_code_of_the_recorded_commit_is_used(copied: Path, tmp_path: Path) -> None:
    """The package lies in a repository in which the training was changed since."""
    repository = tmp_path / "repository"
    package = repository / "lakeops_assets"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(lakeops_assets.__path__[0], package, ignore=ignored)
    training = package / "models" / "train.py"
    commit(repository, "as it was recorded")
    digest, recorded = code_digest(package), head(repository)
    source = training.read_text()
    changed = source.replace("build_pipeline(spec, numeric,", "build_pipeline(spec, numeric[1:],")
    assert changed != source
    training.write_text(changed)
    commit(repository, "with a feature less")
    [recipe] = (copied / "state" / "mlflow").rglob("recipe.json")

    edit(recipe, code=asdict(models.recipe.Code(digest, "0.1.0", recorded, dirty=False)))
    ours = {"PYTHONPATH": str(repository)}
    done = lakeops(copied, "reproduce", "churn", "--json", **ours)
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert found["code"] == f"the code of commit {recorded[:12]}"

    edit(recipe, code__commit="0" * 40)
    done = lakeops(copied, "reproduce", "churn", "--json", **ours)
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["identical"] is False
    assert "the present code was used" in found["reason"]


def commit(repository: Path, message: str) -> None:
    author = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", message]):
        subprocess.run(["git", "-C", str(repository), *arguments], check=True)


def head(repository: Path) -> str:
    command = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("churn", ("churn", "model", "champion")),
        ("churn@7", ("churn", "model", "7")),
        ("churn/model@previous", ("churn", "model", "previous")),
    ],
)
def test_how_a_version_is_named(text: str, parts: tuple[str, str, str]) -> None:
    reference = Reference.parse(text)
    assert (reference.product, reference.model, reference.at) == parts


def test_a_version_that_is_not_there_is_one_sentence(finished: Path) -> None:
    done = lakeops(finished, "reproduce", "churn@previous")
    assert done.returncode == 2
    assert "carries the alias previous; it has 1 versions and the aliases: champion (1)" in (
        done.stderr
    )


def test_the_job_in_the_ui_does_the_same(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(finished).items():
        monkeypatch.setenv(name, value)
    from lakeops_assets.definitions import defs

    result = defs().resolve_job_def("churn_reproduce").execute_in_process()
    [output] = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    metadata = output.event_specific_data.metadata  # type: ignore[union-attr]
    assert metadata["max_abs_difference"].value == 0.0
