"""Plans for a catalog: what they say, that they are done exactly, and what they never touch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from catalogs.conftest import Served
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeops_assets.catalogs import (
    PRIVILEGES,
    Act,
    CatalogChangedError,
    CatalogError,
    Declared,
    GrantChange,
    GrantError,
    GrantRule,
    GrantsSpec,
    Observed,
    OpenSourceCatalog,
    Securable,
    Table,
    apply,
    columns,
    observe,
    plan,
)
from lakeops_assets.lakehouse import TableName

ANN, BOB = "ann@example.org", "bob@example.org"
SCHEMA = Securable("schema", "dev.shop")
ORDERS = Securable("table", "dev.shop.orders")
MODEL = Securable("registered_model", "dev.shop.model")
COLUMNS = columns(pa.schema([pa.field("id", pa.int64())]))


def wanted(served: Served, **changes: Any) -> Declared:
    table = Table(TableName("dev", "shop", "orders"), f"{served.storage}/orders", COLUMNS)
    grants = {
        SCHEMA: {ANN: frozenset({"USE_SCHEMA", "SELECT"})},
        ORDERS: {BOB: frozenset({"SELECT"})},
    }
    return replace(Declared("dev", "shop", "Orders.", (table,), grants), **changes)


def planned(served: Served, declared: Declared) -> Any:
    return plan(declared, observe(served.catalog, declared), served.catalog)


def done(served: Served, declared: Declared) -> list[Act]:
    acts: list[Act] = []
    apply(served.catalog, declared, planned(served, declared).digest, acts.append)
    return acts


def test_from_nothing_to_what_is_declared_and_then_nothing(stood_in: Served) -> None:
    declared = wanted(stood_in)
    first = planned(stood_in, declared)
    assert [str(act) for act in first.acts] == [
        "create catalog dev",
        "create schema dev.shop",
        f"register table dev.shop.orders with 1 columns at {stood_in.storage}/orders",
        f"grant SELECT, USE_SCHEMA to {ANN} on schema dev.shop",
        f"grant SELECT to {BOB} on table dev.shop.orders",
    ]
    assert stood_in.stand_in.writes == []  # a plan changes nothing
    assert done(stood_in, declared) == list(first.acts)
    again = planned(stood_in, declared)
    assert (again.acts, again.waiting, again.differing) == ((), (), ())
    before = len(stood_in.stand_in.writes)
    assert before == 5
    assert done(stood_in, declared) == []
    assert len(stood_in.stand_in.writes) == before


def test_catalogs_by_other_people_are_made_as_declared(others: Served) -> None:
    """What the stand-ins are taken for: the same acts, kept, and then nothing."""
    catalog, name = others.catalog, others.name
    table = Table(TableName(name, "shop", "orders"), f"{others.storage}/orders", COLUMNS)
    schema, orders = Securable("schema", f"{name}.shop"), Securable("table", str(table.name))
    declared = Declared(name, "shop", "Orders.", (table,))
    kinds = [type(act).__name__ for act in done(others, declared)]
    assert kinds == ["CreateCatalog", "CreateSchema", "RegisterTable"]
    assert planned(others, declared).acts == ()
    model = Securable("registered_model", f"{name}.shop.model")
    grants = {
        schema: {ANN: frozenset({"USE_SCHEMA", "SELECT"}), BOB: frozenset({"USE_SCHEMA"})},
        orders: {BOB: frozenset({"SELECT"})},
        # The emulator says of an object that is not there that nothing is granted on it.
        **({model: {BOB: frozenset({"EXECUTE"})}} if catalog.reads_files else {}),
    }
    granting = replace(declared, grants=grants)
    if catalog.reads_files and not os.environ.get("LAKEOPS_UNITY_CATALOG_TOKEN"):
        with pytest.raises(CatalogError, match=r"User not found|did not keep it"):
            done(others, granting)
        return
    assert len(done(others, granting)) == 3
    again = planned(others, granting)
    waits = int(catalog.reads_files)
    assert (again.acts, again.differing, len(again.waiting)) == ((), (), waits)
    fewer = replace(granting, grants={schema: {ANN: frozenset({"SELECT"})}})
    old = planned(others, fewer)
    assert [str(act) for act in old.acts] == [
        f"revoke USE_SCHEMA from {ANN} on {schema}",
        f"revoke USE_SCHEMA from {BOB} on {schema}",
    ]
    catalog.change_grants(schema, [GrantChange("analysts", ("SELECT",))])
    with pytest.raises(CatalogChangedError):
        apply(catalog, fewer, old.digest, lambda act: None)
    done(others, fewer)
    assert catalog.grants(schema) == {ANN: frozenset({"SELECT"})}
    assert catalog.grants(orders) == {BOB: frozenset({"SELECT"})}  # not declared, not touched


def test_what_is_not_declared_on_a_declared_object_is_revoked(stood_in: Served) -> None:
    declared = wanted(stood_in)
    done(stood_in, declared)
    spelt = "MODIFY"
    stood_in.stand_in.grant("schema", "dev.shop", ANN, spelt)
    stood_in.stand_in.grant("schema", "dev.shop", BOB, "SELECT")
    assert [str(act) for act in planned(stood_in, declared).acts] == [
        f"revoke MODIFY from {ANN} on schema dev.shop",
        f"revoke SELECT from {BOB} on schema dev.shop",
    ]
    done(stood_in, declared)
    assert stood_in.catalog.grants(SCHEMA) == {ANN: frozenset({"USE_SCHEMA", "SELECT"})}


def test_objects_that_are_not_declared_are_never_touched_nor_looked_at(stood_in: Served) -> None:
    catalog = stood_in.catalog
    declared = wanted(stood_in, grants={SCHEMA: {ANN: frozenset({"SELECT"})}})
    done(stood_in, declared)
    for kind, name in (("catalog", "dev"), ("table", "dev.shop.orders")):
        stood_in.stand_in.grant(kind, name, BOB, "SELECT")
    stood_in.stand_in.journal.clear()
    assert done(stood_in, declared) == []
    asked = {p for _, p, _, _ in stood_in.stand_in.journal if p.startswith("/permissions")}
    assert {path.rpartition("/")[2] for path in asked} == {"dev.shop"}
    assert catalog.grants(ORDERS) == {BOB: frozenset({"SELECT"})}
    assert catalog.grants(Securable("catalog", "dev")) == {BOB: frozenset({"SELECT"})}


def test_a_plan_is_refused_when_what_is_there_has_changed(stood_in: Served) -> None:
    declared = wanted(stood_in)
    done(stood_in, declared)
    more = wanted(
        stood_in, grants={**declared.grants, ORDERS: {BOB: frozenset({"SELECT", "MODIFY"})}}
    )
    old = planned(stood_in, more)
    # Somebody does something that leaves the acts as they are.
    stood_in.stand_in.grant("table", "dev.shop.orders", BOB, "MODIFY")
    stood_in.stand_in.grant("schema", "dev.shop", BOB, "SELECT")
    before = stood_in.stand_in.writes
    with pytest.raises(CatalogChangedError, match=f"nothing was done: the plan {old.digest} is"):
        apply(stood_in.catalog, more, old.digest, lambda act: pytest.fail("recorded"))
    assert stood_in.stand_in.writes == before


def test_a_plan_is_refused_when_what_is_declared_has_changed(stood_in: Served) -> None:
    old = planned(stood_in, wanted(stood_in))
    other = wanted(stood_in, grants={})
    with pytest.raises(CatalogChangedError):
        apply(stood_in.catalog, other, old.digest, lambda act: None)
    assert stood_in.stand_in.writes == []


def test_each_act_is_recorded_before_it_is_done(stood_in: Served) -> None:
    declared = wanted(stood_in)
    seen: list[tuple[str, int]] = []
    digest = planned(stood_in, declared).digest
    apply(
        stood_in.catalog,
        declared,
        digest,
        lambda act: seen.append((str(act.securable), len(stood_in.stand_in.writes))),
    )
    assert seen == [
        ("catalog dev", 0),
        ("schema dev.shop", 1),
        ("table dev.shop.orders", 2),
        ("schema dev.shop", 3),
        ("table dev.shop.orders", 4),
    ]


def test_a_server_that_keeps_no_grants_is_found_out(server: Served) -> None:
    server.stand_in.keeps = False
    with pytest.raises(CatalogError, match=r"did not keep it: grant .*authorization=enable"):
        done(server, wanted(server))


def test_what_is_not_there_yet_waits(stood_in: Served) -> None:
    declared = wanted(stood_in, grants={MODEL: {ANN: frozenset({"EXECUTE"})}})
    found = planned(stood_in, declared)
    (waiting,) = found.waiting
    assert waiting == "grants on registered model dev.shop.model: it is not in the catalog yet"
    done(stood_in, declared)
    stood_in.stand_in.objects["model"]["dev.shop.model"] = {}
    (act,) = done(stood_in, declared)
    assert str(act) == f"grant EXECUTE to {ANN} on registered model dev.shop.model"


def test_what_differs_is_said_and_left(stood_in: Served) -> None:
    declared = wanted(stood_in)
    done(stood_in, declared)
    column = replace(COLUMNS[0], type_text="int")
    moved = replace(declared.tables[0], location=f"{stood_in.storage}/other", columns=(column,))
    found = planned(stood_in, replace(declared, tables=(moved,)))
    assert found.acts == ()
    storage = stood_in.storage
    assert found.differing == (
        f"table dev.shop.orders is registered at {storage}/orders, not {storage}/other",
        "table dev.shop.orders is registered with other columns: id",
    )


def test_a_workspace_is_not_given_a_folder_of_this_machine(workspace: Served) -> None:
    table = Table(TableName("dev", "shop", "orders"), "file:///home/me/orders", COLUMNS)
    with pytest.raises(CatalogError, match=r"cannot read file:///home/me/orders .* in `storage`"):
        planned(workspace, wanted(workspace, tables=(table,)))


def test_a_server_is_not_asked_for_what_it_does_not_know(server: Served) -> None:
    declared = wanted(server, grants={SCHEMA: {ANN: frozenset({"MANAGE"})}})
    with pytest.raises(GrantError, match="has no privilege MANAGE, which is declared on schema"):
        planned(server, declared)


def test_the_catalogs_order_changes_no_plan(workspace: Served) -> None:
    declared = wanted(workspace)
    turned = replace(declared, grants=dict(reversed(declared.grants.items())))
    assert planned(workspace, turned) == planned(workspace, declared)


PRINCIPALS = st.sampled_from(["a", "b", "c"])
PRIVILEGE = st.sampled_from(["SELECT", "MODIFY", "USE_SCHEMA", "EXECUTE"])
GRANTED = st.dictionaries(PRINCIPALS, st.frozensets(PRIVILEGE, min_size=1))


@settings(deadline=None)
@given(there=GRANTED, want=GRANTED)
def test_the_changes_lead_from_what_is_there_to_what_is_declared(
    there: Mapping[str, frozenset[str]], want: Mapping[str, frozenset[str]]
) -> None:
    declared = Declared("dev", "shop", grants={SCHEMA: want})
    observed = Observed(True, True, {}, {SCHEMA: there})
    found = plan(declared, observed, OpenSourceCatalog("http://127.0.0.1:1"))
    result = {principal: set(privileges) for principal, privileges in there.items()}
    for act in found.acts:
        change = act.change
        now = result.setdefault(change.principal, set())
        assert not set(change.add) & now
        assert set(change.remove) <= now
        now |= set(change.add)
        now -= set(change.remove)
    assert {k: frozenset(v) for k, v in result.items() if v} == dict(want)
    # And equal declarations, seen in equal states, are equal plans.
    again = plan(declared, observed, OpenSourceCatalog("http://127.0.0.1:1"))
    assert again.digest == found.digest


def test_grants_say_what_is_wrong_with_them() -> None:
    assert GrantRule("a", ("select", "use schema")).privileges == ("SELECT", "USE_SCHEMA")
    assert GrantRule("a", ("SELECT",), table="t").kind == "table"
    assert str(GrantRule("a", ("EXECUTE",), model="m").securable("dev", "shop")) == (
        "registered model dev.shop.m"
    )
    for arguments, said in (
        (("a", ("READ",)), "'READ' cannot be granted on a schema; there are: "),
        (("a", ("USE_SCHEMA",), "t"), "cannot be granted on a table"),
        (("a", ("SELECT",), "", "m"), "cannot be granted on a registered_model"),
        (("a", ()), "has no privileges"),
        ((" ", ("SELECT",)), "needs a principal"),
        (("a", ("SELECT",), "t", "m"), "a table or a model"),
    ):
        with pytest.raises(GrantError, match=said):
            GrantRule(*arguments)
    with pytest.raises(GrantError, match="declares twice what a may do with the schema"):
        GrantsSpec("shop", (GrantRule("a", ("SELECT",)), GrantRule("a", ("MODIFY",))))


def test_every_privilege_is_one_that_the_sdk_knows() -> None:
    catalog = pytest.importorskip("databricks.sdk.service.catalog")
    known = {privilege.value for privilege in catalog.Privilege}
    assert {p for privileges in PRIVILEGES.values() for p in privileges} <= known
