"""Prints what a feature row was made from."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lakeops_assets.features.point_in_time import Explanation, Seen


def explanation(found: Explanation, limit: int) -> None:
    """Print a row, and the newest rows of each source that it has seen."""
    console = Console()
    key = ", ".join(f"{k} = {v}" for k, v in found.key.items())
    console.print(f"[bold]{found.table}[/bold]  {key}")
    console.print(f"looked at {found.cut_off:%Y-%m-%d %H:%M} UTC: nothing that was known later\n")
    values = Table("feature", "value", box=None)
    for name, value in found.features.items():
        values.add_row(name, "" if value is None else str(value))
    console.print(values)
    for seen in found.seen:
        console.print()
        console.print(_title(seen))
        if seen.rows:
            console.print(_rows(seen, limit))


def _title(seen: Seen) -> str:
    since = "" if seen.first is None else f", known since {seen.first:%Y-%m-%d %H:%M} UTC"
    return (
        f"[bold]{seen.source}[/bold]  {len(seen.rows):,} rows of {seen.table} "
        f"version {seen.version}{since}"
    )


def _rows(seen: Seen, limit: int) -> Table:
    names = [n for n in seen.rows[0] if not n.startswith("_") or n == "_source_file"]
    table = Table(*names, box=None)
    for row in seen.rows[:limit]:
        table.add_row(*("" if row[n] is None else str(row[n]) for n in names))
    return table
