"""Moves that data makes when something is broken, and that nature does not make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakeops_assets.monitoring import statistics
from lakeops_assets.monitoring.sketch import Sketch

if TYPE_CHECKING:
    from lakeops_assets.monitoring.statistics import Numbers

# What one unit becomes in another: a x + b.
CONVERSIONS = {
    "Fahrenheit to Celsius": (5 / 9, -160 / 9),
    "Celsius to Fahrenheit": (9 / 5, 32.0),
    "Celsius to Kelvin": (1.0, 273.15),
    "Kelvin to Celsius": (1.0, -273.15),
    "miles to kilometres": (1.609344, 0.0),
    "kilometres to miles": (1 / 1.609344, 0.0),
    "miles to knots": (0.868976, 0.0),
    "miles per hour to metres per second": (0.44704, 0.0),
    "metres per second to miles per hour": (1 / 0.44704, 0.0),
    "feet to metres": (0.3048, 0.0),
    "metres to feet": (1 / 0.3048, 0.0),
    "inches to millimetres": (25.4, 0.0),
    "inches to centimetres": (2.54, 0.0),
    "millimetres to inches": (1 / 25.4, 0.0),
    "pounds to kilograms": (0.45359237, 0.0),
    "kilograms to pounds": (1 / 0.45359237, 0.0),
    "millibars to inches of mercury": (0.02953, 0.0),
    "inches of mercury to millibars": (1 / 0.02953, 0.0),
    "a factor of 60, as minutes to seconds": (60.0, 0.0),
    "a sixtieth, as seconds to minutes": (1 / 60, 0.0),
    "a factor of 3600, as hours to seconds": (3600.0, 0.0),
    "a factor of 1000": (1000.0, 0.0),
    "a thousandth": (0.001, 0.0),
    "a factor of 100, as shares to percent": (100.0, 0.0),
    "a hundredth, as percent to shares": (0.01, 0.0),
    "a factor of 10": (10.0, 0.0),
    "a tenth": (0.1, 0.0),
    "the other sign": (-1.0, 0.0),
}
# How much nearer the converted reference has to be than the reference as it is.
NEARER = 0.35
# A measured value has few digits; one that was converted has others. From so many shared values on
# a column counts as one of few digits, and below so many of those as one of other digits.
SAME_GRID = 0.6
OTHER_GRID = 0.35
# Share from which on a category is missed, and how like its share that of the new one has to be.
LEAST_ITEM = 0.005
ALIKE = 0.5


def unit_change(now: Sketch, before: Sketch) -> str:
    """Return which conversion turns the numbers from before into those of now; empty if none does.

    A calm day also looks like a smaller unit. So the converted numbers have to be much nearer, and
    where numbers have few digits, those of now have to be others than before.
    """
    import numpy as np

    if not now.quantiles or not before.quantiles:
        return ""
    x, y = statistics.as_numbers(now.quantiles), statistics.as_numbers(before.quantiles)
    apart = statistics.wasserstein(x, y)
    grid = _same_grid(x, y)
    if grid is not None and grid > OTHER_GRID:
        return ""
    nearest = NEARER if grid is not None or len(set(y.tolist())) == 1 else NEARER / 2
    found = {}
    for name, (a, b) in CONVERSIONS.items():
        # A cool day is 0.87 of a warm one: only other digits tell such a factor from the weather.
        if grid is None and not b and ALIKE < a < 1 / ALIKE and len(set(y.tolist())) > 1:
            continue
        converted = np.sort(a * y + b)
        spread = float(converted.std()) or abs(float(converted.mean())) / 100 or 1.0
        left = statistics.wasserstein(x, converted)
        if left <= nearest * apart and left <= spread:
            found[name] = left
    if not found:
        return ""
    best = min(found, key=lambda name: found[name])
    medians = f"median {now.median:.4g} for {before.median:.4g}"
    return f"the values are those from before, {best}: {medians}"


def _same_grid(x: Numbers, y: Numbers) -> float | None:
    """Return which share of the values now were there before; None where that says nothing.

    It says something of a column of few digits, and where the two overlap.
    """
    import numpy as np

    different = len(set(np.round(y, 6).tolist()))
    if different == 1 or different >= len(y) * SAME_GRID:
        return None
    low, high = np.quantile(y, [0.1, 0.9])
    inside = x[(x >= low) & (x <= high)]
    return float(np.isin(inside, y).mean()) if len(inside) >= len(x) / 10 else None


def renamed(now: Sketch, before: Sketch) -> str:
    """Return which category has another name now; empty if none has.

    One is gone that was there, one is there that was not, and their shares are alike.
    """
    if not now.items or not before.items:
        return ""
    there, then = _shares(now), _shares(before)
    complete = len(before.items) == (before.distinct or 0)
    gone = [(s, i) for i, s in then.items() if s >= LEAST_ITEM and there.get(i, 0.0) < s / 20]
    new = [(s, i) for i, s in there.items() if s >= LEAST_ITEM and i not in then]
    if not complete and not gone:
        return ""
    for share, item in sorted(gone, reverse=True):
        for other, name in sorted(new, reverse=True):
            if min(share, other) >= ALIKE * max(share, other):
                return f"{item} ({share:.1%}) is gone and {name} ({other:.1%}) is new"
    return ""


def most_changed(now: Sketch, before: Sketch) -> str:
    """Return the category whose share changed most, in words."""
    there, then = _shares(now), _shares(before)
    item = max({*there, *then}, key=lambda i: abs(there.get(i, 0.0) - then.get(i, 0.0)))
    return f"{item}: {there.get(item, 0.0):.1%}, {then.get(item, 0.0):.1%} usually"


def hours_apart(a: Sequence[int], b: Sequence[int]) -> float:
    """Return the total variation distance of two profiles of the day; 0 where one is empty."""
    if not sum(a) or not sum(b):
        return 0.0
    return sum(abs(x / sum(a) - y / sum(b)) for x, y in zip(a, b, strict=True)) / 2


def best_shift(a: Sequence[int], b: Sequence[int]) -> tuple[int, float]:
    """Return by how many hours b has to be moved to look most like a, and how far it is then."""
    n = len(b)
    found = {
        shift: hours_apart(a, [b[(h - shift) % n] for h in range(n)])
        for shift in sorted(range(-n // 2 + 1, n // 2 + 1), key=abs)
    }
    shift = min(found, key=lambda s: (round(found[s], 12), abs(s)))
    return shift, found[shift]


def _shares(sketch: Sketch) -> dict[str, float]:
    present = max(1, sketch.present)
    return {item: n / present for item, n in sketch.items or ()}
