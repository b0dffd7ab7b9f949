"""Maintenance in a real Dagster instance, and readers that were away longer than the retention."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from command_line import environment
from typer.testing import CliRunner

from lakeops_assets import settings
from lakeops_assets.cli import app
from lakeops_assets.commands.run import UnknownProductError, open_instance
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.staleness import stale_assets
from lakeops_assets.definitions import defs
from lakeops_assets.features import FeatureSpec, refresh_features
from lakeops_assets.lakehouse import (
    Lakehouse,
    LakehouseError,
    MaintenancePolicy,
    TableName,
    maintenance,
    open_lakehouse,
)
from lakeops_assets.models import ModelRegistry

YAML = """
type: lakeops_assets.components.BronzeTable
attributes:
  table: orders
  columns:
    - {name: id, type: bigint}
---
type: lakeops_assets.components.Maintenance
attributes:
  vacuum_retention_hours: 0
  tables:
    - {table: orders, zorder: [id]}
"""
KEY = dg.AssetKey(["shop", "maintenance"])


@pytest.fixture
def shop(config: settings.Settings) -> dg.Definitions:
    folder = config.products / "shop"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(YAML)
    landing = config.landing("shop", "orders")
    landing.mkdir(parents=True)
    (landing / "a.csv").write_text("id\n1\n")
    return defs()


@pytest.fixture
def instance(config: settings.Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(config) as instance:
        yield instance


def materialize(
    definitions: dg.Definitions, instance: dg.DagsterInstance, *keys: dg.AssetKey
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, asset_selection=list(keys))


def trained_on(config: settings.Settings, table: str, version: int) -> ModelRegistry:
    """Register a model that was trained on a version of a table."""
    registry = ModelRegistry(config.tracking_uri, config.mlflow_root, "dev.shop.model", "dev.shop")
    run = registry.client.create_run(registry.experiment_id)
    logged = registry.client.create_logged_model(
        registry.experiment_id,
        name="m",
        source_run_id=run.info.run_id,
        tags={"lakeops.table": table, "lakeops.data_version": str(version)},
    )
    registry.client.finalize_logged_model(logged.model_id, "READY")
    registry.register(logged.model_id, run.info.run_id, {})
    return registry


def test_the_asset_maintains_and_keeps_what_a_model_was_trained_on(
    shop: dg.Definitions,
    instance: dg.DagsterInstance,
    config: settings.Settings,
    finished: Path,
) -> None:
    # A store with tables in it: MLflow takes seconds to make one.
    config.mlflow_root.mkdir(parents=True)
    shutil.copy(finished / "state" / "mlflow" / "mlflow.db", config.mlflow_root)
    orders = dg.AssetKey(["shop", "orders"])
    assert materialize(shop, instance, orders).success
    lakehouse = open_lakehouse(config)
    for k in range(2, 7):
        lakehouse.append("shop.orders", lakehouse.read("shop.orders", version=1).read_all())
        assert lakehouse.version("shop.orders") == k
    trained_on(config, "dev.shop.orders", 3)
    data_version = lakehouse.data_version("shop.orders")
    result = materialize(shop, instance, KEY)
    [made] = result.asset_materializations_for_node("shop__maintenance")
    assert "| dev.shop.orders | 6 files rewritten into 1, 3 old files deleted |" in str(
        made.metadata["tables"].value
    )
    assert "| dev.shop.orders | 3 | dev.shop.model@1 |" in str(made.metadata["locked"].value)
    assert made.metadata["bytes_locked"].value > 0  # type: ignore[operator]
    assert lakehouse.row_count("shop.orders") == 6
    assert lakehouse.read("shop.orders", version=3).read_all().num_rows == 3
    with pytest.raises(LakehouseError):
        lakehouse.read("shop.orders", version=6).read_all()
    assert lakehouse.data_version("shop.orders") == data_version
    # Once more, as a command: nothing is done, and Dagster has its record.
    done = CliRunner().invoke(app, ["maintain", "shop", "--json"])
    [product] = json.loads(done.stdout)
    assert [r["optimized"] for r in product["results"]] == [False]
    assert [v["needed_by"] for r in product["results"] for v in r["locked"]] == [
        ["dev.shop.model@1"]
    ]
    event = instance.get_latest_materialization_event(KEY)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["tables_optimized"].value == 0


def test_it_runs_on_request_only(
    shop: dg.Definitions, instance: dg.DagsterInstance, config: settings.Settings
) -> None:
    graph = shop.resolve_asset_graph()
    stale = stale_assets(graph, instance, LakeopsResource.from_settings(config))
    assert dg.AssetKey(["shop", "orders"]) in stale
    assert KEY not in stale
    selected = shop.resolve_job_def("shop").asset_layer.selected_asset_keys
    assert KEY not in selected
    assert shop.resolve_job_def("shop_maintenance").asset_layer.selected_asset_keys == {KEY}
    schedule = shop.resolve_schedule_def("shop_maintenance")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


# Readers that lag behind


def sweep(lakehouse: Lakehouse, table: str) -> None:
    """Delete every old file of a table."""
    policy = MaintenancePolicy(lakehouse.name(table), vacuum_retention_hours=0)
    plan = maintenance.plan_maintenance(lakehouse, policy, {}, now=datetime.now(UTC))
    maintenance.carry_out(lakehouse, plan)


def test_features_that_lag_behind_the_retention_are_computed_in_full(
    lakehouse: Lakehouse,
) -> None:
    lakehouse.create("shop.orders", pa.schema([("id", pa.int64()), ("amount", pa.int64())]))
    spec = FeatureSpec(
        table=TableName("dev", "shop", "features"),
        sql="SELECT id, amount FROM shop.orders",
        primary_key=("id",),
        refresh="by_key",
    )
    lakehouse.merge("shop.orders", pa.table({"id": [1, 2], "amount": [1, 2]}), ["id"])
    refresh_features(lakehouse, spec)
    lakehouse.merge("shop.orders", pa.table({"id": [1], "amount": [10]}), ["id"])
    assert refresh_features(lakehouse, spec).mode == "by_key"
    lakehouse.merge("shop.orders", pa.table({"id": [2], "amount": [20]}), ["id"])
    lakehouse.merge("shop.orders", pa.table({"id": [2], "amount": [30]}), ["id"])
    sweep(lakehouse, "shop.orders")
    done = refresh_features(lakehouse, spec)
    assert done.mode == "full"
    assert done.reason == (
        "the changes of dev.shop.orders are not whole: files of version 3 were vacuumed"
    )
    assert done.commit.changed == 1
    rows = lakehouse.read("shop.features").read_all().sort_by("id").to_pylist()
    assert rows == [{"id": 1, "amount": 10}, {"id": 2, "amount": 30}]
    # And by key again from then on.
    lakehouse.merge("shop.orders", pa.table({"id": [1], "amount": [11]}), ["id"])
    assert refresh_features(lakehouse, spec).mode == "by_key"


def test_scores_that_lag_behind_the_retention_are_made_for_all_rows(copied: Path) -> None:
    variables = environment(copied)
    config = settings.load(variables)
    lakehouse = open_lakehouse(config)
    changed = lakehouse.read("churn.features", where="customer_id = 1").read_all()
    tenure = changed.schema.get_field_index("tenure")
    for months in (70, 71):
        row = changed.set_column(tenure, changed.field(tenure), pa.array([months], pa.int32()))
        lakehouse.merge("churn.features", row, ["customer_id"])
    trained = lakehouse.history("churn.features")[-2].version
    sweep(lakehouse, "churn.features")
    with pytest.raises(LakehouseError):
        lakehouse.read("churn.features", version=trained).read_all()
    from lakeops_assets.components.scoring import ScoreSpec, score

    registry = LakeopsResource.from_settings(config).registry("churn", "model")
    spec = ScoreSpec(
        table=lakehouse.name("churn.scores"),
        features=lakehouse.name("churn.features"),
        primary_key=("customer_id",),
        carry=("snapshot_date",),
    )
    done = score(lakehouse, registry, spec, 1, now=datetime.now(UTC))
    assert done.commit.inserted == 7043
    assert "scores all rows again: files of version 2 were vacuumed" in done.reason
    assert not score(lakehouse, registry, spec, 1, now=datetime.now(UTC)).commit.written


def test_the_plan_of_a_finished_product(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(finished).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["maintain", "churn", "--dry-run", "--json"])
    [product] = json.loads(done.stdout)
    plans = {p["policy"]["table"]["table"]: p for p in product["plans"]}
    own = [p for p in plans.values() if p["policy"]["table"]["schema"] == "churn"]
    assert not any(p["optimize"] or p["removable_files"] for p in own)
    assert [v["needed_by"] for v in plans["features"]["locked"]] == [["dev.churn.model@1"]]
    assert plans["features"]["policy"]["zorder"] == ["customer_id"]
    assert plans["gate_results"]["log_reason"] == "the whole log is kept"
    shown = CliRunner().invoke(app, ["maintain", "churn", "--dry-run"])
    assert "kept: version 1 of dev.churn.features for dev.churn.model@1" in shown.stdout
    for arguments, message in (
        (["--drop", "churn.features@1"], r"dev\.churn\.model@1 needs 1"),
        (["--drop", "churn.features"], "write <schema>.<table>@<version>"),
        (["elsewhere"], "products that have: churn"),
    ):
        with pytest.raises((LakehouseError, UnknownProductError), match=message):
            CliRunner().invoke(app, ["maintain", *arguments], catch_exceptions=False)
