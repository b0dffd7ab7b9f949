"""`lakeops plan promote`, `promote`, `approve`, `revert` and `history`."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, load_settings, print_json

Product = Annotated[
    str, typer.Argument(help="Product; <product>.<model> where it has several models.")
]
Reason = Annotated[str, typer.Option(help="Why; the ledger keeps it.")]
Store = Annotated[str, typer.Option(help="MLflow store of the other environment, if another.")]

plans = typer.Typer(name="plan", help="Say what would change, and change nothing.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(plans)
    app.command()(promote)
    app.command()(approve)
    app.command()(revert)
    app.command()(history)


@plans.callback()
def _plans() -> None:
    """Say what would change, and change nothing."""


@plans.command("promote")
def plan_promote(
    product: Product,
    to: Annotated[str, typer.Option(help="Other environment, such as staging.")] = "",
    store: Store = "",
    as_json: AsJson = False,
) -> None:
    """Show what the next promotion would change, and on what it would be decided."""
    from lakeops_assets.commands import promotion, promotion_show

    if to:
        crossing = promotion.plan_to(product, to, store, load_settings())
        print_json(crossing) if as_json else promotion_show.crossing_plan(crossing)
        return
    plan = promotion.plan(product, load_settings())
    if as_json:
        print_json(promotion_show.as_json(plan))
    else:
        promotion_show.plan(plan, product)


def promote(
    product: Product,
    to: Annotated[str, typer.Option(help="Other environment, such as staging.")],
    store: Store = "",
    as_json: AsJson = False,
) -> None:
    """Copy the champion to another environment, where its gates and its policy decide.

    Within an environment `lakeops run` promotes. Repeat it to carry out what was approved.
    """
    from lakeops_assets.commands import promotion, promotion_show

    crossing = promotion.promote_to(product, to, store, load_settings())
    print_json(crossing) if as_json else promotion_show.crossing(crossing, product, to)


def approve(
    product: Product,
    plan: Annotated[str, typer.Option(help="Digest of the plan, or its start.")],
    reason: Reason,
    approver: Annotated[
        str, typer.Option("--as", help="Who approves; LAKEOPS_ACTOR when not given.")
    ] = "",
    reject: Annotated[bool, typer.Option("--reject", help="Reject instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Approve or reject the plan for the next champion. The name is not proven by anything."""
    from lakeops_assets.commands import promotion, promotion_show

    config = load_settings()
    entry = promotion.approve(product, plan, approver, reason, config, reject=reject)
    print_json(entry) if as_json else promotion_show.recorded(entry, product)


def revert(
    product: Product,
    reason: Reason,
    to: Annotated[
        int | None, typer.Option(help="Version that was live once; the one before if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the version that was champion before champion again."""
    from lakeops_assets.commands import promotion, promotion_show

    result = promotion.revert(product, reason, to, load_settings())
    print_json(result) if as_json else promotion_show.reverted(result, product)


def history(
    product: Product,
    at: Annotated[str, typer.Option(help="Time, such as 2026-03-01: what was live then?")] = "",
    as_json: AsJson = False,
) -> None:
    """Show who promoted, approved and reverted what, when and why."""
    from lakeops_assets.commands import promotion, promotion_show

    found = promotion.history(product, at, load_settings())
    print_json(found) if as_json else promotion_show.history(found)
