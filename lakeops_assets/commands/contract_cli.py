"""`lakeops contract`: what a change of a contract means to its consumers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, load_settings, print_json

contract = typer.Typer(
    no_args_is_help=True, help="Compare versions of data contracts, from the consumer's side."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(contract, name="contract")


@contract.command()
def diff(
    old: Annotated[str, typer.Argument(help="Product, or file of a contract.")],
    new: Annotated[
        str | None, typer.Argument(help="File to compare with; the working tree when left out.")
    ] = None,
    against: Annotated[
        str, typer.Option(help="Revision of git that consumers know; not with two files.")
    ] = "main",
    allow_major: Annotated[
        bool,
        typer.Option("--allow-major", help="Exit with 0 where a major version says it breaks."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what changed in contracts, and what of it breaks a consumer.

    Exit code 1 when a change is breaking.
    """
    from lakeops_assets.commands.contract import compare_files, compare_with_git
    from lakeops_assets.commands.contract_show import contract_diffs

    if new is None:
        found = compare_with_git(old, against, load_settings())
    else:
        found = compare_files(Path(old), Path(new))
    if as_json:
        print_json(found)
    else:
        contract_diffs(found)
    refused = [d for d in found if d.breaking and not (allow_major and d.announced)]
    raise typer.Exit(1 if refused else 0)
