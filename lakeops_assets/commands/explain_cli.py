"""`lakeops explain`: the source rows that a feature row has seen."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, load_settings, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(explain)


def explain(
    table: Annotated[
        str,
        typer.Argument(help="Table of point-in-time features: <product>.<table>, or <product>."),
    ],
    key: Annotated[list[str], typer.Option(help="Key of the row, column=value; once per column.")],
    limit: Annotated[int, typer.Option(min=1, help="Most rows of each source to print.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show a feature row, its cut-off, and every source row that it has seen by then."""
    from lakeops_assets.commands import explain_show
    from lakeops_assets.commands.explain import explained

    found = explained(table, key, load_settings())
    if as_json:
        print_json(found)
    else:
        explain_show.explanation(found, limit)
