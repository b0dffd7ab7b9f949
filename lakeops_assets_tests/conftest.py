"""Every test works on state of its own; nothing touches the project's."""

from __future__ import annotations

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
