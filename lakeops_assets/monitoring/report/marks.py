"""Marks as SVG: lines over time, two distributions, bars of categories, sparklines.

Every coordinate is finite and inside its picture, whatever the values. Colours are CSS variables of
the page, and never the only sign: marked points are diamonds, estimates are dashed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from lakeops_assets.monitoring.report.value import Distribution, Line

WIDTH, HEIGHT = 560, 96
MARGIN = 6
BINS = 40
CATEGORIES = 8
BLOCKS = "▁▂▃▄▅▆▇█"


class Scale:
    """Maps numbers to a stretch of a picture; what is not finite has no place."""

    def __init__(self, values: Sequence[float | None], start: float, end: float) -> None:
        finite = [v for v in values if v is not None and math.isfinite(v)]
        self.low, self.high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """Return the place of a value, rounded to a tenth."""
        # Halves first: the difference of two huge numbers is no number.
        spread = self.high / 2 - self.low / 2
        share = (value / 2 - self.low / 2) / spread if spread else 0.5
        share = min(1.0, max(0.0, share))
        return round(self._start + share * (self._end - self._start), 1)


def is_finite(value: float | None) -> bool:
    """Return whether there is a number that can be drawn."""
    return value is not None and math.isfinite(value)


def number(value: float | None) -> str:
    """Return a number as people read it."""
    if not is_finite(value):
        return "–"
    assert value is not None  # noqa: S101  told to the type checker
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def timeline(
    line: Line,
    windows: Sequence[datetime],
    champions: Mapping[datetime, str],
    *,
    height: int = HEIGHT,
) -> str:
    """Return a line over the windows, with threshold, marked windows and changes of the model."""
    shown = [line.values.get(w) for w in windows]
    guessed = [line.estimated.get(w) for w in windows]
    x = Scale([0.0, max(1, len(windows) - 1)], MARGIN, WIDTH - MARGIN)
    y = Scale([*shown, *guessed, line.threshold], height - MARGIN, MARGIN)
    parts = []
    for i, window in enumerate(windows):
        if window in champions and i:
            parts.append(f'<path class="change" d="M{x(i)} 0V{height}"/>')
    if is_finite(line.threshold):
        parts.append(f'<path class="limit" d="M0 {y(line.threshold or 0.0)}H{WIDTH}"/>')
    parts.append(_polyline(guessed, x, y, "guess"))
    parts.append(_polyline(shown, x, y, "line"))
    for i, (window, value) in enumerate(zip(windows, shown, strict=True)):
        if window in line.marked and is_finite(value):
            a, b = x(i), y(value or 0.0)
            parts.append(
                f'<path class="mark" d="M{a} {b - 4:.1f}l4 4l-4 4l-4 -4z">'
                f"<title>{window:%Y-%m-%d}: {number(value)}</title></path>"
            )
    last = next((v for v in reversed(shown) if is_finite(v)), None)
    title = f"{line.name}, {len(windows)} windows, last {number(last)}"
    return _svg(WIDTH, height, title, "".join(parts))


def _polyline(values: Sequence[float | None], x: Scale, y: Scale, style: str) -> str:
    """Return a path that is broken where a value is missing; a lone value is a point."""
    path, down, alone = "", False, []
    for i, value in enumerate(values):
        if not is_finite(value):
            down = False
            continue
        before, after = values[i - 1] if i else None, values[i + 1] if i + 1 < len(values) else None
        if not is_finite(before) and not is_finite(after):
            alone.append(f'<circle class="{style}-dot" cx="{x(i)}" cy="{y(value or 0.0)}" r="2"/>')
        path += f"{'L' if down else 'M'}{x(i)} {y(value or 0.0)}"
        down = True
    return (f'<path class="{style}" d="{path}"/>' if path else "") + "".join(alone)


def distribution(found: Distribution) -> str:
    """Return the newest window over the baseline: outlines of numbers, bars of categories."""
    if found.now_items or found.base_items:
        return _categories(found)
    values = [v for v in (*found.now, *found.base) if is_finite(v)]
    if not values:
        return ""
    # The tails would squeeze everything else.
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 200], ordered[-1 - len(ordered) // 200]
    shares = [_histogram(side, low, high) for side in (found.base, found.now)]
    top = Scale([0.0, max(max(s, default=0.0) for s in shares)], HEIGHT - 14, 4)
    steps = []
    for style, side in zip(("base", "now"), shares, strict=True):
        if not any(side):
            continue
        path = f"M0 {HEIGHT - 14}"
        for i, share in enumerate(side):
            a, b = round(i * WIDTH / BINS, 1), round((i + 1) * WIDTH / BINS, 1)
            path += f"L{a} {top(share)}L{b} {top(share)}"
        steps.append(f'<path class="{style}" d="{path}L{WIDTH} {HEIGHT - 14}"/>')
    ends = (
        f'<text x="0" y="{HEIGHT - 2}">{number(low)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">{number(high)}</text>'
    )
    return _svg(
        WIDTH, HEIGHT, f"{found.column}, newest window over the baseline", "".join(steps) + ends
    )


def _histogram(values: Sequence[float], low: float, high: float) -> list[float]:
    counts = [0] * BINS
    finite = [v for v in values if is_finite(v)]
    place = Scale([low, high], 0, BINS)
    for value in finite:
        counts[min(BINS - 1, int(place(value)))] += 1
    return [n / len(finite) for n in counts] if finite else []


def _categories(found: Distribution) -> str:
    both = {**found.base_items, **found.now_items}
    order = sorted(
        both,
        key=lambda i: (-max(found.now_items.get(i, 0.0), found.base_items.get(i, 0.0)), i),
    )[:CATEGORIES]
    top = max(max(found.now_items.get(i, 0.0), found.base_items.get(i, 0.0)) for i in order) or 1.0
    row, label = 22, 150
    parts = []
    for n, item in enumerate(order):
        now, base = found.now_items.get(item, 0.0), found.base_items.get(item, 0.0)
        at, room = n * row, (WIDTH - label - 110) / top
        parts.append(
            f'<text x="{label - 8}" y="{at + 14}" text-anchor="end">{escape(_short(item))}</text>'
            f'<rect class="base" x="{label}" y="{at + 11}" width="{base * room:.1f}" height="6"/>'
            f'<rect class="now" x="{label}" y="{at + 3}" width="{now * room:.1f}" height="6"/>'
            f'<text x="{WIDTH}" y="{at + 14}" text-anchor="end">{now:.1%} ({base:.1%})</text>'
        )
    return _svg(
        WIDTH, row * len(order), f"{found.column}, shares now and in the baseline", "".join(parts)
    )


def _short(text: str, most: int = 20) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def sparkline(values: Sequence[float | None]) -> str:
    """Return values as a line of block characters, for places that show no pictures."""
    place = Scale(values, 0, len(BLOCKS) - 1)
    return "".join(BLOCKS[round(place(v or 0.0))] if is_finite(v) else " " for v in values)


def _svg(width: int, height: int, title: str, inside: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>'
        f"{inside}</svg>"
    )
