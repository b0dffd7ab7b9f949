"""`lakeops catalog` on a product with real tables, against both kinds of catalog."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from catalogs.conftest import Served
from typer.testing import CliRunner

from lakeops_assets import settings
from lakeops_assets.catalogs import CatalogChangedError, CatalogError, Securable
from lakeops_assets.cli import app
from lakeops_assets.commands.run import UnknownProductError
from lakeops_assets.components.grants import grants_of
from lakeops_assets.components.scaffold import _document
from lakeops_assets.definitions import defs
from lakeops_assets.governance import audit_table
from lakeops_assets.lakehouse import TableName, open_lakehouse

ORDERS = {
    "type": "lakeops_assets.components.BronzeTable",
    "attributes": {
        "table": "orders",
        "description": "One row per order.",
        "format": "csv",
        "columns": [
            {"name": "customer", "type": "bigint", "description": "Who ordered."},
            {"name": "amount", "type": "double", "description": "For how much."},
        ],
    },
}


def grants(**attributes: Any) -> dict[str, Any]:
    return {
        "type": "lakeops_assets.components.Grants",
        "attributes": {
            "grants": [
                {"principal": "ann@example.org", "privileges": ["use schema", "SELECT"]},
                {"principal": "analysts", "table": "orders", "privileges": ["SELECT"]},
            ],
            **attributes,
        },
    }


@pytest.fixture
def shop(
    stood_in: Served, config: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> settings.Settings:
    """The product `shop` with one table that is there, and its catalog."""
    local = stood_in.catalog.reads_files
    server = stood_in.stand_in.host if local else "databricks"
    monkeypatch.setenv("LAKEOPS_UNITY_CATALOG", server)
    write(config, grants() if local else grants(storage="s3://bucket/lakehouse/"))
    landing = config.landing("shop", "orders")
    landing.mkdir(parents=True)
    (landing / "1.csv").write_text("customer,amount\n1,10\n2,5\n")
    make("orders")
    return settings.load()


def write(config: settings.Settings, *documents: dict[str, Any]) -> None:
    folder = config.products / "shop"
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump_all([ORDERS, *documents], sort_keys=False)
    (folder / "defs.yaml").write_text(text)


def make(table: str) -> Any:
    job = defs().resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["shop", table])]
        )


def catalog(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["catalog", *arguments, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


def test_plan_apply_and_nothing_more(stood_in: Served, shop: settings.Settings) -> None:
    code, planned = catalog("plan", "shop")
    assert code == 1
    assert [act["kind"] for act in planned["acts"]] == [
        "CreateCatalog",
        "CreateSchema",
        "RegisterTable",
        "ChangeGrants",
        "ChangeGrants",
    ]
    assert catalog("plan", "shop") == (1, planned)
    text = CliRunner().invoke(app, ["catalog", "plan", "shop"]).stdout
    assert f"plan {planned['digest']}:" in text
    assert "grant SELECT, USE_SCHEMA to ann@example.org on schema dev.shop" in text
    assert stood_in.stand_in.writes == []

    apply = ("apply", "shop", "--plan", planned["digest"], "--reason", "ticket 7")
    assert catalog(*apply)[1]["acts"] == planned["acts"]
    table = stood_in.catalog.table(TableName("dev", "shop", "orders"))
    assert table.comment == "One row per order."
    root = shop.lakehouse_root.as_uri() if stood_in.catalog.reads_files else "s3://bucket/lakehouse"
    assert table.location == f"{root}/dev/shop/orders"
    columns = {c.name: (c.type_text, c.comment) for c in table.columns}
    assert columns["amount"] == ("double", "For how much.")
    assert stood_in.catalog.grants(Securable("table", "dev.shop.orders")) == {
        "analysts": frozenset({"SELECT"})
    }

    code, again = catalog("plan", "shop")
    assert (code, again["acts"], again["waiting"], again["differing"]) == (0, [], [], [])
    with pytest.raises(CatalogChangedError, match="nothing was done"):
        catalog(*apply)

    found = open_lakehouse(shop).read(audit_table("dev")).read_all().to_pylist()
    rows = sorted(found, key=lambda row: row["at"])
    assert [(r["action"], r["subject"], r["actor"], r["reason"]) for r in rows] == [
        ("catalog.CreateCatalog", "catalog dev", "tester", "ticket 7"),
        ("catalog.CreateSchema", "schema dev.shop", "tester", "ticket 7"),
        ("catalog.RegisterTable", "table dev.shop.orders", "tester", "ticket 7"),
        ("catalog.ChangeGrants", "schema dev.shop", "tester", "ticket 7"),
        ("catalog.ChangeGrants", "table dev.shop.orders", "tester", "ticket 7"),
    ]
    assert {json.loads(r["details"])["plan"] for r in rows} == {planned["digest"]}


def test_the_asset_does_what_the_commands_do(stood_in: Served, shop: settings.Settings) -> None:
    result = make("grants")
    (made,) = result.get_asset_materialization_events()
    assert len(made.materialization.metadata["done"].value) == 5
    assert catalog("plan", "shop")[0] == 0
    (again,) = make("grants").get_asset_materialization_events()
    assert again.materialization.metadata["done"].value == []


def test_tables_are_not_registered_where_nobody_wants_it(
    stood_in: Served, shop: settings.Settings
) -> None:
    write(shop, grants(register_tables=False))
    _, planned = catalog("plan", "shop")
    kinds = [act["kind"] for act in planned["acts"]]
    assert kinds == ["CreateCatalog", "CreateSchema", "ChangeGrants"]
    assert planned["waiting"] == ["grants on table dev.shop.orders: it is not in the catalog yet"]


def test_what_cannot_be_asked_is_said_in_a_sentence(
    config: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config)
    monkeypatch.delenv("LAKEOPS_UNITY_CATALOG", raising=False)
    with pytest.raises(UnknownProductError, match="shop declares no grants; products that do: n"):
        catalog("plan", "shop")
    write(config, grants())
    with pytest.raises(CatalogError, match="set LAKEOPS_UNITY_CATALOG to databricks, or to"):
        catalog("plan", "shop")
    monkeypatch.setenv("LAKEOPS_UNITY_CATALOG", "nowhere")
    with pytest.raises(CatalogError, match="'nowhere' is no address"):
        catalog("plan", "shop")


def test_the_token_is_nowhere_in_the_graph(
    config: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEOPS_UNITY_CATALOG_TOKEN", "very-secret")
    monkeypatch.setenv("LAKEOPS_UNITY_CATALOG", "http://127.0.0.1:1")
    write(config, grants())
    found = settings.load()
    assert "very-secret" not in repr(found)
    resource = defs().get_repository_def().get_top_level_resources()["lakeops"]
    assert "very-secret" not in repr(resource.__dict__)
    assert settings.unity_catalog_token() == "very-secret"


def test_a_mistake_in_the_yaml_is_named(config: settings.Settings) -> None:
    wrong = grants(grants=[{"principal": "a", "privileges": ["READ"]}])
    write(config, wrong)
    with pytest.raises(ValueError, match=r"shop.defs\.yaml:\d+: 'READ' cannot be granted on a sch"):
        defs()


def test_the_bundle_has_the_grants_on_schemas_and_says_which_it_leaves_out(
    config: settings.Settings, tmp_path: Path
) -> None:
    pytest.importorskip("databricks.sdk")
    write(config, grants())
    code = CliRunner().invoke(app, ["bundle", "shop", "--out", str(tmp_path)])
    assert code.exit_code == 0, code.output
    assert "shop leaves out grants on the table orders" in code.output
    found = yaml.safe_load((tmp_path / "databricks.yml").read_text())
    assert found["resources"]["schemas"]["shop"]["grants"] == [
        {"principal": "ann@example.org", "privileges": ["SELECT", "USE_SCHEMA"]}
    ]
    # What only its button starts is no task.
    keys = [task["task_key"] for task in found["resources"]["jobs"]["shop"]["tasks"]]
    assert keys == ["orders"]


def test_the_example_of_the_component_loads(config: settings.Settings) -> None:
    folder = config.products / "shop"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(_document("lakeops_assets.components.Grants", "shop"))
    (spec,) = grants_of(defs().resolve_asset_graph())
    assert [(r.principal, r.kind) for r in spec.rules] == [
        ("analysts", "schema"),
        ("risk", "table"),
        ("gateway", "registered_model"),
    ]
