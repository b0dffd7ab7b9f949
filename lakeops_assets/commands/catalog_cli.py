"""`lakeops catalog`: grants and tables of a product in a Unity Catalog."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, load_settings, print_json

Product = Annotated[str, typer.Argument(help="Product with a component Grants.")]

catalog = typer.Typer(
    no_args_is_help=True,
    help="Grants as code: what Unity Catalog lacks of what a product declares, and making it so.",
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(catalog, name="catalog")


@catalog.command()
def plan(product: Product, as_json: AsJson = False) -> None:
    """Say what would be created, registered, granted and revoked. Exit code 1 when anything."""
    from lakeops_assets.commands import catalog as commands
    from lakeops_assets.commands import catalog_show

    planned = commands.plan(product, load_settings())
    if as_json:
        print_json(catalog_show.as_json(planned))
    else:
        catalog_show.plan(planned, product)
    raise typer.Exit(1 if planned.acts else 0)


@catalog.command()
def apply(
    product: Product,
    plan: Annotated[str, typer.Option(help="Digest of the plan, as `lakeops catalog plan` says.")],
    reason: Annotated[str, typer.Option(help="Why; recorded with each act.")],
    as_json: AsJson = False,
) -> None:
    """Carry out a plan. Refused when it is not the plan any more."""
    from lakeops_assets.commands import catalog as commands
    from lakeops_assets.commands import catalog_show

    done = commands.apply(product, plan, reason, load_settings())
    if as_json:
        print_json(catalog_show.as_json(done))
    else:
        catalog_show.done(done)
