"""Contracts for tests, written as ODCS files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from landing import NOW, TABLE

from lakeops_assets.contracts import Contract, ContractScreen, evaluate, load
from lakeops_assets.contracts.split import whole
from lakeops_assets.lakehouse import Lakehouse

ORDERS: dict[str, dict[str, Any]] = {
    "id": {"logicalType": "integer", "primaryKey": True},
    "amount": {"logicalType": "number", "logicalTypeOptions": {"minimum": 0, "maximum": 100}},
    "day": {"logicalType": "date"},
    "note": {"logicalType": "string"},
}


def written(
    folder: Path,
    properties: dict[str, dict[str, Any]] | None = None,
    quality: list[dict[str, Any]] | None = None,
    **document: Any,
) -> Path:
    """Write a contract for the table `orders` and return its file."""
    columns = ORDERS if properties is None else properties
    table: dict[str, Any] = {
        "name": "orders",
        "properties": [{"name": name, **about} for name, about in columns.items()],
    }
    if quality:
        table["quality"] = quality
    value = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "orders",
        "version": "1.0.0",
        "status": "active",
        "schema": [table],
        **document,
    }
    path = folder / "contracts" / "orders.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return path


def contract(folder: Path, *arguments: Any, **options: Any) -> Contract:
    """Return a contract for the table `orders`."""
    return load(written(folder, *arguments, **options))


def screen(rules: Contract, run_id: str = "run") -> ContractScreen:
    return ContractScreen(rules, NOW, run_id)


def broken(lakehouse: Lakehouse, rules: Contract, rows: pa.Table) -> dict[str, int]:
    """Return how many rows break each rule, on their way in and once they are in the table.

    Both ways have to say the same.
    """
    from lakeops_assets.contracts import split

    judged = split(lakehouse, rules, TABLE, whole(rows))
    on_the_way = {name: n for name, n in judged.counts().items() if n}
    lakehouse.create(TABLE, rows.schema)
    lakehouse.append(TABLE, rows)
    found = {r.rule: r for r in evaluate(lakehouse, rules, TABLE, now=NOW).results}
    assert {n: found[n].violations for n in judged.counts() if found[n].violations} == on_the_way
    return on_the_way


def aside(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    """Return the rows in quarantine, by their identifier."""
    name = TABLE.beside("quarantine")
    if not lakehouse.exists(name):
        return []
    return lakehouse.query(f"SELECT * FROM {name} ORDER BY _row_id").read_all().to_pylist()
