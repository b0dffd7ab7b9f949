"""`lakeops triage`: from an alert to its cause."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, MonitorTable, load_settings, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(triage)


def triage(
    product: Annotated[str, typer.Argument(help="Product whose monitor alerts.")],
    table: MonitorTable = "",
    window: Annotated[
        datetime | None, typer.Option(help="Start of a window, in UTC; the newest by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Walk upstream of a monitored table and rank what moved first and most."""
    from lakeops_assets.commands import triage_show
    from lakeops_assets.commands.triage import triaged

    start = window.replace(tzinfo=UTC) if window else None
    found = triaged(product, table, start, load_settings())
    if as_json:
        print_json(found)
    else:
        triage_show.answer(found)
