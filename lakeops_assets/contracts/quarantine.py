"""The quarantine of a table: rows that may not come into it, and why.

`<table>_quarantine` has the columns of the row and, behind them, what became of it. A row is `open`
until it is `replayed` into the table or `discarded` by a person; `replaying` is in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from lakeops_assets.contracts.contract import Contract
from lakeops_assets.contracts.rules import ContractError
from lakeops_assets.lakehouse import (
    Commit,
    ConcurrentWriteError,
    Lakehouse,
    TableName,
    Transaction,
)
from lakeops_assets.lakehouse.statements import literal, quote

if TYPE_CHECKING:
    import pyarrow as pa

    from lakeops_assets.lakehouse.engines.protocol import Input

Status: TypeAlias = Literal["open", "replaying", "replayed", "discarded"]
Result = TypeVar("Result")

SUFFIX = "quarantine"
# What a row adds to the columns of its table.
META = {
    "_row_id": "Names the row: batch, file and position, or its key.",
    "_failed_rules": "Rules that the row breaks.",
    "_run_id": "Run that set the row aside.",
    "_contract_version": "Version of the contract that it was judged by.",
    "_quarantined_at": "When it was set aside.",
    "_status": "open, replaying, replayed or discarded.",
    "_status_reason": "Why it has that status, in words.",
    "_replay": "Replay that took the row; null before the first.",
}
WAITING = "_status IN ('open', 'replaying')"
ATTEMPTS = 5


class QuarantineError(Exception):
    """A quarantine or a row of it cannot be used as asked."""


@dataclass(frozen=True)
class Held:
    """One table's quarantine.

    Attributes:
        table: The table that the rows are for.
        open: Rows that wait.
        replayed: Rows that moved to the table.
        discarded: Rows that a person gave up.
        rules: Rule -> open rows that break it.
        oldest: When the oldest open row was set aside; None without one.
    """

    table: str
    open: int
    replayed: int
    discarded: int
    rules: dict[str, int]
    oldest: datetime | None


@dataclass(frozen=True)
class Broken:
    """A rule that a row breaks.

    Attributes:
        rule: Its id.
        description: The rule in words; says so when the contract does not have it any more.
        values: Column -> value, of the columns that the rule is about.
    """

    rule: str
    description: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Explained:
    """One row and why it was set aside.

    Attributes:
        row_id: Names the row.
        status: What became of it.
        reason: Why it has that status.
        contract_version: Version of the contract that it was judged by.
        quarantined_at: When.
        run_id: Run that set it aside.
        broken: The rules that it breaks.
        row: Its columns.
    """

    row_id: str
    status: str
    reason: str
    contract_version: str
    quarantined_at: datetime
    run_id: str
    broken: tuple[Broken, ...]
    row: dict[str, Any]


def quarantine_table(table: TableName) -> TableName:
    """Return the name of the quarantine of a table."""
    return table.beside(SUFFIX)


def schema_with_meta(schema: pa.Schema) -> pa.Schema:
    """Return the columns of a quarantine: the row's, all nullable, and what became of it."""
    import pyarrow as pa

    types: dict[str, pa.DataType] = {
        "_failed_rules": pa.list_(pa.string()),
        "_quarantined_at": pa.timestamp("us", "UTC"),
        "_replay": pa.int64(),
    }
    return pa.schema(
        [
            *(f.with_nullable(True) for f in schema),
            *(
                pa.field(name, types.get(name, pa.string()), metadata={"comment": comment})
                for name, comment in META.items()
            ),
        ]
    )


def quarantines(lakehouse: Lakehouse, schema: str | None = None) -> list[TableName]:
    """Return the tables that have a quarantine."""
    found = []
    for name in lakehouse.tables(schema):
        stem = name.table.removesuffix(f"_{SUFFIX}")
        if stem != name.table and "_failed_rules" in lakehouse.schema(name).names:
            found.append(TableName(name.catalog, name.schema, stem))
    return found


def held(lakehouse: Lakehouse, table: TableName) -> Held:
    """Return what a quarantine holds; nothing when there is none."""
    quarantine = quarantine_table(table)
    if not lakehouse.exists(quarantine):
        return Held(str(table), 0, 0, 0, {}, None)
    [totals] = lakehouse.query(
        f"SELECT count_if({WAITING}) AS open, count_if(_status = 'replayed') AS replayed, "
        f"count_if(_status = 'discarded') AS discarded, "
        f"min(CASE WHEN {WAITING} THEN _quarantined_at END) AS oldest FROM {quarantine}"
    ).read_all().to_pylist()  # fmt: skip
    return Held(str(table), rules=open_by_rule(lakehouse, table), **totals)


def open_by_rule(lakehouse: Lakehouse, table: TableName) -> dict[str, int]:
    """Return the number of waiting rows that break each rule."""
    quarantine = quarantine_table(table)
    if not lakehouse.exists(quarantine):
        return {}
    rows = lakehouse.query(
        "SELECT rule, count(*) AS n FROM (SELECT explode(_failed_rules) AS rule "
        f"FROM {quarantine} WHERE {WAITING}) AS broken GROUP BY rule ORDER BY n DESC, rule"
    )
    return {r["rule"]: r["n"] for r in rows.read_all().to_pylist()}


def explain(
    lakehouse: Lakehouse,
    table: TableName,
    contract: Contract | None,
    *,
    row_id: str | None = None,
    rule: str | None = None,
    limit: int = 5,
) -> list[Explained]:
    """Return rows and why they were set aside, the oldest first.

    Args:
        lakehouse: Where the quarantine is.
        table: Table that the rows are for.
        contract: The contract as it is now, for its words; None when there is none.
        row_id: The row; open rows when None.
        rule: Only rows that break this rule.
        limit: Most rows.

    Raises:
        QuarantineError: There is no quarantine, or no such row.
    """
    quarantine = require(lakehouse, table)
    where = [WAITING if row_id is None else f"_row_id = {literal(row_id)}"]
    if rule:
        where.append(f"array_contains(_failed_rules, {literal(rule)})")
    rows = lakehouse.query(
        f"SELECT * FROM {quarantine} WHERE {' AND '.join(where)} "
        f"ORDER BY _quarantined_at, _row_id LIMIT {int(limit)}"
    ).read_all().to_pylist()  # fmt: skip
    if row_id is not None and not rows:
        raise QuarantineError(
            f"{quarantine} has no row {row_id}; `lakeops quarantine explain {table.schema}."
            f"{table.table}` shows open ones"
        )
    return [_explained(row, contract) for row in rows]


def discard(
    lakehouse: Lakehouse, table: TableName, *, reason: str, rule: str = "", row_ids: Sequence[str]
) -> Commit:
    """Give up open rows, by their ids or all that break a rule; they stay as a record.

    Raises:
        QuarantineError: There is no quarantine, no reason, or nothing says which rows.
    """
    quarantine = require(lakehouse, table)
    if not reason.strip():
        raise QuarantineError("discarding rows needs a reason, which stays with them")
    where = ["_status = 'open'"]
    if row_ids:
        where.append(f"_row_id IN ({', '.join(map(literal, row_ids))})")
    if rule:
        where.append(f"array_contains(_failed_rules, {literal(rule)})")
    if len(where) == 1:
        raise QuarantineError("say which rows to discard: by their ids, or all that break a rule")
    return repeat(
        lambda: mark(lakehouse, quarantine, " AND ".join(where), "discarded", reason=reason)
    )


def require(lakehouse: Lakehouse, table: TableName) -> TableName:
    """Return the quarantine of a table.

    Raises:
        QuarantineError: There is none.
    """
    quarantine = quarantine_table(table)
    if lakehouse.exists(quarantine):
        return quarantine
    there = ", ".join(map(str, quarantines(lakehouse))) or "no table"
    raise QuarantineError(
        f"{table} has no quarantine: no row of it was ever set aside. There is one for: {there}"
    )


def mark(
    lakehouse: Lakehouse,
    quarantine: TableName,
    where: str,
    status: Status,
    *,
    reason: str,
    replay: int | None = None,
    transaction: Transaction | None = None,
    inputs: dict[str, Input] | None = None,
) -> Commit:
    """Give rows of a quarantine another status in one commit.

    Args:
        lakehouse: Where it is.
        quarantine: The quarantine.
        where: Which rows; `q` is the quarantine.
        status: Their new status.
        reason: Why.
        replay: Replay that takes the rows; unchanged when None.
        transaction: Identifier that makes the change happen once.
        inputs: Further inputs that the condition names.
    """
    changed = {"_status": literal(status), "_status_reason": literal(reason)}
    if replay is not None:
        changed["_replay"] = f"CAST({replay} AS BIGINT)"
    columns = ", ".join(
        f"{changed[c]} AS {quote(c)}" if c in changed else f"q.{quote(c)}"
        for c in lakehouse.schema(quarantine).names
    )
    source = lakehouse.bind(
        f"SELECT {columns} FROM held AS q WHERE {where}",
        {"held": lakehouse.at(quarantine), **(inputs or {})},
    )
    return lakehouse.merge(quarantine, source, ("_row_id",), transaction=transaction)


def repeat(change: Callable[[], Result]) -> Result:
    """Return what a change returns; it is made again when another writer was in the way."""
    for _ in range(ATTEMPTS - 1):
        try:
            return change()
        except ConcurrentWriteError:
            continue
    return change()


def require_contract(contract: Contract | None, table: TableName) -> Contract:
    """Return the contract of a table.

    Raises:
        ContractError: There is none.
    """
    if contract is None:
        raise ContractError(
            f"{table} has no contract any more; write contracts/{table.table}.yaml beside the "
            f"product's defs.yaml"
        )
    return contract


def _explained(row: dict[str, Any], contract: Contract | None) -> Explained:
    broken = []
    for name in row["_failed_rules"]:
        rule = contract.rule(name) if contract else None
        words = rule.description if rule else "the contract does not have this rule any more"
        values = {c: row.get(c) for c in (rule.columns if rule else ())}
        broken.append(Broken(name, words, values))
    return Explained(
        row_id=row["_row_id"],
        status=row["_status"],
        reason=row["_status_reason"] or "",
        contract_version=row["_contract_version"],
        quarantined_at=row["_quarantined_at"],
        run_id=row["_run_id"],
        broken=tuple(broken),
        row={c: v for c, v in row.items() if c not in META},
    )
