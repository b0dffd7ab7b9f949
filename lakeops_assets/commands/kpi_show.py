"""How KPIs look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from lakeops_assets.commands.show import new_console, new_table

if TYPE_CHECKING:
    from lakeops_assets.components.kpi_replay import KpiReplay
    from lakeops_assets.monitoring import KpiWindow

WRONG = {True: "[red]wrongly[/]", False: "[green]rightly[/]", None: "[dim]nobody can tell[/]"}


def replay(found: KpiReplay) -> None:
    """Print what a rule would have done, and what was done."""
    console = new_console()
    replayed = found.replay
    changed = "" if found.declared else " [yellow](not the declared rule)[/]"
    console.print(f"[bold]{found.product} {found.kpi}[/]: {escape(replayed.rule)}{changed}")
    console.print(
        f"{replayed.decisions} decisions until {found.clock:%Y-%m-%d}, "
        f"{len(replayed.firings)} firings, {replayed.wrong} of them wrong\n"
    )
    table = new_table(
        "version", "window", ">rows", ">labelled", ">value", "95 % interval", "verdict"
    )
    for w in replayed.windows:
        interval = "" if w.low is None else f"{w.low:.4f} – {w.high:.4f}"
        value = "" if w.value is None else f"{w.value:.4f}"
        table.add_row(
            f"v{w.model_version}",
            f"{w.start:%Y-%m-%d}",
            f"{w.rows:,}",
            f"{w.labelled:,}",
            value,
            interval,
            _verdict(w),
        )
    console.print(table)
    if replayed.firings:
        console.print()
        table = new_table("fires", "version", "window", ">late", "afterwards", "")
        for f in replayed.firings:
            later = "" if f.later_value is None else f"{f.later_value:.4f} on {f.later_rows:,} rows"
            late = f"{f.late_windows} windows, {f.late_days:.0f} d"
            window = f"{f.window:%Y-%m-%d}"
            table.add_row(f"{f.at:%Y-%m-%d}", f"v{f.version}", window, late, later, WRONG[f.wrong])
        console.print(table)
    for made in found.made:
        same = "[green]decided again[/]" if made.reproduced else "[red]not decided again[/]"
        console.print(
            f"\nEvent {made.event} of the ledger, {made.at:%Y-%m-%d %H:%M}: revert of version "
            f"{made.version}: {same}. {escape(made.found)}",
            soft_wrap=True,
        )
    for version, reason in found.left_out.items():
        console.print(f"[yellow]version {version} is left out[/]: {escape(reason)}", soft_wrap=True)


def _verdict(window: KpiWindow) -> str:
    if not window.mature:
        return f"[dim]not mature: {escape(window.reason)}[/]"
    return "[red]violates[/]" if window.violates else "[green]good[/]"
