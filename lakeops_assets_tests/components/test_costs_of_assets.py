"""Every asset's runs are recorded, and budgets are checks."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from command_line import lakeops

from lakeops_assets import settings
from lakeops_assets.components.budget import Budget, BudgetModel, spending_key
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
from lakeops_assets.monitoring.costs import costs_table


def recorded(lakehouse: Lakehouse) -> list[dict]:
    return lakehouse.read(costs_table(lakehouse.catalog)).read_all().to_pylist()


def test_every_asset_of_a_run_has_a_cost(finished: Path) -> None:
    config = settings.load({"LAKEOPS_HOME": str(finished / "state")})
    rows = recorded(open_lakehouse(config))
    run = json.loads((finished / "run.json").read_text())
    materialized = {o["asset"] for o in run["outcomes"] if o["status"] == "ok"}
    assert {asset for row in rows for asset in row["assets"]} == materialized
    assert {(r["product"], r["outcome"]) for r in rows} == {("churn", "success")}
    assert len({(r["run_id"], r["step"]) for r in rows}) == len(rows)  # nothing twice
    by_step = {row["step"]: row for row in rows}
    assert by_step["churn__baseline"]["rows_written"] == 7043
    assert by_step["churn__model"]["cpu_seconds"] > by_step["churn__baseline"]["cpu_seconds"]
    assert all(r["wall_seconds"] > 0 and r["cpu_seconds"] > 0 and r["money"] > 0 for r in rows)


def test_costs_and_forecasts_are_printed(finished: Path) -> None:
    done = lakeops(finished, "costs", "churn", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["money"] == pytest.approx(sum(a["money"] for a in found["assets"]))
    assert [b["budget"]["period"] for b in found["budgets"]] == ["day", "month"]
    assert "churn/model" in lakeops(finished, "costs").stdout
    expected = json.loads(lakeops(finished, "costs", "churn", "--forecast", "--json").stdout)
    assert {m["table"] for m in expected} == {"dev.churn.features", "dev.churn.scores"}
    tables = open_lakehouse(settings.load({"LAKEOPS_HOME": str(finished / "state")}))
    for monitor in expected:
        rows = tables.row_count(f"{monitor['table']}_profile_metrics")
        assert monitor["forecast"]["profile_rows"] == rows
    unknown = lakeops(finished, "costs", "nope")
    assert unknown.returncode == 2
    assert "there is nothing of nope; products: churn" in unknown.stderr


def test_what_fails_has_a_cost_too_and_a_budget_is_a_check(
    config: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEOPS_PRICE_CPU_HOUR", "1000000")
    landing = config.landing("churn", "customers")
    landing.mkdir(parents=True)
    (landing / "wrong.csv").write_bytes(b"\x80\xff\n1,2")
    definitions = defs()
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["churn", "features"])],  # there are no inputs
            raise_on_error=False,
        )
        assert not done.success
        (row,) = recorded(open_lakehouse(config))
        assert (row["assets"], row["outcome"]) == (["churn/features"], "failure")
        assert row["run_id"] == done.run_id
        assert row["money"] > 1

        looked = job.execute_in_process(
            instance=instance, asset_selection=[spending_key("churn")], raise_on_error=False
        )
        assert looked.success
        checks = {e.check_name: e for e in looked.get_asset_check_evaluations()}
        assert {name: e.passed for name, e in checks.items()} == {
            "within_day": False,
            "within_month": False,
        }
        assert "churn spent" in (checks["within_day"].description or "")


def test_a_budget_says_what_it_is_for() -> None:
    component = Budget(budgets=[BudgetModel(period="week", money=5)], product="shop")
    built = component.build_defs(None)  # type: ignore[arg-type]  # the folder is not asked for
    (asset,) = built.assets or []
    assert isinstance(asset, dg.AssetsDefinition)
    assert [c.name for c in asset.check_specs] == ["within_week"]
    assert LakeopsResource.from_settings(settings.load({})).settings().prices == settings.Prices()
