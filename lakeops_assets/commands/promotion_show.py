"""How plans and the ledger look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from lakeops_assets.commands.show import new_console, new_table

if TYPE_CHECKING:
    from lakeops_assets.commands.promotion import History
    from lakeops_assets.components.crossing import Crossing, CrossingPlan
    from lakeops_assets.promotion import LedgerEntry, PromotionPlan, RevertResult
    from lakeops_assets.promotion.plan import Interval

COLOURS = {"promote": "green", "keep": "dim", "wait": "yellow", "refuse": "red"}
SHORT = 12


def as_json(plan: PromotionPlan) -> dict[str, Any]:
    """Return a plan with what is derived from it, for scripts."""
    from lakeops_assets.commands.console import plain

    return {**plain(plan), "missing": plan.missing, "not_from": list(plan.not_from)}


def plan(found: PromotionPlan, product: str) -> None:
    """Print what a promotion would change."""
    out = new_console()
    colour = COLOURS[found.action]
    before = "no champion" if found.champion is None else f"champion {found.champion}"
    out.print(
        f"[{colour}]{found.action}[/] {found.model} version {found.candidate} ({before} now): "
        f"{escape(found.reason)}",
        soft_wrap=True,
    )
    out.print(f"plan {found.digest}", soft_wrap=True)
    metrics = new_table("metric", ">candidate", ">champion")
    for name, pair in found.metrics.items():
        metrics.add_row(
            name, _interval(pair.candidate), _interval(pair.champion) if pair.champion else ""
        )
    out.print(metrics)
    gates = new_table("gate", "verdict", "found")
    for result in found.verdict.results:
        verdict = "[green]passed[/]" if result.passed else "[red]failed[/]"
        gates.add_row(result.gate, verdict, escape(result.reason))
    out.print(gates)
    out.print(f"Trained on version {found.data_version} of the feature table.")
    for approval in found.standing.approvals:
        out.print(f"Approved by {escape(approval.actor)}: {escape(approval.reason)}")
    for consequence in found.consequences:
        out.print(f"Then {escape(consequence)}.", soft_wrap=True)
    if found.action == "wait":
        out.print(
            f'Next: `lakeops approve {product} --plan {found.digest[:SHORT]} --reason "…" --as '
            "NAME`, then `lakeops run`",
            soft_wrap=True,
        )


def crossing_plan(found: CrossingPlan) -> None:
    """Print what promoting to another environment would do."""
    out = new_console()
    there = "not copied yet" if found.copy is None else f"version {found.copy}"
    before = "no champion" if found.champion is None else f"champion {found.champion}"
    out.print(
        f"{found.source} version {found.version} -> {found.target} ({there}; {before} there): "
        f"{escape(found.reason)}",
        soft_wrap=True,
    )
    if found.plan is not None:
        out.print(f"plan {found.plan.digest}: {found.plan.action}", soft_wrap=True)


def crossing(found: Crossing, product: str, environment: str) -> None:
    """Print what promoting to another environment did."""
    out = new_console()
    copied, plan = found.copied, found.advance.plan
    how = "copied to" if copied.written else "is already"
    out.print(
        f"{copied.source} version {copied.source_version} {how} {copied.model} version "
        f"{copied.version}",
        soft_wrap=True,
    )
    out.print(f"[{COLOURS[plan.action]}]{plan.action}[/]: {escape(plan.reason)}", soft_wrap=True)
    if plan.action == "wait":
        out.print(
            f"Next: `LAKEOPS_ENV={environment} lakeops approve {product} --plan "
            f'{plan.digest[:SHORT]} --reason "…" --as NAME`, then the same command again',
            soft_wrap=True,
        )


def recorded(entry: LedgerEntry, product: str) -> None:
    """Print an approval or a rejection that was recorded."""
    out = new_console()
    what = "rejected" if entry.action == "reject" else "approved"
    out.print(f"Event {entry.sequence}: {escape(entry.actor)} {what} version {entry.version}.")
    if entry.action == "approve":
        out.print(f"Next: `lakeops run {product}` promotes it when no approval is missing.")


def reverted(result: RevertResult, product: str) -> None:
    """Print a revert."""
    out = new_console()
    out.print(f"Version {result.champion} is champion again, instead of {result.replaced}.")
    out.print(f"Next: `lakeops run {product}` brings what follows up to date.")


def history(found: History) -> None:
    """Print the events of a model."""
    out = new_console()
    when = "now" if found.at is None else f"at {found.at:%Y-%m-%d %H:%M %Z}"
    live = "nothing" if found.live is None else f"version {found.live.version}"
    out.print(f"{found.model}: {live} is live {when}.".replace("live at", "was live at"))
    events = new_table(">event", "when", "action", ">version", ">replaced", "by", "reason")
    for e in found.entries:
        events.add_row(
            str(e.sequence),
            f"{e.at:%Y-%m-%d %H:%M}",
            e.action,
            "" if e.version is None else str(e.version),
            "" if e.replaced is None else str(e.replaced),
            escape(e.actor),
            escape(e.reason),
        )
    out.print(events)


def _interval(interval: Interval) -> str:
    value, low, high = interval
    return f"{value:.4f} ({low:.4f} to {high:.4f})"
