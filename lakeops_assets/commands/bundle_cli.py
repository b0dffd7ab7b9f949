"""`lakeops bundle`: products as a Databricks asset bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, Products, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(bundle)


def bundle(
    products: Products = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; printed when left out.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Instead: check this databricks.yml, or the one in this folder."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the bundle.")] = "lakeops",
    profiles: Annotated[
        bool, typer.Option(help="Let each target name the profile that is called like it.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Write a Databricks asset bundle of products, or check one. No workspace is asked.

    Exit code 1 when something is wrong with it; then nothing is written.
    """
    from lakeops_assets.commands import bundle as commands
    from lakeops_assets.commands import bundle_show

    if check is not None:
        if products or out is not None:
            raise typer.BadParameter("--check takes no products and no --out: it only reads a file")
        found = commands.check(check)
    else:
        found = commands.write(products or [], name, out, profiles=profiles)
    if as_json:
        print_json(found)
    else:
        bundle_show.checked(found)
    raise typer.Exit(1 if found.findings else 0)
