"""How rows that a contract set aside look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lakeops_assets.contracts import Explained, Held, Replayed


def holdings(found: Sequence[Held]) -> None:
    """Print how many rows wait, per table and rule."""
    console = Console()
    if not found:
        console.print("No row was ever set aside.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("table", "open", "replayed", "discarded", "rules of the open rows"):
        table.add_column(name, justify="right" if name in COUNTS else "left", overflow="fold")
    for held in found:
        rules = ", ".join(f"{rule} {n:,}" for rule, n in held.rules.items())
        counts = (f"{getattr(held, name):,}" for name in COUNTS)
        table.add_row(escape(held.table), *counts, escape(rules))
    console.print(table)
    if any(held.open for held in found):
        console.print("Next: `lakeops quarantine explain <table>` shows rows and values.")


def explained(rows: Sequence[Explained], table: str) -> None:
    """Print rows, the rules they break and the values that do."""
    console = Console()
    if not rows:
        console.print(f"No row of {escape(table)} waits.")
    for row in rows:
        when = f"{row.quarantined_at:%Y-%m-%d %H:%M}"
        console.print(f"[bold]{escape(row.row_id)}[/] {row.status}, set aside {when}")
        for broken in row.broken:
            values = ", ".join(f"{name} = {value}" for name, value in broken.values.items())
            console.print(
                f"  {escape(broken.rule)}: {escape(broken.description)}"
                + (f" [yellow]({escape(values)})[/]" if values else ""),
                soft_wrap=True,
            )
        if row.reason:
            console.print(f"  {escape(row.reason)}", soft_wrap=True)


def replayed(done: Replayed) -> None:
    """Print what a replay moved."""
    console = Console()
    console.print(f"{done.moved:,} rows moved to {escape(done.table)}; {done.open:,} still wait.")
    if done.moved:
        console.print("Next: `lakeops run` brings what depends on it up to date.")


def discarded(count: int, table: str) -> None:
    """Print how many rows were given up."""
    Console().print(f"{count:,} rows of {escape(table)} discarded; they stay as a record.")


COUNTS = ("open", "replayed", "discarded")
