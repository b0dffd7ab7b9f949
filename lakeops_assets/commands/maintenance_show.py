"""How maintenance looks on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from lakeops_assets.commands.show import new_console, new_table, size_text

if TYPE_CHECKING:
    from lakeops_assets.commands.maintenance import Dropped, ProductMaintenance
    from lakeops_assets.lakehouse import MaintenancePlan


def plans(planned: Sequence[ProductMaintenance]) -> None:
    """Print what would be done to each table, and what is kept for whom."""
    console = new_console()
    every = [plan for product in planned for plan in product.plans]
    if not every:
        console.print("There are no tables to maintain yet. Next: `lakeops run`")
        return
    table = new_table("table", ">files", ">stored", ">log", "plan")
    for plan in every:
        table.add_row(
            str(plan.table),
            str(plan.size.files),
            size_text(plan.size.stored_bytes),
            str(plan.size.log_entries),
            escape(_what(plan)),
        )
    console.print(table)
    for plan in every:
        for version in plan.locked:
            cost = f"costs {size_text(version.bytes)}" if version.bytes else "costs nothing now"
            cost = cost if version.readable else "[red]which cannot be read any more[/]"
            console.print(
                f"kept: version {version.version} of {plan.table} for "
                f"{escape(', '.join(version.needed_by))}, {cost}",
                soft_wrap=True,
            )


def results(done: Sequence[ProductMaintenance]) -> None:
    """Print what was done."""
    console = new_console()
    every = [result for product in done for result in product.results]
    changed = [r for r in every if not r.plan.does_nothing]
    for result in changed:
        before, after = result.before, result.after
        console.print(
            f"[green]✓[/] {result.plan.table}: {before.files} -> {after.files} files, "
            f"{result.files_removed} old files and {result.entries_removed} log entries deleted, "
            f"{size_text(before.stored_bytes)} -> {size_text(after.stored_bytes)}",
            soft_wrap=True,
        )
    console.print(f"{len(changed)} of {len(every)} tables maintained.")


def dropped(done: Dropped) -> None:
    """Print which versions are gone."""
    new_console().print(
        f"Versions of {done.table} up to {done.up_to} are dropped: "
        f"{done.files_removed} files deleted."
    )


def _what(plan: MaintenancePlan) -> str:
    parts = [f"OPTIMIZE: {plan.optimize}"] if plan.optimize else []
    if plan.removable_files:
        size = size_text(plan.removable_bytes)
        parts.append(f"VACUUM: {plan.removable_files} old files, {size}")
    if plan.log_from is not None:
        parts.append(f"log from version {plan.log_from}: {plan.log_reason}")
    return "; ".join(parts) or "nothing to do"
