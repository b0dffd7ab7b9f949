"""`lakeops maintain`: small files, old versions and long logs."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, Products, load_settings, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(maintain)


def maintain(
    products: Products = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and do nothing.")
    ] = False,
    drop: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE@VERSION",
            help="Instead: drop the versions of a table up to this one, whatever their age.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rewrite small files, delete old ones and shorten logs; keep what models were trained on."""
    from lakeops_assets.commands import maintenance, maintenance_show

    config = load_settings()
    if drop is not None:
        dropped = maintenance.drop(drop, config)
        if as_json:
            print_json(dropped)
        else:
            maintenance_show.dropped(dropped)
        return
    planned = maintenance.plan(products or [], config)
    if not as_json:
        maintenance_show.plans(planned)
    done = planned if dry_run else maintenance.maintain(planned, config)
    if as_json:
        print_json(done)
    elif not dry_run:
        maintenance_show.results(done)
