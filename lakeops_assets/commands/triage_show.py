"""How the answer of triage looks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from lakeops_assets.commands.show import new_console, new_table
from lakeops_assets.components.triage import effect_text, how

if TYPE_CHECKING:
    from lakeops_assets.components.triage import Answer

MOST = 8


def answer(found: Answer) -> None:
    """Print the suspects, the likeliest first."""
    console, result = new_console(), found.triage
    console.print(f"{result.table}, {result.start:%Y-%m-%d %H:%M} to {result.end:%Y-%m-%d %H:%M}")
    if not result.suspects:
        console.print(f"Nothing upstream moved in {len(result.looked_at)} tables.")
        return
    table = new_table("", "what moved", "how", "since", ">times usual", ">score")
    for i, suspect in enumerate(result.suspects[:MOST]):
        move = suspect.move
        table.add_row(
            "[red]✗[/]" if move.fault else "[yellow]~[/]",
            escape(str(move.where)),
            escape(how(suspect)),
            f"{move.since:%Y-%m-%d}",
            f"{move.size:.1f}",
            effect_text(found, i),
        )
    console.print(table)
    way = " → ".join(map(str, result.suspects[0].path))
    console.print(f"The first one's way: {escape(way)}", soft_wrap=True)
    console.print(
        f"{len(result.moved)} columns and tables moved, of {len(result.looked_at)} tables. ✗ moved "
        "as data does when something is broken, ~ as nature can. Score: change of the mean by it, "
        "of the whole change."
    )
