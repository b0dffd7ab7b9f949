"""Windows: which ones a change of a table touches, and conditions that name them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableName
from lakeops_assets.lakehouse.statements import literal, quote
from lakeops_assets.monitoring.granularity import instant
from lakeops_assets.monitoring.spec import MonitorSpec

# More windows than this are profiled again with all others: naming each costs more than it saves.
MOST_WINDOWS = 5_000


class Window(NamedTuple):
    """A window of a metric table.

    Attributes:
        granularity: Length, as it was written; None for a snapshot.
        start: When it starts, in UTC.
    """

    granularity: str | None
    start: datetime


def changed_windows(
    lakehouse: Lakehouse, table: TableName, first: int, last: int, spec: MonitorSpec
) -> tuple[frozenset[Window] | None, str]:
    """Return the windows with a row that was added, changed or removed between two versions.

    A row that is updated touches the window that it was in and the one that it is in. So a label
    that arrives late opens the window of its prediction again, and no other.

    Args:
        lakehouse: Where the table is.
        table: Monitored table.
        first: First Delta version whose changes are wanted.
        last: Last Delta version, inclusive.
        spec: How rows fall into windows.

    Returns:
        The windows, and an empty text; or None where the changes do not tell, and why not.
    """
    timestamp = f"CAST({quote(str(spec.timestamp_col))} AS TIMESTAMP)"
    statement = " UNION ALL ".join(
        f"SELECT DISTINCT {i} AS i, {granularity.start_sql(timestamp)} AS start FROM feed "
        f"WHERE {quote(str(spec.timestamp_col))} IS NOT NULL"
        for i, granularity in enumerate(spec.windows)
    )
    try:
        feed = lakehouse.changes(table, first, last)
        rows = lakehouse.query(statement, {"feed": feed}).read_all().to_pylist()
    except LakehouseError as error:
        return None, (
            f"the change feed of {table} from version {first} to {last} cannot be read "
            f"({str(error).splitlines()[0][:200]})"
        )
    found = frozenset(Window(spec.windows[r["i"]].text, instant(r["start"])) for r in rows)
    if len(found) > MOST_WINDOWS:
        return None, f"{len(found)} windows changed, more than the {MOST_WINDOWS} that are named"
    return found, ""


def named(windows: Iterable[Window]) -> str:
    """Return a condition on a metric table, in Spark's dialect, that holds for these windows."""
    by_granularity: dict[str | None, list[datetime]] = {}
    for window in sorted(windows, key=lambda w: (w.granularity or "", w.start)):
        by_granularity.setdefault(window.granularity, []).append(window.start)
    parts = [
        (f"granularity = {literal(granularity)}" if granularity else "granularity IS NULL")
        + f" AND window.start IN ({', '.join(map(_timestamp, starts))})"
        for granularity, starts in by_granularity.items()
    ]
    return " OR ".join(f"({part})" for part in parts) or "false"


def within(spec: MonitorSpec, windows: Collection[Window], granularity: str) -> str | None:
    """Return a condition on the monitored table for the rows of windows of one granularity.

    The range before the list lets a reader skip files and row groups.

    Returns:
        The condition, in Spark's dialect; None when no window has that granularity.
    """
    starts = sorted(w.start for w in windows if w.granularity == granularity)
    if not starts:
        return None
    length = next(g for g in spec.windows if g.text == granularity)
    column = quote(str(spec.timestamp_col))
    timestamp = f"CAST({column} AS TIMESTAMP)"
    listed = ", ".join(str(_micros(start)) for start in starts)
    return (
        f"{column} >= {_timestamp(starts[0])} AND {column} < {_timestamp(length.end(starts[-1]))} "
        f"AND {length.start_sql(timestamp)} IN ({listed})"
    )


def followers(
    existing: Sequence[tuple[tuple[str | None, ...], Window]], touched: Collection[Window]
) -> tuple[frozenset[Window], frozenset[Window]]:
    """Return the windows whose comparison with the one before can differ, and what that needs.

    Args:
        existing: What a window has rows of (slice and model) -> the window; one entry each.
        touched: Windows that were profiled again or are gone.

    Returns:
        Windows to compare again, and the windows before them.
    """
    series: dict[tuple[str | None, ...], list[datetime]] = {}
    for identity, window in existing:
        series.setdefault((window.granularity, *identity), []).append(window.start)
    again = set(touched) & {window for _, window in existing}
    for (granularity, *_), starts in series.items():
        starts.sort()
        for touch in touched:
            after = bisect_right(starts, touch.start)
            if touch.granularity == granularity and after < len(starts):
                again.add(Window(touch.granularity, starts[after]))
    before = {
        Window(granularity, earlier)
        for (granularity, *_), starts in series.items()
        for earlier, start in pairwise(starts)
        if Window(granularity, start) in again
    }
    return frozenset(again), frozenset(before)


def _timestamp(at: datetime) -> str:
    return f"TIMESTAMP '{at.isoformat(sep=' ')}'"


def _micros(at: datetime) -> int:
    since = at - instant(0)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
