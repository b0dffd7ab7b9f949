"""`lakeops bundle`, and the tasks of a bundle as processes of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

pytest.importorskip("databricks.sdk")

from lakeops_assets import settings
from lakeops_assets.cli import app
from lakeops_assets.components import remote_results
from lakeops_assets.databricks.bundle import BundleError
from lakeops_assets.lakehouse import open_lakehouse

CONTRACT = """
version: 1.0.0
kind: DataContract
apiVersion: v3.1.0
id: totals
status: active
schema:
  - name: totals
    properties:
      - {name: customer, physicalType: bigint, required: true}
      - name: total
        physicalType: double
        quality:
          - {id: some, type: library, metric: nullValues, mustBe: 0, severity: error}
"""
PRODUCT = [
    {
        "type": "lakeops_assets.components.BronzeTable",
        "attributes": {
            "table": "orders",
            "format": "csv",
            "columns": [
                {"name": "customer", "type": "bigint", "description": "Who ordered."},
                {"name": "amount", "type": "double", "description": "For how much."},
            ],
        },
    },
    {
        "type": "lakeops_assets.components.FeatureTable",
        "attributes": {"table": "totals", "sql": "totals.sql", "primary_key": ["customer"]},
    },
]


def lakeops(*arguments: str) -> Result:
    done = CliRunner().invoke(app, ["bundle", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def shop(config: settings.Settings) -> Path:
    """A product of two tables, of which one has a contract."""
    folder = config.products / "shop"
    (folder / "contracts").mkdir(parents=True)
    (folder / "defs.yaml").write_text(yaml.safe_dump_all(PRODUCT, sort_keys=False))
    (folder / "totals.sql").write_text(
        "SELECT customer, sum(amount) AS total FROM shop.orders GROUP BY customer"
    )
    (folder / "contracts" / "totals.yaml").write_text(CONTRACT)
    return folder


def test_it_is_printed_or_written_and_is_right_either_way(shop: Path, tmp_path: Path) -> None:
    printed = lakeops("shop")
    assert printed.exit_code == 0
    written = lakeops("shop", "--out", str(tmp_path / "out"))
    assert (tmp_path / "out" / "databricks.yml").read_text() == printed.stdout
    assert "nothing but its timeouts limits what it costs" in written.stdout.replace("\n", " ")
    found = json.loads(lakeops("shop", "--out", str(tmp_path / "out"), "--json").stdout)
    assert (found["findings"], len(found["files"]), len(found["notes"])) == ([], 1, 1)
    checked = lakeops("--check", str(tmp_path / "out"))
    assert (checked.exit_code, checked.stdout.startswith("✓ Nothing is wrong")) == (0, True)
    named = yaml.safe_load(lakeops("shop", "--name", "mine", "--no-profiles").stdout)
    assert named["bundle"] == {"name": "mine"}
    assert "profile" not in named["targets"]["prod"]["workspace"]


def test_a_file_of_somebody_is_checked_with_what_it_includes(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    lakeops("shop", "--out", str(folder))
    config = yaml.safe_load((folder / "databricks.yml").read_text())
    job = config["resources"].pop("jobs")["shop"]
    config["include"] = ["parts/*.yml", "none/*.yml"]
    (folder / "parts").mkdir()
    (folder / "databricks.yml").write_text(yaml.safe_dump(config))
    job["tasks"][1]["depends_on"][0]["task_key"] = "ordres"
    (folder / "parts" / "job.yml").write_text(yaml.safe_dump({"resources": {"jobs": {"x": job}}}))
    done = lakeops("--check", str(folder / "databricks.yml"))
    assert done.exit_code == 1
    said = done.stdout.replace("\n", " ")
    assert "resources.jobs.x.tasks[1].depends_on[0].task_key: there is no task 'ordres'" in said
    (finding,) = json.loads(lakeops("--check", str(folder), "--json").stdout)["findings"]
    assert finding["path"] == "resources.jobs.x.tasks[1].depends_on[0].task_key"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bundle: [", "is no YAML"),
        ("only words", "has to be a map"),
        ("include: [nothing/x.yml]", "includes nothing/.*and there is no such file"),
        ("include: [other.yml]\nbundle: {name: x}", "says name again, and otherwise"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_in_a_sentence(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "other.yml").write_text("bundle: {name: y}")
    (tmp_path / "databricks.yml").write_text(text)
    with pytest.raises(BundleError, match=said):
        lakeops("--check", str(tmp_path))
    with pytest.raises(BundleError, match="No such file"):
        lakeops("--check", str(tmp_path / "none.yml"))


def test_a_policy_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "databricks.yml").write_text("bundle: {name: x}")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.json").write_text('{"name": "a"}')
    with pytest.raises(BundleError, match=r"a\.json is no cluster policy with name and definition"):
        lakeops("--check", str(tmp_path))


def test_there_has_to_be_such_a_product_and_one_question_at_a_time(
    shop: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="nothing of shoop; products: churn, flight_delay, shop"):
        lakeops("shoop")
    assert lakeops("shop", "--check", str(tmp_path)).exit_code == 2


class Machine:
    """Runs tasks of a bundle; `/Volumes/dev` is a folder of this machine."""

    def __init__(self, folder: Path, products: Path) -> None:
        self.volumes = folder / "Volumes"
        self.home = self.volumes / "dev" / "lakeops" / "state"
        self.landing = self.volumes / "dev" / "lakeops" / "landing"
        self.products = products

    def run(self, task: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run a task as the wheel's entry point does."""
        wheel = task["python_wheel_task"]
        assert (wheel["package_name"], wheel["entry_point"]) == ("lakeops_assets", "lakeops-task")
        script = "from lakeops_assets.commands.task import main; main()"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAKEOPS", "MLFLOW"))}
        return subprocess.run(
            [sys.executable, "-c", script, *map(self._resolved, wheel["parameters"])],
            env={**kept, "LAKEOPS_DEFS": str(self.products)},
            capture_output=True,
            text=True,
        )

    def _resolved(self, text: str) -> str:
        for reference, value in (
            ("${var.home}", "/Volumes/${var.catalog}/lakeops/state"),
            ("${var.catalog}", "dev"),
            ("${workspace.current_user.userName}", "deployer@example.org"),
            ("MLFLOW_TRACKING_URI=databricks", f"MLFLOW_TRACKING_URI=sqlite:///{self.home}/m.db"),
            ("/Volumes/", f"{self.volumes}/"),
        ):
            text = text.replace(reference, value)
        return text


def test_the_tasks_of_a_bundle_make_the_product_and_run_its_checks(
    shop: Path, config: settings.Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the job, each a process of its own that nobody listens to."""
    machine = Machine(tmp_path, shop.parent)
    landing = machine.landing / "shop" / "orders"
    landing.mkdir(parents=True)
    (landing / "1.csv").write_text("customer,amount\n1,10\n2,5\n1,2.5\n")
    job = yaml.safe_load(lakeops("shop").stdout)["resources"]["jobs"]["shop"]
    orders, totals = job["tasks"]

    done = machine.run(orders)
    assert done.returncode == 0, done.stderr
    done = machine.run(totals)
    assert done.returncode == 0, done.stderr
    found = remote_results.read([json.loads(done.stdout[done.stdout.index("{\n") :])])
    assert found is not None
    checks = {e.check_name: e.passed for e in found.events if hasattr(e, "check_name")}
    assert checks["some"] is True
    assert checks["customer_required"] is True
    monkeypatch.setenv("LAKEOPS_HOME", str(machine.home))
    lakehouse = open_lakehouse(settings.load())
    rows = lakehouse.query("SELECT * FROM shop.totals ORDER BY customer").read_all().to_pylist()
    assert [(r["customer"], r["total"]) for r in rows] == [(1, 12.5), (2, 5.0)]

    # A check that blocks makes the task fail, and so holds back what depends on it.
    (shop / "contracts" / "totals.yaml").write_text(
        CONTRACT.replace("metric: nullValues, mustBe: 0", "metric: rowCount, mustBe: 7")
    )
    (landing / "2.csv").write_text("customer,amount\n3,1\n")
    assert machine.run(orders).returncode == 0
    failed = machine.run(totals)
    assert failed.returncode != 0
    assert "shop/totals failed" in failed.stderr
