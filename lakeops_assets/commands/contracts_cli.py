"""`lakeops quarantine`: rows that a contract set aside."""

from __future__ import annotations

from typing import Annotated

import typer

from lakeops_assets.commands.console import AsJson, Products, load_settings, print_json

Table = Annotated[str, typer.Argument(help="Table that the rows are for: <product>.<table>.")]
Rule = Annotated[str, typer.Option(help="Only rows that break this rule.")]

quarantine = typer.Typer(
    no_args_is_help=True, help="Rows that a contract set aside: list, explain, replay, discard."
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(quarantine, name="quarantine")


@quarantine.command("list")
def list_rows(products: Products = None, as_json: AsJson = False) -> None:
    """Show how many rows of each table wait, and which rules they break."""
    from lakeops_assets.commands import contracts, contracts_show

    found = contracts.holdings(products or [], load_settings())
    if as_json:
        print_json(found)
    else:
        contracts_show.holdings(found)


@quarantine.command()
def explain(
    table: Table,
    row: Annotated[str, typer.Option(help="Identifier of one row; open rows when empty.")] = "",
    rule: Rule = "",
    limit: Annotated[int, typer.Option(min=1, help="Most rows to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show rows with the rules they break in words, and the values that do."""
    from lakeops_assets.commands import contracts, contracts_show

    found = contracts.explained(table, load_settings(), row=row, rule=rule, limit=limit)
    if as_json:
        print_json(found)
    else:
        contracts_show.explained(found, table)


@quarantine.command()
def replay(table: Table, as_json: AsJson = False) -> None:
    """Judge the open rows by the contract as it is now, and move those that keep it."""
    from lakeops_assets.commands import contracts, contracts_show

    done = contracts.replayed(table, load_settings())
    if as_json:
        print_json(done)
    else:
        contracts_show.replayed(done)


@quarantine.command()
def discard(
    table: Table,
    reason: Annotated[str, typer.Option(help="Why; it stays with the rows.")],
    row: Annotated[list[str] | None, typer.Option(help="Identifier of a row; may repeat.")] = None,
    rule: Rule = "",
    as_json: AsJson = False,
) -> None:
    """Give up open rows with a reason; they stay in the quarantine as a record."""
    from lakeops_assets.commands import contracts, contracts_show

    commit = contracts.discarded(table, load_settings(), reason=reason, rows=row or [], rule=rule)
    if as_json:
        print_json({"table": table, "discarded": commit.updated})
    else:
        contracts_show.discarded(commit.updated, table)
