"""Every test works on state of its own; nothing touches the project's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakeops_assets import settings
from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
from lakeops_assets.lakehouse.engines import ENGINES

settings.switch_off_telemetry()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """Settings of an empty state root, also for whoever reads the environment."""
    monkeypatch.setenv("LAKEOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("LAKEOPS_ACTOR", "tester")
    for name in ("LAKEOPS_ENV", "LAKEOPS_ENGINE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAKEOPS_DEFS", str(tmp_path / "defs"))
    return settings.load()


@pytest.fixture(params=ENGINES)
def lakehouse(request: pytest.FixtureRequest, config: settings.Settings) -> Lakehouse:
    """An empty lakehouse, once per engine."""
    from dataclasses import replace

    return open_lakehouse(replace(config, engine=request.param))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which `lakeops run churn` has been run once, from nothing, in its own process.

    Tests that change it copy it first: `state` is the state root, `dagster` the instance.
    """
    folder = tmp_path_factory.mktemp("finished")
    done = lakeops(folder, "run", "churn", "--json")
    (folder / "run.json").write_text(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def lakeops(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with all state below a folder."""
    env = {
        **os.environ,
        "LAKEOPS_HOME": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "dagster"),
        "LAKEOPS_DEFS": str(folder / "defs"),
    }
    command = [sys.executable, "-m", "lakeops_assets.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=folder)
