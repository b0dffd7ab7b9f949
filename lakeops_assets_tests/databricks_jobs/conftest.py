"""A workspace for the tests: the stand-in, or a real one where there is a token for it."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
# With both set, the tests that need nothing but the vendor's interface run there too.
REAL = ("DATABRICKS_HOST", "LAKEOPS_TEST_VOLUME")
# With the address of a server of minilake, an emulator by other people, they run on it as well:
# docs/databricks.md says how it is started. It runs scripts of the workspace and no wheels.
MINILAKE = "LAKEOPS_TEST_MINILAKE"


@dataclass(frozen=True)
class Workspace:
    """A workspace and a volume in it.

    Attributes:
        client: Client of the SDK.
        volume: Path of a volume.
        stand_in: The stand-in; None when the workspace is another one.
        poll: Seconds between questions about a run.
        scripts: Folder of the workspace for scripts; empty when they are on the volume.
        explains: Whether the output of a task that failed has its error apart from what it wrote.
    """

    client: Any
    volume: str
    stand_in: Any = None
    poll: float = 0.1
    scripts: str = ""
    explains: bool = True

    def script(self, name: str, text: str) -> str:
        """Write a script to where the workspace runs one from, and return its path."""
        import io

        if self.scripts:
            from databricks.sdk.service.workspace import ImportFormat, Language

            path = f"{self.scripts}/{name}"
            self.client.workspace.mkdirs(self.scripts)
            self.client.workspace.import_(
                path,
                content=base64.b64encode(text.encode()).decode(),
                format=ImportFormat.SOURCE,
                language=Language.PYTHON,
                overwrite=True,
            )
            return path
        path = f"{self.volume}/{name}"
        self.client.files.upload(path, io.BytesIO(text.encode()), overwrite=True)
        return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pipes look for messages ten times a second, and for one second after a task ended."""
    monkeypatch.setattr("dagster._core.pipes.utils.WAIT_FOR_LOGS_AFTER_EXECUTION_INTERVAL", 0)
    monkeypatch.setattr("dagster._core.pipes.utils.DEFAULT_SLEEP_INTERVAL", 0.1)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> Iterator[Workspace]:
    """The stand-in, also for whoever reads the environment."""
    pytest.importorskip("dagster_databricks")
    from databricks.sdk import WorkspaceClient
    from databricks_jobs.stand_in.server import TOKEN, StandIn

    for name in [n for n in os.environ if n.startswith("DATABRICKS_")]:
        monkeypatch.delenv(name)
    with StandIn(tmp_path / "workspace") as workspace:
        monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
        yield Workspace(WorkspaceClient(), "/Volumes/main/lakeops/runs", workspace)


@pytest.fixture(params=["stand-in", "minilake", "real"])
def workspace(request: pytest.FixtureRequest) -> Workspace:
    """Each workspace there is."""
    if request.param == "stand-in":
        return request.getfixturevalue("stand_in")
    if request.param == "minilake":
        if not os.environ.get(MINILAKE):
            pytest.skip(f"set {MINILAKE} to the address of a server of minilake")
        request.getfixturevalue("quick")
        pytest.importorskip("dagster_databricks")
        from databricks.sdk import WorkspaceClient

        client = WorkspaceClient(host=os.environ[MINILAKE], token="any")
        volume = "/Volumes/main/lakeops/runs"
        return Workspace(client, volume, scripts="/Shared/lakeops", explains=False)
    if not all(os.environ.get(name) for name in REAL):
        pytest.skip(f"set {' and '.join(REAL)} to run against a real workspace")
    pytest.importorskip("dagster_databricks")
    from databricks.sdk import WorkspaceClient

    return Workspace(WorkspaceClient(), os.environ["LAKEOPS_TEST_VOLUME"], poll=5)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this package, as a job installs it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    shutil.copytree(
        PROJECT / "lakeops_assets",
        source / "lakeops_assets",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def packaged() -> Any:
    """Loads products as ever, but those of the package once: no test here is about them."""
    import lakeops_assets.defs
    from lakeops_assets.components.products import load_products

    loaded: list[Any] = []

    def load(module: Any, folder: Path, project: Path) -> Any:
        if module is not lakeops_assets.defs:
            return load_products(module, folder, project)
        if not loaded:
            loaded.append(load_products(module, folder, project))
        return loaded[0]

    return load


@pytest.fixture
def shop(
    stand_in: Workspace,
    wheel: Path,
    packaged: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A product on the volume of the stand-in."""
    from databricks_jobs.shop import Shop

    monkeypatch.setattr("lakeops_assets.definitions.load_products", packaged)
    found = Shop(stand_in, wheel)
    monkeypatch.setenv("LAKEOPS_HOME", str(found.volume / "state"))
    monkeypatch.setenv("LAKEOPS_DEFS", str(found.volume / "defs"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    for name in ("LAKEOPS_ENV", "LAKEOPS_ENGINE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return found
