"""A contract is a plain ODCS file, and a bad one is told in one sentence with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contracted import contract, written
from jsonschema import Draft201909Validator
from open_data_contract_standard.model import OpenDataContractStandard

from lakeops_assets import contracts
from lakeops_assets.components.scaffold import new_product
from lakeops_assets.contracts import ContractError, load

SHIPPED = sorted((Path(contracts.__file__).parents[1] / "defs").glob("*/contracts/*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parents[1].name}-{p.stem}")
def test_shipped_contracts_are_plain_odcs(path: Path, tmp_path: Path) -> None:
    """The official model and the official schema take them, and lose nothing."""
    model = OpenDataContractStandard.from_file(str(path))
    copy = tmp_path / path.name
    copy.write_text(model.to_yaml())
    assert OpenDataContractStandard.from_file(str(copy)) == model
    assert load(copy).digest == load(path).digest
    import yaml

    schema = Draft201909Validator(json.loads(OpenDataContractStandard.json_schema()))
    assert [e.message for e in schema.iter_errors(yaml.safe_load(path.read_text()))] == []
    for prop in model.schema_[0].properties:
        assert prop.description, prop.name


def test_a_new_product_has_a_contract(tmp_path: Path) -> None:
    files = new_product(tmp_path, "shop")
    rules = load(next(p for p in files if p.parent.name == "contracts"))
    assert rules.rule("primary_key").columns == ("customer_id", "snapshot_date")
    assert rules.rule("tenure_range").severity == "warn"


def test_there_are_shipped_contracts() -> None:
    assert {p.stem for p in SHIPPED} >= {"customers", "churn_labels", "features"}


def entry(**about: Any) -> dict[str, Any]:
    return {"quality": [about]}


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    # What is said of the column x, the line that is at fault, and what the message has.
    "misspelt field": ({"requierd": True}, "requierd", "did you mean required?"),
    "misspelt option": (
        {"logicalTypeOptions": {"minimun": 1}},
        "minimun",
        "did you mean minimum?",
    ),
    "wrong type": ({"required": "perhaps"}, "required", "valid boolean"),
    "wrong bound": (
        {"logicalType": "number", "logicalTypeOptions": {"minimum": "low"}},
        "minimum",
        "'low' is not a number",
    ),
    "unknown metric": (entry(metric="rowCuont", mustBe=1), "metric", "did you mean rowCount?"),
    "unknown engine": (
        entry(type="custom", engine="soda", implementation="x"),
        "engine",
        "no engine soda here; there is: lakeops",
    ),
    "unknown implementation": (
        entry(type="custom", engine="lakeops", implementation="covrage"),
        "implementation",
        "did you mean coverage?",
    ),
    "unknown severity": (
        entry(metric="nullValues", mustBe=0, severity="blok"),
        "metric",
        "did you mean block?",
    ),
    "no operator": (entry(metric="nullValues"), "metric", "needs one operator and this has none"),
    "two operators": (
        entry(metric="nullValues", mustBe=1, mustNotBe=2),
        "metric",
        "has mustBe, mustNotBe",
    ),
    "unknown unit": (
        entry(metric="nullValues", mustBe=0, unit="percnt"),
        "unit",
        "did you mean percent?",
    ),
    "no rows to set aside": (
        entry(metric="rowCount", mustBe=0, severity="quarantine"),
        "metric",
        "no row can be set aside for it",
    ),
    "unknown column": (
        entry(
            type="sql",
            query="SELECT count(*) FROM {object} WHERE y > 1",
            mustBe=0,
            customProperties=[{"property": "scope", "value": "row"}],
        ),
        "type",
        "there is no column y",
    ),
    "no count of bad rows": (
        entry(
            type="sql",
            query="x > 1",
            mustBe=0,
            customProperties=[{"property": "scope", "value": "row"}],
        ),
        "query",
        "did not parse|expected one SELECT",
    ),
    "no statement": (entry(type="sql", query="SELECT FROM WHERE", mustBe=1), "query", "parse"),
    "no pattern": (
        {"logicalType": "string", "logicalTypeOptions": {"pattern": "("}},
        "pattern",
        "is not one",
    ),
    "a pattern that not every engine knows": (
        {"logicalType": "string", "logicalTypeOptions": {"pattern": "(?=a)b"}},
        "pattern",
        "not every engine",
    ),
    "half a reference": (
        {"relationships": [{"to": "key"}]},
        "to",
        "write customers.customer_id",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_contract_is_told_with_file_and_line(tmp_path: Path, name: str) -> None:
    says, key, message = BAD[name]
    path = written(tmp_path, {"x": says})
    lines = path.read_text().splitlines()
    number = max(i for i, line in enumerate(lines, 1) if line.strip(" -").startswith(f"{key}:"))
    with pytest.raises(ContractError) as error:
        load(path)
    assert any(part in str(error.value) for part in message.split("|")), str(error.value)
    assert str(error.value).startswith(f"{path}:{number}: "), (str(error.value), number)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"kindd": "DataContract"}, "did you mean kind?"),
        ({"version": None}, "needs version"),
        ({"apiVersion": "v2.2.2"}, "v3.0 and v3.1 can be read"),
        ({"schema": []}, "0 objects; one table per file"),
    ],
)
def test_what_makes_no_contract_is_said(
    tmp_path: Path, document: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message.replace("?", "\\?")):
        load(written(tmp_path, **document))


def test_a_file_that_is_no_yaml_or_is_missing_is_said(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text("a: b: c\n")
    with pytest.raises(ContractError, match=r"orders.yaml:1: not YAML"):
        load(path)
    with pytest.raises(ContractError, match=r"files there: orders.yaml"):
        load(path.with_name("other.yaml"))


def test_the_file_is_named_after_its_table(tmp_path: Path) -> None:
    """Under another name nothing would check it, in silence."""
    path = written(tmp_path).rename(tmp_path / "ordres.yaml")
    with pytest.raises(ContractError, match=r"ordres.yaml:7: .* name the file orders.yaml"):
        load(path)


def test_a_rule_is_there_once(tmp_path: Path) -> None:
    twice = {"id": "same", "metric": "nullValues", "mustBe": 0}
    with pytest.raises(ContractError, match="same is there twice"):
        load(written(tmp_path, {"x": {"quality": [twice, twice]}}))


def test_severities_have_defaults_and_can_be_said(tmp_path: Path) -> None:
    says = {
        "x": {
            "required": True,
            "unique": True,
            "logicalTypeOptions": {"minimum": 1},
            "customProperties": [{"property": "severity", "value": {"unique": "warn"}}],
        },
        "y": {"required": True, "customProperties": [{"property": "severity", "value": "block"}]},
        "z": entry(metric="nullValues", mustBe=0, severity="info"),
    }
    found = {r.id: r.severity for r in contract(tmp_path, says).rules}
    assert found == {
        "schema": "block",
        "x_required": "quarantine",
        "x_unique": "warn",
        "x_range": "quarantine",
        "y_required": "block",
        "z_nullValues": "warn",
    }


def test_where_rows_do_not_pass_none_can_be_set_aside(tmp_path: Path) -> None:
    path = written(tmp_path, {"x": {"required": True}})
    assert {r.severity for r in load(path, screened=False).rules} == {"block"}
    aside = [{"property": "severity", "value": "quarantine"}]
    path = written(tmp_path, {"x": {"required": True, "customProperties": aside}})
    with pytest.raises(ContractError, match="do not pass through the contract"):
        load(path, screened=False)


def test_the_digest_is_of_what_decides(tmp_path: Path) -> None:
    first = contract(tmp_path, {"x": {"required": True}})
    words = contract(tmp_path, {"x": {"required": True, "description": "a word"}}, version="2.0.0")
    other = contract(tmp_path, {"x": {"required": True, "unique": True}})
    assert first.digest == words.digest != other.digest
