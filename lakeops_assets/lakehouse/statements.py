"""SELECT statements in Spark's dialect: checked, taken apart and transpiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp


def quote(identifier: str) -> str:
    """Return a column name in Spark's backticks."""
    return "`" + identifier.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Return a text in Spark's quotes, in which a backslash escapes and two quotes do not."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def within_bounds(column: str, values: pa.ChunkedArray) -> str:
    """Return a condition in Spark's dialect that holds for all values and for few others.

    It is one that statistics of files can answer: between the smallest and the largest value. TRUE
    for no values, and for types whose constants are not exact.
    """
    import pyarrow.compute as pc
    import pyarrow.types as is_

    kind = values.type
    written: Callable[[Any], str]
    if is_.is_string(kind) or is_.is_large_string(kind):
        written = literal
    elif is_.is_integer(kind):
        written = str
    elif is_.is_date(kind):
        written = "DATE '{}'".format
    else:
        return "TRUE"
    bounds = pc.min_max(values).as_py()  # type: ignore[attr-defined]
    if bounds["min"] is None:
        return "TRUE"
    return f"{column} BETWEEN {written(bounds['min'])} AND {written(bounds['max'])}"


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
    return list(dict.fromkeys(dotted(t) for t in tables_in(parse_select(sql))))


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


def to_text(statement: exp.Expr) -> str:
    """Return a statement that was taken apart as text in the same dialect.

    The dialect of Databricks is Spark's with QUALIFY, which would else become a column of a
    subquery, and that a star around it selects.
    """
    return statement.sql(dialect="databricks")


def transpile_condition(condition: str, dialect: str) -> str:
    """Return a condition in Spark's dialect as one in another.

    Raises:
        QueryError: The text is not one condition.
    """
    [projection] = parse_select(f"SELECT ({condition}) AS met").selects
    return projection.this.sql(dialect=dialect)


def tables_in(statement: exp.Query) -> list[exp.Table]:
    """Return the tables of a statement; its own common table expressions are none."""
    from sqlglot import exp

    names = {cte.alias for cte in statement.find_all(exp.CTE)}
    return [
        t
        for t in statement.find_all(exp.Table)
        if isinstance(t.this, exp.Identifier) and (t.db or t.name not in names)
    ]


def dotted(table: exp.Table) -> str:
    """Return the name of a table as it was written."""
    return ".".join(part for part in (table.catalog, table.db, table.name) if part)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
