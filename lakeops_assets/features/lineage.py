"""Which columns of the inputs a feature is made of, read from its definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from lakeops_assets.features.point_in_time.spec import PointInTimeSpec, expression
from lakeops_assets.features.spec import FeatureSpec
from lakeops_assets.lakehouse.statements import parse_select

# Column -> (table as it is written, column); None stands for which rows that table has.
Origins: TypeAlias = Mapping[str, tuple[tuple[str, str | None], ...]]


def point_in_time_origins(spec: PointInTimeSpec) -> Origins:
    """Return what each column of point-in-time features is made of.

    A feature of past events is made of the columns that it aggregates and filters by, of the keys
    on both sides, of the time from which events are known, and of which events there are.
    """
    rows = spec.rows
    found: dict[str, list[tuple[str, str | None]]] = {
        name: [(rows, name)] for name in (*spec.primary_key, spec.timestamp)
    }
    found["cut_off"] = [(rows, spec.timestamp)]
    for name, text in spec.columns.items():
        found[name] = [(rows, c) for c in _columns(text)]
    for lookup in spec.lookups:
        keys = [(rows, c) for c in lookup.key.values()]
        for name, text in lookup.columns.items():
            found[name] = [*((lookup.table, c) for c in _columns(text)), *keys]
    for events in spec.events:
        shared: list[tuple[str, str | None]] = [(events.table, events.known_at)]
        shared += [(events.table, c) for c in events.key] + [(rows, c) for c in events.key.values()]
        shared += [(events.table, c) for c in (_columns(events.where) if events.where else ())]
        for feature, text in events.features.items():
            own = [(events.table, c) for c in _columns(text) if c != "cut_off"]
            for window in events.windows:
                name = events.feature_name(feature, window)
                found[name] = [*own, *shared, (events.table, None)]
    for name, text in spec.derived.items():
        found[name] = [o for c in _columns(text) for o in found.get(c, ())]
    return {name: tuple(dict.fromkeys(origins)) for name, origins in found.items()}


def sql_origins(spec: FeatureSpec, schemas: Mapping[str, Sequence[str]]) -> Origins:
    """Return what each column of a feature table is made of.

    Args:
        spec: The table. Every column is made of which rows its inputs have, too, but for those of a
            left join: they decide which values there are, and not which rows.
        schemas: Input as it is written -> its columns.
    """
    from sqlglot import exp, lineage

    nested: dict[str, dict[str, dict[str, str]]] = {}
    for name, columns in schemas.items():
        *_, schema, table = name.split(".")
        nested.setdefault(schema, {})[table] = dict.fromkeys(columns, "string")
    statement = parse_select(spec.sql).copy()
    for named in statement.find_all(exp.Table):
        named.set("catalog", None)
    written = {".".join(name.split(".")[-2:]): name for name in schemas}
    beside = {
        f"{join.this.db}.{join.this.name}"
        for join in statement.find_all(exp.Join)
        if join.side == "LEFT" and isinstance(join.this, exp.Table)
    }
    rows: list[tuple[str, str | None]] = [
        (name, None) for short, name in written.items() if short not in beside
    ]
    found: dict[str, tuple[tuple[str, str | None], ...]] = {}
    nodes = lineage.lineage(None, statement, nested, dialect="spark")
    for column, node in nodes.items():
        own: list[tuple[str, str | None]] = []
        for leaf in node.walk():
            if isinstance(leaf.source, exp.Table):
                name = f"{leaf.source.db}.{leaf.source.name}"
                if name in written:
                    own.append((written[name], leaf.name.rsplit(".", 1)[-1].strip('`"')))
        # A value of a left join also depends on whether there is a row.
        own = [*sorted(own), *((t, None) for t, _ in sorted(own))]
        found[column] = tuple(dict.fromkeys([*own, *rows]))
    return found


def _columns(text: str) -> list[str]:
    from sqlglot import exp

    tree = expression(text, "an expression")
    return list(dict.fromkeys(c.name for c in tree.find_all(exp.Column)))
