"""How plans for a catalog look, on a terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from lakeops_assets.commands.console import plain
from lakeops_assets.commands.show import new_console

if TYPE_CHECKING:
    from lakeops_assets.catalogs import CatalogPlan


def plan(planned: CatalogPlan, product: str) -> None:
    """Print what would be done."""
    console = new_console()
    where = escape(planned.where)
    if not planned.acts:
        console.print(f"[green]✓[/] {where} is as {product} declares it.", soft_wrap=True)
    else:
        console.print(f"{where}, plan {planned.digest}:", soft_wrap=True, highlight=False)
    for act in planned.acts:
        console.print(f"  {escape(str(act))}", soft_wrap=True, highlight=False)
    _rest(planned)
    if planned.acts:
        command = f"lakeops catalog apply {product} --plan {planned.digest} --reason ..."
        console.print(f"Next: `{command}`", soft_wrap=True, highlight=False)


def done(planned: CatalogPlan) -> None:
    """Print what was done."""
    console = new_console()
    for act in planned.acts:
        console.print(f"[green]✓[/] {escape(str(act))}", soft_wrap=True, highlight=False)
    if not planned.acts:
        console.print(f"[green]✓[/] There was nothing to do in {escape(planned.where)}.")
    _rest(planned)


def as_json(planned: CatalogPlan) -> dict[str, Any]:
    """Return a plan as JSON says it."""
    return {
        "catalog": planned.where,
        "digest": planned.digest,
        "acts": [
            {"kind": type(act).__name__, "text": str(act), **plain(act)} for act in planned.acts
        ],
        "waiting": list(planned.waiting),
        "differing": list(planned.differing),
    }


def _rest(planned: CatalogPlan) -> None:
    console = new_console()
    for text in (*planned.waiting, *planned.differing):
        console.print(f"[yellow]![/] {escape(text)}", soft_wrap=True, highlight=False)
