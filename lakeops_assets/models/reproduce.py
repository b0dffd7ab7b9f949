"""Make a registered model again from what was recorded, and compare what the two predict."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableName
from lakeops_assets.models.rebuild import ENVIRONMENT, PREDICTIONS, REQUEST
from lakeops_assets.models.recipe import (
    PACKAGE,
    Environment,
    Recipe,
    code_digest,
    git,
)
from lakeops_assets.models.rows import read_rows
from lakeops_assets.models.spec import ModelError
from lakeops_assets.models.split import HELD_OUT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from lakeops_assets.models.registry import ModelRegistry


@dataclass(frozen=True)
class Reproduction:
    """How a model that was made again compares with the stored one.

    Attributes:
        model: Registered name.
        version: Version that was made again.
        identical: Whether both predict the same for every labelled row, to the last bit.
        max_abs_difference: Largest difference of two predictions; None when none were made.
        rows: Labelled rows that were compared, trained on and held out.
        differences: What was not as recorded: environment, code or data.
        code: Which code trained: the present one, or that of the recorded commit.
        reason: The verdict in words.
    """

    model: str
    version: int
    identical: bool
    max_abs_difference: float | None
    rows: int
    differences: tuple[str, ...]
    code: str
    reason: str


def reproduce(
    registry: ModelRegistry, version: int, lakehouse: Lakehouse, *, python: str = sys.executable
) -> Reproduction:
    """Train a version again in a fresh process and compare all predictions with the stored model's.

    The rows are those of the recorded table version. When the code that trains is not the recorded
    one any more, it is taken from the recorded commit, if that is in the repository of the package.
    Nothing is written to the registry or to the lakehouse.

    Args:
        registry: Where the model is.
        version: Version to make again.
        lakehouse: Where its table is.
        python: Interpreter of the environment to train in, such as one made from the versions in
            the model's `environment.json`.

    Raises:
        ModelError: There is no such version, nothing was recorded with it, or it cannot be trained.
    """
    recipe, environment, spec_digest = registry.recipe(version)
    differences: list[str] = []
    if recipe.spec.digest() != spec_digest:
        differences.append(
            "the recorded specification is not the one that was trained: its hash is "
            f"{recipe.spec.digest()[:12]} and the model's is {spec_digest[:12]}"
        )
    if recipe.data_version != registry.data_version(version):
        differences.append(
            f"the record says version {recipe.data_version} of {recipe.table} and the model "
            f"was trained on {registry.data_version(version)}"
        )
    table = TableName.parse(recipe.table, catalog=lakehouse.catalog)
    try:
        frame = read_rows(lakehouse, recipe.spec, table, recipe.data_version)
    except LakehouseError as error:
        reason = (
            f"version {recipe.data_version} of {recipe.table}, on which it was trained, cannot be "
            f"read any more, probably because it was vacuumed: {_first_line(error)}"
        )
        return Reproduction(
            registry.name, version, False, None, 0, (*differences, reason), "none", reason
        )
    with tempfile.TemporaryDirectory(prefix="lakeops-reproduce-") as name:
        folder = Path(name)
        package, code, why = _code(recipe, folder)
        differences.extend(why)
        rebuilt, now = _rebuild(recipe, lakehouse, folder, package, python, registry.name)
    differences.extend(now.differences(environment))
    keys = list(recipe.spec.primary_key)
    frame = frame.drop(columns=HELD_OUT)
    stored = registry.load(version).score(frame)
    if rebuilt.select(keys).to_pylist() != frame[keys].to_dict("records"):
        reason = "the two codes read other rows from the same table version"
        return Reproduction(
            registry.name, version, False, None, len(frame), (*differences, reason), code, reason
        )
    largest, unlike = _compare(stored, rebuilt["prediction"].to_numpy())
    return Reproduction(
        model=registry.name,
        version=version,
        identical=unlike == 0,
        max_abs_difference=largest,
        rows=len(frame),
        differences=tuple(differences),
        code=code,
        reason=_reason(unlike, largest, len(frame), differences),
    )


def _code(recipe: Recipe, folder: Path) -> tuple[Path, str, list[str]]:
    """Return the package to train with, what it is in words, and how it differs from the record."""
    recorded = recipe.code
    if code_digest(PACKAGE) == recorded.digest:
        return PACKAGE, "the present code, which is the recorded one", []
    present = "the present code"
    if not recorded.commit:
        why = "was recorded without a commit of a git repository"
    else:
        exported = _export(recorded.commit, folder / "code")
        if exported is None:
            why = f"is of commit {recorded.commit[:12]}, which is not in a git repository here"
        elif code_digest(exported) != recorded.digest:
            why = f"was not committed: it differed from commit {recorded.commit[:12]}"
        else:
            return exported, f"the code of commit {recorded.commit[:12]}", []
    difference = f"the code that trained is not the present one and {why}; {present} was used"
    return PACKAGE, present, [difference]


def _export(commit: str, target: Path) -> Path | None:
    """Write the package as of a commit into a folder; None where the commit is not known."""
    inside = git(PACKAGE, "rev-parse", "--show-prefix").rstrip("/")
    top = git(PACKAGE, "rev-parse", "--show-toplevel")
    if not inside or git(PACKAGE, "cat-file", "-t", commit) != "commit":
        return None
    archive = ["git", "-C", top, "archive", "--format=tar", commit, inside]
    done = subprocess.run(archive, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(target, filter="data")
    return target / inside


def _rebuild(
    recipe: Recipe, lakehouse: Lakehouse, folder: Path, package: Path, python: str, model: str
) -> tuple[pa.Table, Environment]:
    """Train in a fresh process; return its predictions and where it ran."""
    import pyarrow.parquet as pq

    request = {
        "recipe": json.loads(recipe.to_json()),
        "root": str(lakehouse.root),
        "catalog": lakehouse.catalog,
        "engine": lakehouse.engine.name,
    }
    (folder / REQUEST).write_text(json.dumps(request))
    # The folder is the working directory: `-m` looks there first, and it holds no package.
    done = subprocess.run(  # noqa: S603
        [python, "-m", "lakeops_assets.models.rebuild", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ModelError(f"{model} cannot be trained again with {python}: {last[0]}")
    answer = json.loads((folder / ENVIRONMENT).read_text())
    if answer["code_digest"] != code_digest(package):
        raise ModelError(
            f"{python} did not run the code in {package}, which PYTHONPATH named first; "
            "reproduce with an interpreter that honours it"
        )
    return pq.read_table(folder / PREDICTIONS), Environment(**answer["environment"])


def _compare(stored: np.ndarray, rebuilt: np.ndarray) -> tuple[float, int]:
    """Return the largest difference of two series of numbers, and how many differ."""
    import numpy as np

    unlike = ~((stored == rebuilt) | (np.isnan(stored) & np.isnan(rebuilt)))
    if not unlike.any():
        return 0.0, 0
    gaps = np.abs(stored[unlike] - rebuilt[unlike])
    return float(np.where(np.isnan(gaps), np.inf, gaps).max()), int(unlike.sum())


def _reason(unlike: int, largest: float, rows: int, differences: list[str]) -> str:
    if not unlike:
        return f"both predict the same for all {rows} labelled rows, to the last bit"
    because = (
        f"not as recorded: {'; '.join(differences)}"
        if differences
        else "code, data and environment are the recorded ones, so something else decides: "
        "threads, the processor, or an estimator that does not take its seed"
    )
    return f"{unlike} of {rows} predictions differ, by at most {largest:.6g}; {because}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
