"""How cluster policies and estimates look on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from lakeops_assets.commands.show import new_console, new_table

if TYPE_CHECKING:
    from lakeops_assets.commands.databricks import JobEstimate
    from lakeops_assets.databricks import PolicyPlan
    from lakeops_assets.settings import Settings


def policy(planned: PolicyPlan, *, applying: bool) -> None:
    """Print what is different between the workspace and the envelope."""
    console = new_console()
    name = escape(planned.name)
    if planned.action == "nothing":
        console.print(f"[green]✓[/] The policy {name} ({planned.policy_id}) is as it should be.")
        return
    table = new_table("attribute", "in the workspace", "in the envelope")
    for change in planned.changes:
        table.add_row(change.attribute, _limitation(change.before), _limitation(change.after))
    console.print(table)
    if not applying:
        what = "would be created" if planned.action == "create" else "would be changed"
        console.print(f"The policy {name} {what}; --apply does it.")


def applied(done: PolicyPlan) -> None:
    """Print that the policy is there."""
    new_console().print(f"[green]✓[/] The policy {escape(done.name)} is {done.policy_id}.")


def estimates(found: Sequence[JobEstimate], settings: Settings) -> None:
    """Print what jobs may cost."""
    console = new_console()
    table = new_table(
        "asset", "runs on", ">hours", ">DBU/h", ">DBU", f">{settings.prices.currency}"
    )
    for job in found:
        cost = job.estimate
        figures = (
            (None,) * 4 if cost is None else (cost.hours, cost.dbus_per_hour, cost.dbus, cost.money)
        )
        shown = ["not known" if n is None else f"{n:.4g}" for n in figures]
        table.add_row(escape(job.asset), escape(job.runs_on), *shown)
    console.print(table)
    for job in found:
        for breach in job.breaches:
            said = escape(f"{job.asset}: {breach.field} {breach.reason}")
            console.print(f"[red]✗[/] {said}", soft_wrap=True)


def _limitation(limitation: Mapping[str, Any] | None) -> str:
    return "" if limitation is None else escape(json.dumps(dict(limitation)))
