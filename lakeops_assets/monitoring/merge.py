"""Two sketches of disjoint rows become the sketch of their union.

So a column can be sketched where its rows are, and windows add up to longer ones, without a second
look at the data.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from math import sqrt
from typing import TYPE_CHECKING

from lakeops_assets.monitoring.sketch import FREQUENT_ITEMS, Sketch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]


def merge(a: Sketch, b: Sketch) -> Sketch:
    """Return the sketch of the rows of both; they may not share a row.

    Counts, moments, extremes and lengths are exact. The empirical distribution that is rebuilt from
    the k quantiles is wrong by 1/(2k) more than those that were merged: by at most 1/k after the
    first merge. An item that only one side lists is counted as absent on the other, so that its
    count is low by at most the smallest count which that side lists; with at most 100 different
    values on each side the counts are exact. `distinct` is the largest number that is certain, and
    can be too low by as much as the smaller of the two. Custom aggregates cannot be merged and are
    left out.

    Raises:
        ValueError: The sketches are of different columns, or keep other numbers of quantiles.
    """
    if a.column != b.column:
        raise ValueError(f"{a.column.name} and {b.column.name} are different columns")
    sizes = a.present, b.present
    quantiles, median = _quantiles(a, b, sizes)
    avg, stddev = _moments(a, b, sizes)
    items, certain = _items(a, b)
    lengths = [(s.avg_length, n) for s, n in zip((a, b), sizes, strict=True)]
    known = [(value, n) for value, n in lengths if value is not None and n]
    return Sketch(
        a.column,
        a.count + b.count,
        nulls=a.nulls + b.nulls,
        nan=_sum(a.nan, b.nan),
        zeros=_sum(a.zeros, b.zeros),
        distinct=_distinct(a, b, quantiles, certain),
        avg=avg,
        stddev=stddev,
        min=_extreme(min, a.min, b.min),
        max=_extreme(max, a.max, b.max),
        median=median,
        quantiles=quantiles,
        items=items,
        min_length=_extreme(min, a.min_length, b.min_length),
        max_length=_extreme(max, a.max_length, b.max_length),
        avg_length=sum(v * n for v, n in known) / sum(n for _, n in known) if known else None,
    )


def _moments(a: Sketch, b: Sketch, sizes: tuple[int, int]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation.

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm, 1979.
    """
    if a.avg is None or b.avg is None:
        there = b if a.avg is None else a
        return there.avg, there.stddev
    n, (n1, n2) = sum(sizes), sizes
    delta = b.avg - a.avg
    squares = sum((s.stddev or 0.0) ** 2 * (m - 1) for s, m in zip((a, b), sizes, strict=True))
    squares += delta * delta * n1 * n2 / n
    return a.avg + delta * n2 / n, sqrt(squares / (n - 1)) if n > 1 else None


def _quantiles(
    a: Sketch, b: Sketch, sizes: tuple[int, int]
) -> tuple[Sequence[float] | None, float | None]:
    """Return the quantiles and the median of the weighted mixture of two distributions."""
    import numpy as np

    if a.quantiles is None or b.quantiles is None:
        there = b if a.quantiles is None else a
        return there.quantiles, there.median
    k = len(a.quantiles)
    if len(b.quantiles) != k:
        raise ValueError(f"{k} and {len(b.quantiles)} quantiles cannot be merged")
    points = np.concatenate([np.asarray(a.quantiles), np.asarray(b.quantiles)])
    weights = np.repeat([sizes[0] / k, sizes[1] / k], k)
    order = np.argsort(points, kind="stable")
    below = np.cumsum(weights[order])
    shares = np.append((np.arange(k) + 0.5) / k, 0.5) * sum(sizes)
    # A point below its share by rounding alone has reached it.
    at = np.searchsorted(below, shares * (1 - 1e-12))
    *quantiles, median = points[order][np.minimum(at, 2 * k - 1)]
    return array("d", quantiles), float(median)


def _items(a: Sketch, b: Sketch) -> tuple[tuple[tuple[str, int], ...] | None, int]:
    """Return the most frequent items of both, and how many different ones are certain."""
    if a.items is None or b.items is None:
        return (b if a.items is None else a).items, 0
    counts = dict(a.items)
    for item, n in b.items:
        counts[item] = counts.get(item, 0) + n
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ordered[:FREQUENT_ITEMS]), len(counts)


def _distinct(a: Sketch, b: Sketch, quantiles: Sequence[float] | None, listed: int) -> int | None:
    if a.distinct is None or b.distinct is None:
        return b.distinct if a.distinct is None else a.distinct
    return max(a.distinct, b.distinct, listed, len(set(quantiles or ())))


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _extreme(
    which: Callable[[Sequence[float]], float], a: float | None, b: float | None
) -> float | None:
    there = [value for value in (a, b) if value is not None]
    return which(there) if there else None
