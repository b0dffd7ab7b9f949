"""Which rows of the sources a feature row has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lakeops_assets.features.point_in_time.spec import CUT_OFF, PointInTimeError, PointInTimeSpec
from lakeops_assets.features.point_in_time.statement import (
    EVENT_KEY,
    Bounds,
    known_between,
    rows_statement,
)
from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.statements import quote


@dataclass(frozen=True)
class Seen:
    """What one source contributed.

    Attributes:
        source: Name of the source; `rows` for the row itself.
        table: Its table.
        version: Delta version that was read.
        first: Earliest known instant that counts; None for the row itself.
        rows: The source rows, the one that became known last first.
    """

    source: str
    table: str
    version: int
    first: datetime | None
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Explanation:
    """A feature row and what it was made from.

    Attributes:
        table: Feature table.
        key: Key of the row.
        cut_off: Instant at which it was looked at.
        features: The row as the table holds it.
        seen: One entry per source.
    """

    table: str
    key: Mapping[str, Any]
    cut_off: datetime
    features: Mapping[str, Any]
    seen: tuple[Seen, ...]


def explain(lakehouse: Lakehouse, spec: PointInTimeSpec, key: Mapping[str, Any]) -> Explanation:
    """Return a feature row with every source row that was known by its cut-off and in a window.

    Args:
        lakehouse: Where the tables are.
        spec: The definition.
        key: Column of the primary key -> value.

    Raises:
        PointInTimeError: There is no such row, or the key has other columns.
    """
    import pyarrow as pa

    if set(key) != set(spec.primary_key):
        raise PointInTimeError(
            f"a row of {spec.table} is identified by {', '.join(spec.primary_key)}, not by "
            f"{', '.join(key) or 'nothing'}"
        )
    # What is known by a cut-off stays so: the newest version tells as well as the one then.
    versions = {str(t): lakehouse.version(t) or 0 for t in map(lakehouse.name, spec.tables)}
    wanted = pa.table({k: [v] for k, v in key.items()})
    same = " AND ".join(f"CAST(t.{quote(k)} AS STRING) = CAST(w.{quote(k)} AS STRING)" for k in key)
    found = lakehouse.query(
        f"SELECT t.* FROM features AS t JOIN wanted AS w ON {same}",
        {"features": lakehouse.at(spec.table), "wanted": wanted},
    ).read_all()
    if found.num_rows == 0:
        listed = ", ".join(f"{k} = {v!r}" for k, v in key.items())
        raise PointInTimeError(
            f"{spec.table} has no row with {listed}; a row is there once its cut-off has passed"
        )
    [features] = found.to_pylist()
    cut_off = features[CUT_OFF]
    exact = {k: features[k] for k in spec.primary_key}
    sources = {
        name: f"{lakehouse.name(name)} VERSION AS OF {versions[str(lakehouse.name(name))]}"
        for name in spec.tables
    }
    one = pa.table({k: [v] for k, v in exact.items()})
    row_is = " AND ".join(f"w.{quote(k)} = t.{quote(k)}" for k in exact)
    exists = f"EXISTS (SELECT 1 FROM wanted AS w WHERE {row_is})"
    asked = lakehouse.query(
        rows_statement(spec, sources, Bounds(cut_off, cut_off), exists), {"wanted": one}
    ).read_all()
    itself = lakehouse.query(
        f"SELECT * FROM {sources[spec.rows]} AS t WHERE {exists}", {"wanted": one}
    ).read_all()
    rows_table = lakehouse.name(spec.rows)
    seen = [
        Seen("rows", str(rows_table), versions[str(rows_table)], None, tuple(itself.to_pylist()))
    ]
    for events in spec.events:
        on = " AND ".join(f"s.{quote(a)} = k.{quote(EVENT_KEY + b)}" for a, b in events.key.items())
        name = lakehouse.name(events.table)
        first = cut_off - events.longest
        condition = known_between(events.known_at, first, cut_off)
        condition += f" AND ({events.where})" if events.where else ""
        rows = lakehouse.query(
            f"SELECT s.* FROM (SELECT * FROM {sources[events.table]} AS e WHERE {condition}) AS s "
            f"JOIN row_keys AS k ON {on or 'TRUE'} ORDER BY s.{quote(events.known_at)} DESC",
            {"row_keys": asked},
        ).read_all()
        seen.append(
            Seen(events.name, str(name), versions[str(name)], first, tuple(rows.to_pylist()))
        )
    return Explanation(str(spec.table), exact, cut_off, features, tuple(seen))
