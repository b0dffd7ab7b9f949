"""What `lakeops quarantine` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lakeops_assets import contracts
from lakeops_assets.components.contract_checks import FOLDER
from lakeops_assets.contracts import Contract, Explained, Held, Replayed
from lakeops_assets.lakehouse import Commit, TableName, open_lakehouse
from lakeops_assets.settings import Settings


def holdings(products: Sequence[str], settings: Settings) -> list[Held]:
    """Return what the quarantines of some products hold; of all when none is named."""
    lakehouse = open_lakehouse(settings)
    tables = contracts.quarantines(lakehouse)
    return [contracts.held(lakehouse, t) for t in tables if not products or t.schema in products]


def explained(
    table: str, settings: Settings, *, row: str, rule: str, limit: int
) -> list[Explained]:
    """Return rows of a quarantine and why they were set aside."""
    lakehouse, name = open_lakehouse(settings), _name(table, settings)
    return contracts.explain(
        lakehouse, name, find(name, settings), row_id=row or None, rule=rule or None, limit=limit
    )


def replayed(table: str, settings: Settings) -> Replayed:
    """Move the open rows that keep the contract now."""
    name = _name(table, settings)
    contract = find(name, settings)
    if contract is None:
        raise contracts.ContractError(
            f"{name} has no contract: write {FOLDER}/{name.table}.yaml beside the defs.yaml of "
            f"{name.schema}"
        )
    return contracts.replay(open_lakehouse(settings), contract, name)


def discarded(
    table: str, settings: Settings, *, reason: str, rows: Sequence[str], rule: str
) -> Commit:
    """Give up open rows with a reason."""
    return contracts.discard(
        open_lakehouse(settings), _name(table, settings), reason=reason, rule=rule, row_ids=rows
    )


def find(table: TableName, settings: Settings) -> Contract | None:
    """Return the contract of a table as it is now; None when it has none."""
    for path in contract_files(settings):
        if path.stem == table.table and path.parent.parent.name == table.schema:
            return contracts.load(path)
    return None


def contract_files(settings: Settings) -> Iterator[Path]:
    """Return the contracts of all products, packaged ones first."""
    packaged = Path(__file__).parents[1] / "defs"
    for folder in (packaged, settings.products):
        yield from sorted(folder.glob(f"*/{FOLDER}/*.yaml"))


def _name(table: str, settings: Settings) -> TableName:
    return TableName.parse(table, catalog=settings.environment)
