"""Whether a stored model can be used by someone who has nothing but its files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lakeops_assets.models import ModelError, Readiness, check_readiness
from lakeops_assets.models.artifacts import load_pipeline, save_model
from lakeops_assets.models.spec import ModelSpec
from lakeops_assets.models.train import Trained, train

SPEC = ModelSpec(
    name="shop.model",
    task="classification",
    label="churned",
    positive="yes",
    primary_key=("id",),
    estimator="sklearn.linear_model.LogisticRegression",
)
NUMERIC, CATEGORICAL = ["tenure"], ["plan"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    tenure = generator.integers(0, 60, 80)
    return pd.DataFrame(
        {
            "id": np.arange(80),
            "tenure": tenure.astype(float),
            "plan": np.where(tenure % 3 == 0, "basic", "full"),
            "churned": np.where(tenure < 20, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def trained(frame: pd.DataFrame) -> Trained:
    return train(SPEC, frame)


@pytest.fixture
def files(trained: Trained, frame: pd.DataFrame, tmp_path: Path) -> Path:
    save_model(trained, frame, tmp_path / "model")
    return tmp_path / "model"


class Stand:
    """Takes the place of a pipeline, and is pickled by value."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        return self.answer(len(rows))


def saved(tmp_path: Path, trained: Trained, frame: pd.DataFrame, answer: Any) -> Path:
    """Save a model that predicts what a function says."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    save_model(trained, frame, tmp_path / "model")
    (tmp_path / "model" / "model.pkl").write_bytes(cloudpickle.dumps(Stand(answer)))
    return tmp_path / "model"


def ask(
    folder: Path,
    numeric: Sequence[str] = NUMERIC,
    categorical: Sequence[str] = CATEGORICAL,
    seconds: float = 60.0,
) -> Readiness:
    return check_readiness(folder, "classification", numeric, categorical, timeout_seconds=seconds)


def problems(found: Readiness) -> dict[str, str]:
    return {a.name: a.found for a in found.answers if not a.passed}


def test_a_sound_model_is_ready_without_our_package_or_a_network(files: Path) -> None:
    found = ask(files)
    assert problems(found) == {}
    assert found.size_bytes == sum(p.stat().st_size for p in files.rglob("*") if p.is_file())
    assert found.seconds > 0
    # The reasons are part of an evaluation's identity: nothing in them may differ each time.
    assert [a.found for a in found.answers] == [
        "2 features, as the table has them",
        "5 rows, 5 predictions",
        "two calls, the same predictions",
        "the same predictions",
        "7 packages pinned, those versions installed",
    ]


def test_the_signature_must_fit_the_table(files: Path) -> None:
    found = problems(ask(files, ["tenure", "age"], [], seconds=0.01))
    assert found["signature"] == "age is not in the signature; plan is not in the table"
    found = problems(ask(files, [], ["tenure", "plan"], seconds=0.01))
    assert found["signature"] == "tenure is double in the signature and string in the table"


def test_a_process_that_does_not_answer_in_time_fails(files: Path) -> None:
    assert problems(ask(files, seconds=0.01)) == {"clean_process": "no answer within 0.01 seconds"}


def test_a_model_that_needs_our_package_or_a_network_fails(
    trained: Trained, frame: pd.DataFrame, tmp_path: Path
) -> None:
    def needy(rows: int) -> Any:
        import lakeops_assets

        return np.full((rows, 2), 0.5 if lakeops_assets else 0.0)

    def online(rows: int) -> Any:
        import contextlib
        import socket

        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
        return np.full((rows, 2), 0.5)

    found = problems(ask(saved(tmp_path / "needy", trained, frame, needy)))
    assert "import of lakeops_assets halted" in found["clean_process"]
    found = problems(ask(saved(tmp_path / "online", trained, frame, online)))
    assert "must not need a network" in found["clean_process"]


@pytest.mark.parametrize(
    ("said", "item", "reason"),
    [
        (lambda rows: np.full((rows, 2), np.nan), "sample_call", "10 predictions are not numbers"),
        (lambda rows: np.full((rows, 2), 1.5), "sample_call", "not between 0 and 1"),
        (lambda rows: np.full((rows - 1, 2), 0.5), "sample_call", "4 predictions for 5 rows"),
        (lambda rows: np.full((rows, 2), "high"), "sample_call", "ValueError: could not convert"),
    ],
    ids=["nan", "range", "rows", "text"],
)
def test_predictions_that_cannot_be_true_fail(
    trained: Trained, frame: pd.DataFrame, tmp_path: Path, said: Any, item: str, reason: str
) -> None:
    found = problems(ask(saved(tmp_path, trained, frame, said), seconds=0.01))
    assert reason in found[item]


def test_a_model_that_guesses_fails(trained: Trained, frame: pd.DataFrame, tmp_path: Path) -> None:
    def guess(rows: int) -> Any:
        return np.random.default_rng().random((rows, 2))

    found = problems(ask(saved(tmp_path, trained, frame, guess)))
    assert found["deterministic"] == "two calls, different predictions"
    assert found["clean_process"] == "other predictions than in this process"


def test_every_dependency_is_pinned_to_what_is_installed(files: Path) -> None:
    numpy = metadata.version("numpy")
    (files / "requirements.txt").write_text(
        f"# made by hand\nnumpy=={numpy}\npandas>=2\nscipy==0.1\nno-such-package==1\n"
    )
    installed = metadata.version("scipy")
    assert problems(ask(files, seconds=0.01))["dependencies"] == (
        f"pandas>=2 is not pinned; scipy==0.1 is pinned and {installed} is installed; "
        "no-such-package==1 is not installed"
    )
    (files / "requirements.txt").unlink()
    assert "no requirements.txt" in problems(ask(files, seconds=0.01))["dependencies"]


def test_broken_files_are_failed_answers_or_one_clear_error(files: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(files, broken)
    (broken / "model.pkl").write_bytes(b"no pickle")
    found = problems(ask(broken))
    assert set(found) == {"sample_call", "deterministic", "clean_process"}
    with pytest.raises(ModelError, match="cannot be loaded: UnpicklingError"):
        load_pipeline(str(broken), "sqlite://")
    (broken / "MLmodel").write_text(json.dumps({"flavors": {}}))
    with pytest.raises(ModelError, match=r"no input example|holds no MLflow model"):
        ask(broken)
    with pytest.raises(ModelError, match="holds no MLflow model"):
        ask(tmp_path / "nothing")
