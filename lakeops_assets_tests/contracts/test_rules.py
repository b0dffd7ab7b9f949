"""Each source of rules in a contract: what it lets pass and what it does not."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from contracted import broken, contract
from landing import NOW, TABLE

from lakeops_assets.contracts import Contract, RuleResult, evaluate
from lakeops_assets.lakehouse import Lakehouse

ROW = [{"property": "scope", "value": "row"}]

# What a property says of a column x, its values, and the rows that break the rules.
ROW_RULES: dict[str, tuple[dict[str, Any], list[Any], dict[str, int]]] = {
    "required": ({"required": True}, [1, None, 2], {"x_required": 1}),
    "unique": ({"unique": True}, [1, 1, 1, 2, None, None], {"x_unique": 2}),
    "primary key": ({"primaryKey": True}, [1, 1, None, 2], {"primary_key": 2}),
    "enum of numbers": ({"enum": [{"value": 1}, {"value": 2}]}, [1, 2, 3, None], {"x_enum": 1}),
    "enum of texts": (
        {"enum": [{"value": "it's"}, {"value": "a\\b"}]},
        ["it's", "a\\b", "c", ""],
        {"x_enum": 2},
    ),
    "range": (
        {"logicalType": "number", "logicalTypeOptions": {"minimum": 0, "maximum": 10}},
        [0.0, 10.0, -0.1, 10.1, None, float("nan"), float("inf")],
        {"x_range": 4},
    ),
    "open range refuses what is no number": (
        {"logicalType": "number", "logicalTypeOptions": {"exclusiveMinimum": 0}},
        [0.0, 1e-9, float("nan"), float("inf")],
        {"x_range": 3},
    ),
    "range of days": (
        {"logicalType": "date", "logicalTypeOptions": {"minimum": "2026-01-02"}},
        [date(2026, 1, 1), date(2026, 1, 2), None],
        {"x_range": 1},
    ),
    "length": (
        {"logicalType": "string", "logicalTypeOptions": {"minLength": 2, "maxLength": 3}},
        ["a", "äé", "日本語", "abcd", None],
        {"x_length": 2},
    ),
    "pattern": (
        {"logicalType": "string", "logicalTypeOptions": {"pattern": "^[a-z]+\\.x$"}},
        ["ab.x", "abyx", "AB.x", None],
        {"x_pattern": 2},
    ),
    "null values": (
        {"quality": [{"metric": "nullValues", "mustBe": 0}]},
        ["a", None],
        {"x_nullValues": 1},
    ),
    "missing values": (
        {
            "quality": [
                {
                    "metric": "missingValues",
                    "arguments": {"missingValues": [None, "N/A"]},
                    "mustBe": 0,
                }
            ]
        },
        ["a", None, "N/A", ""],
        {"x_missingValues": 2},
    ),
    "invalid values": (
        {
            "quality": [
                {
                    "metric": "invalidValues",
                    "arguments": {"validValues": ["a", "b"]},
                    "mustBeLessOrEqualTo": 0,
                }
            ]
        },
        ["a", "c", None],
        {"x_invalidValues": 1},
    ),
    "duplicate values": (
        {"quality": [{"metric": "duplicateValues", "mustBe": 0}]},
        ["a", "a", "b"],
        {"x_duplicateValues": 1},
    ),
    "a condition": (
        {
            "quality": [
                {
                    "id": "even",
                    "type": "sql",
                    "query": "SELECT COUNT(*) FROM ${table} WHERE ${column} % 2 = 1",
                    "mustBe": 0,
                    "customProperties": ROW,
                }
            ]
        },
        [1, 2, None],
        {"even": 1},
    ),
}


@pytest.mark.parametrize("name", ROW_RULES)
def test_a_rule_of_rows(lakehouse: Lakehouse, tmp_path: Path, name: str) -> None:
    says, values, expected = ROW_RULES[name]
    rules = contract(tmp_path, {"x": says})
    assert broken(lakehouse, rules, pa.table({"x": values})) == expected


def test_a_composite_key_counts_its_columns_together(lakehouse: Lakehouse, tmp_path: Path) -> None:
    says = {
        "a": {"primaryKey": True, "primaryKeyPosition": 2},
        "b": {"primaryKey": True, "primaryKeyPosition": 1},
    }
    rules = contract(tmp_path, says)
    assert rules.rule("primary_key").columns == ("b", "a")
    rows = pa.table({"a": [1, 1, 1, None], "b": ["x", "y", "x", "z"]})
    assert broken(lakehouse, rules, rows) == {"primary_key": 2}


def test_what_is_referred_to_has_to_exist(lakehouse: Lakehouse, tmp_path: Path) -> None:
    says = {"x": {"relationships": [{"to": "customers.key"}]}}
    rules, rows = contract(tmp_path, says), pa.table({"x": [1, 2, 3, None]})
    assert broken(lakehouse, rules, rows) == {"x_reference": 3}, "no such table: nothing is there"
    lakehouse.create("shop.customers", pa.schema([("key", pa.int64())]))
    lakehouse.append("shop.customers", pa.table({"key": [1, 1, 2]}))
    [found] = [r for r in found_about(lakehouse, rules) if r.rule == "x_reference"]
    assert (found.violations, found.samples) == (1, ({"x": 3},))


# A quality entry, and the values of a column x for which it is kept and broken.
TABLE_RULES: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "rowCount between": ({"metric": "rowCount", "mustBeBetween": [2, 3]}, [1, 2], [1]),
    "rowCount not": ({"metric": "rowCount", "mustNotBe": 2}, [1], [1, 2]),
    "rowCount not between": ({"metric": "rowCount", "mustNotBeBetween": [2, 9]}, [1], [1, 2]),
    "rowCount less": ({"metric": "rowCount", "mustBeLessThan": 2}, [1], [1, 2]),
    "rowCount greater or equal": (
        {"metric": "rowCount", "mustBeGreaterOrEqualTo": 2},
        [1, 2],
        [1],
    ),
    "percent of nulls": (
        {
            "metric": "nullValues",
            "unit": "percent",
            "mustBeLessOrEqualTo": 50,
            "arguments": {"properties": ["x"]},
        },
        [1, None],
        [1, None, None],
    ),
    "number of repeated values": (
        {
            "metric": "duplicateValues",
            "mustBeLessThan": 2,
            "arguments": {"properties": ["x"]},
        },
        [1, 1, None, None],
        [1, 1, 1],
    ),
    "a query": (
        {"type": "sql", "query": "SELECT avg(x) FROM {object}", "mustBeGreaterThan": 1},
        [1, 2],
        [1, 1],
    ),
    "a query that cannot be run": (
        {"type": "sql", "query": "SELECT avg(x + 1) FROM {object}", "mustBeGreaterThan": 1},
        [1, 2],
        [date(2026, 1, 1)],
    ),
    "a query without an answer": (
        {"type": "sql", "query": "SELECT avg(x) FROM {object}", "mustBe": 1},
        [1],
        [None],
    ),
    "coverage of a column": (
        {
            "type": "custom",
            "engine": "lakeops",
            "implementation": {
                "check": "coverage",
                "columns": ["x"],
                "mustBeGreaterOrEqualTo": 50,
            },
        },
        [1, None],
        [1, None, None],
    ),
    "coverage of a table": (
        {
            "type": "custom",
            "engine": "lakeops",
            "implementation": {
                "check": "coverage",
                "columns": ["x"],
                "of": "shop.wanted.key",
                "mustBe": 100,
            },
        },
        [1, 2, 5],
        [1, 5],
    ),
}


@pytest.mark.parametrize("name", TABLE_RULES)
def test_a_rule_of_the_table(lakehouse: Lakehouse, tmp_path: Path, name: str) -> None:
    entry, kept, not_kept = TABLE_RULES[name]
    rules = contract(tmp_path, {"x": {}}, [{"id": "the_rule", **entry}])
    lakehouse.create("shop.wanted", pa.schema([("key", pa.int64())]))
    lakehouse.append("shop.wanted", pa.table({"key": [1, 2]}))
    assert rules.rule("the_rule").severity == "block"
    for values, passed in ((kept, True), (not_kept, False)):
        made(lakehouse, pa.table({"x": values}))
        [found] = [r for r in found_about(lakehouse, rules) if r.rule == "the_rule"]
        assert found.passed is passed, found.reason


def test_an_empty_table_has_no_share_of_anything(lakehouse: Lakehouse, tmp_path: Path) -> None:
    entry = {"metric": "nullValues", "unit": "percent", "mustBeLessThan": 1}
    rules = contract(tmp_path, {"x": {"quality": [entry]}})
    lakehouse.create(TABLE, pa.schema([("x", pa.int64())]))
    assert [r.passed for r in found_about(lakehouse, rules)] == [True, True]


def test_a_column_that_is_missing_or_of_another_type_leaves_nothing_unsaid(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    says = {"x": {"logicalType": "integer", "required": True}, "y": {"required": True}, "z": {}}
    made(lakehouse, pa.table({"x": ["a"], "z": [1]}))
    found = {r.rule: r for r in found_about(lakehouse, contract(tmp_path, says))}
    assert found["schema"].violations == 2
    assert "x is string, which is no integer" in found["schema"].reason
    assert not found["x_required"].passed, "not measured is not passed"
    assert "y is missing" in found["y_required"].reason


def test_one_rule_that_cannot_be_run_leaves_the_others_measured(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    query = "SELECT count(*) FROM {object} WHERE x + '?' > 1"
    bad = {"id": "bad", "type": "sql", "query": query, "mustBe": 0, "customProperties": ROW}
    rules = contract(tmp_path, {"x": {"required": True}}, [bad])
    made(lakehouse, pa.table({"x": [1, None]}))
    found = {r.rule: r for r in found_about(lakehouse, rules)}
    assert found["x_required"].violations == 1
    assert not found["bad"].passed
    assert "not measured" in found["bad"].reason


@pytest.mark.parametrize(("age", "passed"), [(1, True), (3, False)])
def test_old_data_is_said_and_stops_nothing(
    lakehouse: Lakehouse, tmp_path: Path, age: int, passed: bool
) -> None:
    level = {"property": "latency", "value": 2, "unit": "d", "element": "orders.day"}
    rules = contract(tmp_path, {"day": {"logicalType": "date"}}, slaProperties=[level])
    made(lakehouse, pa.table({"day": [(NOW - timedelta(days=age)).date(), None]}))
    found = {r.rule: r for r in found_about(lakehouse, rules)}["day_freshness"]
    assert (found.severity, found.passed) == ("warn", passed)


def test_more_rules_than_a_number_has_bits(lakehouse: Lakehouse, tmp_path: Path) -> None:
    says = {f"c{i}": {"required": True} for i in range(150)}
    values = {f"c{i}": pa.array([1, None if i % 2 else 1, None]) for i in range(150)}
    found = broken(lakehouse, contract(tmp_path, says), pa.table(values))
    assert found == {f"c{i}_required": 2 if i % 2 else 1 for i in range(150)}


def made(lakehouse: Lakehouse, rows: pa.Table) -> None:
    lakehouse.create(TABLE, rows.schema)
    lakehouse.overwrite(TABLE, rows, evolve=True)


def found_about(lakehouse: Lakehouse, rules: Contract) -> tuple[RuleResult, ...]:
    return evaluate(lakehouse, rules, TABLE, now=NOW).results
