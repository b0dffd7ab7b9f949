"""How values look on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from lakeops_assets.commands.doctor import Finding
    from lakeops_assets.commands.run import RunSummary
    from lakeops_assets.commands.status import Status
    from lakeops_assets.samples import Landed
    from lakeops_assets.settings import Settings

MARKS = {"ok": "[green]✓[/]", "failed": "[red]✗[/]", "skipped": "[yellow]–[/]"}
HEADLINES = ("roc_auc", "pr_auc", "log_loss", "rmse", "mae", "r2")
LEVELS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]"}


@contextmanager
def progress(*, enabled: bool) -> Iterator[Callable[[str, str], None]]:
    """Show what is being worked on while it is; on a terminal as one line that changes."""
    console = Console(stderr=True)
    if not enabled:
        yield lambda what, detail: None
        return
    if not console.is_terminal:
        yield lambda what, detail: console.print(f"{what} {detail}", highlight=False)
        return
    with console.status("starting") as line:
        yield lambda what, detail: line.update(f"{what} [bold]{escape(detail)}[/]")


def run_summary(summary: RunSummary, settings: Settings) -> None:
    """Print what a run did to each asset."""
    console = new_console()
    if summary.landed:
        console.print(f"Landed {summary.landed} files of sample data.\n")
    table = new_table("", "asset", ">rows", "version", ">seconds", "checks")
    for outcome in summary.outcomes:
        checks = [f"[green]{len(outcome.passed)} passed[/]"] if outcome.passed else []
        checks += [f"[red]failed: {escape(', '.join(outcome.failed))}[/]"] if outcome.failed else []
        table.add_row(
            MARKS.get(outcome.status, "[dim]=[/]"),
            outcome.asset,
            "" if outcome.rows is None else f"{outcome.rows:,}",
            outcome.version[:14],
            f"{outcome.seconds:.1f}" if outcome.seconds else "",
            ", ".join(checks),
        )
    console.print(table)
    for outcome in summary.outcomes:
        if outcome.status == "failed":
            console.print(f"[red]{outcome.asset}[/]: {escape(outcome.reason)}", soft_wrap=True)
    for check in summary.blocked:
        console.print(f"[red]Blocked[/] by {escape(check)}; see its reason with `lakeops status`.")
    done = sum(o.status == "ok" for o in summary.outcomes)
    if not summary.run_ids:
        console.print(f"\nEverything was up to date ({summary.seconds:.1f} s).")
    else:
        console.print(f"\n{done} assets materialized in {summary.seconds:.1f} s.")
    if summary.succeeded:
        console.print("Next: `make ui` to browse it all, `lakeops status` for tables and models.")


def landed(files: Landed, product: str) -> None:
    """Print what was landed."""
    console = new_console()
    if not files.files:
        console.print(f"All sample data of {product} has landed already.")
        return
    console.print(
        f"Landed {len(files.files)} files, {files.first_day} to {files.last_day}; "
        f"{files.remaining} daily batches remain.\n"
        f"Next: `lakeops run {product}`; with the Dagster UI open its sensors do it by themselves."
    )


def status(found: Status) -> None:
    """Print tables and model versions."""
    console = new_console()
    if not found.tables:
        console.print(f"Catalog {found.environment} has no tables yet. Next: `lakeops run`")
        return
    table = new_table("table", ">version", ">rows", ">size", ">age")
    for t in found.tables:
        size, age = size_text(t.bytes), _age(t.age_seconds)
        table.add_row(t.table, str(t.version), f"{t.rows:,}", size, age)
    console.print(table)
    if not found.models:
        return
    table = new_table("model", ">version", "aliases", "metrics", "gates")
    for v in found.models:
        failed = [gate for gate, passed in v.gates.items() if not passed]
        gates = "never evaluated" if not v.gates else f"{len(v.gates) - len(failed)} passed"
        if failed:
            gates = f"{gates}, [red]failed: {escape(', '.join(failed))}[/]"
        metrics = "  ".join(f"{k} {v.metrics[k]:.4f}" for k in HEADLINES if k in v.metrics)
        table.add_row(v.model, f"v{v.version}", ", ".join(v.aliases), metrics, gates)
    console.print(table)
    for v in found.models:
        for gate, reason in v.refused.items():
            console.print(f"{v.model} v{v.version} failed {gate}: {escape(reason)}", soft_wrap=True)
    for w in found.waiting:
        console.print(
            f"[yellow]{w.model} v{w.version} waits[/]: {escape(w.reason)}. Look at it with "
            f"`lakeops plan promote {w.product}`",
            soft_wrap=True,
        )


def rows(reader: pa.RecordBatchReader, limit: int) -> None:
    """Print the first rows of a result."""
    console = new_console()
    table = new_table(*reader.schema.names)
    shown, more = 0, False
    for batch in reader:
        for row in batch.slice(0, limit - shown).to_pylist():
            cells = ("[dim]null[/]" if v is None else escape(str(v)) for v in row.values())
            table.add_row(*cells)
        more = shown + batch.num_rows > limit
        shown = min(limit, shown + batch.num_rows)
        if more:
            break
    console.print(table)
    console.print(f"{'first ' if more else ''}{shown} rows")


def product(files: Sequence[Path], name: str, settings: Settings) -> None:
    """Print what was written for a new product and what to do next."""
    console = new_console()
    for path in files:
        console.print(f"wrote {path}", soft_wrap=True)
    console.print(
        f"Next: edit them, drop files into {settings.landing_root / name}/<table>/, "
        f"then `lakeops run {name}`",
        soft_wrap=True,
    )


def findings(found: Sequence[Finding]) -> None:
    """Print what the doctor found."""
    console = new_console()
    for finding in found:
        console.print(
            f"{LEVELS[finding.level]} {finding.subject}: {escape(finding.found)}", soft_wrap=True
        )
        if finding.fix:
            console.print(f"    fix: {escape(finding.fix)}", soft_wrap=True)


def new_console() -> Console:
    """Return a console that is wide enough where there is no terminal that says how wide."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 140))


def new_table(*columns: str) -> Table:
    """Return an empty table; a column named `>n` is aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    return table


def size_text(size: int) -> str:
    """Return a number of bytes as people say it."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
