"""How changes of contracts look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from lakeops_assets.commands.show import MARKS, new_console, new_table

if TYPE_CHECKING:
    from lakeops_assets.commands.contract import ContractDiff


def contract_diffs(found: Sequence[ContractDiff]) -> None:
    """Print the changes of contracts, and what they mean."""
    console = new_console()
    for contract in found:
        versions = f"{contract.version_before or 'none'} -> {contract.version_after or 'none'}"
        console.print(f"[bold]{escape(contract.contract)}[/]  {versions}", soft_wrap=True)
        if not contract.changes:
            console.print("  nothing changed\n")
            continue
        table = new_table("", "what", "change", "before", "after", "why")
        for change in contract.changes:
            table.add_row(
                MARKS["failed" if change.breaking else "ok"],
                escape(change.path),
                change.kind.replace("_", " "),
                _short(change.before),
                _short(change.after),
                change.why,
            )
        console.print(table)
        console.print()
    breaking = sum(change.breaking for contract in found for change in contract.changes)
    everything = sum(len(contract.changes) for contract in found)
    console.print(f"{everything} changes, {breaking} of them breaking.")


def _short(value: Any) -> str:
    if value is None:
        return "[dim]none[/]"
    text = str(value)
    return escape(text if len(text) <= 60 else f"{text[:57]}...")
