"""Without the extra everything loads, and what needs it says how to get it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from databricks_jobs.shop import BRONZE, FEATURES, jobs

from lakeops_assets.databricks import WorkspaceError, connect

WHEEL = "/Volumes/main/lakeops/runs/wheels/lakeops_assets-0.1.0-py3-none-any.whl"
# Nothing of the extra can be imported, as on a machine that does not have it. The SDK is another
# matter: MLflow brings it.
BLOCKED = """
import importlib.abc, sys

GONE = ("dagster_databricks", "dagster_pyspark", "pyspark")

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in GONE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
SCRIPT = """
import json, os
import dagster as dg
from typer.testing import CliRunner
from lakeops_assets import settings
from lakeops_assets.cli import app
from lakeops_assets.commands import doctor
from lakeops_assets.definitions import defs

found = {"without": sorted(g or "" for g in defs().resolve_asset_graph().all_group_names)}
os.environ["LAKEOPS_DEFS"] = sys.argv[1]
job = defs().resolve_implicit_global_asset_job_def()
key = dg.AssetKey(["shop", "totals"])
with dg.DagsterInstance.ephemeral() as instance:
    done = job.execute_in_process(instance=instance, asset_selection=[key], raise_on_error=False)
(event,) = [e for e in done.all_events if e.is_step_failure]
found["run"] = event.step_failure_data.error.to_string()
for name, words in (
    ("definition", "databricks policy shop --definition"),
    ("policy", "databricks policy shop"),
):
    done = CliRunner().invoke(app, words.split())
    found[name] = [done.exit_code, f"{done.output}{done.exception or ''}"]
found["doctor"] = [[f.level, f.subject, f.fix] for f in doctor._definitions(settings.load())]
print(json.dumps(found))
"""
INSTALL = "pip install 'lakeops-assets[databricks]'"


def test_all_loads_and_what_needs_it_says_what_to_install(tmp_path: Path) -> None:
    folder = tmp_path / "defs" / "shop"
    folder.mkdir(parents=True)
    documents = [BRONZE, FEATURES, jobs(WHEEL)]
    (folder / "defs.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    (folder / "totals.sql").write_text("SELECT customer, 1.0 AS total FROM shop.orders")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LAKEOPS", "DATABRICKS"))}
    env |= {
        "LAKEOPS_HOME": str(tmp_path / "state"),
        "LAKEOPS_DEFS": str(tmp_path / "nothing"),
        "DAGSTER_HOME": str(tmp_path),
        "HOME": str(tmp_path),  # where the SDK looks for profiles
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-c", BLOCKED + SCRIPT, str(tmp_path / "defs")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)

    # No product asks for it, and nobody misses it.
    assert "churn" in found["without"]
    # One does: its graph is there, its job says what to install before anything is submitted.
    assert INSTALL in found["run"]
    code, said = found["policy"]
    assert code == 1
    assert "no workspace to talk to" in said
    assert "set DATABRICKS_HOST and DATABRICKS_TOKEN" in said
    assert ["problem", "extra databricks", f"install it: {INSTALL}"] in found["doctor"]
    # What needs no workspace works.
    assert found["definition"][0] == 0
    assert json.loads(found["definition"][1])["cluster_type"]["value"] == "job"


def test_without_the_sdk_a_workspace_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "databricks.sdk", None)
    with pytest.raises(WorkspaceError) as refused:
        connect()
    assert INSTALL in str(refused.value)
