"""A report as one page of HTML that needs nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from lakeops_assets.monitoring.report import marks
from lakeops_assets.monitoring.report.value import Distribution, Line, Report

if TYPE_CHECKING:
    from jinja2 import Template

# The page stays below; of very many columns those that drifted least are left out.
MOST_BYTES = 300_000


def render(report: Report) -> str:
    """Return the page; equal reports give equal pages.

    It is smaller than 300 kB: where it would not be, the columns that drifted least are left out.
    """
    page = _render(report)
    kept = report
    while len(page.encode()) >= MOST_BYTES and len(kept.distributions) > 1:
        half = max(1, len(kept.distributions) * 3 // 4)
        names = {d.column for d in kept.distributions[:half]}
        lines = tuple(line for line in kept.drift if line.name in names)
        left = len(report.distributions) - half
        note = f"{report.verdict} ({left} columns that drifted least are not shown.)"
        kept = replace(kept, distributions=kept.distributions[:half], drift=lines, verdict=note)
        page = _render(kept)
    return page


def _render(report: Report) -> str:
    from markupsafe import Markup

    def timeline(line: Line, height: int) -> Markup:
        drawn = marks.timeline(line, report.windows, report.champions, height=height)
        return Markup(drawn)  # noqa: S704  its texts are escaped where it is drawn

    def distribution(found: Distribution) -> Markup:
        return Markup(marks.distribution(found))  # noqa: S704

    def last(line: Line) -> str:
        known = [v for w in report.windows if marks.is_finite(v := line.values.get(w))]
        if known:
            return marks.number(known[-1])
        guessed = [v for w in report.windows if marks.is_finite(v := line.estimated.get(w))]
        return f"about {marks.number(guessed[-1])}" if guessed else "–"

    def caption(line: Line) -> str:
        parts = [line.note] if line.note else []
        if line.threshold is not None:
            parts.append(f"threshold {marks.number(line.threshold)}")
        if line.estimated:
            parts.append("dashed: an estimate, made without labels")
        return "; ".join(parts)

    def missing(found: Distribution) -> str:
        now, base = found.missing
        return f"{now:.1%} missing ({base:.1%})" if now or base else ""

    champions = ", ".join(
        f"version {model} from {start:%Y-%m-%d}"
        for start, model in sorted(report.champions.items())
    )
    return _template().render(
        report=report,
        newest=f"{report.windows[-1]:%Y-%m-%d %H:%M} UTC",
        champions=champions if len(report.champions) > 1 else "",
        timeline=timeline,
        distribution=distribution,
        last=last,
        caption=caption,
        missing=missing,
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    text = resources.files(__package__).joinpath("page.html.jinja").read_text("utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        text
    )
