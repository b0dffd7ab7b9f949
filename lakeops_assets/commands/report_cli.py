"""`lakeops report`: one page about a monitored table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, MonitorTable, load_settings, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    product: Annotated[str, typer.Argument(help="Product with the monitor.")],
    table: MonitorTable = "",
    output: Annotated[Path | None, typer.Option(help="File to write instead.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write one page about a monitored table: verdict, time lines, distributions."""
    from lakeops_assets.commands.report import reported
    from lakeops_assets.commands.show import new_console

    done = reported(product, table, output, load_settings())
    if open_page:
        typer.launch(done.path.as_uri())
    if as_json:
        print_json(done)
        return
    console = new_console()
    console.print(done.report.verdict)
    for alert in done.report.alerts:
        console.print(f"[red]◆[/] {alert}", soft_wrap=True, highlight=False)
    console.print(f"{done.path} ({done.size / 1000:.0f} kB)", soft_wrap=True, highlight=False)
