"""`lakeops reproduce`."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, load_settings, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reproduce)


def reproduce(
    reference: Annotated[
        str, typer.Argument(help="churn@champion, churn@7 or churn/model@previous.")
    ],
    python: Annotated[
        str, typer.Option(help="Interpreter of the environment to train in; this one if empty.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Train a model again from its record and compare all predictions; writes nothing.

    Exit code 1 when the two are not identical.
    """
    from lakeops_assets.commands import reproduce_show
    from lakeops_assets.commands.reproduce import reproduce as make_again

    found = make_again(reference, load_settings(), python)
    if as_json:
        print_json(found)
    else:
        reproduce_show.reproduction(found)
    raise typer.Exit(0 if found.identical else 1)
