"""A product whose assets are made as jobs, by the wheel's entry point, from files to costs."""

from __future__ import annotations

import json

import dagster as dg
import pytest
from typer.testing import CliRunner

pytest.importorskip("dagster_databricks")

from databricks_jobs.shop import LIST, ORDERS, TOTALS, Shop, costs, failure, lakeops

from lakeops_assets import settings
from lakeops_assets.cli import app
from lakeops_assets.components.databricks import RUNS_ON
from lakeops_assets.components.names import STATE
from lakeops_assets.databricks import RemoteSpecError
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import open_lakehouse


def test_assets_are_made_as_jobs_and_report_what_they_found(shop: Shop) -> None:
    shop.apply_policy()
    result, log = shop.run(ORDERS, TOTALS)
    assert result.success, log

    # The tables are there, and what a table shows is what it shows of an asset made here.
    lakehouse = open_lakehouse(settings.load())
    rows = lakehouse.query("SELECT * FROM shop.totals ORDER BY customer").read_all().to_pylist()
    assert [(r["customer"], r["total"]) for r in rows] == [(1, 12.5), (2, 5.0)]
    made = {e.asset_key: e.materialization for e in result.get_asset_materialization_events()}
    assert set(made) == {ORDERS, TOTALS}
    for key, materialization in made.items():
        table = f"dev.{'.'.join(key.path)}"
        assert materialization.metadata["dagster/table_name"].value == table
        assert isinstance(materialization.metadata["dagster/column_schema"].value, dg.TableSchema)
        tags = materialization.tags
        assert tags[STATE].endswith(".dev")
        assert tags["dagster/data_version"] == f"delta:{lakehouse.data_version(table)}"
    (seen,) = result.get_asset_observation_events()
    assert seen.asset_key == dg.AssetKey(["shop", "orders_landing"])

    # What was submitted says who asked and stays within the envelope.
    orders, totals = shop.submitted
    assert orders["run_name"] == f"lakeops shop/orders {result.run_id}"
    assert orders["idempotency_token"] == f"{result.run_id}-shop__orders-0"
    assert orders["timeout_seconds"] == 1800
    assert orders["environments"][0]["spec"]["dependencies"][0].endswith(".whl")
    for body, key in ((orders, ORDERS), (totals, TOTALS)):
        told = body["tasks"][0]["python_wheel_task"]["parameters"]
        code = made[key].tags["dagster/code_version"]
        assert told[told.index("--code") + 1] == f"{key.to_user_string()}={code}"
        assert told[told.index("--state") + 1] == made[key].tags[STATE]
        assert "LAKEOPS_ENV=dev" in told
    cluster = totals["tasks"][0]["new_cluster"]
    assert cluster["custom_tags"] == {
        "team": "shop",
        "lakeops_run_id": result.run_id,
        "lakeops_asset": "shop/totals",
    }
    (policy,) = shop.workspace.stand_in.policies
    assert cluster["policy_id"] == policy

    # What it cost is on the account, once, with the units of both.
    serverless, on_cluster = costs()
    assert serverless["assets"] == ["shop/orders"]
    for row, units, price in ((serverless, 2, 2 * 0.15), (on_cluster, 0.68, 0.68 * 0.15 + 0.2)):
        assert row["run_id"] == result.run_id
        assert row["dbus"] == pytest.approx(units * row["elsewhere_seconds"] / 3600)
        assert row["money"] > price * row["elsewhere_seconds"] / 3600
    # A cluster starts and ends on the account, too: three seconds of the stand-in's.
    assert on_cluster["elsewhere_seconds"] > 3
    assert serverless["rows_written"] == 3
    checks = {c.asset_key: c for c in result.get_asset_check_evaluations()}
    assert checks[ORDERS].check_name == "within_envelope"
    assert all(c.passed for c in checks.values())
    assert "m5.large" in (checks[TOTALS].description or "")


def test_an_asset_that_fails_there_says_why_and_has_a_cost(shop: Shop) -> None:
    shop.write("SELECT customer, sum(price) AS total FROM shop.orders GROUP BY customer")
    shop.apply_policy()
    result, log = shop.run(TOTALS)  # there are no orders yet, either
    assert not result.success
    reason = failure(result)
    assert "TaskError: shop/totals failed: " in reason
    assert "lakeops_assets.commands.task.TaskError: shop/totals failed" in log
    assert not result.get_asset_materialization_events()
    (row,) = costs()
    assert (row["outcome"], row["assets"]) == ("failure", ["shop/totals"])
    assert row["dbus"] > 0


def test_what_is_beyond_the_envelope_is_not_submitted(shop: Shop) -> None:
    other = {"m5.xlarge": {"dbus_per_hour": 0.69, "money_per_hour": 0.2}}
    shop.write(money_per_run=0.1, node_types=other)
    result, _ = shop.run(ORDERS)
    assert "beyond the envelope shop jobs: money_per_run may come to 0.15" in failure(result)
    result, _ = shop.run(TOTALS)
    assert "node_type_id is 'm5.large'; allowed: m5.xlarge" in failure(result)
    code, found = lakeops("estimate", "shop")
    assert code == 1
    assert {job["asset"]: [b["field"] for b in job["breaches"]] for job in found} == {
        "shop/orders": ["money_per_run"],
        "shop/totals": ["node_type_id"],
    }
    assert not shop.workspace.stand_in.journal  # nobody was asked


def test_a_cluster_is_submitted_under_a_policy_that_is_the_envelopes(shop: Shop) -> None:
    result, _ = shop.run(TOTALS)
    assert "no cluster policy shop jobs; `lakeops databricks policy shop --apply`" in failure(
        result
    )
    code, planned = lakeops("policy", "shop")
    assert (code, planned["action"]) == (1, "create")
    code, applied = lakeops("policy", "shop", "--apply")
    assert (code, applied["action"]) == (0, "nothing")

    # Somebody makes it wider by hand, or the envelope changes: nothing runs until it is mended.
    shop.write(max_workers=1)
    result, _ = shop.run(TOTALS)
    assert "is not what the envelope says: autoscale.max_workers" in failure(result)
    assert not shop.submitted
    code, planned = lakeops("policy", "shop")
    assert (code, planned["action"]) == (1, "edit")
    changed = {c["attribute"]: (c["before"], c["after"]) for c in planned["changes"]}
    assert set(changed) == {"autoscale.max_workers", "autoscale.min_workers", "num_workers"}
    assert [side["maxValue"] for side in changed["num_workers"]] == [2, 1]

    # The same by the policy's asset, as the button in the UI does it.
    result, _ = shop.run(dg.AssetKey(["shop", "cluster_policy"]))
    assert result.success
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["action"].value == "edit"
    assert len(shop.workspace.stand_in.policies) == 1
    assert lakeops("policy", "shop")[1]["changes"] == []


def test_a_breach_that_only_the_workspace_sees_names_the_field(shop: Shop) -> None:
    shop.apply_policy()
    store = shop.workspace.stand_in.policies
    (policy,) = store.values()
    definition = json.loads(policy["definition"])
    definition["node_type_id"] = {"type": "allowlist", "values": ["m5.xlarge"]}
    narrow = {**policy, "definition": json.dumps(definition)}
    # An administrator narrows the policy between the question and the submission.
    shop.workspace.stand_in.meanwhile[LIST] = lambda: store.update({policy["policy_id"]: narrow})
    result, _ = shop.run(TOTALS)
    assert "PolicyBreachError" in failure(result)
    assert "the cluster policy refuses node_type_id" in failure(result)
    assert not shop.workspace.stand_in.runs


def test_a_product_that_names_what_it_does_not_make_is_told_what_it_makes(shop: Shop) -> None:
    shop.jobs["attributes"]["runs_on"]["total"] = {"serverless": True}
    shop.write()
    with pytest.raises(RemoteSpecError, match=r"names total.*it makes: orders, totals"):
        defs()


def test_the_graph_says_what_runs_where(shop: Shop) -> None:
    graph = defs().resolve_asset_graph()
    assert graph.get(TOTALS).metadata["runs_on"] == "Databricks, m5.large and 1 x m5.large"
    assert "databricks" in graph.get(TOTALS).kinds
    assert graph.get(TOTALS).parent_keys == {ORDERS}
    assert RUNS_ON in graph.get(dg.AssetKey(["shop", "cluster_policy"])).metadata
    code, definition = lakeops("policy", "shop", "--definition")
    assert code == 0
    assert definition["custom_tags.team"] == {"type": "fixed", "value": "shop"}
    for price in ("money_per_run", "money_per_dbu"):
        del shop.jobs["attributes"]["envelope"][price]
    shop.write()
    shown = CliRunner().invoke(app, ["databricks", "estimate", "shop"])
    assert shown.exit_code == 0
    assert "0.68  not known" in shown.output
    assert not shop.workspace.stand_in.journal
