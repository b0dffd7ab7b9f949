"""A product whose assets are made as jobs, for tests of all of it."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.errors import DagsterExecutionInterruptedError
from databricks_jobs.conftest import Workspace
from databricks_jobs.tasks import log_of
from typer.testing import CliRunner

from lakeops_assets import settings
from lakeops_assets.cli import app
from lakeops_assets.components.databricks import EnvelopeModel
from lakeops_assets.databricks import apply_policy, plan_policy, stored_policy
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import open_lakehouse
from lakeops_assets.monitoring.costs import costs_table

SUBMIT, GET = "/api/2.2/jobs/runs/submit", "/api/2.2/jobs/runs/get"
LIST = "/api/2.0/policies/clusters/list"
ORDERS, TOTALS = dg.AssetKey(["shop", "orders"]), dg.AssetKey(["shop", "totals"])
ON_VOLUME = "/Volumes/main/lakeops/runs"

BRONZE = {
    "type": "lakeops_assets.components.BronzeTable",
    "attributes": {
        "table": "orders",
        "format": "csv",
        "columns": [
            {"name": "customer", "type": "bigint", "description": "Who ordered."},
            {"name": "amount", "type": "double", "description": "For how much."},
        ],
    },
}
FEATURES = {
    "type": "lakeops_assets.components.FeatureTable",
    "attributes": {"table": "totals", "sql": "totals.sql", "primary_key": ["customer"]},
}


def jobs(wheel: str) -> dict[str, Any]:
    return {
        "type": "lakeops_assets.components.Databricks",
        "attributes": {
            "volume": ON_VOLUME,
            "wheel": wheel,
            "home": f"{ON_VOLUME}/state",
            "variables": {"LAKEOPS_DEFS": f"{ON_VOLUME}/defs", "LAKEOPS_ACTOR": "tester"},
            "poll_seconds": 0.1,
            "runs_on": {
                "orders": {"serverless": True, "hours": 0.5},
                "totals": {"node_type": "m5.large", "workers": 1},
            },
            "envelope": {
                "name": "shop jobs",
                "dbus_per_hour": 3,
                "node_types": {"m5.large": {"dbus_per_hour": 0.34, "money_per_hour": 0.1}},
                "max_workers": 2,
                "hours_per_run": 1,
                "money_per_run": 1,
                "money_per_dbu": 0.15,
                "serverless_dbus_per_hour": 2,
                "tags": {"team": "shop"},
            },
        },
    }


class Shop:
    """The product's files, on the volume that this machine and the jobs see."""

    def __init__(self, workspace: Workspace, wheel: Path) -> None:
        self.workspace = workspace
        self.volume = workspace.stand_in.volumes / "main" / "lakeops" / "runs"
        (self.volume / "wheels").mkdir()
        shutil.copy(wheel, self.volume / "wheels")
        self.further: list[dict[str, Any]] = []
        self.jobs = jobs(f"{ON_VOLUME}/wheels/{wheel.name}")
        landing = self.volume / "state" / "landing" / "shop" / "orders"
        landing.mkdir(parents=True)
        (landing / "1.csv").write_text("customer,amount\n1,10\n2,5\n1,2.5\n")
        self.write("SELECT customer, sum(amount) AS total FROM shop.orders GROUP BY customer")

    def write(self, sql: str = "", **envelope: Any) -> None:
        """Write the product, with another SELECT or other limits."""
        folder = self.volume / "defs" / "shop"
        folder.mkdir(parents=True, exist_ok=True)
        self.jobs["attributes"]["envelope"] |= envelope
        documents = [BRONZE, FEATURES, *self.further, self.jobs]
        (folder / "defs.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
        if sql:
            (folder / "totals.sql").write_text(sql)

    def apply_policy(self) -> None:
        """Write the envelope's policy to the workspace, as `lakeops databricks policy` does."""
        client = self.workspace.client
        envelope = EnvelopeModel.model_validate(self.jobs["attributes"]["envelope"]).spec()
        apply_policy(client, plan_policy(envelope, stored_policy(client, envelope.name)))

    def run(self, *keys: dg.AssetKey) -> tuple[Any, str]:
        """Make assets and return the result, and the log of the run."""
        job = defs().resolve_implicit_global_asset_job_def()
        with dg.DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(
                instance=instance, asset_selection=list(keys), raise_on_error=False
            )
            return result, log_of(instance, result.run_id)

    def interrupted(self, *keys: dg.AssetKey) -> tuple[str, str]:
        """Make assets until somebody terminates the run; return its status and its log."""
        job = defs().resolve_implicit_global_asset_job_def()
        with dg.DagsterInstance.ephemeral() as instance:
            with contextlib.suppress(DagsterExecutionInterruptedError):
                job.execute_in_process(
                    instance=instance, asset_selection=list(keys), raise_on_error=False
                )
            (record,) = instance.get_runs()
            return record.status.value, log_of(instance, record.run_id)

    @property
    def submitted(self) -> list[Any]:
        return [r.body for r in self.workspace.stand_in.requests(SUBMIT)]


def lakeops(*arguments: str) -> tuple[int, Any]:
    done = CliRunner().invoke(app, ["databricks", *arguments, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


def costs() -> list[dict[str, Any]]:
    lakehouse = open_lakehouse(settings.load())
    rows = lakehouse.read(costs_table("dev")).read_all().to_pylist()
    return sorted(rows, key=lambda row: row["step"])


def failure(result: Any) -> str:
    (event,) = [e for e in result.all_events if e.is_step_failure]
    return event.step_failure_data.error.to_string()
