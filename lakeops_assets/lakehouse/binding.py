"""Table names of a statement become inputs at a version."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from lakeops_assets.lakehouse.engines.protocol import CommitInfo, Input, Query, TableAt
from lakeops_assets.lakehouse.errors import LakehouseError, QueryError
from lakeops_assets.lakehouse.names import TableName
from lakeops_assets.lakehouse.statements import dotted, parse_select, tables_in, to_text

if TYPE_CHECKING:
    from sqlglot import exp


class Tables(Protocol):
    """What has to be known of tables to bind a statement to them; the lakehouse is one."""

    def name(self, table: TableName | str) -> TableName:
        """Return a name with all its parts."""
        ...

    def at(self, table: TableName | str, version: int | None = None) -> TableAt:
        """Return a table at a version."""
        ...

    def history(self, table: TableName | str, limit: int | None = None) -> list[CommitInfo]:
        """Return the commits of a table, newest first."""
        ...


def bind(tables: Tables, sql: str, inputs: Mapping[str, Input], version: int | None) -> Query:
    """Return the query in which each table name has become an input at a version."""
    from sqlglot import exp

    parsed = parse_select(sql)
    if all(not table.db and dotted(table) in inputs for table in tables_in(parsed)):
        # Nothing is renamed: the text stays as it is, and need not be parsed a second time.
        return Query(sql, {dotted(table): inputs[dotted(table)] for table in tables_in(parsed)})
    statement = parsed.copy()
    bound: dict[str, Input] = {}
    for table in tables_in(statement):
        written = dotted(table)
        clause = table.args.get("version")
        if not table.db:
            if written not in inputs:
                raise QueryError(
                    f"{written!r} is not an input of this statement and has too few parts to be a "
                    "table: write <schema>.<table> or <catalog>.<schema>.<table>. Inputs: "
                    f"{', '.join(sorted(inputs)) or 'none'}"
                )
            bound[written] = inputs[written]
            continue
        name = tables.name(written)
        at = version if clause is None else _version(tables, name, clause)
        source = tables.at(name, at)
        alias = str(name).replace(".", "__") + ("" if at is None else f"__v{at}")
        bound[alias] = source
        table.set("version", None)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
        table.set("catalog", None)
        table.set("db", None)
        table.set("this", exp.to_identifier(alias, quoted=True))
    # A column written as churn.features.tenure follows its table to the alias.
    for column in statement.find_all(exp.Column):
        column.set("catalog", None)
        column.set("db", None)
    return Query(to_text(statement), bound)


def _version(tables: Tables, name: TableName, clause: exp.Expression) -> int:
    from sqlglot import exp

    wanted = clause.expression
    if clause.name.upper() == "VERSION" and isinstance(wanted, exp.Literal):
        return int(wanted.this)
    moment = wanted.name if isinstance(wanted, exp.Literal) else wanted.sql(dialect="spark")
    try:
        instant = datetime.fromisoformat(moment)
    except ValueError as error:
        raise QueryError(
            f"TIMESTAMP AS OF takes an ISO time such as '2026-03-01 12:00', not {moment!r}"
        ) from error
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    commits = tables.history(name)
    before = [c.version for c in commits if c.timestamp <= instant]
    if not before:
        raise LakehouseError(
            f"table {name} did not exist at {instant:%Y-%m-%d %H:%M %Z}; its first version is of "
            f"{commits[-1].timestamp:%Y-%m-%d %H:%M %Z}"
        )
    return max(before)
