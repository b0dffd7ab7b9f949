"""Both catalogs do the same for the same questions."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from catalogs.conftest import Served

from lakeops_assets.catalogs import (
    CatalogError,
    DatabricksCatalog,
    GrantChange,
    OpenSourceCatalog,
    Securable,
    Table,
    columns,
    normal_location,
)
from lakeops_assets.lakehouse import TableName

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False, metadata={"comment": "Who."}),
        pa.field("small", pa.int8()),
        pa.field("price", pa.decimal128(12, 2)),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("local", pa.timestamp("us")),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("share", pa.map_(pa.string(), pa.float64())),
        pa.field("where", pa.struct([pa.field("lat", pa.float32()), pa.field("day", pa.date32())])),
    ]
)


def test_objects_are_created_listed_and_found(served: Served) -> None:
    catalog, name = served.catalog, served.name
    assert not catalog.has_catalog(name)
    catalog.create_catalog(name, "For a test.")
    assert catalog.has_catalog(name)
    assert name in catalog.catalogs()
    names = [f"s{number}" for number in range(5)]  # more than a page
    for schema in names:
        assert not catalog.has_schema(name, schema)
        catalog.create_schema(name, schema, "")
    assert [s for s in catalog.schemas(name) if s in names] == names
    assert catalog.has_schema(name, "s3")

    tables = [
        Table(TableName(name, "s1", f"t{n}"), f"{served.storage}/t{n}", columns(SCHEMA), "Rows.")
        for n in range(3)
    ]
    assert catalog.table(tables[0].name) is None
    for table in tables:
        catalog.register(table)
    assert catalog.tables(name, "s1") == ["t0", "t1", "t2"]
    found = catalog.table(tables[1].name)
    assert normal_location(found.location) == normal_location(tables[1].location)
    assert found.comment == "Rows."
    assert [(c.name, c.type_text, c.type_name, c.nullable, c.comment) for c in found.columns] == [
        ("id", "bigint", "LONG", False, "Who."),
        ("small", "tinyint", "BYTE", True, ""),
        ("price", "decimal(12,2)", "DECIMAL", True, ""),
        ("at", "timestamp", "TIMESTAMP", True, ""),
        ("local", "timestamp_ntz", "TIMESTAMP_NTZ", True, ""),
        ("tags", "array<string>", "ARRAY", True, ""),
        ("share", "map<string,double>", "MAP", True, ""),
        ("where", "struct<lat:float,day:date>", "STRUCT", True, ""),
    ]
    assert (found.columns[2].precision, found.columns[2].scale) == (12, 2)
    with pytest.raises(CatalogError, match=r"register|/tables"):
        catalog.register(tables[1])


def test_types_are_sparks_json() -> None:
    found = {c.name: json.loads(c.type_json) for c in columns(SCHEMA)}
    assert found["id"] == {"name": "id", "type": "long", "nullable": False, "metadata": {}}
    assert found["price"]["type"] == "decimal(12,2)"
    assert found["tags"]["type"] == {
        "type": "array",
        "elementType": "string",
        "containsNull": True,
    }
    assert found["where"]["type"]["fields"][1]["type"] == "date"
    with pytest.raises(CatalogError, match=r"no word for the type .* of the column long"):
        columns(pa.schema([pa.field("long", pa.duration("s"))]))


def test_grants_are_added_and_taken_away(stood_in: Served) -> None:
    catalog = stood_in.catalog
    catalog.create_catalog("dev", "")
    catalog.create_schema("dev", "shop", "")
    schema = Securable("schema", "dev.shop")
    assert catalog.grants(schema) == {}
    assert catalog.grants(Securable("schema", "dev.nothing")) is None
    assert catalog.grants(Securable("registered_model", "dev.shop.model")) is None
    catalog.change_grants(
        schema,
        [
            GrantChange("ann@example.org", ("USE_SCHEMA", "SELECT")),
            GrantChange("bob@example.org", ("SELECT",)),
            GrantChange("analysts", ("SELECT",)),
        ],
    )
    assert catalog.grants(schema) == {  # of two pages
        "ann@example.org": frozenset({"USE_SCHEMA", "SELECT"}),
        "bob@example.org": frozenset({"SELECT"}),
        "analysts": frozenset({"SELECT"}),
    }
    catalog.change_grants(schema, [GrantChange("bob@example.org", (), ("SELECT",))])
    catalog.change_grants(schema, [GrantChange("ann@example.org", ("MODIFY",), ("SELECT",))])
    assert catalog.grants(schema) == {
        "ann@example.org": frozenset({"USE_SCHEMA", "MODIFY"}),
        "analysts": frozenset({"SELECT"}),
    }


def test_a_model_is_a_function_to_a_workspace_and_a_model_to_a_server(stood_in: Served) -> None:
    stood_in.stand_in.objects["model"]["dev.shop.model"] = {}
    model = Securable("registered_model", "dev.shop.model")
    stood_in.catalog.change_grants(model, [GrantChange("ann@example.org", ("EXECUTE",))])
    assert stood_in.catalog.grants(model) == {"ann@example.org": frozenset({"EXECUTE"})}
    (path,) = {p for m, p, _, _ in stood_in.stand_in.journal if m == "PATCH"}
    kind = "FUNCTION" if isinstance(stood_in.catalog, DatabricksCatalog) else "registered_model"
    assert path == f"/permissions/{kind}/dev.shop.model"


def test_privileges_that_the_sdk_does_not_know_are_seen(workspace: Served) -> None:
    workspace.catalog.create_catalog("dev", "")
    workspace.stand_in.grant("catalog", "dev", "ann@example.org", "FLY", "SELECT")
    found = workspace.catalog.grants(Securable("catalog", "dev"))
    assert found == {"ann@example.org": frozenset({"FLY", "SELECT"})}


def test_what_a_catalog_refuses_is_a_sentence(stood_in: Served) -> None:
    catalog = stood_in.catalog
    with pytest.raises(CatalogError, match="does not exist"):
        catalog.create_schema("none", "shop", "")
    with pytest.raises(CatalogError, match=f"{catalog.where}.* says"):
        catalog.schemas("none")
    stood_in.stand_in.token = "another"
    for ask in (catalog.catalogs, lambda: catalog.has_catalog("dev")):
        with pytest.raises(CatalogError, match="Invalid access token"):
            ask()


def test_a_principal_that_the_server_does_not_know(server: Served) -> None:
    server.catalog.create_catalog("dev", "")
    change = [GrantChange("eve@example.org", ("USE_CATALOG",))]
    with pytest.raises(CatalogError, match=r"User not found: eve@example\.org"):
        server.catalog.change_grants(Securable("catalog", "dev"), change)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(CatalogError, match=r"Unity Catalog at http://127.0.0.1:9 does not answer"):
        OpenSourceCatalog("http://127.0.0.1:9").catalogs()


def test_an_address_that_is_none_and_a_token_that_everybody_would_read() -> None:
    for url in ("127.0.0.1:8080", "file:///etc", "databricks:", ""):
        with pytest.raises(CatalogError, match="is no address of a Unity Catalog server"):
            OpenSourceCatalog(url)
    with pytest.raises(CatalogError, match="use https"):
        OpenSourceCatalog("http://catalog.example.org", "secret")
    assert not OpenSourceCatalog("https://catalog.example.org", "secret").reads_files
    with_path = OpenSourceCatalog("http://localhost:8080/api/2.1/unity-catalog/")
    assert with_path.url == "http://localhost:8080"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a/b", "file:///a/b/"),
        ("file:/a/b", "file:///a//b"),
        ("s3://bucket/a/", "s3://bucket/a"),
        ("abfss://c@account.dfs.core.windows.net/x", "abfss://c@account.dfs.core.windows.net/x/"),
    ],
)
def test_equal_places_are_equal(one: str, other: str) -> None:
    assert normal_location(one) == normal_location(other)
    assert normal_location(other.rstrip("/")) in (other.rstrip("/"), "file:///a/b")
