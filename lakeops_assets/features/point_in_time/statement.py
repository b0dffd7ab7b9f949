"""The SELECT that a definition of point-in-time features stands for.

Events and rows are one stream per key, in the order in which they became known. A running window
over it gives each row the sum of what came before, so the work grows with the number of events and
not with events times rows. Nothing but the order of known instants decides what a row sees. Source
of the technique: an as-of join is a union with a window, as every engine can run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lakeops_assets.features.point_in_time.spec import (
    CUT_OFF,
    Events,
    PointInTimeSpec,
    aggregates,
    expression,
    length,
)
from lakeops_assets.lakehouse.statements import quote

if TYPE_CHECKING:
    from sqlglot import exp

INSTANT, IS_ROW = "__at", "__is_row"
ROW_KEY, EVENT_KEY, VALUE = "__row_", "__on_", "__value_"
# Names of windows: everything so far, and so far back.
SO_FAR, BACK = "so_far", "back_"


@dataclass(frozen=True)
class Bounds:
    """Which rows are wanted, by their cut-off; both ends are included, and None is no end.

    Attributes:
        first: Cut-offs before it are not wanted.
        last: Cut-offs after it are not wanted.
        now: Nothing that became known after it is seen: it is the cut-off of rows whose own is
            later. None for rows whose cut-off is over.
    """

    first: datetime | None = None
    last: datetime | None = None
    now: datetime | None = None


def statement(
    spec: PointInTimeSpec,
    sources: Mapping[str, str],
    bounds: Bounds = Bounds(),
    where: str = "",
) -> str:
    """Return one SELECT in Spark's dialect.

    Args:
        spec: The definition.
        sources: Table as the definition writes it -> how the statement names it, such as
            `dev.shop.orders VERSION AS OF 3`.
        bounds: Which rows.
        where: Condition on the columns of the rows' table.
    """
    ctes = [f"rows_seen AS ({rows_statement(spec, sources, bounds, where)})"]
    # Each table is read once, over the longest window that looks back on it.
    streams = dict.fromkeys((e.table, e.known_at) for e in spec.events)
    for i, stream in enumerate(streams):
        ctes.append(f"known_{i} AS ({_known(spec, stream, sources, bounds)})")
        streams[stream] = f"known_{i}"
    joins, columns = [], ["r.*"]
    same_row = " AND ".join(f"{{0}}.{quote(ROW_KEY + k)} = r.{quote(k)}" for k in spec.primary_key)
    for i, events in enumerate(spec.events):
        source = streams[events.table, events.known_at] or ""
        ctes.append(f"events_{i} AS ({_running(spec, events, source, bounds)})")
        joins.append(f"LEFT JOIN events_{i} ON {same_row.format(f'events_{i}')}")
        columns += [
            f"events_{i}.{quote(events.feature_name(f, w))}"
            for w in events.windows
            for f in events.features
        ]
    joined = f"SELECT {', '.join(columns)} FROM rows_seen AS r {' '.join(joins)}"
    kept = ", ".join(quote(c) for c in spec.output if c not in spec.derived)
    derived = "".join(f", {text} AS {quote(name)}" for name, text in spec.derived.items())
    return f"WITH {', '.join(ctes)} SELECT {kept}{derived} FROM ({joined}) AS made"


def rows_statement(
    spec: PointInTimeSpec, sources: Mapping[str, str], bounds: Bounds, where: str = ""
) -> str:
    """Return the SELECT of the rows with key, cut-off, own columns, lookups and keys of events."""
    own = f"t.{quote(spec.timestamp)} - {_interval(length(spec.lead))}"
    cut_off = own if bounds.now is None else f"least({own}, {_literal(bounds.now)})"
    selected = [
        *(f"t.{quote(k)}" for k in spec.primary_key),
        f"t.{quote(spec.timestamp)}",
        f"{cut_off} AS {quote(CUT_OFF)}",
        *(f"{_of('t', text)} AS {quote(name)}" for name, text in spec.columns.items()),
        *(f"t.{quote(k)} AS {quote(EVENT_KEY + k)}" for k in event_keys(spec)),
    ]
    joins = []
    for i, lookup in enumerate(spec.lookups):
        on = " AND ".join(f"l{i}.{quote(a)} = t.{quote(b)}" for a, b in lookup.key.items())
        joins.append(f"LEFT JOIN {sources[lookup.table]} AS l{i} ON {on}")
        selected += [
            f"{_of(f'l{i}', text)} AS {quote(name)}" for name, text in lookup.columns.items()
        ]
    lead = length(spec.lead)
    conditions = [f"t.{quote(spec.timestamp)} IS NOT NULL"]
    if bounds.first is not None:
        conditions.append(f"t.{quote(spec.timestamp)} >= {_literal(bounds.first + lead)}")
    if bounds.last is not None:
        conditions.append(f"t.{quote(spec.timestamp)} <= {_literal(bounds.last + lead)}")
    if where:
        conditions.append(f"({where})")
    return (
        f"SELECT {', '.join(selected)} FROM {sources[spec.rows]} AS t {' '.join(joins)} "
        f"WHERE {' AND '.join(conditions)}"
    )


def event_keys(spec: PointInTimeSpec) -> list[str]:
    """Return the columns of a row that events are looked up by."""
    return list(dict.fromkeys(column for e in spec.events for column in e.key.values()))


def known_between(column: str, first: datetime | None, last: datetime | None) -> str:
    """Return the condition on what became known between two instants, both included."""
    conditions = [f"{quote(column)} IS NOT NULL"]
    if first is not None:
        conditions.append(f"{quote(column)} >= {_literal(first)}")
    if last is not None:
        conditions.append(f"{quote(column)} <= {_literal(last)}")
    return " AND ".join(conditions)


def _known(
    spec: PointInTimeSpec, stream: tuple[str, str], sources: Mapping[str, str], bounds: Bounds
) -> str:
    """Return the SELECT of the events of one table that any of the rows can see."""
    readers = [e for e in spec.events if (e.table, e.known_at) == stream]
    columns = sorted({c for e in readers for c in columns_of(e)} | {stream[1]})
    longest = max(e.longest for e in readers)
    first = None if bounds.first is None else bounds.first - longest
    last = bounds.last if bounds.now is None else bounds.now
    return (
        f"SELECT {', '.join(quote(c) for c in columns)} FROM {sources[stream[0]]} AS s "
        f"WHERE {known_between(stream[1], first, last)}"
    )


def columns_of(events: Events) -> set[str]:
    """Return the columns of the events that keys, condition and features read."""
    from sqlglot import exp

    texts = [*events.features.values(), *([events.where] if events.where else [])]
    read = (c.name for t in texts for c in expression(t, t).find_all(exp.Column))
    return {*events.key, *(c for c in read if c != CUT_OFF)}


def _running(spec: PointInTimeSpec, events: Events, source: str, bounds: Bounds) -> str:
    """Return the SELECT with one row per row of `rows_seen` and the features of one source."""
    trees = {
        name: expression(text, f"{name} of {events.name}") for name, text in events.features.items()
    }
    arguments = list(
        dict.fromkeys(_argument(a) for tree in trees.values() for a in aggregates(tree))
    )
    values = [f"{VALUE}{i}" for i in range(len(arguments))]
    value_of = dict(zip(arguments, values, strict=True))
    keys = [f"{EVENT_KEY}{i}" for i in range(len(events.key))]
    row_keys = [f"{ROW_KEY}{k}" for k in spec.primary_key]

    first = None if bounds.first is None else bounds.first - events.longest
    past = ", ".join(
        [
            *(f"{quote(a)} AS {quote(k)}" for a, k in zip(events.key, keys, strict=True)),
            f"{quote(events.known_at)} AS {quote(INSTANT)}",
            f"0 AS {quote(IS_ROW)}",
            *(f"{text} AS {quote(v)}" for text, v in value_of.items()),
        ]
    )
    asking = ", ".join(
        [
            *(
                f"{quote(EVENT_KEY + b)} AS {quote(k)}"
                for b, k in zip(events.key.values(), keys, strict=True)
            ),
            f"{quote(CUT_OFF)} AS {quote(INSTANT)}",
            f"1 AS {quote(IS_ROW)}",
            *(f"NULL AS {quote(v)}" for v in values),
        ]
    )
    no_row = "".join(f", r.{quote(k)} AS {quote(ROW_KEY + k)}" for k in spec.primary_key)
    askers = [f"{quote(EVENT_KEY + b)} IS NOT NULL" for b in events.key.values()]
    stream = (
        f"SELECT {past}{''.join(f', NULL AS {quote(k)}' for k in row_keys)} FROM {source} AS s "
        f"WHERE {known_between(events.known_at, first, None)} AND ({events.where or 'TRUE'}) "
        f"UNION ALL SELECT {asking}{no_row} FROM rows_seen AS r "
        f"WHERE {' AND '.join(askers) or 'TRUE'}"
    )
    partition = f"PARTITION BY {', '.join(quote(k) for k in keys)}" if keys else ""
    # Events that became known in one instant have an order of their own: that of their values.
    in_order = ", ".join(quote(c) for c in (INSTANT, IS_ROW, *values))
    windows = {
        SO_FAR: f"({partition} ORDER BY {in_order} ROWS BETWEEN UNBOUNDED PRECEDING "
        "AND CURRENT ROW)"
    }
    features = []
    for i, window in enumerate(events.windows):
        span = length(window)
        windows[f"{BACK}{i}"] = (
            f"({partition} ORDER BY {quote(INSTANT)} RANGE BETWEEN {_interval(span)} PRECEDING "
            "AND CURRENT ROW)"
        )
        features += [
            f"{_windowed(tree, value_of, f'{BACK}{i}', span).sql(dialect='spark')} "
            f"AS {quote(events.feature_name(name, window))}"
            for name, tree in trees.items()
        ]
    listed = ", ".join(quote(k) for k in row_keys)
    named = ", ".join(f"{name} AS {window}" for name, window in windows.items())
    return (
        f"SELECT * FROM (SELECT {listed}, {quote(IS_ROW)}, {', '.join(features)} "
        f"FROM ({stream}) AS stream WINDOW {named}) AS seen WHERE {quote(IS_ROW)} = 1"
    )


def _argument(aggregate: exp.AggFunc) -> str:
    """Return what an aggregate is over, computed on the event; a number where it counts rows."""
    from sqlglot import exp

    inner = aggregate.this
    return "1" if inner is None or isinstance(inner, exp.Star) else inner.sql(dialect="spark")


def _windowed(
    tree: exp.Expression, value_of: Mapping[str, str], back: str, span: timedelta
) -> exp.Expression:
    """Return an expression in which each aggregate looks back over a window.

    Args:
        tree: The expression.
        value_of: Argument of an aggregate -> column of the stream that holds it.
        back: Name of the window.
        span: Its length.
    """
    from sqlglot import exp

    at = quote(INSTANT)

    def over(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column) and node.name == CUT_OFF:
            return expression(at, CUT_OFF)
        if not isinstance(node, exp.AggFunc):
            return node
        value = quote(value_of[_argument(node)])
        if node.key == "avg":
            # A sum of integers is exact whatever the order; a running mean would not be.
            number = f"nullif(count({value}) OVER {back}, 0)"
            text = f"(CAST(sum({value}) OVER {back} AS DOUBLE) / {number})"
        elif node.key == "last":
            when = f"CASE WHEN {value} IS NOT NULL THEN {at} END"
            text = (
                f"CASE WHEN last_value({when}) IGNORE NULLS OVER {SO_FAR} >= "
                f"{at} - {_interval(span)} "
                f"THEN last_value({value}) IGNORE NULLS OVER {SO_FAR} END"
            )
        else:
            text = f"{node.key}({value}) OVER {back}"
        return expression(text, node.key)

    return tree.copy().transform(over)


def _of(alias: str, text: str) -> str:
    """Return an expression whose columns are those of one table."""
    from sqlglot import exp

    tree = expression(text, text)
    for column in tree.find_all(exp.Column):
        if not column.table:
            column.set("table", exp.to_identifier(alias))
    return tree.sql(dialect="spark")


def _interval(span: timedelta) -> str:
    return f"INTERVAL '{int(span.total_seconds())}' SECONDS"


def _literal(instant: datetime) -> str:
    return f"TIMESTAMP '{instant.isoformat(sep=' ')}'"
