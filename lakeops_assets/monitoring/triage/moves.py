"""What moved in a table: partitions that are unlike those before, by more than those vary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce
from statistics import median

from lakeops_assets.monitoring import statistics
from lakeops_assets.monitoring.columns import ColumnKind
from lakeops_assets.monitoring.merge import merge
from lakeops_assets.monitoring.sketch import FREQUENT_ITEMS, Sketch
from lakeops_assets.monitoring.triage import signatures
from lakeops_assets.monitoring.triage.lineage import Origin, TracedTable
from lakeops_assets.monitoring.triage.partitions import HOURS, Partition, columns_of

# A partition moved when it is so many times further away than any of those before was.
FURTHER = 1.5
# What chance alone exceeds once in a thousand columns is no move.
CHANCE = 0.999
# The least that is worth a look, whatever is usual: points of missing or repeated values, minutes.
LEAST_SHARE = 0.02
LEAST_MINUTES = 1.0
# Size of a source that has stopped: nothing is further away.
STOPPED = 100.0
# So many times the usual, missing values are a fault and not the weather.
BURST = 3.0


class Kind(StrEnum):
    """How something moved."""

    STOPPED = "source stopped"
    FEWER = "fewer rows"
    MORE = "more rows"
    REPEATED = "rows repeated"
    CLOCK = "clock shifted"
    NULLS = "values missing"
    UNIT = "unit changed"
    RENAMED = "category renamed"
    VALUES = "values moved"


@dataclass(frozen=True)
class Move:
    """A column, or the rows of a table, that is unlike before.

    Attributes:
        where: What moved.
        kind: How.
        since: First partition that did.
        size: How many times further from the reference than any partition before; 1 is usual.
        fault: Whether it moved as data does when something is broken, and as nature does not.
        evidence: What was seen, with figures.
    """

    where: Origin
    kind: Kind
    since: datetime
    size: float
    fault: bool
    evidence: str


def moves(
    traced: TracedTable, before: Sequence[Partition], window: Sequence[Partition]
) -> list[Move]:
    """Return what moved in the partitions of a window.

    Args:
        traced: The table.
        before: Partitions of the reference, at least two with rows.
        window: Partitions that are asked about.
    """
    filled = [p for p in before if p.rows]
    if len(filled) < 2:
        return []
    found = [*_of_rows(traced, before, window), *_of_clock(traced, filled, window)]
    for column in columns_of([*filled, *window]):
        move = _of_column(Origin(traced.table, column.name), column.kind, filled, window)
        if move is not None:
            found.append(move)
    return found


# Rows


def _of_rows(
    traced: TracedTable, before: Sequence[Partition], window: Sequence[Partition]
) -> list[Move]:
    where = Origin(traced.table)
    counts = [p.rows for p in before]
    usual, least, most = median(counts), min(counts), max(counts)
    found = []
    low = [(p, max(least, 1) / p.rows if p.rows else STOPPED) for p in window]
    low = [(p, size) for p, size in low if size >= FURTHER and least]
    if low:
        stopped = any(p.rows == 0 for p, _ in low)
        text = f"{min(p.rows for p, _ in low):,} rows where {usual:,.0f} are usual"
        kind = Kind.STOPPED if stopped else Kind.FEWER
        size = max(size for _, size in low)
        found.append(Move(where, kind, low[0][0].start, size, stopped, text))
    share = max(p.repeated / p.rows for p in before if p.rows)
    twice = [(p, p.repeated / p.rows) for p in window if p.repeated]
    twice = [(p, s) for p, s in twice if s > FURTHER * max(share, LEAST_SHARE)]
    if twice:
        worst = max(s for _, s in twice)
        text = f"{worst:.0%} of the rows of a partition are there already"
        size = worst / max(share, LEAST_SHARE)
        found.append(Move(where, Kind.REPEATED, twice[0][0].start, size, True, text))
    high = [(p, p.rows / max(most, 1)) for p in window if p.rows >= FURTHER * max(most, 1)]
    if high and not twice:
        text = f"{max(p.rows for p, _ in high):,} rows where {usual:,.0f} are usual"
        size = max(size for _, size in high)
        found.append(Move(where, Kind.MORE, high[0][0].start, size, False, text))
    return found


# Clock


def _of_clock(
    traced: TracedTable, before: Sequence[Partition], window: Sequence[Partition]
) -> list[Move]:
    where, found = Origin(traced.table, traced.time), []
    for other in sorted({name for p in before for name in p.lags}):
        lags = [p.lags[other] for p in before if other in p.lags]
        usual = median(lags)
        spread = max(abs(lag - usual) for lag in lags)
        scale = max(spread, LEAST_MINUTES)
        away = [(p, abs(p.lags[other] - usual) / scale) for p in window if other in p.lags]
        away = [(p, size) for p, size in away if size >= FURTHER * 2]
        if away:
            worst = max(away, key=lambda pair: pair[1])
            text = f"{other} is {worst[0].lags[other]:+.0f} minutes from it, {usual:+.0f} usually"
            found.append(Move(where, Kind.CLOCK, away[0][0].start, worst[1], True, text))
    total = [sum(p.hours[h] for p in before) for h in range(HOURS)]
    if not found and any(total):
        usual_size = max(max(signatures.hours_apart(p.hours, total) for p in before), LEAST_SHARE)
        sizes = [(p, signatures.hours_apart(p.hours, total) / usual_size) for p in window if p.rows]
        away = [(p, size) for p, size in sizes if size >= FURTHER]
        if away:
            hours = [sum(p.hours[h] for p, _ in away) for h in range(HOURS)]
            shift, left = signatures.best_shift(hours, total)
            if shift and left <= max(usual_size, signatures.hours_apart(hours, total) / 2):
                text = f"its hours of the day are those from before, {shift:+d} hours"
                size = max(size for _, size in away)
                found.append(Move(where, Kind.CLOCK, away[0][0].start, size, True, text))
    return found


# Columns


def _of_column(
    where: Origin, kind: ColumnKind, before: Sequence[Partition], window: Sequence[Partition]
) -> Move | None:
    name = str(where.column)
    past = [p.sketches[name] for p in before if name in p.sketches]
    now = [(p.start, p.sketches[name]) for p in window if name in p.sketches]
    if len(past) < 2 or not now:
        return None
    whole = reduce(merge, past)
    return _nulls(where, past, now, whole) or _values(where, kind, past, now, whole)


def _nulls(
    where: Origin, past: Sequence[Sketch], now: Sequence[tuple[datetime, Sketch]], whole: Sketch
) -> Move | None:
    usual = _null_share(whole)
    spread = max(abs(_null_share(s) - usual) for s in past)
    away = []
    for start, sketch in now:
        chance = statistics.share_by_chance(
            max(usual, LEAST_SHARE), sketch.count, whole.count, CHANCE
        )
        size = abs(_null_share(sketch) - usual) / max(spread, chance, LEAST_SHARE)
        if size >= FURTHER:
            away.append((start, sketch, size))
    if not away:
        return None
    _, worst, size = max(away, key=lambda found: found[2])
    more = _null_share(worst) > usual
    text = f"{_null_share(worst):.0%} have no value, {usual:.1%} usually"
    return Move(where, Kind.NULLS, away[0][0], size, more and size >= BURST, text)


def _values(
    where: Origin,
    kind: ColumnKind,
    past: Sequence[Sketch],
    now: Sequence[tuple[datetime, Sketch]],
    whole: Sketch,
) -> Move | None:
    distance = _numbers_apart if kind == ColumnKind.NUMERIC else _items_apart
    usual = _largest(distance, past, whole)
    away = []
    for start, sketch in now:
        found = distance(sketch, whole)
        if found is not None:
            size = found / max(usual, _by_chance(kind, sketch, whole))
            if size >= FURTHER:
                away.append((start, sketch, size))
    if not away:
        return None
    since, worst, size = away[0][0], *max(away, key=lambda found: found[2])[1:]
    together = reduce(merge, [sketch for _, sketch, _ in away])
    if kind != ColumnKind.NUMERIC:
        renamed = signatures.renamed(together, whole)
        if renamed:
            return Move(where, Kind.RENAMED, since, size, True, renamed)
        return Move(where, Kind.VALUES, since, size, False, signatures.most_changed(worst, whole))
    unit = signatures.unit_change(together, whole)
    if unit:
        return Move(where, Kind.UNIT, since, size, True, unit)
    text = f"median {worst.median:.4g}, {whole.median:.4g} usually"
    return Move(where, Kind.VALUES, since, size, False, text)


def _null_share(sketch: Sketch) -> float:
    return sketch.nulls / sketch.count if sketch.count else 0.0


def _largest(
    distance: Callable[[Sketch, Sketch], float | None], past: Sequence[Sketch], whole: Sketch
) -> float:
    return max((d for d in (distance(s, whole) for s in past) if d is not None), default=0.0)


def _numbers_apart(a: Sketch, b: Sketch) -> float | None:
    """Return the Wasserstein distance in standard deviations of the reference."""
    if a.quantiles is None or b.quantiles is None:
        return None
    numbers = statistics.as_numbers(a.quantiles), statistics.as_numbers(b.quantiles)
    distance = statistics.wasserstein(*numbers)
    # A constant has no deviation; then a hundredth of its size is one.
    return distance / (b.stddev or abs(b.avg or 0.0) / 100 or 1.0)


def _items_apart(a: Sketch, b: Sketch) -> float | None:
    if not a.items or not b.items:
        return None
    sides = [statistics.Items(dict(s.items or ()), s.present) for s in (a, b)]
    return statistics.js_distance(*statistics.align(*sides))


def _by_chance(kind: ColumnKind, a: Sketch, b: Sketch) -> float:
    n = max(1, a.present), max(1, b.present)
    if kind == ColumnKind.NUMERIC:
        return statistics.mean_by_chance(*n, CHANCE)
    categories = min(max(a.distinct or 1, b.distinct or 1), FREQUENT_ITEMS + 1)
    return statistics.js_by_chance(*n, categories, CHANCE)
