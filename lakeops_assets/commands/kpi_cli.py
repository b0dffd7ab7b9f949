"""Commands about KPIs."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, load_settings, print_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(replay)


def replay(
    product: Annotated[str, typer.Argument(help="Product with a KPI, such as churn.")],
    kpi: Annotated[str, typer.Option(help="One of its KPIs; all when not given.")] = "",
    violations: Annotated[int | None, typer.Option(help="Try another k.")] = None,
    of: Annotated[int | None, typer.Option(help="Try another n.")] = None,
    at_least: Annotated[float | None, typer.Option(help="Try another threshold.")] = None,
    at_most: Annotated[float | None, typer.Option(help="Try another threshold.")] = None,
    window: Annotated[str | None, typer.Option(help="Try other windows: '1 day'.")] = None,
    label_delay: Annotated[str | None, typer.Option(help="Try another delay: '7 days'.")] = None,
    labelled_at_least: Annotated[float | None, typer.Option(help="Try another share.")] = None,
    min_rows: Annotated[int | None, typer.Option(help="Try another number of rows.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a KPI's rule over history: when it fires, how late, how often wrongly.

    Each decision is made with the labels that were known then. Reverts in the ledger are decided
    again from the data they were decided on. Exit code 1 when one does not come out the same.
    """
    from lakeops_assets.commands import kpi_show
    from lakeops_assets.commands.kpi import replay as replay_product

    changes = {
        "violations": violations,
        "of": of,
        "at_least": at_least,
        "at_most": at_most,
        "window": window,
        "label_delay": label_delay,
        "labelled_at_least": labelled_at_least,
        "min_rows": min_rows,
    }
    found = replay_product(product, load_settings(), kpi=kpi, changes=changes)
    if as_json:
        print_json(found)
    else:
        for replayed in found:
            kpi_show.replay(replayed)
    # A rule with other numbers is tried, and may well decide otherwise.
    raise typer.Exit(0 if all(r.reproduced or not r.declared for r in found) else 1)
