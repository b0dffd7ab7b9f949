"""A KPI over time, as the UI shows it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import dagster as dg

from lakeops_assets.monitoring import KpiDecision, KpiSpec, KpiWindow

BLUE, RED, GREY = "#2a78d6", "#c8372d", "#999"
WIDTH, HEIGHT = 320, 90
# The UI cuts long texts: so many windows fit.
MOST = 12


def window_metadata(
    windows: Sequence[KpiWindow], spec: KpiSpec, decision: KpiDecision, champion: str
) -> dict[str, Any]:
    """Return what the windows show: a picture, a table, and numbers that are plotted over time."""
    mine = [w for w in windows if w.model_version == champion][-MOST:]
    mature = [w for w in mine if w.mature and w.value is not None]
    return {
        "champion": champion or "none",
        "decision": decision.reason,
        "threshold": spec.threshold,
        **({"kpi": dg.MetadataValue.md(chart(mine, spec))} if mine else {}),
        "windows": dg.MetadataValue.md(_table(mine)),
        "mature_windows": sum(w.mature for w in mine),
        "violating_windows": sum(w.violates for w in mine),
        **({spec.metric: round(mature[-1].value or 0.0, 6)} if mature else {}),
    }


def chart(windows: Sequence[KpiWindow], spec: KpiSpec) -> str:
    """Return the values of windows with their intervals as a small inline picture.

    Blue windows are good, red ones violate, grey ones are not mature. The dashed line is the
    threshold.
    """
    limit = spec.at_least if spec.at_least is not None else spec.at_most or 0.0
    ends = [limit]
    for w in windows:
        ends += [x for x in (w.value, w.low, w.high) if x is not None]
    low, high = min(ends), max(ends)
    scale = (high - low) or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - 5 - (value - low) / scale * (HEIGHT - 10), 1)

    parts = [
        f'<path d="M0 {y(limit)}H{WIDTH}" stroke="{GREY}" stroke-dasharray="4 3" fill="none"/>'
    ]
    step = WIDTH / max(len(windows), 1)
    for i, w in enumerate(windows):
        if w.value is None:
            continue
        x = round(step * (i + 0.5), 1)
        color = RED if w.violates else BLUE if w.mature else GREY
        if w.low is not None and w.high is not None:
            parts.append(f'<path d="M{x} {y(w.low)}V{y(w.high)}" stroke="{color}"/>')
        parts.append(f'<circle cx="{x}" cy="{y(w.value)}" r="3" fill="{color}"/>')
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">'
        f"{''.join(parts)}</svg>"
    )
    encoded = base64.b64encode(svg.encode()).decode()
    return f"![{spec.metric}](data:image/svg+xml;base64,{encoded})"


def _table(windows: Sequence[KpiWindow]) -> str:
    lines = [
        f"| {w.start:%Y-%m-%d} | {w.rows} | {w.labelled} | "
        f"{'' if w.value is None else f'{w.value:.4f}'} | {_verdict(w)} | {w.reason} |"
        for w in windows
    ]
    head = ["| window | rows | labelled | value | verdict | found |", "| --- " * 6 + "|"]
    return "\n".join([*head, *lines])


def _verdict(window: KpiWindow) -> str:
    if not window.mature:
        return "not mature"
    return "**violates**" if window.violates else "good"
