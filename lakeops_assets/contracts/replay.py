"""Rows that keep the contract now move from the quarantine to the table, each exactly once.

A replay has a number. It claims its rows (`replaying`), appends them to the table under a
transaction of that number, and marks them `replayed`. Killed anywhere, the next replay finishes it:
the table knows whether the transaction was committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lakeops_assets.contracts.contract import Contract, columns_sql
from lakeops_assets.contracts.quarantine import (
    ATTEMPTS,
    META,
    QuarantineError,
    held,
    mark,
    repeat,
    require,
)
from lakeops_assets.contracts.split import Rows, split, take
from lakeops_assets.lakehouse import ConcurrentWriteError, Lakehouse, TableName, Transaction

if TYPE_CHECKING:
    import pyarrow as pa

APP_ID = "replay"


@dataclass(frozen=True)
class Replayed:
    """What a replay did.

    Attributes:
        table: The table.
        moved: Rows that came into the table.
        finished: Rows of those that an earlier replay had claimed and left.
        open: Rows that still break a rule.
        version: Delta version of the table afterwards.
    """

    table: str
    moved: int
    finished: int
    open: int
    version: int


def replay(lakehouse: Lakehouse, contract: Contract, table: TableName) -> Replayed:
    """Judge the open rows by the contract as it is now, and move those that keep it.

    Raises:
        QuarantineError: There is no quarantine, or its rows are computed and not landed.
        ConcurrentWriteError: Other writers were in the way again and again.
    """
    quarantine = require(lakehouse, table)
    if "_source_file" not in lakehouse.schema(quarantine).names:
        raise QuarantineError(
            f"the rows of {table} are computed from its inputs: correct those, the SQL or the "
            f"contract, and the next `lakeops run {table.schema}` computes them again"
        )
    moved = finished = 0
    for _ in range(ATTEMPTS):
        # The number comes before anything is looked at: whoever claims in between takes it.
        seen = lakehouse.transaction_version(quarantine, APP_ID)
        number = 0 if seen is None else seen + 1
        for unfinished in _claimed(lakehouse, quarantine):
            finished += repeat(partial(_finish, lakehouse, quarantine, table, unfinished))
        try:
            claimed = _claim(lakehouse, contract, quarantine, table, number)
        except ConcurrentWriteError:
            continue
        if claimed is None:
            continue
        if claimed:
            moved += repeat(partial(_finish, lakehouse, quarantine, table, number))
        return Replayed(
            str(table),
            moved + finished,
            finished,
            held(lakehouse, table).open,
            lakehouse.version(table) or 0,
        )
    raise ConcurrentWriteError(
        f"other writers changed {quarantine} again and again; repeat the replay"
    )


def _claim(
    lakehouse: Lakehouse, contract: Contract, quarantine: TableName, table: TableName, number: int
) -> int | None:
    """Mark the rows that keep the contract; None when another replay took the number."""
    version = lakehouse.version(quarantine)
    names = [c for c in lakehouse.schema(quarantine).names if c not in META]

    def rows(columns: Sequence[str] | None) -> pa.RecordBatchReader:
        wanted = columns_sql(names if columns is None else columns)
        return lakehouse.query(
            f"SELECT {wanted} FROM {quarantine} VERSION AS OF {version} "
            "WHERE _status = 'open' ORDER BY _row_id"
        )

    refused = split(lakehouse, contract, table, rows).refused()
    good = _ids(rows, refused)
    if not good.num_rows:
        return 0
    commit = mark(
        lakehouse,
        quarantine,
        "q._status = 'open' AND EXISTS (SELECT 1 FROM good WHERE good._row_id = q._row_id)",
        "replaying",
        reason=f"replay {number} under contract {contract.version}",
        replay=number,
        transaction=Transaction(APP_ID, number),
        inputs={"good": good},
    )
    if not commit.written and "committed already" in commit.reason:
        return None
    return commit.updated


def _ids(rows: Rows, refused: object) -> pa.Table:
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        for taken in take(rows(["_row_id"]), refused, keep=False):  # type: ignore[arg-type]
            yield taken.rows

    return pa.Table.from_batches(batches(), schema=rows(["_row_id"]).schema)


def _claimed(lakehouse: Lakehouse, quarantine: TableName) -> list[int]:
    """Return the replays that have claimed rows and not finished, oldest first."""
    found = lakehouse.query(
        f"SELECT DISTINCT _replay AS n FROM {quarantine} WHERE _status = 'replaying' ORDER BY n"
    )
    return found.read_all()["n"].to_pylist()


def _finish(lakehouse: Lakehouse, quarantine: TableName, table: TableName, number: int) -> int:
    """Append what a replay claimed, unless it is there already, and mark it."""
    there = lakehouse.schema(quarantine).names
    columns = [c for c in lakehouse.schema(table).names if c in there]
    where = f"_status = 'replaying' AND _replay = {int(number)}"
    source = lakehouse.bind(f"SELECT {columns_sql(columns)} FROM {quarantine} WHERE {where}")
    transaction = Transaction(APP_ID, number)
    commit = lakehouse.append(table, source, transaction=transaction)
    reason = f"moved to the table by replay {number}"
    mark(lakehouse, quarantine, f"q.{where}", "replayed", reason=reason)
    return commit.inserted
