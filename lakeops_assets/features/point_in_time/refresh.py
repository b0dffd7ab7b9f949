"""Bring a table of point-in-time features up to date with its sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lakeops_assets.features.point_in_time.spec import (
    CUT_OFF,
    PointInTimeError,
    PointInTimeSpec,
    length,
)
from lakeops_assets.features.point_in_time.statement import Bounds, statement
from lakeops_assets.lakehouse import (
    Commit,
    Lakehouse,
    LakehouseError,
    TableName,
    Transaction,
)
from lakeops_assets.lakehouse.statements import quote

if TYPE_CHECKING:
    import pyarrow as pa

    from lakeops_assets.lakehouse.engines.protocol import Input

APP_ID = "point_in_time"
_MICROSECOND = timedelta(microseconds=1)

Mode: TypeAlias = Literal["new", "again", "full", "none"]


@dataclass(frozen=True)
class PointInTimeResult:
    """What a refresh did.

    Attributes:
        commit: The write.
        mode: `new`: rows whose cut-off has passed since the last refresh were appended; `again`:
            some that were there were computed again; `full`: all were; `none`: nothing to do.
        inputs: Table -> Delta version that was read.
        known_until: Instant up to which events were known; rows with a later cut-off wait.
        rows: Rows that were computed.
        reason: In words.
    """

    commit: Commit
    mode: Mode
    inputs: Mapping[str, int]
    known_until: datetime | None
    rows: int
    reason: str


@dataclass(frozen=True)
class _Change:
    """What a source brought since the last refresh.

    Attributes:
        first: Earliest cut-off that can see a difference; None when none can.
        known_until: Newest known instant among the events.
        again: Why everything has to be computed again; empty when it need not.
    """

    first: datetime | None = None
    known_until: datetime | None = None
    again: str = ""


def refresh_point_in_time(lakehouse: Lakehouse, spec: PointInTimeSpec) -> PointInTimeResult:
    """Compute the rows whose cut-off has passed, and those that late events have changed.

    A row waits until an event is known that is at least as late as its cut-off: then what it can
    see is complete, as far as one can tell. Events in the rows' own table do not count for that
    where there are others: a schedule is known ahead. Events that arrive later and were known
    earlier make the rows behind them be computed again. So the table is a function of its sources,
    whatever the order in which their files came, and a refresh costs what is new. The versions that
    were read are recorded with the commit: a refresh that was killed is repeated as if it had not
    been.

    Raises:
        PointInTimeError: A column is missing or no instant, or a key is there twice.
        LakehouseError: A source is missing or the statement cannot be run.
    """
    tables = {name: lakehouse.name(name) for name in spec.tables}
    versions = {str(table): _version(lakehouse, table) for table in tables.values()}
    state = recorded(lakehouse, spec.table)
    if state.get("digest") == spec.digest and state.get("inputs") == versions:
        return _nothing(lakehouse, spec, versions, state, "no source is newer")
    _check(lakehouse, spec, tables)

    # The newest version holds the same rows as the newest that changed any, and VACUUM spares it.
    at = {name: lakehouse.version(name) or 0 for name in versions}
    change = _since(lakehouse, spec, tables, versions, state)
    before = None if change.again else datetime.fromisoformat(state["known_until"])
    known_until = max((t for t in (before, change.known_until) if t is not None), default=None)
    if known_until is None:
        return _nothing(lakehouse, spec, versions, state, "no event is known yet")
    if before is None:
        first = None
    else:
        first = min(t for t in (change.first, before + _MICROSECOND) if t is not None)
    rows = compute(lakehouse, spec, Bounds(first, known_until), versions=at)
    now = {
        "digest": spec.digest,
        "inputs": versions,
        "known_until": known_until.isoformat(),
    }
    _check_keys(spec, rows)
    if before is not None and first is not None and first > before:
        commit = lakehouse.append(
            spec.table, rows, transaction=_transaction(lakehouse, spec), metadata=_encoded(now)
        )
        # Without a row there is no commit that could carry the state: what was read is read again.
        reason = f"cut-offs from {first:%Y-%m-%d %H:%M} to {known_until:%Y-%m-%d %H:%M} UTC"
        return PointInTimeResult(commit, "new", versions, known_until, rows.num_rows, reason)
    if before is None:
        commit = _replace(lakehouse, spec, rows, now)
        return PointInTimeResult(commit, "full", versions, known_until, rows.num_rows, change.again)
    commit = lakehouse.merge(
        spec.table,
        rows,
        spec.primary_key,
        transaction=_transaction(lakehouse, spec),
        metadata=_encoded(now),
    )
    reason = f"something is new that was known by {first:%Y-%m-%d %H:%M} UTC"
    return PointInTimeResult(commit, "again", versions, known_until, rows.num_rows, reason)


def compute(
    lakehouse: Lakehouse,
    spec: PointInTimeSpec,
    bounds: Bounds,
    *,
    versions: Mapping[str, int] | None = None,
    rows: pa.Table | None = None,
) -> pa.Table:
    """Return feature rows without writing them.

    With `rows` and `bounds.now` it is the online call: the features of flights, orders or
    customers that no table has yet, from what is known now.

    Args:
        lakehouse: Where the sources are.
        spec: The definition.
        bounds: Which rows, and as of when.
        versions: Table -> Delta version; the newest of each when None.
        rows: Rows to compute instead of those of the rows' table, with the same columns.
    """
    inputs: dict[str, Input] = {}
    sources = {}
    for written in spec.tables:
        name = lakehouse.name(written)
        at = "" if versions is None else f" VERSION AS OF {versions[str(name)]}"
        sources[written] = f"{name}{at}"
    if rows is not None:
        inputs["given_rows"] = rows
        sources = {**sources, spec.rows: "given_rows"}
    return lakehouse.query(statement(spec, sources, bounds), inputs).read_all()


def recorded(lakehouse: Lakehouse, table: TableName) -> dict[str, Any]:
    """Return what the newest refresh recorded; empty before the first."""
    if not lakehouse.exists(table):
        return {}
    for commit in lakehouse.history(table, limit=50):
        if APP_ID in commit.metadata:
            return dict(json.loads(commit.metadata[APP_ID]))
    return {}


def _since(
    lakehouse: Lakehouse,
    spec: PointInTimeSpec,
    tables: Mapping[str, TableName],
    versions: Mapping[str, int],
    state: Mapping[str, Any],
) -> _Change:
    """Return what the sources brought since the last refresh."""
    before: Mapping[str, int] = state.get("inputs", {})
    again = ""
    if state.get("digest") != spec.digest:
        again = "first refresh of this definition"
    elif set(before) != set(versions) or any(before[t] > versions[t] for t in versions):
        again = "a source was replaced"
    elif any(versions[str(tables[x.table])] > before[str(tables[x.table])] for x in spec.lookups):
        again = "a lookup is newer"
    found = [] if again else _news(lakehouse, spec, tables, before, versions)
    if any(c.again for c in found):
        again = next(c.again for c in found if c.again)
    if again:
        return _Change(known_until=_known_until(lakehouse, spec, tables), again=again)
    return _Change(
        min((c.first for c in found if c.first is not None), default=None),
        max((c.known_until for c in found if c.known_until is not None), default=None),
    )


def _news(
    lakehouse: Lakehouse,
    spec: PointInTimeSpec,
    tables: Mapping[str, TableName],
    before: Mapping[str, int],
    versions: Mapping[str, int],
) -> list[_Change]:
    """Return for each source that moved what its change feed says."""
    columns = {(e.table, e.known_at): timedelta(0) for e in spec.events}
    columns[spec.rows, spec.timestamp] = length(spec.lead)
    found = []
    for (written, column), lead in columns.items():
        name = str(tables[written])
        if versions[name] == before[name]:
            continue
        if gap := lakehouse.feed_gap(name, before[name] + 1, versions[name]):
            found.append(_Change(again=f"the changes of {name} are not whole: {gap}"))
            continue
        feed = lakehouse.changes(name, before[name] + 1, versions[name])
        [row] = (
            lakehouse.query(
                f"SELECT min({quote(column)}) AS first, max({quote(column)}) AS last, "
                "count(CASE WHEN _change_type IN ('delete', 'update_preimage') THEN 1 END) AS gone "
                "FROM feed",
                {"feed": feed},
            )
            .read_all()
            .to_pylist()
        )
        if row["gone"]:
            found.append(_Change(again=f"rows of {name} were changed or deleted"))
        elif row["first"] is not None:
            is_clock = (written, column) in _clock(spec)
            found.append(_Change(row["first"] - lead, row["last"] if is_clock else None))
    return found


def _clock(spec: PointInTimeSpec) -> set[tuple[str, str]]:
    """Return the tables, each with the column, whose newest event says how far knowledge goes.

    The rows' own table is no clock where there is another: a schedule is known ahead.
    """
    every = {(e.table, e.known_at) for e in spec.events}
    return {stream for stream in every if stream[0] != spec.rows} or every


def _known_until(
    lakehouse: Lakehouse,
    spec: PointInTimeSpec,
    tables: Mapping[str, TableName],
) -> datetime | None:
    found = []
    for written, column in _clock(spec):
        rows = lakehouse.query(f"SELECT max({quote(column)}) AS last FROM {tables[written]}")
        found.append(rows.read_all()["last"][0].as_py())
    return max((t for t in found if t is not None), default=None)


def _version(lakehouse: Lakehouse, table: TableName) -> int:
    version = lakehouse.data_version(table)
    if version is None:
        lakehouse.at(table)  # raises the error that says which tables exist
        raise LakehouseError(f"there is no table {table}")
    return version


def _check(lakehouse: Lakehouse, spec: PointInTimeSpec, tables: Mapping[str, TableName]) -> None:
    """Check that the columns that put things in order are there and are instants."""
    import pyarrow as pa

    wanted = [(spec.rows, spec.timestamp), *((e.table, e.known_at) for e in spec.events)]
    for written, column in wanted:
        schema = lakehouse.schema(tables[written])
        if column not in schema.names:
            raise PointInTimeError(
                f"{tables[written]} has no column {column}, which puts {spec.table} in order; it "
                f"has: {', '.join(schema.names)}"
            )
        kind = schema.field(column).type
        if not (pa.types.is_timestamp(kind) and kind.tz):
            raise PointInTimeError(
                f"{column} of {tables[written]} is {kind} and has to be an instant: declare it as "
                "timestamp in the bronze table"
            )


def _check_keys(spec: PointInTimeSpec, rows: pa.Table) -> None:
    keys = rows.select(list(spec.primary_key))
    if keys.group_by(list(spec.primary_key)).aggregate([]).num_rows < rows.num_rows:
        raise PointInTimeError(
            f"{spec.rows} has a row with the same {', '.join(spec.primary_key)} twice; make it "
            f"unique in a feature table and let {spec.table} read that one"
        )


def _replace(
    lakehouse: Lakehouse, spec: PointInTimeSpec, rows: pa.Table, now: Mapping[str, Any]
) -> Commit:
    described = rows.cast(_described(spec, rows.schema))
    if not lakehouse.exists(spec.table):
        lakehouse.create(spec.table, described.schema, description=spec.description)
    transaction = _transaction(lakehouse, spec)
    if set(lakehouse.schema(spec.table).names) == set(rows.schema.names):
        return lakehouse.merge(
            spec.table,
            described,
            spec.primary_key,
            delete_missing=True,
            transaction=transaction,
            metadata=_encoded(now),
        )
    return lakehouse.overwrite(
        spec.table, described, transaction=transaction, metadata=_encoded(now), evolve=True
    )


def _described(spec: PointInTimeSpec, schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    said = {CUT_OFF: f"Instant at which the row is looked at: {spec.lead} before {spec.timestamp}."}
    said |= spec.descriptions
    return pa.schema(
        f.with_metadata({"comment": said[f.name]}) if f.name in said else f for f in schema
    )


def _nothing(
    lakehouse: Lakehouse,
    spec: PointInTimeSpec,
    versions: Mapping[str, int],
    state: Mapping[str, Any],
    reason: str,
) -> PointInTimeResult:
    if not lakehouse.exists(spec.table):
        raise PointInTimeError(f"{spec.table} cannot be made: {reason}; land files first")
    commit = Commit(lakehouse.version(spec.table) or 0, written=False, reason=reason)
    known = state.get("known_until")
    until = datetime.fromisoformat(known).astimezone(UTC) if known else None
    return PointInTimeResult(commit, "none", versions, until, 0, reason)


def _encoded(now: Mapping[str, Any]) -> dict[str, str]:
    return {APP_ID: json.dumps(now)}


def _transaction(lakehouse: Lakehouse, spec: PointInTimeSpec) -> Transaction:
    seen = lakehouse.transaction_version(spec.table, APP_ID)
    return Transaction(APP_ID, 0 if seen is None else seen + 1)
