"""How a request to forget, and what came of it, look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lakeops_assets.components.forget import Forgotten, Request
    from lakeops_assets.governance import Kept
    from lakeops_assets.ingest import LandingRows


def request(asked: Request, *, landing: bool) -> None:
    """Print what would be deleted, what stays and why, and what cannot be done."""
    console, plan = Console(highlight=False), asked.plan
    if plan.empty:
        console.print(f"No table of {plan.product} has anything to delete.")
    else:
        table = Table("table", box=None, pad_edge=False)
        for name in ("rows", "files", "kept"):
            table.add_column(name, justify="right")
        for t in plan.tables:
            if t.hits:
                files, kept = len(t.removable), len(t.kept)
                table.add_row(str(t.table), f"{t.rows:,}", str(files), str(kept or ""))
        console.print(table)
    _kept(console, plan.kept)
    _landing(console, asked.landing, landing=landing)
    for name in plan.elsewhere:
        console.print(f"[yellow]not of this product, and left alone:[/] {escape(name)}")
    for name in asked.trained_on:
        console.print(
            f"[yellow]trained on it:[/] {escape(name)}; what it learned cannot be taken out. "
            "Train a new one and delete this version, which also frees the data it needs"
        )
    for t in plan.tables:
        for column, rows in t.same_value:
            console.print(
                f"[dim]{t.table}.{escape(column)} holds the same value in {rows:,} rows; it is no "
                "key and was left alone[/]"
            )


def forgotten(done: Forgotten) -> None:
    """Print what was deleted and what the search found afterwards."""
    console, result, proof = Console(highlight=False), done.result, done.result.proof
    console.print(
        f"Deleted {sum(result.rows.values()):,} rows of {len(result.rows)} tables, "
        f"{result.files_removed} files and {result.log_entries_removed} entries of logs."
    )
    if done.landing_removed:
        rows = sum(r.rows for r in done.landing_removed)
        console.print(f"Took {rows} rows out of {len(done.landing_removed)} landing files.")
    console.print(f"Searched {proof.files} files of {proof.tables} tables:")
    for hit in proof.left:
        console.print(f"[red]✗ left:[/] {hit.table}/{escape(hit.path)}: {escape(hit.where)}")
    _kept(console, proof.kept)
    if not proof.left:
        what = "nothing else holds the key" if proof.kept else "nothing holds the key"
        console.print(f"[green]✓ {what}[/]")
    console.print(f"[dim]in the audit as {done.subject}[/]")


def _kept(console: Console, kept: Iterable[Kept]) -> None:
    for k in kept:
        name = f"{k.hit.table}/{k.hit.path}"
        console.print(f"[yellow]stays:[/] {escape(name)}: {escape(k.reason)}")


def _landing(console: Console, rows: Iterable[LandingRows], *, landing: bool) -> None:
    for found in rows:
        if landing:
            fate = "are taken out"
        elif found.ingested:
            fate = "stay: the file is the producer's; --landing takes them out"
        else:
            fate = "come back with the next ingest; --landing takes them out"
        console.print(f"[yellow]landing file:[/] {found.rows} rows of {escape(found.path)} {fate}")
