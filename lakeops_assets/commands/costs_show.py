"""How costs look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from lakeops_assets.commands.show import new_console, new_table, size_text

if TYPE_CHECKING:
    from lakeops_assets.commands.costs import Costs, MonitorForecast
    from lakeops_assets.settings import Settings


def costs(found: Costs, settings: Settings) -> None:
    """Print what assets cost and what is left of the budgets."""
    console = new_console()
    if not found.assets:
        console.print("Nothing was recorded yet. Next: `lakeops run`")
    else:
        currency = settings.prices.currency
        table = new_table(
            "asset", ">runs", ">seconds", ">CPU s", ">read", ">written", ">rows", f">{currency}"
        )
        for cost in found.assets:
            failed = f" [red]({cost.failures} failed)[/]" if cost.failures else ""
            table.add_row(
                escape(cost.asset),
                f"{cost.runs}{failed}",
                f"{cost.wall_seconds:.1f}",
                f"{cost.cpu_seconds:.1f}",
                _size(cost.bytes_read),
                _size(cost.bytes_written),
                f"{cost.rows_written:,}",
                f"{cost.money:.6f}",
            )
        console.print(table)
        dbus = sum(cost.dbus for cost in found.assets)
        if dbus:
            hours = sum(cost.elsewhere_seconds for cost in found.assets) / 3600
            console.print(f"Databricks: {dbus:.4g} DBU in {hours:.4g} h, at the envelopes' prices.")
        console.print(
            f"{found.money:.6f} {currency} since {found.since:%Y-%m-%d}, at "
            f"{settings.prices.cpu_hour:g} per CPU hour and {settings.prices.gigabyte:g} per GB."
        )
    for status in found.budgets:
        mark = "[green]✓[/]" if status.within else "[red]✗[/]"
        console.print(f"{mark} {escape(status.reason)}", soft_wrap=True)


def forecasts(expected: Sequence[MonitorForecast], settings: Settings) -> None:
    """Print what the first refresh of each monitor comes to."""
    console = new_console()
    table = new_table(
        "monitored table", ">rows", ">columns", ">groupings", ">groups", ">profile", ">drift",
        ">size", ">CPU s", f">{settings.prices.currency}",
    )  # fmt: skip
    for monitor in expected:
        cost = monitor.forecast
        if cost is None:
            table.add_row(monitor.table, *[""] * 7, "no table yet", "")
            continue
        table.add_row(
            monitor.table,
            f"{cost.rows:,}",
            str(cost.columns),
            str(cost.groupings),
            f"{cost.groups:,}",
            f"{cost.profile_rows:,}",
            f"{cost.drift_rows:,}",
            size_text(cost.bytes_written),
            f"{cost.cpu_seconds:.1f}",
            f"{cost.money:.6f}",
        )
    console.print(table)
    console.print("That is a first refresh; later ones cost the windows whose rows changed.")


def _size(size: int | None) -> str:
    return "" if size is None else size_text(size)
