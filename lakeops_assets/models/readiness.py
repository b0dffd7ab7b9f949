"""Whether a stored model can be used by someone who has nothing but its files."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeops_assets.models.spec import ModelError, Task

if TYPE_CHECKING:
    import numpy as np
    from mlflow.models import Model

# What a pickle that does not fit raises when it is loaded.
UNLOADABLE = (ImportError, AttributeError, OSError, EOFError, ValueError, pickle.UnpicklingError)
NUMBERS, TEXTS = ("double",), ("string",)

# The clean process: no package of ours, no connection, nothing but the files of the model.
SCRIPT = """
import json, socket, sys

def refuse(*args, **kwargs):
    raise OSError("a model must not need a network")

socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse
sys.modules["lakeops_assets"] = None

import mlflow.pyfunc
from mlflow.models import Model
import numpy as np

folder, answer = sys.argv[1:]
example = Model.load(folder).load_input_example(folder)
predicted = np.asarray(mlflow.pyfunc.load_model(folder).predict(example), dtype=float)
with open(answer, "w") as file:
    json.dump(predicted.tolist(), file)
"""


@dataclass(frozen=True)
class Answer:
    """What was found about one question.

    Attributes:
        name: The question.
        passed: Whether it was answered well.
        found: What was found, in words; the same for the same model.
    """

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Readiness:
    """What a stored model showed.

    Attributes:
        answers: One per question.
        size_bytes: Size of its files.
        seconds: How long the clean process took; 0 when it was not started.
    """

    answers: tuple[Answer, ...]
    size_bytes: int
    seconds: float


def check_readiness(
    folder: Path,
    task: Task,
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    timeout_seconds: float,
) -> Readiness:
    """Ask a stored model everything that its files can answer.

    Args:
        folder: Files of an MLflow model.
        task: What it predicts.
        numeric: Numeric features that the table has for it now.
        categorical: Categorical features that the table has for it now.
        timeout_seconds: How long the clean process may take.

    Raises:
        ModelError: The folder holds no MLflow model with an input example.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        model = Model.load(str(folder))
        example = model.load_input_example(str(folder))
    except (MlflowException, OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no MLflow model: {error}") from error
    signature = _signature(model, numeric, categorical)
    if example is None:
        raise ModelError(f"the model in {folder} has no input example to call it with")
    sample, first, second = _sample_call(folder, example, task)
    clean, seconds = _clean_process(folder, first, timeout_seconds)
    return Readiness(
        answers=(signature, sample, _deterministic(first, second), clean, _dependencies(folder)),
        size_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        seconds=seconds,
    )


def _signature(model: Model, numeric: Sequence[str], categorical: Sequence[str]) -> Answer:
    """Whether the inputs of the signature are the features of the table, with their types."""
    inputs = model.signature.inputs if model.signature else None
    if inputs is None or model.signature.outputs is None:
        return Answer("signature", False, "the model has no signature of inputs and outputs")
    said = {column.name: column.type.name for column in inputs}
    wanted = dict.fromkeys(numeric, NUMBERS[0]) | dict.fromkeys(categorical, TEXTS[0])
    problems = [f"{n} is not in the signature" for n in wanted if n not in said]
    problems += [f"{n} is not in the table" for n in said if n not in wanted]
    problems += [
        f"{n} is {said[n]} in the signature and {kind} in the table"
        for n, kind in wanted.items()
        if n in said and said[n] != kind
    ]
    found = f"{len(said)} features, as the table has them"
    return Answer("signature", not problems, "; ".join(problems) or found)


def _sample_call(
    folder: Path, example: Any, task: Task
) -> tuple[Answer, np.ndarray | None, np.ndarray | None]:
    """Whether the model predicts its example, with numbers that can be true."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.exceptions import MlflowException

    try:
        loaded = mlflow.pyfunc.load_model(str(folder))
        first = np.asarray(loaded.predict(example), dtype=float)
        second = np.asarray(loaded.predict(example), dtype=float)
    except (MlflowException, TypeError, *UNLOADABLE) as error:
        found = f"{type(error).__name__}: {_first_line(error)}"
        return Answer("sample_call", False, found), None, None
    rows = len(example)
    if len(first) != rows:
        found = f"{len(first)} predictions for {rows} rows"
    elif not np.isfinite(first).all():
        found = f"{int((~np.isfinite(first)).sum())} predictions are not numbers"
    elif task == "classification" and not ((first >= 0) & (first <= 1)).all():
        found = "a probability is not between 0 and 1"
    else:
        return Answer("sample_call", True, f"{rows} rows, {rows} predictions"), first, second
    return Answer("sample_call", False, found), first, second


def _deterministic(first: np.ndarray | None, second: np.ndarray | None) -> Answer:
    import numpy as np

    if first is None or second is None:
        return Answer("deterministic", False, "the sample call did not answer")
    same = np.array_equal(first, second)
    found = "two calls, the same predictions" if same else "two calls, different predictions"
    return Answer("deterministic", same, found)


def _clean_process(
    folder: Path, expected: np.ndarray | None, timeout_seconds: float
) -> tuple[Answer, float]:
    """Whether a process that has only the files, and no network, predicts the same."""
    import numpy as np

    if expected is None:
        return Answer("clean_process", False, "the sample call did not answer"), 0.0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "predictions.json"
        try:
            done = subprocess.run(  # noqa: S603 - the script is ours
                [sys.executable, "-I", "-c", SCRIPT, str(folder.resolve()), str(answer)],
                cwd=scratch,
                env=_clean_environment(scratch),
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            found = f"no answer within {timeout_seconds:g} seconds"
            return Answer("clean_process", False, found), time.monotonic() - started
        seconds = time.monotonic() - started
        if done.returncode or not answer.is_file():
            lines = done.stderr.strip().splitlines()
            found = lines[-1] if lines else f"it ended with code {done.returncode}"
            return Answer("clean_process", False, found), seconds
        predicted = np.asarray(json.loads(answer.read_text()), dtype=float)
    # Sums of floats may be taken in another order where there are other threads.
    same = predicted.shape == expected.shape and np.allclose(predicted, expected, 1e-9, 1e-12)
    found = "the same predictions" if same else "other predictions than in this process"
    return Answer("clean_process", bool(same), found), seconds


def _clean_environment(scratch: str) -> dict[str, str]:
    """Return what a process needs to start, and nothing that leads to a store."""
    kept = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "OMP_NUM_THREADS")
    ours = {"HOME": scratch, "TMPDIR": scratch, "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **ours}


def _dependencies(folder: Path) -> Answer:
    """Whether the requirements name exact versions, and those are the ones that are installed."""
    path = folder / "requirements.txt"
    if not path.is_file():
        return Answer("dependencies", False, "there is no requirements.txt")
    lines = [line.strip() for line in path.read_text().splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    problems = []
    for line in wanted:
        name, pinned, version = line.partition("==")
        if not pinned or not version or version.endswith("*"):
            problems.append(f"{line} is not pinned")
            continue
        try:
            installed = metadata.version(name.strip())
        except metadata.PackageNotFoundError:
            problems.append(f"{line} is not installed")
            continue
        if installed != version.strip():
            problems.append(f"{line} is pinned and {installed} is installed")
    if not wanted:
        problems.append("requirements.txt is empty")
    found = f"{len(wanted)} packages pinned, those versions installed"
    return Answer("dependencies", not problems, "; ".join(problems) or found)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
