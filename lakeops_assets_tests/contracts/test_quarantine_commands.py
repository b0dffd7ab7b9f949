"""`lakeops quarantine` and what `lakeops doctor` says of contracts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contracted import contract, screen, written
from landing import NOW, TABLE, csv, landing
from typer.testing import CliRunner

from lakeops_assets.cli import app
from lakeops_assets.commands.doctor import Finding, _contracts, _definitions
from lakeops_assets.contracts import ContractError, QuarantineError
from lakeops_assets.ingest import ingest
from lakeops_assets.lakehouse import open_lakehouse
from lakeops_assets.settings import Settings

WIDE = {"id": {"primaryKey": True}}


@pytest.fixture
def product(config: Settings, tmp_path: Path) -> Path:
    """Folder of a product whose table has two rows in quarantine."""
    place = landing(open_lakehouse(config), tmp_path / "in")
    place.drop("0.csv", csv(*((i, 999 if i else 1, "2026-01-05", "x") for i in range(3))))
    folder = config.products / "shop"
    ingest(place.lakehouse, place.spec, now=NOW, screen=screen(contract(folder)))
    return folder


def said(*arguments: str) -> Any:
    done = CliRunner().invoke(app, ["quarantine", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_rows_are_listed_explained_replayed_and_discarded(product: Path) -> None:
    [held] = said("list", "shop")
    assert (held["table"], held["open"], held["rules"]) == (str(TABLE), 2, {"amount_range": 2})
    first, second = said("explain", "shop.orders")
    assert first["broken"][0]["values"] == {"amount": 999.0}
    assert said("discard", "shop.orders", "--row", second["row_id"], "--reason", "no order") == {
        "table": "shop.orders",
        "discarded": 1,
    }
    written(product, WIDE)
    done = said("replay", "shop.orders")
    assert (done["moved"], done["open"]) == (1, 0)
    [held] = said("list")
    assert (held["open"], held["replayed"], held["discarded"]) == (0, 1, 1)


def test_without_json_it_is_for_people(product: Path) -> None:
    def shown(*arguments: str) -> str:
        return CliRunner().invoke(app, ["quarantine", *arguments], catch_exceptions=False).output

    assert "amount_range 2" in shown("list").replace("\n", " ")
    text = shown("explain", "shop.orders", "--limit", "1")
    assert "amount_range: amount is at least 0 and at most 100 (amount = 999.0)" in text
    assert "0 rows moved" in shown("replay", "shop.orders")
    given_up = shown("discard", "shop.orders", "--rule", "amount_range", "--reason", "no orders")
    assert "2 rows of shop.orders discarded" in given_up
    assert "No row of shop.orders waits" in shown("explain", "shop.orders")


def test_what_cannot_be_done_is_said(product: Path) -> None:
    def refused(*arguments: str) -> BaseException | None:
        return CliRunner().invoke(app, ["quarantine", *arguments]).exception

    assert isinstance(refused("explain", "shop.other"), QuarantineError)
    (product / "contracts" / "orders.yaml").unlink()
    assert isinstance(refused("replay", "shop.orders"), ContractError)


def test_doctor_looks_at_contracts_and_at_rows_that_wait(config: Settings, product: Path) -> None:
    def levels(found: list[Finding]) -> dict[str, str]:
        return {f.subject: f.level for f in found}

    quarantine = f"quarantine of {TABLE}"
    assert levels(list(_contracts(config))) == {"contracts": "ok", quarantine: "warning"}
    written(product, {"id": {"requierd": True}})
    found = list(_contracts(config))
    assert levels(found) == {"contract orders.yaml": "problem", quarantine: "warning"}
    assert "did you mean required?" in found[0].found


def test_doctor_finds_a_contract_that_nothing_checks(config: Settings, product: Path) -> None:
    (product / "defs.yaml").write_text(
        "type: lakeops_assets.components.BronzeTable\nattributes: {table: others}\n"
    )
    found = {f.subject: f for f in _definitions(config)}
    assert found["contract orders.yaml"].level == "problem"
    assert "the contract of no table of shop" in found["contract orders.yaml"].found
    assert found["definitions"].level == "ok"
