"""Whether a table keeps its contract: one aggregation over all its rows.

Row rules are looked at as well, because rows that came before a rule did not pass through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from lakeops_assets.contracts.columns import unfit_columns
from lakeops_assets.contracts.contract import Contract, columns_sql
from lakeops_assets.contracts.quarantine import held, quarantine_table
from lakeops_assets.contracts.rules import (
    Bound,
    Condition,
    Coverage,
    Duplicates,
    Freshness,
    Metric,
    Reference,
    Rule,
    Severity,
    Statement,
    Types,
    Unique,
)
from lakeops_assets.contracts.split import condition, other_table, reference_joins
from lakeops_assets.lakehouse import Lakehouse, QueryError, TableName
from lakeops_assets.lakehouse.statements import quote, tables_of

if TYPE_CHECKING:
    from lakeops_assets.lakehouse.engines.protocol import Input

SAMPLES = 5


@dataclass(frozen=True)
class RuleResult:
    """What was found about one rule.

    Attributes:
        rule: Its id.
        severity: Its severity.
        passed: True when nothing in the table breaks it and, unless it only warns, no row that
            does waits in the quarantine.
        rows: Rows of the table.
        violations: Rows of the table that break it; 1 or 0 for a rule about the whole table.
        quarantined: Rows that wait in the quarantine and break it.
        reason: What was found, in words.
        samples: Some rows of the table that break it.
    """

    rule: str
    severity: Severity
    passed: bool
    rows: int
    violations: int
    quarantined: int
    reason: str
    samples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """What was found about a table.

    Attributes:
        table: The table.
        data_version: Delta version that was looked at: the last that changed rows.
        contract_version: Version of the contract.
        contract_digest: Hash of what the contract demands.
        quarantine_version: Delta version of the quarantine; None when there is none.
        rows: Rows of the table.
        open_quarantine: Rows that wait in the quarantine.
        results: One per rule, in the order of the contract.
        evaluated_at: When.
    """

    table: TableName
    data_version: int
    contract_version: str
    contract_digest: str
    quarantine_version: int | None
    rows: int
    open_quarantine: int
    results: tuple[RuleResult, ...]
    evaluated_at: datetime


@dataclass(frozen=True)
class _Found:
    """What was found about one rule: how many rows break it, or 1 when the table does."""

    violations: int
    reason: str
    measured: bool = True


def evaluate(
    lakehouse: Lakehouse, contract: Contract, table: TableName, *, now: datetime
) -> Evaluation:
    """Look at a table and its quarantine by all rules of a contract.

    What cannot be measured is not passed, and the reason is said.

    Raises:
        TableNotFoundError: There is no such table.
    """
    version = lakehouse.data_version(table)
    source: dict[str, Input] = {"source": lakehouse.at(table, version)}
    schema = lakehouse.schema(table, version)
    waiting, quarantine = held(lakehouse, table), quarantine_table(table)
    unfit = unfit_columns(contract, schema)
    measured = {
        r.id: _Found(1, f"not measured: {unfit[c]}", measured=False)
        for r in contract.rules
        for c in r.columns
        if c in unfit and not isinstance(r.check, Types)
    }
    rules = [r for r in contract.rules if r.id not in measured]
    rows = lakehouse.row_count(table, version)
    measured.update(_one_pass(lakehouse, table, rules, source, rows, now))
    for rule in rules:
        if rule.id not in measured:
            measured[rule.id] = _alone(lakehouse, table, rule, source, rows, unfit)
    results = []
    for rule in contract.rules:
        found = measured[rule.id]
        result = _result(rule, found, rows, waiting.rules.get(rule.id, 0))
        if result.violations and rule.per_row and found.measured:
            result = replace(result, samples=_samples(lakehouse, contract, table, rule, source))
        results.append(result)
    return Evaluation(
        table=table,
        data_version=version or 0,
        contract_version=contract.version,
        contract_digest=contract.digest,
        quarantine_version=lakehouse.version(quarantine),
        rows=rows,
        open_quarantine=waiting.open,
        results=tuple(results),
        evaluated_at=now,
    )


def freshness(
    lakehouse: Lakehouse, contract: Contract, table: TableName, *, now: datetime
) -> dict[str, RuleResult]:
    """Return the results of the rules that time alone can break."""
    rules = [r for r in contract.rules if isinstance(r.check, Freshness)]
    if not rules:
        return {}
    rows = lakehouse.row_count(table)
    found = _one_pass(lakehouse, table, rules, {"source": lakehouse.at(table)}, rows, now)
    return {r.id: _result(r, found[r.id], rows, 0) for r in rules}


def depends_on_others(contract: Contract) -> bool:
    """Return whether other tables can change the verdict about a table."""
    statements = (r.check.sql for r in contract.rules if isinstance(r.check, Statement))
    return bool(contract.other_tables) or any(tables_of(s) != ["source"] for s in statements)


def _result(rule: Rule, found: _Found, rows: int, quarantined: int) -> RuleResult:
    held_back = quarantined if rule.severity != "warn" else 0
    reason = found.reason
    if held_back:
        waiting = "1 row waits" if held_back == 1 else f"{held_back} rows wait"
        reason = f"{reason}; {waiting} in the quarantine"
    return RuleResult(
        rule=rule.id,
        severity=rule.severity,
        passed=not found.violations and not held_back,
        rows=rows,
        violations=found.violations,
        quarantined=quarantined,
        reason=reason,
    )


def _one_pass(
    lakehouse: Lakehouse,
    table: TableName,
    rules: Sequence[Rule],
    source: dict[str, Input],
    rows: int,
    now: datetime,
) -> dict[str, _Found]:
    """Measure the rules that are aggregates over the rows, all in one statement.

    When one of them cannot be run, each is run alone, so that the others are measured.
    """
    wanted = [r for r in rules if isinstance(r.check, (Condition, Reference, Metric, Freshness))]
    if not wanted:
        return {}
    joins, inputs = reference_joins(lakehouse, wanted, table)
    selected = ", ".join(f"{_aggregate(r, i)} AS a{i}" for i, r in enumerate(wanted))
    try:
        [values] = lakehouse.query(
            f"SELECT {selected} FROM source {joins}", {**source, **inputs}
        ).read_all().to_pylist()  # fmt: skip
    except QueryError as error:
        if len(wanted) == 1:
            return {wanted[0].id: _not_run(error)}
        alone = [_one_pass(lakehouse, table, [r], source, rows, now) for r in wanted]
        return {name: found for one in alone for name, found in one.items()}
    return {r.id: _judged(r, values[f"a{i}"], rows, now) for i, r in enumerate(wanted)}


def _aggregate(rule: Rule, index: int) -> str:
    check = rule.check
    if isinstance(check, Metric):
        return check.sql
    if isinstance(check, Freshness):
        return f"max({quote(check.column)})"
    return f"count_if(NOT coalesce({condition(rule, index)}, false))"


def _judged(rule: Rule, value: Any, rows: int, now: datetime) -> _Found:
    check = rule.check
    if isinstance(check, Metric):
        return _bounded(value or 0, check.bound, rows, percent=check.percent)
    if isinstance(check, Freshness):
        if value is None:
            return _Found(1, f"no row has a {check.column}")
        newest = _instant(value)
        age = (now - newest).total_seconds()
        said = f"the newest {check.column} is {newest:%Y-%m-%d %H:%M}, {age / 3600:.1f} hours old"
        return _Found(int(age > check.seconds), said)
    return _broken(int(value or 0))


def _broken(count: int) -> _Found:
    return _Found(count, f"{count} rows of the table break it" if count else "no row breaks it")


def _bounded(value: Any, bound: Bound, rows: int, *, percent: bool) -> _Found:
    if value is None:
        return _Found(1, "not measured: the value is null")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _Found(1, f"not measured: {value!r} is not a number")
    if percent:
        number = 100 * number / rows if rows else 0.0
    unit = "%" if percent else ""
    return _Found(int(not bound.met(number)), f"found {number:g}{unit}, must be {bound}{unit}")


def _alone(
    lakehouse: Lakehouse,
    table: TableName,
    rule: Rule,
    source: dict[str, Input],
    rows: int,
    unfit: dict[str, str],
) -> _Found:
    """Measure a rule that needs a statement of its own."""
    check = rule.check
    if isinstance(check, Types):
        found = [why for c, why in unfit.items() if c in rule.columns]
        return _Found(len(found), "; ".join(found) or "all columns are there")
    try:
        if isinstance(check, Unique):
            return _broken(_repeated(lakehouse, check.columns, source, nulls=check.required))
        if isinstance(check, Duplicates):
            count = _repeated(lakehouse, check.columns, source, nulls=False)
            return _bounded(count, check.bound, rows, percent=check.percent)
        if isinstance(check, Coverage):
            return _covered(lakehouse, table, check, source)
        if isinstance(check, Statement):
            result = lakehouse.query(check.sql, source).read_all()
            if result.num_rows != 1:
                return _Found(1, f"not measured: the query returned {result.num_rows} rows")
            return _bounded(result.column(0)[0].as_py(), check.bound, rows, percent=False)
    except QueryError as error:
        return _not_run(error)
    raise TypeError(f"{type(check).__name__} is measured in the one pass")


def _not_run(error: QueryError) -> _Found:
    return _Found(1, f"not measured: {str(error).splitlines()[0]}", measured=False)


def _repeated(
    lakehouse: Lakehouse, columns: Sequence[str], source: dict[str, Input], *, nulls: bool
) -> int:
    """Count the rows beyond the first of each key, and if asked those without one."""
    keys = columns_sql(columns)
    filled = " AND ".join(f"{quote(c)} IS NOT NULL" for c in columns)
    value = f"CASE WHEN {filled} THEN n - 1 ELSE {'n' if nulls else '0'} END"
    [row] = lakehouse.query(
        f"SELECT sum({value}) AS n FROM (SELECT {keys}, count(*) AS n FROM source "
        f"GROUP BY {keys}) AS grouped",
        source,
    ).read_all().to_pylist()  # fmt: skip
    return int(row["n"] or 0)


def _covered(
    lakehouse: Lakehouse, table: TableName, check: Coverage, source: dict[str, Input]
) -> _Found:
    other = other_table(lakehouse, table, check.table)
    if not lakehouse.exists(other):
        return _Found(1, f"not measured: there is no table {other}")
    same = " AND ".join(
        f"wanted.{quote(t)} = here.{quote(c)}" for t, c in zip(check.to, check.columns, strict=True)
    )
    [row] = lakehouse.query(
        f"SELECT count(*) AS wanted, count(here.{quote(check.columns[0])}) AS found FROM "
        f"(SELECT DISTINCT {columns_sql(check.to)} FROM other) AS wanted LEFT JOIN "
        f"(SELECT DISTINCT {columns_sql(check.columns)} FROM source) AS here ON {same}",
        {**source, "other": lakehouse.at(other)},
    ).read_all().to_pylist()  # fmt: skip
    share = 100 * row["found"] / row["wanted"] if row["wanted"] else 100.0
    return _bounded(share, check.bound, 1, percent=False)


def _samples(
    lakehouse: Lakehouse,
    contract: Contract,
    table: TableName,
    rule: Rule,
    source: dict[str, Input],
) -> tuple[dict[str, Any], ...]:
    """Return some rows of the table that break a rule: its columns, after those of the key."""
    keys = [c for r in contract.rules if r.kind == "primary_key" for c in r.columns]
    shown = list(dict.fromkeys([*keys, *rule.columns]))[:8] or lakehouse.schema(table).names[:8]
    if isinstance(rule.check, Unique):
        listed = columns_sql(rule.columns)
        statement = (
            f"SELECT {listed}, count(*) AS rows FROM source GROUP BY {listed} "
            f"HAVING count(*) > 1 ORDER BY rows DESC LIMIT {SAMPLES}"
        )
        return tuple(lakehouse.query(statement, source).read_all().to_pylist())
    joins, inputs = reference_joins(lakehouse, [rule], table)
    rows = lakehouse.query(
        f"SELECT {columns_sql(shown)} FROM source {joins} "
        f"WHERE NOT coalesce({condition(rule, 0)}, false) LIMIT {SAMPLES}",
        {**source, **inputs},
    )
    return tuple(rows.read_all().to_pylist())


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC)
