"""Checks, costs and refusals of assets that are made as jobs."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

import dagster as dg
import pytest
import yaml

pytest.importorskip("dagster_databricks")

from databricks_jobs.shop import GET, ORDERS, TOTALS, Shop, costs, failure

from lakeops_assets import settings
from lakeops_assets.commands.task import Asked, TaskError, make
from lakeops_assets.components.databricks import with_databricks
from lakeops_assets.databricks import RemoteSpecError
from lakeops_assets.definitions import local_products
from lakeops_assets.lakehouse import open_lakehouse

SPENDING = dg.AssetKey(["shop", "spending"])
RUN = "0e8f2a34-6a7e-4b0e-9d55-1d2f3c4b5a69"
CONTRACT = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "totals",
    "version": "1.0.0",
    "status": "active",
    "schema": [
        {
            "name": "totals",
            "description": "What each customer ordered.",
            "properties": [
                {
                    "name": "customer",
                    "description": "Who ordered.",
                    "logicalType": "integer",
                    "physicalType": "bigint",
                    "primaryKey": True,
                    "required": True,
                },
                {
                    "name": "total",
                    "description": "For how much.",
                    "logicalType": "number",
                    "physicalType": "double",
                    "required": True,
                },
            ],
            "quality": [
                {
                    "id": "many_customers",
                    "description": "There are ten customers.",
                    "type": "library",
                    "metric": "rowCount",
                    "mustBeGreaterOrEqualTo": 10,
                    "dimension": "completeness",
                }
            ],
        }
    ],
}


def test_checks_of_the_asset_travel_and_those_of_its_contract_are_steps_here(shop: Shop) -> None:
    """A check that the body yields is the job's; one that is a step reads the table from here."""
    folder = shop.volume / "defs" / "shop" / "contracts"
    folder.mkdir()
    (folder / "totals.yaml").write_text(yaml.safe_dump(CONTRACT, sort_keys=False))
    budget = {"budgets": [{"period": "day", "money": 1e-9}]}
    shop.further = [{"type": "lakeops_assets.components.Budget", "attributes": budget}]
    runs_on = {"totals": {"serverless": True}, "spending": {"serverless": True}}
    shop.jobs["attributes"]["runs_on"] = runs_on
    shop.write()
    result, log = shop.run(ORDERS, TOTALS)
    checks = {(c.asset_key, c.check_name): c for c in result.get_asset_check_evaluations()}
    assert checks[TOTALS, "within_envelope"].passed, log
    assert checks[TOTALS, "total_required"].passed
    few = checks[TOTALS, "many_customers"]
    assert not few.passed
    # A rule of the contract blocks what follows, so the run fails where it would fail anyway.
    assert few.blocking
    assert not result.success
    (job,) = shop.submitted  # orders and the rules are made here
    assert job["run_name"].startswith("lakeops shop/totals ")

    # A check of the body: its verdict, its severity and its numbers are what the job found.
    shop.workspace.stand_in.timed = False
    result, log = shop.run(SPENDING)
    assert result.success, log
    checks = {(c.asset_key, c.check_name): c for c in result.get_asset_check_evaluations()}
    day = checks[SPENDING, "within_day"]
    assert (day.passed, day.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert day.metadata["spent"].value > 1e-9
    # The workspace did not say what the second job took: that is not within anything.
    unknown = checks[SPENDING, "within_envelope"]
    assert not unknown.passed
    assert "does not say how long the run took" in (unknown.description or "")


PAIR = """
import dagster as dg

@dg.multi_asset(
    specs=[dg.AssetSpec(["shop", name], group_name="shop") for name in ("one", "two")],
    check_specs=[dg.AssetCheckSpec("many", asset=["shop", "one"], blocking=True)],
)
def pair():
    yield dg.MaterializeResult(asset_key=["shop", "one"], metadata={"rows": 1})
    yield dg.AssetCheckResult(asset_key=["shop", "one"], check_name="many", passed=False)
    raise ValueError("no room for two")
"""


def test_what_a_step_found_before_it_failed_is_told(shop: Shop) -> None:
    more = shop.volume / "defs" / "more"
    more.mkdir()
    (more / "pair.py").write_text(PAIR)
    there = {"serverless": True}
    shop.jobs["attributes"]["runs_on"] = {"one": there, "two": there}
    shop.write()
    one, two = (dg.AssetKey(["shop", name]) for name in ("one", "two"))
    result, log = shop.run(one, two)
    assert "ValueError: no room for two" in failure(result), log
    (made,) = result.get_asset_materialization_events()
    assert made.asset_key == one
    assert made.materialization.metadata["rows"].value == 1
    checks = {c.check_name: c for c in result.get_asset_check_evaluations()}
    assert (checks["many"].passed, checks["many"].blocking) == (False, True)
    assert checks["within_envelope"].passed
    (row,) = costs()
    assert (row["outcome"], row["elsewhere_seconds"] > 0) == ("failure", True)


def test_a_run_that_was_interrupted_is_on_the_account(shop: Shop) -> None:
    shop.apply_policy()
    shop.workspace.stand_in.meanwhile[GET] = lambda: os.kill(os.getpid(), signal.SIGINT)
    _, log = shop.interrupted(TOTALS)
    assert "interrupted: cancelling the Databricks run" in log
    (job,) = shop.workspace.stand_in.runs.values()
    assert job.result == "CANCELED"
    (row,) = costs()
    assert (row["outcome"], row["assets"], row["step"]) == (
        "failure",
        ["shop/totals"],
        "shop__totals",
    )
    assert row["elsewhere_seconds"] >= 3  # the stand-in's machines start and end
    assert row["dbus"] == pytest.approx(0.68 * row["elsewhere_seconds"] / 3600)
    assert row["money"] > 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"state": "another.dev"}, "LAKEOPS_HOME is .*; whoever asks has another.dev"),
        ({"code": {"churn/features": "old"}}, "churn/features is declared in another way here"),
    ],
)
def test_a_task_makes_what_was_asked_for_or_nothing(
    config: settings.Settings, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(TaskError, match=said):
        make(Asked(("churn/features",), **asked), RUN)
    assert not open_lakehouse(config).tables()


def test_a_task_says_beforehand_that_nothing_can_be_committed(
    config: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a volume of Unity Catalog is reported to do."""

    def link(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    config.home.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(os, "link", link)
    with pytest.raises(TaskError, match=r"without hard links .*Function not implemented"):
        make(Asked(("churn/features",)), RUN)


def test_a_job_with_an_older_product_makes_nothing_and_says_so(shop: Shop) -> None:
    older = shop.volume / "older"
    (shop.volume / "defs").rename(older)
    shop.jobs["attributes"]["variables"]["LAKEOPS_DEFS"] = "/Volumes/main/lakeops/runs/older"
    shop.jobs["attributes"]["runs_on"] = {"totals": {"serverless": True}}
    shop.write("SELECT customer, max(amount) AS total FROM shop.orders GROUP BY customer")
    result, _ = shop.run(TOTALS)
    assert "shop/totals is declared in another way here" in failure(result)
    assert not result.get_asset_materialization_events()
    assert not open_lakehouse(settings.load()).exists("dev.shop.totals")


ROWS = {"rows": dg.Field(int, default_value=10)}
DAYS = dg.DailyPartitionsDefinition("2026-01-01")


@dg.asset(name="configured", key_prefix="shop", config_schema=ROWS)
def configured() -> None: ...


@dg.asset(name="daily", key_prefix="shop", partitions_def=DAYS)
def daily() -> None: ...


@pytest.mark.parametrize("asset", [configured, daily])
def test_what_a_job_is_not_told_no_job_makes(shop: Shop, asset: dg.AssetsDefinition) -> None:
    """It would make the asset without its configuration, or of no partition."""
    name = asset.key.path[-1]
    shop.jobs["attributes"]["runs_on"] = {name: {"serverless": True}}
    shop.write()
    products = dg.Definitions.merge(local_products(settings.load()), dg.Definitions([asset]))
    with pytest.raises(RemoteSpecError, match=f"shop/{name} has partitions or takes config"):
        with_databricks(products)
