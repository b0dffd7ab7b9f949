"""`lakeops forget`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, load_settings, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(forget)


def forget(
    product: Annotated[str, typer.Argument(help="Product, such as churn.")],
    key: Annotated[
        list[str],
        typer.Option(help="COLUMN=VALUE, once per column; VALUE alone where it is clear."),
    ],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit. Do not name the entity.")],
    landing: Annotated[
        bool, typer.Option("--landing", help="Take the rows out of the landing files as well.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove an entity from every table, change feed and old version of a product.

    Exit code 1 when something that holds it is left for no reason, or could come back.
    """
    from lakeops_assets.commands import forget as forgetting
    from lakeops_assets.commands import forget_show

    asked = forgetting.request(product, key, load_settings())
    if dry_run:
        print_json(asked) if as_json else forget_show.request(asked, landing=landing)
        return
    if not as_json:
        forget_show.request(asked, landing=landing)
    if not yes:
        typer.confirm("Delete this for good?", abort=True, err=as_json)
    done = forgetting.forget(
        asked, load_settings(), reason=reason, landing=landing, now=datetime.now(UTC)
    )
    print_json(done) if as_json else forget_show.forgotten(done)
    raise typer.Exit(0 if done.clean else 1)
