"""The `quality` entries of ODCS become rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from lakeops_assets.contracts.conditions import constant, matches
from lakeops_assets.contracts.document import Place, close
from lakeops_assets.contracts.rules import (
    Bound,
    Condition,
    Coverage,
    Duplicates,
    Metric,
    Operator,
    Rule,
    Statement,
    Unique,
)
from lakeops_assets.lakehouse import QueryError
from lakeops_assets.lakehouse.statements import parse_select, quote

if TYPE_CHECKING:
    from open_data_contract_standard.model import DataQuality

    from lakeops_assets.contracts.load import Compiler

METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
ENGINE, IMPLEMENTATIONS = "lakeops", ("coverage", "freshness")
_TABLE = re.compile(r"\$?\{(?:object|table|model|schema)\}")
_COLUMN = re.compile(r"\$?\{(?:property|column|field)\}")


def rules(
    compiler: Compiler, check: DataQuality, place: Place, column: str | None
) -> Iterator[Rule]:
    """Return the rule of a quality entry; a text is for people and makes none.

    Args:
        compiler: What makes rules of the table.
        check: The entry.
        place: Where it stands.
        column: Column that it stands under; None for the table's own.
    """
    kind = check.type or ("sql" if check.query else "custom" if check.engine else "library")
    makers = {"library": _library, "sql": _sql, "custom": _custom}
    if kind == "text":
        return
    if kind not in makers:
        raise compiler.document.error(
            place,
            f"the quality type is {kind}; {close(kind, ('library', 'sql', 'custom', 'text'))}",
        )
    yield makers[kind](compiler, check, place, column)


def _library(compiler: Compiler, check: DataQuality, place: Place, column: str | None) -> Rule:
    metric = check.metric or check.rule or ""
    if metric not in METRICS:
        raise compiler.document.error(
            (*place, "metric"), f"the metric is {metric!r}; {close(metric, METRICS)}"
        )
    bound, percent = _bound(compiler, _said(check), place), _percent(compiler, check, place)
    arguments = check.arguments or {}
    columns = _columns(compiler, arguments, column, place, needed=metric != "rowCount")
    name = _id(check, f"{'_'.join(columns)}_{metric}" if columns else metric)
    unit = "%" if percent else " rows"
    if metric == "rowCount":
        words, made = f"the table has {bound} rows", Metric("count(*)", bound)
        return compiler.make(
            name, "row_count", _words(check, words), (), made, place, check.severity
        )
    if metric == "duplicateValues":
        listed = ", ".join(columns)
        repeated: Any = Duplicates(columns, bound, percent)
        words = f"{bound}{unit} repeat the {listed} of another"
        if bound.none:
            repeated, words = Unique(columns), f"no two rows have the same {listed}"
        return compiler.make(
            name, "unique", _words(check, words), columns, repeated, place, check.severity
        )
    good, words = _good(compiler, metric, columns[0], arguments, place)
    if bound.none:
        return compiler.make(
            name,
            "values",
            _words(check, f"{columns[0]} {words}"),
            columns,
            Condition(good),
            place,
            check.severity,
        )
    bad = f"count_if(NOT coalesce({good}, false))"
    return compiler.make(
        name,
        "metric",
        _words(check, f"{bound}{unit} break: {columns[0]} {words}"),
        columns,
        Metric(bad, bound, percent),
        place,
        check.severity,
    )


def _good(
    compiler: Compiler, metric: str, column: str, arguments: dict[str, Any], place: Place
) -> tuple[str, str]:
    """Return the condition of a good value and what it says."""
    name = quote(column)
    if metric == "nullValues":
        return f"{name} IS NOT NULL", "is never null"
    if metric == "missingValues":
        missing = [v for v in arguments.get("missingValues", [None, ""]) if v is not None]
        listed = ", ".join(constant(v) for v in missing)
        beside = f" AND {name} NOT IN ({listed})" if listed else ""
        return f"{name} IS NOT NULL{beside}", f"is never missing (null or {listed or 'nothing'})"
    parts, words = [], []
    if "validValues" in arguments:
        listed = ", ".join(constant(v) for v in arguments["validValues"])
        parts.append(f"{name} IN ({listed})")
        words.append(f"is one of {listed}")
    if "pattern" in arguments:
        try:
            said, condition = matches(name, arguments, "")
        except ValueError as error:
            raise compiler.document.error((*place, "arguments"), f"{column}: {error}") from error
        parts.append(condition.sql)
        words.append(said)
    if not parts:
        raise compiler.document.error(
            place, "invalidValues needs arguments: validValues or pattern"
        )
    return f"{name} IS NULL OR (({') AND ('.join(parts)}))", " and ".join(words)


def _sql(compiler: Compiler, check: DataQuality, place: Place, column: str | None) -> Rule:
    if not check.query:
        raise compiler.document.error(place, "a quality entry of type sql needs a query")
    text = _TABLE.sub("source", check.query.strip().rstrip(";"))
    if _COLUMN.search(text):
        if column is None:
            raise compiler.document.error(
                (*place, "query"), "a placeholder for a column needs a column: move the entry there"
            )
        text = _COLUMN.sub(lambda found: quote(column), text)
    bound = _bound(compiler, _said(check), place)
    if _scope(check) == "row":
        bad = _counted(compiler, text, bound, place)
        columns = _read_by(compiler, bad, place)
        return compiler.make(
            _id(check, f"{'_'.join(columns)}_sql"),
            "sql",
            _words(check, f"not: {bad}"),
            columns,
            Condition(f"NOT coalesce({bad}, false)"),
            place,
            check.severity,
        )
    try:
        statement = parse_select(text)
    except QueryError as error:
        raise compiler.document.error((*place, "query"), str(error).splitlines()[0]) from error
    if len(statement.selects) != 1:
        raise compiler.document.error(
            (*place, "query"),
            f"the query returns {len(statement.selects)} columns; one is compared",
        )
    columns = (column,) if column else ()
    return compiler.make(
        _id(check, f"{column or compiler.table}_sql"),
        "sql",
        _words(check, f"{text} is {bound}"),
        columns,
        Statement(text, bound),
        place,
        check.severity,
    )


def _custom(compiler: Compiler, check: DataQuality, place: Place, column: str | None) -> Rule:
    if check.engine != ENGINE:
        raise compiler.document.error(
            (*place, "engine"),
            f"there is no engine {check.engine} here; there is: {ENGINE}. What another "
            "engine checks can be written as type sql",
        )
    said = check.implementation
    options: dict[str, Any] = said if isinstance(said, dict) else {}
    what = str(options.get("check", "") if options else said)
    if what not in IMPLEMENTATIONS:
        raise compiler.document.error(
            (*place, "implementation"),
            f"engine {ENGINE} has no implementation {what!r}; {close(what, IMPLEMENTATIONS)}",
        )
    if what == "freshness":
        return compiler.freshness(
            column or str(options.get("column", "")),
            options.get("value"),
            options.get("unit"),
            place,
            check.severity,
        )
    # The official schema allows no operator beside `implementation`, so it stands inside.
    bound = _bound(compiler, {"mustBe": 100} if isinstance(said, str) else options, place)
    columns = _columns(compiler, options, column, place, needed=True)
    if "of" in options:
        table, to = compiler.target(options["of"], place)
        words = f"{bound}% of {', '.join(to)} in {table} are here"
        made: Coverage | Metric = Coverage(columns, table, to, bound)
    else:
        filled = " AND ".join(f"{quote(c)} IS NOT NULL" for c in columns)
        words = f"{bound}% of the rows have {', '.join(columns)}"
        made = Metric(f"count_if({filled})", bound, percent=True)
    name = _id(check, f"{'_'.join(columns)}_coverage")
    return compiler.make(
        name, "coverage", _words(check, words), columns, made, place, check.severity
    )


def _said(check: DataQuality) -> dict[str, Any]:
    """Return what an entry says, without what it does not."""
    return check.model_dump(exclude_none=True)


def _bound(compiler: Compiler, said: dict[str, Any], place: Place) -> Bound:
    operators = {o: said[o] for o in get_args(Operator) if o in said}
    if len(operators) != 1:
        raise compiler.document.error(
            place,
            f"a rule needs one operator and this has {', '.join(operators) or 'none'}; there are: "
            f"{', '.join(get_args(Operator))}",
        )
    [(operator, value)] = operators.items()
    try:
        values = tuple(float(v) for v in (value if isinstance(value, list) else [value]))
    except (TypeError, ValueError) as error:
        raise compiler.document.error(
            (*place, operator), f"{operator} is {value!r}, which is not a number"
        ) from error
    return Bound(operator, values)


def _percent(compiler: Compiler, check: DataQuality, place: Place) -> bool:
    unit = check.unit or "rows"
    if unit not in ("rows", "percent"):
        raise compiler.document.error(
            (*place, "unit"), f"the unit is {unit}; {close(unit, ('rows', 'percent'))}"
        )
    return unit == "percent"


def _columns(
    compiler: Compiler, arguments: dict[str, Any], column: str | None, place: Place, *, needed: bool
) -> tuple[str, ...]:
    named = arguments.get("properties", arguments.get("columns", []))
    columns = tuple(str(c).split(".")[-1] for c in named) or ((column,) if column else ())
    if needed and not columns:
        raise compiler.document.error(
            place, "the entry names no column: put it under one, or give arguments: properties"
        )
    return columns


def _counted(compiler: Compiler, query: str, bound: Bound, place: Place) -> str:
    """Return the condition of the bad rows that a query counts.

    Raises:
        ContractError: It does not count rows that meet a condition, or some of them are allowed.
    """
    from sqlglot import exp

    try:
        statement = parse_select(query)
    except QueryError as error:
        raise compiler.document.error((*place, "query"), str(error).splitlines()[0]) from error
    where = statement.args.get("where")
    counts = [e.unalias() for e in statement.selects]
    plain = isinstance(statement, exp.Select) and not statement.args.get("joins")
    if not (plain and where and len(counts) == 1 and isinstance(counts[0], exp.Count)):
        raise compiler.document.error(
            (*place, "query"),
            "a rule of rows is a query that counts the bad ones: "
            "SELECT count(*) FROM {object} WHERE <what is bad>",
        )
    if not bound.none:
        raise compiler.document.error(
            place, f"a rule of rows allows no bad one: write mustBe 0 and not {bound}"
        )
    return f"({where.this.sql(dialect='spark')})"


def _read_by(compiler: Compiler, condition: str, place: Place) -> tuple[str, ...]:
    """Return the columns that a condition reads."""
    from sqlglot import exp

    parsed = parse_select(f"SELECT {condition} AS bad FROM source")
    if parsed.find(exp.Subquery, exp.AggFunc, exp.Window):
        raise compiler.document.error(
            (*place, "query"), "a condition of one row has no subquery, aggregate or window"
        )
    return tuple(dict.fromkeys(c.name for c in parsed.find_all(exp.Column)))


def _scope(check: DataQuality) -> str:
    for custom in check.customProperties or []:
        if custom.property == "scope":
            return str(custom.value)
    return "table"


def _id(check: DataQuality, otherwise: str) -> str:
    return check.id or check.name or otherwise


def _words(check: DataQuality, otherwise: str) -> str:
    return check.description or otherwise
