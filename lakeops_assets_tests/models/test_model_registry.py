"""What MLflow keeps of a model: a real SQLite store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lakeops_assets.models import (
    LoggedModelInfo,
    ModelError,
    ModelRegistry,
    ModelSpec,
    Trained,
    evaluate,
    figures,
    fingerprint,
    labels,
    train,
)

SPEC = ModelSpec(
    "model",
    "classification",
    "left",
    ("id",),
    positive="Yes",
    params={"n_estimators": 10, "min_child_samples": 5},
)


@pytest.fixture(scope="module")
def trained() -> tuple[Trained, pd.DataFrame]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=300)
    frame = pd.DataFrame(
        {
            "id": range(300),
            "x": x,
            "plan": generator.choice(["a", "b"], 300),
            "left": np.where(x + generator.normal(size=300) > 0, "Yes", "No"),
        }
    )
    return train(SPEC, frame), frame


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as MLflow makes it; tests take copies, for making one takes seconds."""
    root = tmp_path_factory.mktemp("template")
    _ = open_registry(root).experiment_id
    return root


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> ModelRegistry:
    (tmp_path / "mlflow.db").write_bytes((template / "mlflow.db").read_bytes())
    return open_registry(tmp_path, experiment="dev.fresh")


def open_registry(root: Path, experiment: str = "dev.shop") -> ModelRegistry:
    uri = f"sqlite:///{root / 'mlflow.db'}"
    return ModelRegistry(uri, root / "artifacts", "dev.shop.model", experiment)


def log(
    registry: ModelRegistry, trained: tuple[Trained, pd.DataFrame], data_version: int = 3
) -> LoggedModelInfo:
    model, frame = trained
    y, score = labels(SPEC, frame), model.score(frame)
    with registry.start_run("test", {"dagster.run_id": "r1"}) as run_id:
        return registry.log_training(
            run_id,
            model,
            evaluate("classification", y, score, resamples=20, seed=0),
            figures=figures("classification", y, score),
            data=frame,
            table="dev.shop.features",
            location="/somewhere/features",
            data_version=data_version,
            fingerprint=fingerprint(SPEC, data_version),
        )


def test_a_run_holds_what_there_is_to_know(registry: ModelRegistry, trained: Any) -> None:
    logged = log(registry, trained)
    run = registry.client.get_run(logged.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["params.n_estimators"] == "10"
    assert run.data.metrics["roc_auc_low"] <= run.data.metrics["roc_auc"]
    assert run.data.tags["dagster.run_id"] == "r1"
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("dev.shop.features", "v3")
    assert json.loads(data.dataset.source)["delta_table_version"] == 3
    plots = {f.path for f in registry.client.list_artifacts(logged.run_id, "plots")}
    assert plots == {f"plots/{p}.png" for p in ("roc", "precision_recall", "calibration", "gain")}
    model = registry.client.get_logged_model(logged.model_id)
    assert str(model.status) == "READY"
    assert model.source_run_id == logged.run_id
    info = mlflow.models.get_model_info(model.artifact_location.removeprefix("file://"))
    assert [c.name for c in info.signature.inputs] == ["x", "plan"]
    assert info.saved_input_example_info


def test_a_run_that_fails_is_marked_and_leaves_no_model(registry: ModelRegistry) -> None:
    with pytest.raises(ZeroDivisionError), registry.start_run("test", {}) as run_id:
        raise ZeroDivisionError
    assert registry.client.get_run(run_id).info.status == "FAILED"
    assert registry.newest_model() is None


def test_a_run_whose_process_was_killed_is_closed(registry: ModelRegistry) -> None:
    script = (
        "import os, signal; from pathlib import Path\n"
        "from lakeops_assets.models import ModelRegistry\n"
        f"uri, root = {registry.tracking_uri!r}, Path({str(registry.artifact_root)!r})\n"
        f"r = ModelRegistry(uri, root, 'm', {registry.experiment!r})\n"
        "with r.start_run('test', {}) as run_id:\n"
        "    print(run_id, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    run_id = killed.stdout.strip()
    assert registry.client.get_run(run_id).info.status == "RUNNING"
    with registry.start_run("next", {}) as mine:
        assert registry.client.get_run(run_id).info.status == "KILLED"
        assert registry.client.get_run(mine).info.status == "RUNNING"


def test_a_model_that_was_not_finished_is_not_found(registry: ModelRegistry, trained: Any) -> None:
    logged = log(registry, trained)
    assert registry.find_model(fingerprint(SPEC, 3)) == logged
    assert registry.find_model(fingerprint(SPEC, 4)) is None
    registry.client.create_logged_model(
        registry.experiment_id, tags={"lakeops.model": registry.name, "lakeops.fingerprint": "f"}
    )
    assert registry.find_model("f") is None
    assert registry.newest_model() == logged


def test_versions_and_aliases(registry: ModelRegistry, trained: Any) -> None:
    assert registry.versions() == []
    assert registry.alias("champion") is None
    first, second = log(registry, trained), log(registry, trained, data_version=4)
    assert registry.register(first.model_id, first.run_id, {}) == 1
    assert registry.register(first.model_id, first.run_id, {}) == 1
    assert "MLFLOW_TRACKING_URI" not in os.environ, "other processes would inherit it"
    assert registry.register(second.model_id, second.run_id, {"why": "newer"}) == 2
    registry.set_alias("champion", 1)
    registry.set_alias("challenger", 2)
    newest, oldest = registry.versions()
    assert (newest.version, newest.aliases, newest.tags["why"]) == (2, ("challenger",), "newer")
    assert newest.metrics["roc_auc"] == second.metrics["roc_auc"]
    assert (oldest.aliases, registry.data_version(1), registry.data_version(2)) == (
        ("champion",),
        3,
        4,
    )
    registry.set_alias("champion", 2)
    registry.delete_alias("challenger")
    registry.delete_alias("challenger")
    assert registry.version(2).aliases == ("champion",)
    stages = {
        v.version: v.current_stage
        for v in registry.client.search_model_versions(f"name = '{registry.name}'")
    }
    assert {int(v): s for v, s in stages.items()} == {1: "Archived", 2: "Production"}
    with pytest.raises(ModelError, match="it has: 2, 1"):
        registry.version(7)


def test_a_loaded_version_scores_as_the_trained_one(registry: ModelRegistry, trained: Any) -> None:
    model, frame = trained
    logged = log(registry, trained)
    scorer = registry.load(registry.register(logged.model_id, logged.run_id, {}))
    np.testing.assert_array_equal(scorer.score(frame), model.score(frame))
    batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    predicted = scorer.predict(batch).to_pydict()
    assert predicted["prediction_proba"] == list(model.score(frame))
    assert set(predicted["prediction"]) == {"Yes", "No"}
    assert scorer.predict(batch.slice(0, 0)).num_rows == 0
    with pytest.raises(ModelError, match=r"version 1 needs the column x; the rows have: id"):
        scorer.score(frame[["id", "plan"]])
    assert registry.primary_key(1) == ["id"]


def test_others_can_load_the_model_without_this_project(
    registry: ModelRegistry, trained: Any
) -> None:
    """A clean process with MLflow alone, as a serving endpoint has it."""
    model, frame = trained
    logged = log(registry, trained)
    place = registry.client.get_logged_model(logged.model_id).artifact_location
    script = (
        "import json, sys, mlflow, pandas as pd\n"
        "sys.modules['lakeops_assets'] = None\n"
        f"model = mlflow.pyfunc.load_model({place!r})\n"
        "rows = pd.DataFrame(json.loads(sys.argv[1]))\n"
        "print(json.dumps([row[1] for row in model.predict(rows)]))\n"
    )
    rows = frame[["x", "plan"]].head(20)
    command = [sys.executable, "-W", "ignore", "-c", script, rows.to_json(orient="records")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(list(model.score(frame.head(20))), rel=1e-9)


OPEN = "from lakeops_assets.models import ensure_store; ensure_store({uri!r})"


def test_two_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    both = [
        subprocess.Popen([sys.executable, "-c", OPEN.format(uri=uri)], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for one in both:
        assert one.wait() == 0, one.stderr and one.stderr.read()
    assert open_registry(tmp_path).versions() == []


def test_a_store_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    """MLflow cannot go on from a store that has some of its tables."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    die_on_the_tenth_step = (
        "import os, signal, sqlalchemy, sys\n"
        "steps = iter(range(40))\n"
        "def count(*rest):\n"
        "    if next(steps) == 39: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sqlalchemy.event.listen(sqlalchemy.engine.Engine, 'before_cursor_execute', count)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", die_on_the_tenth_step + OPEN.format(uri=uri)], capture_output=True
    )
    assert killed.returncode == -9
    assert open_registry(tmp_path).versions() == []
