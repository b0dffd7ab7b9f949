"""What a table of point-in-time features is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lakeops_assets.features.spec import FeatureSpecError
from lakeops_assets.lakehouse import QueryError, TableName
from lakeops_assets.lakehouse.statements import parse_select

if TYPE_CHECKING:
    from sqlglot import exp

# Aggregates that a running window can compute; each is exact for integers and decimals.
AGGREGATES = ("count", "sum", "avg", "min", "max", "last")
CUT_OFF = "cut_off"

_LENGTH = re.compile(r"(\d+) (minute|hour|day|week)s?")
_SHORT = {"minute": "m", "hour": "h", "day": "d", "week": "w"}


class PointInTimeError(FeatureSpecError):
    """Point-in-time features are declared in a way that cannot work."""


def length(text: str) -> timedelta:
    """Return the length of time that a text such as `90 minutes` or `28 days` says.

    Raises:
        PointInTimeError: It says none.
    """
    count, unit = _parsed(text)
    return timedelta(**{f"{unit}s": count})


def _parsed(text: str) -> tuple[int, str]:
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise PointInTimeError(
            f"{text!r} is no length of time: write a number and minutes, hours, days or weeks, "
            "such as '2 hours'"
        )
    return int(match[1]), match[2]


@dataclass(frozen=True)
class Lookup:
    """A table of things that do not change with time.

    Attributes:
        table: The table; it has one row per key.
        key: Column of the table -> column of the row that it equals.
        columns: Feature -> expression over the table's columns.
    """

    table: str
    key: Mapping[str, str]
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Events:
    """Past events that a row looks back on.

    Attributes:
        name: Name of the source; features are named after it.
        table: Table with one row per event.
        known_at: Column with the instant from which the event is known. It decides what a row can
            see, and when it happened does not.
        key: Column of the event -> column of the row that it equals; when empty, every row sees
            every event.
        windows: How far before the cut-off an event may have become known, both ends included.
        features: Feature -> expression over count(*), count, sum, avg, min, max and last of
            the events in a window; `cut_off` is the row's cut-off. `last(x)` is the value that
            is not null and became known last. Each window gives one, `<name>_<feature>_<window>`.
        where: Condition on the events.
    """

    name: str
    table: str
    known_at: str
    key: Mapping[str, str]
    windows: tuple[str, ...]
    features: Mapping[str, str]
    where: str = ""

    @property
    def longest(self) -> timedelta:
        """The longest window."""
        return max(length(w) for w in self.windows)

    def feature_name(self, feature: str, window: str) -> str:
        """Return the name of a column, such as `origin_delay_3h`."""
        count, unit = _parsed(window)
        return f"{self.name}_{feature}_{count}{_SHORT[unit]}"


@dataclass(frozen=True)
class PointInTimeSpec:
    """Rows, the instant at which each is looked at, and what was known then.

    Attributes:
        table: Where the rows go.
        rows: Table with the rows; it has the primary key, the timestamp and the keys of events.
        primary_key: Columns that identify a row.
        timestamp: Column with the row's own time, such as the scheduled departure.
        lead: How long before it the row is looked at: the cut-off is timestamp minus lead.
        columns: Feature -> expression over the columns of the row.
        lookups: Tables that do not change with time.
        events: Past events to look back on.
        derived: Feature -> expression over other columns of the result.
        descriptions: Column -> description.
        description: Description of the table.
    """

    table: TableName
    rows: str
    primary_key: tuple[str, ...]
    timestamp: str
    lead: str
    columns: Mapping[str, str] = field(default_factory=dict)
    lookups: tuple[Lookup, ...] = ()
    events: tuple[Events, ...] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        length(self.lead)
        if not self.primary_key:
            raise PointInTimeError(f"{self.table} has no primary key: name its columns")
        names = [e.name for e in self.events]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise PointInTimeError(f"{self.table} has two sources named {', '.join(twice)}")
        for events in self.events:
            if not (events.windows and events.features):
                raise PointInTimeError(
                    f"source {events.name} of {self.table} needs `windows` and `features`"
                )
            for window in events.windows:
                length(window)
            for name, text in events.features.items():
                self._check_aggregates(events, name, text)
        made = self.output
        twice = sorted({n for n in made if made.count(n) > 1})
        if twice:
            raise PointInTimeError(f"{self.table} makes the column {', '.join(twice)} twice")

    def _check_aggregates(self, events: Events, name: str, text: str) -> None:
        found = aggregates(expression(text, f"{name} of {events.name}"))
        if not found:
            raise PointInTimeError(
                f"feature {name} of source {events.name} of {self.table} is {text!r}, which "
                f"aggregates nothing; use {', '.join(AGGREGATES)}"
            )
        unknown = sorted({a.key for a in found} - set(AGGREGATES))
        if unknown:
            raise PointInTimeError(
                f"feature {name} of source {events.name} of {self.table} uses "
                f"{', '.join(unknown)}, which no running window computes; there are: "
                f"{', '.join(AGGREGATES)}"
            )

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that are read, as written: rows, then lookups, then events."""
        named = [self.rows, *(x.table for x in self.lookups), *(e.table for e in self.events)]
        return tuple(dict.fromkeys(named))

    @property
    def output(self) -> list[str]:
        """Columns of the result."""
        return [
            *self.primary_key,
            self.timestamp,
            CUT_OFF,
            *self.columns,
            *(name for x in self.lookups for name in x.columns),
            *(e.feature_name(f, w) for e in self.events for w in e.windows for f in e.features),
            *self.derived,
        ]

    @property
    def digest(self) -> str:
        """Hash of everything that changes the rows; descriptions do not."""
        parts = {k: v for k, v in asdict(self).items() if not k.startswith("description")}
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def encode(spec: PointInTimeSpec) -> dict[str, Any]:
    """Return a definition as plain values; see `decode`."""
    return {**asdict(spec), "table": str(spec.table)}


def decode(plain: Mapping[str, Any]) -> PointInTimeSpec:
    """Return the definition that `encode` made plain."""
    fields = dict(plain)
    fields["table"] = TableName.parse(plain["table"])
    fields["primary_key"] = tuple(plain["primary_key"])
    fields["lookups"] = tuple(Lookup(**x) for x in plain["lookups"])
    fields["events"] = tuple(
        Events(**{**e, "windows": tuple(e["windows"])}) for e in plain["events"]
    )
    return PointInTimeSpec(**fields)


def expression(text: str, what: str) -> exp.Expression:
    """Return an expression in Spark's dialect as a tree of one's own.

    Raises:
        PointInTimeError: It does not parse.
    """
    try:
        return parse_select(f"SELECT {text} AS value").selects[0].this.copy()
    except QueryError as error:
        raise PointInTimeError(f"{what} is no expression: {error}") from error


def aggregates(tree: exp.Expression) -> list[exp.AggFunc]:
    """Return the aggregate functions in an expression."""
    from sqlglot import exp

    return [node for node in tree.walk() if isinstance(node, exp.AggFunc)]
