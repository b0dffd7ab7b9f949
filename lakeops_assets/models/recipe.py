"""What a model was made from: specification, data, code and environment, as a record.

It is stored in the model's folder as `recipe.json` and `environment.json`, beside the model itself,
so that it is there whenever the model is, and MLflow's UI shows it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from lakeops_assets.models.artifacts import REQUIREMENTS
from lakeops_assets.models.spec import ModelError, ModelSpec

RECIPE, ENVIRONMENT = "recipe.json", "environment.json"
PACKAGE = Path(__file__).parents[1]
# What reads the rows; what fits them is REQUIREMENTS. What both need in turn is recorded too.
READERS = ("duckdb", "deltalake", "pyarrow", "sqlglot")


@dataclass(frozen=True)
class Environment:
    """Where code ran.

    Attributes:
        python: Implementation and version.
        platform: System, machine and C library.
        packages: Distribution -> version, of those that reading and training need.
    """

    python: str
    platform: str
    packages: Mapping[str, str]

    def differences(self, recorded: Environment) -> tuple[str, ...]:
        """Return in words what is not as it was recorded."""
        found = [
            f"{name} is {now} and was {before}"
            for name, now, before in (
                ("Python", self.python, recorded.python),
                ("the platform", self.platform, recorded.platform),
            )
            if now != before
        ]
        for name in sorted({*self.packages, *recorded.packages}):
            now, before = self.packages.get(name), recorded.packages.get(name)
            if now != before:
                found.append(f"{name} is {now or 'not installed'} and was {before or 'not there'}")
        return tuple(found)


@dataclass(frozen=True)
class Code:
    """The code that trains.

    Attributes:
        digest: Hash of the files of the models room.
        package: Version of the distribution.
        commit: Commit of the git repository that the package is in; empty without one.
        dirty: Whether files of the package differed from that commit.
    """

    digest: str
    package: str
    commit: str
    dirty: bool


@dataclass(frozen=True)
class Recipe:
    """What a model was made from.

    Attributes:
        spec: What was trained.
        table: Full name of the table with the rows.
        data_version: Delta version that was read.
        made_by: What the writer of that version recorded: for a feature table the hash of its SQL
            and the versions of its inputs.
        code: The code that trained.
    """

    spec: ModelSpec
    table: str
    data_version: int
    made_by: Mapping[str, str]
    code: Code

    def to_json(self) -> str:
        """Return the recipe as text that `from_json` reads."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, default=str)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Return the recipe of a text."""
        found: dict[str, Any] = json.loads(text)
        known = {f.name for f in fields(ModelSpec)}
        given = {k: v for k, v in found.pop("spec").items() if k in known}
        for name in ("primary_key", "features", "exclude", "categorical"):
            given[name] = tuple(given[name])
        return cls(spec=ModelSpec(**given), code=Code(**found.pop("code")), **found)


def save_recipe(recipe: Recipe, environment: Environment, folder: Path) -> None:
    """Write what a model was made from into its folder."""
    (folder / RECIPE).write_text(recipe.to_json())
    text = json.dumps(asdict(environment), indent=2, sort_keys=True)
    (folder / ENVIRONMENT).write_text(text)


def load_recipe(
    artifact_location: str, tracking_uri: str, model: str
) -> tuple[Recipe, Environment]:
    """Return what a stored model was made from.

    Raises:
        ModelError: Nothing was recorded with it.
    """
    from mlflow.artifacts import download_artifacts

    folder = Path(download_artifacts(artifact_uri=artifact_location, tracking_uri=tracking_uri))
    missing = [name for name in (RECIPE, ENVIRONMENT) if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"nothing tells what {model} was made from: its folder {folder} has no "
            f"{', '.join(missing)}. It was not trained by this version of lakeops; train it again"
        )
    environment = Environment(**json.loads((folder / ENVIRONMENT).read_text()))
    return Recipe.from_json((folder / RECIPE).read_text()), environment


def code_digest(package: Path) -> str:
    """Return a hash of the files that train, of a copy of the package."""
    digest = hashlib.sha256()
    for path in sorted((package / "models").glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@lru_cache(maxsize=1)
def present_code() -> Code:
    """Return the code of this process."""
    commit, dirty = revision(PACKAGE)
    return Code(code_digest(PACKAGE), _version("lakeops-assets"), commit, dirty)


@lru_cache(maxsize=1)
def present_environment() -> Environment:
    """Return the environment of this process."""
    library = " ".join(platform.libc_ver()).strip()
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.machine()} {library}".strip(),
        packages=_closure((*REQUIREMENTS, *READERS)),
    )


def revision(folder: Path) -> tuple[str, bool]:
    """Return the commit of the repository that a folder's files are in, and whether they differ.

    The commit is empty where there is no repository, and for a folder that lies in one and is
    ignored by it, such as a virtual environment.
    """
    if not git(folder, "ls-files", "--", "."):
        return "", False
    return git(folder, "rev-parse", "HEAD"), bool(git(folder, "status", "--porcelain", "--", "."))


def source_tags(project: Path) -> dict[str, str]:
    """Return the tags in which MLflow's UI looks for the source of a run."""
    commit, dirty = revision(project)
    if not commit:
        return {}
    return {"mlflow.source.git.commit": commit, "lakeops.source_dirty": str(dirty).lower()}


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints; empty where there is no git, no repository or nothing to say."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(distribution: str) -> str:
    """Return the version of a distribution; empty when it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _closure(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of some distributions and of all that they require."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        if not (version := _version(name)):
            continue  # needed on another platform only
        found[name] = version
        for required in metadata.requires(name) or ():
            if "extra ==" not in required:
                match = re.match(r"[A-Za-z0-9._-]+", required)
                waiting.append(match[0] if match else required)
    return dict(sorted(found.items()))
