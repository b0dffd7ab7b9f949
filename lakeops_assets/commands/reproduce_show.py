"""How a reproduction looks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from lakeops_assets.models.reproduce import Reproduction


def reproduction(found: Reproduction) -> None:
    """Print the verdict, and what was not as recorded."""
    console = Console(highlight=False)
    mark = "[green]✓ identical[/]" if found.identical else "[red]✗ not identical[/]"
    console.print(f"{mark}  {escape(found.model)} version {found.version}")
    console.print(escape(found.reason))
    console.print(f"[dim]trained with {escape(found.code)}[/]")
    for difference in found.differences:
        console.print(f"[yellow]not as recorded:[/] {escape(difference)}")
