"""`lakeops costs`: what assets cost, what is left of budgets, what monitors will cost."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, Products, load_settings, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(costs)


def costs(
    products: Products = None,
    days: Annotated[int, typer.Option(min=1, help="How many days back.")] = 30,
    forecast: Annotated[
        bool,
        typer.Option("--forecast", help="Instead: cost of a first refresh of each monitor."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print what each asset cost, and what is left of the budgets. Exit code 1 beyond a budget."""
    from lakeops_assets.commands import costs_show
    from lakeops_assets.commands.costs import costs as costs_of
    from lakeops_assets.commands.costs import forecasts

    config = load_settings()
    if forecast:
        expected = forecasts(products or [], config)
        if as_json:
            print_json(expected)
        else:
            costs_show.forecasts(expected, config)
        return
    found = costs_of(products or [], config, days=days)
    if as_json:
        print_json(found)
    else:
        costs_show.costs(found, config)
    raise typer.Exit(0 if all(status.within for status in found.budgets) else 1)
