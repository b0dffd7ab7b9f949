"""A feature table follows its inputs by the rows that changed."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeops_assets.features import FeatureSpec, FeatureSpecError, refresh_features
from lakeops_assets.lakehouse import Lakehouse, TableNotFoundError

SQL = """
WITH people AS (SELECT k, v FROM shop.people)
SELECT people.k, upper(people.v) AS name, label.y
FROM people LEFT JOIN shop.labels AS label ON people.k = label.k
"""


@pytest.fixture
def spec(lakehouse: Lakehouse) -> FeatureSpec:
    lakehouse.create("shop.people", pa.schema([("k", pa.int64()), ("v", pa.string())]))
    lakehouse.create("shop.labels", pa.schema([("k", pa.int64()), ("y", pa.string())]))
    lakehouse.append("shop.people", pa.table({"k": [1, 2, 3], "v": ["a", "b", "c"]}))
    lakehouse.append("shop.labels", pa.table({"k": [1], "y": ["yes"]}))
    return FeatureSpec(
        lakehouse.name("shop.features"),
        SQL,
        ("k",),
        refresh="by_key",
        columns={"name": "the name"},
        description="people",
    )


def features(lakehouse: Lakehouse) -> dict[int, tuple]:
    found = lakehouse.read("shop.features").read_all().to_pylist()
    return {r["k"]: (r["name"], r["y"]) for r in found}


def test_the_first_refresh_makes_the_table(lakehouse: Lakehouse, spec: FeatureSpec) -> None:
    result = refresh_features(lakehouse, spec)
    assert (result.mode, result.commit.inserted) == ("full", 3)
    assert features(lakehouse) == {1: ("A", "yes"), 2: ("B", None), 3: ("C", None)}
    comment = lakehouse.schema("shop.features").field("name").metadata[b"comment"]
    assert comment == b"the name"


def test_a_star_over_qualify_makes_no_column_of_its_own(
    lakehouse: Lakehouse, spec: FeatureSpec
) -> None:
    newest = """
        SELECT p.* FROM (
            SELECT * FROM shop.people QUALIFY row_number() OVER (PARTITION BY k ORDER BY v) = 1
        ) AS p"""
    refresh_features(lakehouse, replace(spec, sql=newest, columns={}))
    assert lakehouse.schema("shop.features").names == ["k", "v"]


def test_without_news_nothing_is_computed_or_written(
    lakehouse: Lakehouse, spec: FeatureSpec
) -> None:
    version = refresh_features(lakehouse, spec).commit.version
    again = refresh_features(lakehouse, spec)
    assert (again.keys, again.commit.written, again.commit.version) == (0, False, version)


def test_only_keys_that_changed_are_recomputed(lakehouse: Lakehouse, spec: FeatureSpec) -> None:
    refresh_features(lakehouse, spec)
    lakehouse.append("shop.labels", pa.table({"k": [2], "y": ["no"]}))
    lakehouse.append("shop.people", pa.table({"k": [4], "v": ["d"]}))
    result = refresh_features(lakehouse, spec)
    assert (result.mode, result.keys) == ("by_key", 2)
    assert (result.commit.inserted, result.commit.updated) == (1, 1)
    assert features(lakehouse)[2] == ("B", "no")
    assert result.inputs == {"dev.shop.people": 2, "dev.shop.labels": 2}


def test_a_row_that_vanished_is_deleted(lakehouse: Lakehouse, spec: FeatureSpec) -> None:
    refresh_features(lakehouse, spec)
    lakehouse.merge("shop.people", pa.table({"k": [1], "v": ["a"]}), ["k"], delete_missing=True)
    result = refresh_features(lakehouse, spec)
    assert (result.mode, result.commit.deleted) == ("full", 2)
    assert features(lakehouse) == {1: ("A", "yes")}


def test_changed_sql_recomputes_everything(lakehouse: Lakehouse, spec: FeatureSpec) -> None:
    refresh_features(lakehouse, spec)
    changed = replace(
        spec,
        sql=spec.sql.replace("upper", "concat('x', ").replace("(people.v)", "people.v)"),
        columns={},
    )
    assert refresh_features(lakehouse, changed).commit.updated == 3
    wider = replace(changed, sql=changed.sql.replace("label.y", "label.y, 1 AS one"))
    refresh_features(lakehouse, wider)
    assert lakehouse.schema("shop.features").names == ["k", "name", "y", "one"]
    assert not refresh_features(lakehouse, wider).commit.written


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["people", "labels"]),
            st.dictionaries(st.integers(0, 5), st.sampled_from("abc"), max_size=3),
            st.booleans(),
        ),
        max_size=4,
    )
)
def test_by_key_and_full_agree(lakehouse: Lakehouse, spec: FeatureSpec, steps: list) -> None:
    full = replace(spec, table=lakehouse.name("shop.full"), refresh="full")
    for table, rows, delete in [("people", {}, False), *steps]:
        value = "v" if table == "people" else "y"
        source = pa.table(
            {"k": list(rows), value: list(rows.values())},
            schema=pa.schema([("k", pa.int64()), (value, pa.string())]),
        )
        lakehouse.merge(f"shop.{table}", source, ["k"], delete_missing=delete)
        refresh_features(lakehouse, spec)
        refresh_features(lakehouse, full)
        order = "SELECT * FROM {} ORDER BY k"
        one = lakehouse.query(order.format("shop.features")).read_all().to_pylist()
        assert one == lakehouse.query(order.format("shop.full")).read_all().to_pylist()


def test_mistakes_in_the_declaration_are_named(lakehouse: Lakehouse, spec: FeatureSpec) -> None:
    with pytest.raises(FeatureSpecError, match=r"primary key id .* which makes: k, name, y"):
        replace(spec, primary_key=("id",))
    with pytest.raises(FeatureSpecError, match="described column nope"):
        replace(spec, columns={"nope": "?"})
    with pytest.raises(FeatureSpecError, match="no primary key"):
        replace(spec, primary_key=())
    with pytest.raises(TableNotFoundError, match=r"no table dev\.shop\.nothing"):
        refresh_features(lakehouse, replace(spec, sql=SQL.replace("shop.labels", "shop.nothing")))


def test_by_key_needs_the_key_in_every_input(lakehouse: Lakehouse, spec: FeatureSpec) -> None:
    lakehouse.create("shop.rates", pa.schema([("rate", pa.float64())]))
    sql = "SELECT p.k, r.rate FROM shop.people p CROSS JOIN shop.rates r"
    with pytest.raises(FeatureSpecError, match=r"dev\.shop\.rates has no column k"):
        refresh_features(lakehouse, replace(spec, sql=sql, columns={}))
