"""`lakeops databricks`: the cluster policy of a product, and what its jobs may cost."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, load_settings, print_json

Product = Annotated[str, typer.Argument(help="Product with jobs on Databricks.")]

databricks = typer.Typer(
    no_args_is_help=True, help="Assets as Databricks jobs: their cluster policy, their cost."
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(databricks, name="databricks")


@databricks.command()
def policy(
    product: Product,
    apply: Annotated[bool, typer.Option("--apply", help="Write it to the workspace.")] = False,
    definition: Annotated[
        bool, typer.Option("--definition", help="Instead: print its JSON and ask no workspace.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the workspace's cluster policy with the envelope. Exit code 1 when it differs."""
    from lakeops_assets.commands import databricks as commands
    from lakeops_assets.commands import databricks_show

    if definition:
        print_json(commands.definition(product))
        return
    planned = commands.plan(product)
    if not as_json:
        databricks_show.policy(planned, applying=apply)
    done = commands.apply(planned) if apply else planned
    if as_json:
        print_json(done)
    elif apply:
        databricks_show.applied(done)
    raise typer.Exit(0 if done.action == "nothing" else 1)


@databricks.command()
def estimate(product: Product, as_json: AsJson = False) -> None:
    """Print what each job may cost at most. Exit code 1 when one is beyond the envelope."""
    from lakeops_assets.commands import databricks as commands
    from lakeops_assets.commands import databricks_show

    found = commands.estimates(product)
    if as_json:
        print_json(found)
    else:
        databricks_show.estimates(found, load_settings())
    raise typer.Exit(1 if any(job.breaches for job in found) else 0)
