"""Every test works on state of its own; nothing touches the project's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import copy_of, lakeops
from filelock import FileLock

from lakeops_assets import settings
from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
from lakeops_assets.lakehouse.engines import ENGINES

settings.switch_off_telemetry()

# Generated code pays off with more rows than these tests have.
FEW_ROWS = (
    ("spark.sql.codegen.wholeStage", "false"),
    ("spark.sql.codegen.factoryMode", "NO_CODEGEN"),
)
# Tests on a lakehouse run on every engine in these; elsewhere `--all-engines` asks for it.
ON_EVERY_ENGINE = (
    "lakehouse/",
    "contracts/test_rules.py",
    "monitoring/test_profile_rows.py",
)


# Besides those with the parameter, files whose tests need a session of Spark in their process.
WITH_A_SESSION = (
    "ingest/test_stream_files.py",
    "lakehouse/test_engine_drill.py",
    "lakehouse/test_two_engines.py",
)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file together, and those of Spark in one process with one session."""
    from xdist.scheduler import LoadFileScheduling

    class OneSession(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "spark" if "[spark" in nodeid or file.endswith(WITH_A_SESSION) else file

    return OneSession(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-engines", action="store_true", help="run all tests on every engine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out engines that are not asked for."""
    kept, left_out = [], []
    for item in items:
        file = str(item.path.relative_to(Path(__file__).parent))
        engine = getattr(item, "callspec", None) and item.callspec.params.get("lakehouse")
        asked = config.getoption("--all-engines") or file.startswith(ON_EVERY_ENGINE)
        (left_out if engine == "spark" and not asked else kept).append(item)
    items[:] = kept
    if left_out:
        config.hook.pytest_deselected(items=left_out)


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
    """An empty lakehouse, once per engine. All tests of a process share one Spark session."""
    from dataclasses import replace

    quick = replace(config.spark, confs=FEW_ROWS)
    return open_lakehouse(replace(config, engine=request.param, spark=quick))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Folder in which `lakeops run churn` has been run once, from nothing, in its own process.

    `state` is the state root and `dagster` the instance; `run.json` is what the command printed and
    `modules-run.json` what it had imported in the end. All workers read the same folder; tests that
    change the state use `copied`.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    folder = shared / "finished"
    with FileLock(f"{folder}.lock"):
        if not (folder / "run.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            # MLflow imports Spark where it is installed: here it is not.
            absent = "sys.modules.update(dict.fromkeys(('pyspark', 'dagster_databricks')))"
            done = lakeops(folder, "run", "churn", "--json", before=absent)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "run.json").write_text(done.stdout)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of `finished` that a test may change."""
    return copy_of(finished, tmp_path / "copied")
