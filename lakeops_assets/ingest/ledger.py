"""What became of each landing file: the table `<catalog>.lakeops.ingested_files`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from lakeops_assets.ingest.files import LandingFile, list_files
from lakeops_assets.ingest.spec import IngestError, IngestSpec
from lakeops_assets.lakehouse import Lakehouse, TableName, Transaction

if TYPE_CHECKING:
    import pyarrow as pa

Outcome: TypeAlias = Literal["ingested", "rejected", "duplicate", "changed", "deferred"]
# Writer of the bronze table, and key of what it records with its commits.
APP_ID = "ingest"
# Records of a partition of a topic, in place of a file: `kafka:<topic>/<partition>/<first>-<last>`.
RECORDS = "kafka:"


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        path: Relative to the landing folder; of a topic, `kafka:<topic>/<partition>/<first>-<last>`
            with the offsets of records that came together.
        size: Bytes.
        modified_at: Time of its last change, or of the newest record.
        sha256: Hash of its bytes; empty when it could not be read, and for records.
        status: `ingested`; `rejected`: cannot be read or breaks the schema policy; `duplicate`:
            the same bytes came under another name; `changed`: the name came before with other
            bytes; `deferred`: still being written, looked at again the next time.
        reason: Why, in words.
        rows: Rows that went to the table.
        rescued_rows: Rows of those with something in `_rescued_data`.
        discarded_rows: Rows left out under `discard_row`.
        quarantined_rows: Rows that the table's contract set aside.
    """

    path: str
    size: int
    modified_at: datetime
    sha256: str
    status: Outcome
    reason: str = ""
    rows: int = 0
    rescued_rows: int = 0
    discarded_rows: int = 0
    quarantined_rows: int = 0


def ledger_table(catalog: str) -> TableName:
    """Return the name of the table of seen files in a catalog."""
    return TableName(catalog, "lakeops", "ingested_files")


def pending(lakehouse: Lakehouse, spec: IngestSpec, *, now: datetime) -> list[LandingFile]:
    """Return the files that have not been looked at as they are now, sorted by path.

    It compares names, sizes and times and reads no file, so that a sensor can ask often.
    """
    settled = now - timedelta(seconds=spec.settle_seconds)
    files = [f for f in list_files(spec) if not spec.settle_seconds or f.modified_at <= settled]
    if not files:
        return []
    known = {(o.path, o.size, o.modified_at) for o in outcomes(lakehouse, spec.table)}
    return [f for f in files if f.identity not in known]


def outcomes(lakehouse: Lakehouse, table: TableName) -> list[FileOutcome]:
    """Return what became of the files of a bronze table, in the order they were seen."""
    ledger = ledger_table(table.catalog)
    if not lakehouse.exists(ledger):
        return []
    # A ledger that was written before a column was added does not have it.
    there = lakehouse.schema(ledger).names
    names = ", ".join(f for f in FileOutcome.__dataclass_fields__ if f in there)
    rows = lakehouse.query(
        f"SELECT {names} FROM {ledger} WHERE table_name = '{table}' ORDER BY batch_id, path"
    )
    found = rows.read_all().to_pylist()
    return [FileOutcome(**{k: v for k, v in row.items() if v is not None}) for row in found]


def batches(lakehouse: Lakehouse, table: TableName) -> dict[str, int]:
    """Return the files of a bronze table that were ingested and the batch that brought each."""
    ledger = ledger_table(table.catalog)
    if not lakehouse.exists(ledger):
        return {}
    rows = lakehouse.query(
        f"SELECT path, batch_id FROM {ledger} WHERE table_name = '{table}' AND status = 'ingested'"
    )
    return {row["path"]: row["batch_id"] for row in rows.read_all().to_pylist()}


def ends(lakehouse: Lakehouse, table: TableName) -> dict[tuple[str, int], int]:
    """Return topic and partition -> offset of the last record that a table has taken in."""
    ledger = ledger_table(table.catalog)
    if not lakehouse.exists(ledger):
        return {}
    rows = lakehouse.query(
        "SELECT split_part(path, '/', 1) AS topic, split_part(path, '/', 2) AS number, "
        "max(CAST(split_part(split_part(path, '/', 3), '-', 2) AS BIGINT)) AS last "
        f"FROM {ledger} WHERE table_name = '{table}' AND path LIKE '{RECORDS}%' "
        "AND status = 'ingested' GROUP BY 1, 2"
    )
    found = rows.read_all().to_pylist()
    return {(r["topic"].removeprefix(RECORDS), int(r["number"])): r["last"] for r in found}


def next_batch(lakehouse: Lakehouse, table: TableName) -> int:
    """Return the number of the next batch of a bronze table."""
    seen = (
        lakehouse.transaction_version(table, APP_ID),
        lakehouse.transaction_version(ledger_table(table.catalog), _app_id(table)),
    )
    return max((v for v in seen if v is not None), default=-1) + 1


def encode(batch_id: int, files: Iterable[FileOutcome]) -> dict[str, str]:
    """Return the outcomes of a batch as metadata of its commit to the bronze table."""
    rows = [{**asdict(f), "modified_at": f.modified_at.isoformat()} for f in files]
    return {APP_ID: json.dumps({"batch_id": batch_id, "files": rows})}


def record(
    lakehouse: Lakehouse,
    table: TableName,
    batch_id: int,
    files: Iterable[FileOutcome],
    now: datetime,
) -> None:
    """Append the outcomes of a batch; a batch that is there already is left alone."""
    import pyarrow as pa

    ledger = ledger_table(table.catalog)
    lakehouse.create(ledger, _schema(), description="What became of each landing file.")
    constant = {"table_name": str(table), "batch_id": batch_id, "seen_at": now}
    rows = [{**asdict(f), **constant} for f in files if f.status != "deferred"]
    if rows:
        lakehouse.append(
            ledger,
            pa.Table.from_pylist(rows, schema=_schema()),
            transaction=Transaction(_app_id(table), batch_id),
            evolve=True,
        )


def recover(lakehouse: Lakehouse, table: TableName, now: datetime) -> None:
    """Write the outcomes of a batch whose process was killed after its rows were committed.

    Rows and outcomes are in two tables and cannot be one commit. The rows come first and carry the
    outcomes, so that a table that is ahead tells what is missing.

    Raises:
        IngestError: The commit that should tell is not in the history any more.
    """
    rows_at = lakehouse.transaction_version(table, APP_ID)
    ledger_at = lakehouse.transaction_version(ledger_table(table.catalog), _app_id(table))
    if rows_at is None or (ledger_at is not None and ledger_at >= rows_at):
        return
    for commit in lakehouse.history(table):
        recorded = json.loads(commit.metadata.get(APP_ID, "{}"))
        if recorded.get("batch_id") == rows_at:
            files = [
                FileOutcome(**{**f, "modified_at": datetime.fromisoformat(f["modified_at"])})
                for f in recorded["files"]
            ]
            record(lakehouse, table, rows_at, files, now)
            return
    raise IngestError(
        f"batch {rows_at} of {table} is in the table and not in "
        f"{ledger_table(table.catalog)}, and its commit is not in the history any more; append its "
        "files there by hand before anything is ingested again"
    )


def _app_id(table: TableName) -> str:
    return f"{APP_ID}/{table}"


def _schema() -> pa.Schema:
    import pyarrow as pa

    def column(name: str, kind: pa.DataType, comment: str) -> pa.Field:
        return pa.field(name, kind, metadata={"comment": comment})

    time = pa.timestamp("us", "UTC")
    return pa.schema(
        [
            column("table_name", pa.string(), "Bronze table."),
            column("batch_id", pa.int64(), "Batch in which the file was looked at."),
            column("path", pa.string(), "File, relative to the landing folder."),
            column("size", pa.int64(), "Bytes."),
            column("modified_at", time, "Time of its last change."),
            column("sha256", pa.string(), "Hash of its bytes."),
            column("status", pa.string(), "ingested, rejected, duplicate or changed."),
            column("reason", pa.string(), "Why, in words."),
            column("rows", pa.int64(), "Rows that went to the table."),
            column("rescued_rows", pa.int64(), "Rows with something in _rescued_data."),
            column("discarded_rows", pa.int64(), "Rows that were left out."),
            column("quarantined_rows", pa.int64(), "Rows that the contract set aside."),
            column("seen_at", time, "When it was looked at."),
        ]
    )
