"""SELECT statements in Spark's dialect: checked, their tables resolved, transpiled."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.engines.protocol import Input, Query
from lakeops_assets.lakehouse.errors import LakehouseError, QueryError
from lakeops_assets.lakehouse.names import TableName

if TYPE_CHECKING:
    from sqlglot import exp

    from lakeops_assets.lakehouse.lakehouse import Lakehouse


def quote(identifier: str) -> str:
    """Return a column name in Spark's backticks."""
    return "`" + identifier.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Return a text in Spark's quotes, in which a backslash escapes and two quotes do not."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@lru_cache(maxsize=512)
def parse_select(sql: str) -> exp.Query:
    """Parse one SELECT in Spark's dialect.

    The same text gives the same tree: whoever changes it copies it first.

    Raises:
        QueryError: The text does not parse, or is not exactly one SELECT.
    """
    import sqlglot
    from sqlglot import errors, exp

    try:
        statements = [s for s in sqlglot.parse(sql, dialect="spark") if s is not None]
    except errors.SqlglotError as error:
        raise QueryError(f"the statement does not parse: {_first_line(error)}\n{sql}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        kinds = ", ".join(s.key.upper() for s in statements) or "nothing"
        raise QueryError(f"expected one SELECT and got {kinds}; only reading is possible here")
    return statements[0]


def tables_of(sql: str) -> list[str]:
    """Return the names of the tables that a SELECT reads, in order, each once.

    Common table expressions of the statement itself are not tables.
    """
    return list(dict.fromkeys(_dotted(t) for t in _tables(parse_select(sql))))


def output_columns(sql: str) -> list[str]:
    """Return the names of the columns that a SELECT makes; a star is returned as `*`."""
    return [e.output_name if not e.is_star else "*" for e in parse_select(sql).selects]


@lru_cache(maxsize=512)
def transpile(sql: str, dialect: str) -> str:
    """Return a SELECT in Spark's dialect as a statement in another."""
    from sqlglot import ErrorLevel, errors

    try:
        return parse_select(sql).sql(dialect=dialect, unsupported_level=ErrorLevel.RAISE)
    except errors.UnsupportedError as error:
        raise QueryError(f"{_first_line(error)} cannot be said in {dialect}:\n{sql}") from error


def bind(lakehouse: Lakehouse, sql: str, inputs: Mapping[str, Input], version: int | None) -> Query:
    """Return the query in which each table name has become an input at a version."""
    from sqlglot import exp

    statement = parse_select(sql).copy()
    bound: dict[str, Input] = {}
    for table in _tables(statement):
        written = _dotted(table)
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
        name = lakehouse.name(written)
        at = version if clause is None else _version(lakehouse, name, clause)
        source = lakehouse.at(name, at)
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
    return Query(statement.sql(dialect="spark"), bound)


def _tables(statement: exp.Query) -> list[exp.Table]:
    from sqlglot import exp

    names = {cte.alias for cte in statement.find_all(exp.CTE)}
    return [
        t
        for t in statement.find_all(exp.Table)
        if isinstance(t.this, exp.Identifier) and (t.db or t.name not in names)
    ]


def _dotted(table: exp.Table) -> str:
    return ".".join(part for part in (table.catalog, table.db, table.name) if part)


def _version(lakehouse: Lakehouse, name: TableName, clause: exp.Expression) -> int:
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
    commits = lakehouse.history(name)
    before = [c.version for c in commits if c.timestamp <= instant]
    if not before:
        raise LakehouseError(
            f"table {name} did not exist at {instant:%Y-%m-%d %H:%M %Z}; its first version is of "
            f"{commits[-1].timestamp:%Y-%m-%d %H:%M %Z}"
        )
    return max(before)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
