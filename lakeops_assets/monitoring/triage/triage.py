"""Which source moved first and most, and how that got to the monitored table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import log1p

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.granularity import Granularity
from lakeops_assets.monitoring.triage.lineage import Lineage, Origin
from lakeops_assets.monitoring.triage.moves import Move, moves
from lakeops_assets.monitoring.triage.partitions import PROVENANCE, read_partitions

# Partitions of the reference: four weeks of days, so that each day of the week is in it.
REFERENCE = 28
# Part of a partition that may be without a row before its end: two hours of a day.
NEAR_THE_END = 12


@dataclass(frozen=True)
class Suspect:
    """Something upstream that moved and that nothing further upstream explains.

    Attributes:
        move: What moved, how, since when and how far.
        path: From there to the monitored table, both included; alone where it leads there not.
        explains: How many moves downstream it is behind.
        source: Whether it is in a table that is made of no other.
        beside: Other columns of its table that moved from the same partition on.
    """

    move: Move
    path: tuple[Origin, ...]
    explains: int
    source: bool
    beside: tuple[Move, ...] = ()

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """What suspects are ordered by: faults of sources, faults, then size with consequences."""
        fault = self.move.fault
        return fault and self.source, fault, self.move.size * (1 + log1p(self.explains))


@dataclass(frozen=True)
class Triage:
    """What became of a question.

    Attributes:
        table: Monitored table.
        start: Start of the window that was asked about.
        end: Its end, exclusive.
        suspects: The likeliest first.
        moved: Everything that moved, followers included.
        looked_at: Tables that were compared.
        left_out: Table -> why it was not.
    """

    table: TableName
    start: datetime
    end: datetime
    suspects: tuple[Suspect, ...]
    moved: tuple[Move, ...]
    looked_at: tuple[TableName, ...]
    left_out: dict[str, str]


def triage(
    lakehouse: Lakehouse,
    lineage: Lineage,
    table: TableName,
    window: tuple[datetime, datetime],
    *,
    columns: Sequence[str] = (),
    reference: int = REFERENCE,
) -> Triage:
    """Walk from a monitored table to its sources and rank what moved there in a window.

    Every table is cut into partitions of its own time, days for windows of more than a day and
    hours otherwise. What moved is what is further from the partitions before the window than any
    of these is, so what is always restless does not move. A move that something upstream explains
    is a follower; the others are suspects.

    Args:
        lakehouse: Where the tables are.
        lineage: The monitored table and all that it is made of.
        table: Monitored table.
        window: Start and end of the window.
        columns: Columns of the table that alerted; all when empty.
        reference: How many partitions before the window it is compared with.

    Raises:
        MonitorSpecError: The window is empty.
    """
    start, end = window
    if start >= end:
        raise MonitorSpecError(f"the window from {start} to {end} is empty")
    length = Granularity.parse("1 day" if end - start > timedelta(days=1) else "1 hour")
    step = length.end(start) - start
    ends = [Origin(table, c) for c in columns] or _columns(lineage, table)
    behind = {origin.table for end in ends for origin in lineage.paths(end)}
    asked = [start + i * step for i in range((end - start) // step)]
    past = [start - (i + 1) * step for i in range(reference)][::-1]
    tables = [t for t in lineage.tables if t.table in behind]
    present = [t for t in tables if t.time and lakehouse.exists(t.table)]
    # When rows were ingested says nothing of how far their own time has come.
    own = [t for t in present if not str(t.time).startswith(PROVENANCE)] or present
    times = [lakehouse.newest_time(t.table, str(t.time)) for t in own]
    latest = max((at for at in times if at is not None), default=start)
    # A partition is complete when the newest time of all tables is near its end or beyond.
    asked = [at for at in asked if at + step <= latest + step / NEAR_THE_END]
    moved: list[Move] = []
    looked_at, left_out = [], {}
    for traced in tables:
        if traced not in present:
            left_out[str(traced.table)] = "it has no time" if not traced.time else "not there yet"
            continue
        found = read_partitions(lakehouse, traced, [*past, *asked], length)
        before, now = found[: len(past)], found[len(past) :]
        known = next((i for i, p in enumerate(before) if p.rows), len(before))
        if len(before) - known < 2:
            left_out[str(traced.table)] = "it has fewer than two partitions before the window"
            continue
        looked_at.append(traced.table)
        moved += moves(traced, before[known:], now)
    suspects = _suspects(lineage, ends, moved)
    return Triage(table, start, end, suspects, tuple(moved), tuple(looked_at), left_out)


def _suspects(
    lineage: Lineage, ends: Sequence[Origin], moved: Sequence[Move]
) -> tuple[Suspect, ...]:
    there = {m.where for m in moved}
    behind = {m.where: set(lineage.paths(m.where)) - {m.where} for m in moved}
    time_of = {t.table: Origin(t.table, t.time) for t in lineage.tables}
    # A clock that is wrong, and rows that are missing or twice, move every column of their table.
    for m in moved:
        own = {time_of[m.where.table], Origin(m.where.table)} - {m.where}
        rows = {o.table for o in behind[m.where] if o.column is None}
        own |= {time_of[table] for table in rows if table in time_of}
        behind[m.where] |= own
    roots = [m for m in moved if not behind[m.where] & _upstream(there, m.where, time_of)]
    sources = {t.table for t in lineage.tables if not t.origins}
    ways: dict[Origin, tuple[Origin, ...]] = {}
    for end in ends:
        for origin, path in lineage.paths(end).items():
            if origin not in ways or _vague(path) < _vague(ways[origin]):
                ways[origin] = path
    found = []
    for m in roots:
        path = ways.get(m.where) or ways.get(Origin(m.where.table), ())
        path = (m.where, *path[1:]) if path else (m.where,)
        explains = sum(m.where in behind[other.where] for other in moved)
        found.append(Suspect(m, path, explains, m.where.table in sources))
    together: dict[tuple[TableName, datetime], Suspect] = {}
    for suspect in sorted(found, key=lambda s: s.rank, reverse=True):
        where = (suspect.move.where.table, suspect.move.since)
        leader = together.setdefault(where, suspect)
        if leader is not suspect:
            together[where] = replace(leader, beside=(*leader.beside, suspect.move))
    return tuple(together.values())


def _vague(path: Sequence[Origin]) -> tuple[int, int]:
    """Return what a way is judged by: steps that name no column, then all steps."""
    return sum(step.column is None for step in path), len(path)


def _upstream(there: set[Origin], of: Origin, time_of: dict[TableName, Origin]) -> set[Origin]:
    """Return what can explain a move: the rows and the clock of its own table go together."""
    if of.column is None or of == time_of[of.table]:
        return {o for o in there if o.table != of.table}
    return there


def _columns(lineage: Lineage, table: TableName) -> list[Origin]:
    traced = next(t for t in lineage.tables if t.table == table)
    named = [c for c in traced.origins or () if c not in traced.ignored]
    return [Origin(table, column) for column in named] or [Origin(table)]
