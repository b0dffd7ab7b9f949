"""What a change of a contract means to a consumer: the table in docs/contract-changes.md."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from open_data_contract_standard.model import (
    DataQuality,
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
    ServiceLevelAgreementProperty,
)

from lakeops_assets.contracts import Change, diff, is_major
from lakeops_assets.contracts.diff_rules import RULES
from lakeops_assets.contracts.diff_types import compare_physical

PAGE = Path(__file__).parents[2] / "docs" / "contract-changes.md"
CONTRACT = yaml.safe_load("""
version: 1.2.0
kind: DataContract
apiVersion: v3.1.0
id: customers
name: Customers
status: active
domain: sales
tags: [core]
team: {name: billing}
support: [{channel: help, url: "https://example.org"}]
price: {priceAmount: 1, priceCurrency: EUR, priceUnit: month}
servers: [{server: dev, type: databricks, catalog: dev, schema: churn}]
roles: [{role: reader, access: read}]
slaProperties:
  - {property: latency, value: 2, unit: d, element: customers.seen}
  - {property: retention, value: 1, unit: y}
customProperties: [{property: cost_center, value: 7}]
schema:
  - name: customers
    description: One row per customer.
    dataGranularityDescription: One row per customer and day.
    quality:
      - {id: enough, metric: rowCount, mustBeGreaterThan: 100, severity: error}
      - {id: own, type: custom, engine: lakeops, implementation: coverage}
    properties:
      - {name: customer_id, logicalType: integer, physicalType: bigint, required: true,
         primaryKey: true}
      - {name: day, logicalType: date, physicalType: date, primaryKey: true}
      - {id: col_tenure, name: tenure, logicalType: integer, physicalType: int,
         logicalTypeOptions: {minimum: 0, maximum: 100}}
      - {name: plan, logicalType: string, physicalType: varchar(10), unique: true,
         classification: internal, enum: [{value: A}, {value: B}],
         logicalTypeOptions: {maxLength: 10, pattern: "^[AB]$", format: text},
         transformLogic: upper(plan),
         quality: [{id: known, metric: invalidValues, arguments: {validValues: [A, B]},
                    mustBeLessThan: 5, unit: percent}]}
      - {name: owner, logicalType: integer, physicalType: bigint,
         relationships: [{to: staff.id}]}
      - {name: free, customProperties: [{property: severity, value: block}]}
""")
TABLE, ID, DAY, TENURE, PLAN, OWNER, FREE = (
    "schema.0",
    *(f"schema.0.properties.{i}" for i in range(6)),
)
DELETED = object()
SEVERE = [{"property": "severity", "value": "block"}]

# One example per kind: where, what it is then, kind. In the order of the page.
EXAMPLES: list[tuple[str, Any, str]] = [
    ("id", "clients", "contract_id_changed"),
    ("status", "retired", "contract_withdrawn"),
    ("status", "deprecated", "contract_deprecated"),
    ("status", "something", "contract_withdrawn"),
    ("version", "1.3.0", "version_changed"),
    ("version", "1.1.9", "version_lowered"),
    ("domain", "marketing", "description_changed"),
    (f"{TABLE}.description", "Each a customer.", "description_changed"),
    ("tags", ["core", "gold"], "tags_changed"),
    ("team.name", "sales", "owner_changed"),
    ("support.0.url", "https://example.org/new", "support_changed"),
    ("customProperties.0.value", 8, "custom_property_changed"),
    ("price.priceAmount", 2, "price_changed"),
    ("servers.1", {"server": "prod", "type": "databricks"}, "server_added"),
    ("servers.0.catalog", "prod", "server_changed"),
    ("servers.0", DELETED, "server_removed"),
    ("roles.1", {"role": "writer"}, "role_added"),
    ("roles.0.access", "none", "role_changed"),
    ("roles.0", DELETED, "role_removed"),
    ("schema.1", {"name": "orders"}, "table_added"),
    (TABLE, DELETED, "table_removed"),
    (f"{TABLE}.physicalName", "clients", "table_renamed"),
    (f"{TABLE}.dataGranularityDescription", "One row per customer.", "granularity_changed"),
    (f"{TABLE}.properties.6", {"name": "age"}, "column_added"),
    (f"{TABLE}.properties.6", {"name": "age", "required": True}, "required_column_added"),
    (FREE, DELETED, "column_removed"),
    (f"{TENURE}.name", "months", "column_renamed"),
    (f"{PLAN}.physicalName", "plan_code", "column_renamed"),
    (f"{OWNER}.deprecated", True, "deprecated"),
    (f"{TENURE}.physicalType", "bigint", "type_widened"),
    (f"{TENURE}.logicalType", "number", "type_widened"),
    (f"{TENURE}.physicalType", "smallint", "type_narrowed"),
    (f"{TENURE}.physicalType", "string", "type_changed"),
    (f"{TENURE}.logicalType", "string", "type_changed"),
    (f"{FREE}.physicalType", "string", "type_stated"),
    (f"{TENURE}.physicalType", DELETED, "type_unstated"),
    (f"{TENURE}.required", True, "required_added"),
    (f"{ID}.required", DELETED, "required_removed"),
    (f"{TENURE}.unique", True, "unique_added"),
    (f"{PLAN}.unique", False, "unique_removed"),
    (f"{DAY}.primaryKey", DELETED, "primary_key_changed"),
    (f"{TENURE}.primaryKey", True, "primary_key_changed"),
    (f"{OWNER}.enum", [{"value": 1}], "enum_stated"),
    (f"{PLAN}.enum", DELETED, "enum_unstated"),
    (f"{PLAN}.enum.2", {"value": "C"}, "enum_value_added"),
    (f"{PLAN}.enum.1", DELETED, "enum_value_removed"),
    (f"{TENURE}.logicalTypeOptions.minimum", 1, "range_narrowed"),
    (f"{TENURE}.logicalTypeOptions.maximum", 99, "range_narrowed"),
    (f"{TENURE}.logicalTypeOptions.exclusiveMinimum", 0, "range_narrowed"),
    (f"{OWNER}.logicalTypeOptions", {"minimum": 0}, "range_narrowed"),
    (f"{TENURE}.logicalTypeOptions.minimum", -1, "range_widened"),
    (f"{TENURE}.logicalTypeOptions.maximum", 101, "range_widened"),
    (f"{TENURE}.logicalTypeOptions.maximum", DELETED, "range_widened"),
    (f"{TENURE}.logicalTypeOptions.maximum", "100", "range_widened"),
    (f"{PLAN}.logicalTypeOptions.maxLength", 9, "length_narrowed"),
    (f"{PLAN}.logicalTypeOptions.maxLength", 11, "length_widened"),
    (f"{OWNER}.logicalTypeOptions", {"pattern": "x"}, "pattern_added"),
    (f"{PLAN}.logicalTypeOptions.pattern", "^[ABC]$", "pattern_changed"),
    (f"{PLAN}.logicalTypeOptions.pattern", DELETED, "pattern_removed"),
    (f"{OWNER}.logicalTypeOptions", {"multipleOf": 2}, "type_option_added"),
    (f"{PLAN}.logicalTypeOptions.format", "email", "type_option_changed"),
    (f"{PLAN}.logicalTypeOptions.format", DELETED, "type_option_removed"),
    (f"{PLAN}.classification", "restricted", "classification_changed"),
    (f"{PLAN}.semanticType", "tariff", "semantic_type_changed"),
    (f"{PLAN}.partitioned", True, "partitioning_changed"),
    (f"{PLAN}.transformLogic", "trim(plan)", "lineage_changed"),
    (f"{PLAN}.relationships", [{"to": "plans.code"}], "reference_added"),
    (f"{OWNER}.relationships", DELETED, "reference_removed"),
    (f"{OWNER}.quality", [{"metric": "nullValues", "mustBe": 0}], "quality_rule_added"),
    (f"{TABLE}.quality.0", DELETED, "quality_rule_removed"),
    (f"{TABLE}.quality.0.mustBeGreaterThan", 200, "quality_rule_tightened"),
    (f"{PLAN}.quality.0.arguments.validValues", ["A"], "quality_rule_tightened"),
    (f"{TABLE}.quality.0.mustBeGreaterThan", 50, "quality_rule_weakened"),
    (f"{PLAN}.quality.0.arguments.validValues", ["A", "B", "C"], "quality_rule_weakened"),
    (f"{PLAN}.quality.0.mustBeLessThan", 6, "quality_rule_weakened"),
    (f"{PLAN}.quality.0.unit", "rows", "quality_rule_changed"),
    (f"{TABLE}.quality.1.implementation", "drift", "quality_rule_changed"),
    (f"{PLAN}.quality.0.severity", "block", "severity_raised"),
    (f"{TABLE}.quality.0.severity", "warning", "severity_lowered"),
    (f"{TABLE}.quality.1.severity", "warn", "severity_lowered"),
    (f"{FREE}.customProperties.0.value", "quarantine", "severity_lowered"),
    (f"{FREE}.customProperties.0.value", {"required": "warn"}, "severity_lowered"),
    (f"{OWNER}.relationships.0.customProperties", SEVERE, "severity_raised"),
    (f"{TABLE}.customProperties", [{"property": "severity", "value": "warn"}], "severity_lowered"),
    ("slaProperties.0.customProperties", SEVERE, "severity_raised"),
    (f"{TABLE}.quality.0.severity", "purple", "severity_changed"),
    ("slaProperties.2", {"property": "availability", "value": 99}, "sla_added"),
    ("slaProperties.2", {"property": "endOfLife", "value": "2030-01-01"}, "sla_loosened"),
    ("slaProperties.0", DELETED, "sla_removed"),
    ("slaProperties.0.value", 1, "sla_tightened"),
    ("slaProperties.1.value", 2, "sla_tightened"),
    ("slaProperties.0.value", 3, "sla_loosened"),
    ("slaProperties.0.unit", "w", "sla_loosened"),
    ("slaProperties.1.value", 0.5, "sla_loosened"),
    ("slaProperties.1.unit", "rows", "sla_changed"),
]
# Kinds whose examples need more than one edit of the contract.
APART = {
    "contract_added",
    "contract_removed",
    "status_changed",
    "version_not_raised",
    "major_version_missing",
    "primary_key_added",
    "primary_key_removed",
}
OF_THE_VERSION = {"version_not_raised", "major_version_missing"}


def parse(document: dict[str, Any]) -> OpenDataContractStandard:
    return OpenDataContractStandard(**copy.deepcopy(document))


def edited(path: str, value: Any, version: str | None = None) -> OpenDataContractStandard:
    document: Any = copy.deepcopy(CONTRACT)
    *parents, last = path.split(".")
    place = document
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    key: Any = int(last) if isinstance(place, list) else last
    if value is DELETED:
        del place[key]
    elif isinstance(place, list) and key == len(place):
        place.append(value)
    else:
        place[key] = value
    if version:
        document["version"] = version
    return parse(document)


def kinds(changes: tuple[Change, ...]) -> set[str]:
    return {c.kind for c in changes}


def rows_of_the_page() -> dict[str, tuple[bool, str]]:
    found = re.findall(
        r"^\| `(\w+)` \| (\*\*yes\*\*|no) \| (.+) \|$", PAGE.read_text(), re.MULTILINE
    )
    return {kind: (breaking != "no", why) for kind, breaking, why in found}


def test_the_code_follows_the_page_row_by_row() -> None:
    assert list(rows_of_the_page().items()) == list(RULES.items())


def test_every_kind_has_an_example() -> None:
    assert {kind for _, _, kind in EXAMPLES} | APART == set(rows_of_the_page())


@pytest.mark.parametrize(("path", "value", "kind"), EXAMPLES)
def test_a_change_is_classified_as_the_page_says(path: str, value: Any, kind: str) -> None:
    changes = diff(parse(CONTRACT), edited(path, value))
    assert kinds(changes) - OF_THE_VERSION == {kind}
    breaking, why = rows_of_the_page()[kind]
    assert {(c.breaking, c.why) for c in changes if c.kind == kind} == {(breaking, why)}
    assert any(c.breaking for c in changes) == breaking


@pytest.mark.parametrize(("path", "value", "kind"), EXAMPLES)
def test_the_way_back_of_a_harmless_promise_is_breaking(path: str, value: Any, kind: str) -> None:
    """What promises more may not be taken back; what is for people may."""
    back = kinds(diff(edited(path, value), parse(CONTRACT))) - OF_THE_VERSION
    if kind.endswith(("_added", "_tightened", "_stated")) and not RULES[kind][0]:
        assert any(RULES[k][0] for k in back), (kind, back)


def test_a_contract_that_is_new_or_deleted_is_said() -> None:
    contract = parse(CONTRACT)
    [new] = diff(None, contract)
    [gone] = diff(contract, None)
    assert (new.kind, new.breaking, new.path) == ("contract_added", False, "customers")
    assert (gone.kind, gone.breaking, gone.path) == ("contract_removed", True, "customers")
    assert diff(None, None) == ()
    assert not is_major((gone,))


def test_what_is_equal_has_no_changes() -> None:
    assert diff(parse(CONTRACT), parse(CONTRACT)) == ()


def test_a_draft_that_becomes_active_takes_nothing_back() -> None:
    draft = edited("status", "draft")
    [status, version] = sorted(diff(draft, parse(CONTRACT)), key=lambda c: c.kind)
    assert (status.kind, version.kind) == ("status_changed", "version_not_raised")


def test_a_first_and_a_last_primary_key() -> None:
    document = copy.deepcopy(CONTRACT)
    for column in document["schema"][0]["properties"]:
        column.pop("primaryKey", None)
    without = parse(document)
    assert "primary_key_removed" in kinds(diff(parse(CONTRACT), without))
    assert "primary_key_added" in kinds(diff(without, parse(CONTRACT)))


@pytest.mark.parametrize(
    ("before", "after", "announced"),
    [
        ("1.2.0", "2.0.0", True),
        ("1.2.0", "1.3.0", False),
        ("1.2.0", "1.2.0", False),
        ("0.2.0", "0.3.0", True),
        ("0.2.0", "0.2.1", False),
        ("v1", "v2", True),
        ("first", "second", False),
    ],
)
def test_a_breaking_change_needs_a_major_version(before: str, after: str, announced: bool) -> None:
    changes = diff(edited("version", before), edited(FREE, DELETED, version=after))
    assert ("major_version_missing" in kinds(changes)) is not announced
    assert is_major(changes) is announced
    assert any(c.breaking for c in changes)


def test_a_change_under_the_same_version_is_reported() -> None:
    harmless = diff(parse(CONTRACT), edited("domain", "marketing"))
    assert kinds(harmless) == {"description_changed", "version_not_raised"}
    raised = diff(parse(CONTRACT), edited("domain", "marketing", version="1.2.1"))
    assert kinds(raised) == {"description_changed", "version_changed"}


def test_a_renamed_key_is_a_renamed_column_and_no_other_key() -> None:
    document = copy.deepcopy(CONTRACT)
    document["schema"][0]["properties"][0]["id"] = "key"
    before = parse(document)
    document["schema"][0]["properties"][0]["name"] = "client_id"
    assert kinds(diff(before, parse(document))) - OF_THE_VERSION == {"column_renamed"}


def test_a_severity_that_is_named_for_some_rules_is_lowered_for_the_others() -> None:
    after = edited(f"{FREE}.customProperties.0.value", {"required": "block"})
    [lowered] = [c for c in diff(parse(CONTRACT), after) if c.kind == "severity_lowered"]
    assert lowered.path == "customers.free.severity"


def test_a_severity_that_is_the_default_may_be_said() -> None:
    said = [{"property": "severity", "value": {"required": "quarantine", "range": "error"}}]
    assert diff(parse(CONTRACT), edited(f"{OWNER}.customProperties", said)) == ()


def test_order_is_no_promise() -> None:
    document = copy.deepcopy(CONTRACT)
    document["schema"][0]["properties"].reverse()
    document["schema"][0]["quality"].reverse()
    document["slaProperties"].reverse()
    assert diff(parse(CONTRACT), parse(document)) == ()


def test_fields_items_and_map_values_are_compared() -> None:
    column = {
        "name": "deep",
        "logicalType": "object",
        "properties": [{"name": "inner", "physicalType": "int"}],
        "items": {"physicalType": "int"},
        "map": {"key": {"physicalType": "string"}, "value": {"physicalType": "int"}},
    }
    wide = copy.deepcopy(column)
    wide["properties"][0]["physicalType"] = "bigint"  # type: ignore[index]
    wide["items"]["physicalType"] = "bigint"  # type: ignore[index,call-overload]
    wide["map"]["value"]["physicalType"] = "bigint"  # type: ignore[index,call-overload]
    changes = diff(edited(f"{TABLE}.properties.6", column), edited(f"{TABLE}.properties.6", wide))
    assert {c.path for c in changes if c.kind == "type_widened"} == {
        "customers.deep.inner.physicalType",
        "customers.deep[].physicalType",
        "customers.deep.map.value.physicalType",
    }


def test_two_rules_without_a_name_are_both_compared() -> None:
    rules = [
        {"metric": "invalidValues", "arguments": {"validValues": ["A"]}, "mustBe": 0},
        {"metric": "invalidValues", "arguments": {"pattern": "A"}, "mustBe": 0},
    ]
    before = edited(f"{OWNER}.quality", rules)
    after = edited(f"{OWNER}.quality", [rules[0], {**rules[1], "mustBe": 1}])
    [found] = [c for c in diff(before, after) if c.breaking and c.kind != "major_version_missing"]
    assert (found.kind, found.path) == (
        "quality_rule_changed",
        "customers.owner.quality.invalidValues#2",
    )


def test_a_level_in_another_unit_is_the_same_level() -> None:
    document = copy.deepcopy(CONTRACT)
    document["slaProperties"][0] |= {"value": 48, "unit": "hours"}
    assert kinds(diff(parse(CONTRACT), parse(document))) == set()


@pytest.mark.parametrize(
    ("before", "after", "order"),
    [
        ("int", "INTEGER", "same"),
        ("decimal(10, 2)", "numeric(10,2)", "same"),
        ("decimal", "decimal(10,0)", "same"),
        ("int", "decimal(10,0)", "widened"),
        ("int", "decimal(9,0)", "narrowed"),
        ("decimal(9,0)", "int", "widened"),
        ("decimal(10,2)", "decimal(12,2)", "widened"),
        ("decimal(12,2)", "decimal(10,2)", "narrowed"),
        ("decimal(12,2)", "decimal(12,0)", "changed"),
        ("decimal(12,2)", "decimal(12,4)", "changed"),
        ("int", "double", "widened"),
        ("bigint", "double", "changed"),
        ("double", "float", "changed"),
        ("float", "double", "widened"),
        ("double", "int", "changed"),
        ("varchar(5)", "string", "widened"),
        ("string", "varchar(5)", "narrowed"),
        ("date", "timestamp", "changed"),
        ("timestamp", "timestamp_ltz", "same"),
        ("array<int>", "array<bigint>", "changed"),
        ("array<int>", "ARRAY< INT >", "same"),
    ],
)
def test_types_are_ordered_by_the_values_that_they_hold(
    before: str, after: str, order: str
) -> None:
    assert compare_physical(before, after) == order


# What is filled in for fields that are no plain text.
ODD: dict[str, Any] = {
    "logicalTypeOptions": {"minLength": 1},
    "enum": [{"value": "x"}],
    "relationships": [{"to": "other.id"}],
    "quality": [{"metric": "nullValues"}],
    "properties": [{"name": "x"}],
    "items": {"logicalType": "string"},
    "map": {"key": {"logicalType": "string"}},
    "customProperties": [{"property": "p", "value": 1}],
    "authoritativeDefinitions": [{"url": "https://example.org"}],
    "synonyms": [{"synonym": "s"}],
    "context": {"instructions": "x"},
    "arguments": {"pattern": "x"},
    "mustBeBetween": [1, 2],
    "mustNotBeBetween": [1, 2],
    "primaryKeyPosition": 1,
    "partitionKeyPosition": 1,
    **{name: ["x"] for name in ("tags", "examples", "transformSourceObjects")},
    **dict.fromkeys(
        ("required", "unique", "primaryKey", "partitioned", "deprecated", "criticalDataElement"),
        True,
    ),
    **dict.fromkeys(
        ("mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeLessThan", "mustBeLessOrEqualTo"), 1
    ),
}


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (model, field)
        for model in (SchemaObject, SchemaProperty, DataQuality, ServiceLevelAgreementProperty)
        for field in model.model_fields
        if field != "id"  # it says what belongs together
    ],
)
def test_no_field_of_the_standard_is_overlooked(model: type, field: str) -> None:
    known = {SchemaObject: {"name": "t"}, SchemaProperty: {"name": "c"}, DataQuality: {"id": "q"}}
    level = {"property": "latency", "value": 1, "unit": "d"}
    before = {**known.get(model, level)}
    after = {**before, field: ODD.get(field, "x")}

    def within(item: dict[str, Any]) -> OpenDataContractStandard:
        if model is ServiceLevelAgreementProperty:
            return parse({"slaProperties": [item]})
        if model is SchemaObject:
            return parse({"schema": [item]})
        column = item if model is SchemaProperty else {"name": "c", "quality": [item]}
        return parse({"schema": [{"name": "t", "properties": [column]}]})

    assert kinds(diff(within(before), within(after))) - OF_THE_VERSION


BOUNDS = st.integers(-3, 3)
REQUIREMENTS = st.fixed_dictionaries(
    {},
    optional={
        "mustBe": BOUNDS,
        "mustNotBe": BOUNDS,
        "mustBeGreaterThan": BOUNDS,
        "mustBeGreaterOrEqualTo": BOUNDS,
        "mustBeLessThan": BOUNDS,
        "mustBeLessOrEqualTo": BOUNDS,
        "mustBeBetween": st.tuples(BOUNDS, BOUNDS).map(sorted),
        "mustNotBeBetween": st.tuples(BOUNDS, BOUNDS).map(sorted),
    },
)


def allows(requirement: dict[str, Any], measured: float) -> bool:
    tests = {
        "mustBe": lambda v: measured == v,
        "mustNotBe": lambda v: measured != v,
        "mustBeGreaterThan": lambda v: measured > v,
        "mustBeGreaterOrEqualTo": lambda v: measured >= v,
        "mustBeLessThan": lambda v: measured < v,
        "mustBeLessOrEqualTo": lambda v: measured <= v,
        "mustBeBetween": lambda v: v[0] <= measured <= v[1],
        "mustNotBeBetween": lambda v: not v[0] <= measured <= v[1],
    }
    return all(tests[name](value) for name, value in requirement.items())


@given(REQUIREMENTS, REQUIREMENTS)
def test_a_rule_that_lets_more_through_is_never_harmless(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Halves stand for everything between the bounds."""
    points = [n / 2 for n in range(-8, 9)]
    more = any(allows(after, p) and not allows(before, p) for p in points)
    less = any(allows(before, p) and not allows(after, p) for p in points)
    rule = {"id": "r", "metric": "rowCount"}
    changes = diff(
        parse({"schema": [{"name": "t", "quality": [{**rule, **before}]}]}),
        parse({"schema": [{"name": "t", "quality": [{**rule, **after}]}]}),
    )
    expected = {
        (False, False): set(),
        (True, False): {"quality_rule_weakened"},
        (False, True): {"quality_rule_tightened"},
        (True, True): {"quality_rule_changed"},
    }
    # Written in another way and meaning the same: said, and harmless.
    assert kinds(changes) - OF_THE_VERSION - {"description_changed"} == expected[more, less]
