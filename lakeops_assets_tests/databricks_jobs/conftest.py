"""A workspace for the tests: the stand-in, or a real one where there is a token for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# With both set, the tests that need nothing but the vendor's interface run there too.
REAL = ("DATABRICKS_HOST", "LAKEOPS_TEST_VOLUME")


@dataclass(frozen=True)
class Workspace:
    """A workspace and a volume in it.

    Attributes:
        client: Client of the SDK.
        volume: Path of a volume.
        stand_in: The stand-in; None when the workspace is a real one.
        poll: Seconds between questions about a run.
    """

    client: Any
    volume: str
    stand_in: Any = None
    poll: float = 0.1

    def script(self, name: str, text: str) -> str:
        """Write a script to the volume and return its path."""
        import io

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


@pytest.fixture(params=["stand-in", "real"])
def workspace(request: pytest.FixtureRequest) -> Workspace:
    """Each workspace there is."""
    if request.param == "stand-in":
        return request.getfixturevalue("stand_in")
    if not all(os.environ.get(name) for name in REAL):
        pytest.skip(f"set {' and '.join(REAL)} to run against a real workspace")
    pytest.importorskip("dagster_databricks")
    from databricks.sdk import WorkspaceClient

    return Workspace(WorkspaceClient(), os.environ["LAKEOPS_TEST_VOLUME"], poll=5)
