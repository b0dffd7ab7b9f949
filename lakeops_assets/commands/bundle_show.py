"""How bundles look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from lakeops_assets.commands.show import new_console

if TYPE_CHECKING:
    from lakeops_assets.commands.bundle import Checked


def checked(found: Checked) -> None:
    """Print a bundle, or where it was written, and what is wrong with it."""
    console = new_console()
    if found.findings:
        for finding in found.findings:
            said = escape(str(finding))
            console.print(f"[red]✗[/] {said}", soft_wrap=True, highlight=False)
        return
    if found.text:
        typer.echo(found.text, nl=False)
        return
    for note in (*found.notes, *(f"{kind} are not checked." for kind in found.unchecked)):
        console.print(f"[yellow]![/] {escape(note)}", soft_wrap=True, highlight=False)
    for file in found.files:
        console.print(f"[green]✓[/] {escape(file)}", soft_wrap=True, highlight=False)
    if not found.files:
        console.print(f"[green]✓[/] Nothing is wrong with {escape(found.source)}.", soft_wrap=True)
