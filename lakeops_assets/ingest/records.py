"""Take in the records of a topic; those of a partition that come together are like a file.

The record of ingested files says how far each partition is, not the checkpoint of the stream: a
micro-batch that comes again brings nothing twice, also after the checkpoint was lost.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeops_assets.ingest.commit import (
    Attempt,
    IngestResult,
    columns_of,
    commit_rows,
    in_batches,
    known_columns,
    reason_of,
    staging,
)
from lakeops_assets.ingest.fit import Fitted, fit
from lakeops_assets.ingest.ledger import RECORDS, FileOutcome, ends, record
from lakeops_assets.ingest.screen import Screen
from lakeops_assets.ingest.spec import TOPIC_PROVENANCE, Column, IngestError, IngestSpec
from lakeops_assets.ingest.stage import (
    EXTRA,
    RejectedFileError,
    Staged,
    as_text,
    extra_type,
    ragged_row,
)
from lakeops_assets.lakehouse import Commit, Lakehouse

if TYPE_CHECKING:
    import pyarrow as pa

# Where the text of a record is kept that is not of its format.
WHOLE = "_value"
# No column of a Delta table can be called so.
UNUSABLE = re.compile(r"[ ,;{}()\n\t=]|^$")


@dataclass(frozen=True)
class Records:
    """Records of one partition, in the order of their offsets; at least one.

    Attributes:
        topic: The topic.
        partition: Number of the partition.
        rows: Columns `key`, `value`, `offset` and `timestamp`.
    """

    topic: str
    partition: int
    rows: pa.Table

    @property
    def path(self) -> str:
        """What they are called in the place of a file."""
        offsets = self.rows["offset"]
        return f"{RECORDS}{self.topic}/{self.partition}/{offsets[0]}-{offsets[-1]}"


def ingest_records(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    records: pa.Table,
    *,
    now: datetime,
    screen: Screen | None = None,
) -> IngestResult:
    """Bring the records of a micro-batch into the table, each exactly once; others may follow.

    Args:
        lakehouse: Where the tables are.
        spec: The table and its topic.
        records: Columns `key`, `value`, `topic`, `partition`, `offset` and `timestamp`.
        now: Recorded with what is ingested.
        screen: What rows have to pass.

    Raises:
        IngestError: Nothing tells the columns, or under `freeze` a record does not fit.
    """

    def waiting(_: Collection[str]) -> list[Records]:
        return split_records(records, ends(lakehouse, spec.table))

    def take(found: Sequence[Records], attempt: Attempt) -> tuple[Commit | None, list[FileOutcome]]:
        return _batch(lakehouse, spec, found, attempt)

    return in_batches(lakehouse, spec, now, screen, waiting, take, whole=False)


def split_records(records: pa.Table, ended: Mapping[tuple[str, int], int]) -> list[Records]:
    """Return records by partition, without those up to an offset that was taken in before."""
    import pyarrow.compute as pc

    found = []
    pairs = records.select(["topic", "partition"]).group_by(["topic", "partition"]).aggregate([])
    for pair in sorted(pairs.to_pylist(), key=lambda p: (p["topic"], p["partition"])):
        topic, number = pair["topic"], pair["partition"]
        new = (pc.field("topic") == topic) & (pc.field("partition") == number)
        if (topic, number) in ended:
            new &= pc.field("offset") > ended[topic, number]
        rows = records.filter(new).sort_by("offset")
        if rows.num_rows:
            found.append(Records(topic, number, rows))
    return found


def _batch(
    lakehouse: Lakehouse, spec: IngestSpec, found: Sequence[Records], attempt: Attempt
) -> tuple[Commit | None, list[FileOutcome]]:
    with staging(lakehouse, attempt.now) as folder:
        known = known_columns(lakehouse, spec)
        spelled = {name.lower(): name for name in known}
        staged = [
            stage_records(records, spec, known, folder / f"{number}.staged", spelled)
            for number, records in enumerate(found)
        ]
        columns = columns_of(lakehouse, spec, staged)
        if not columns:
            raise IngestError(
                f"none of the first records of {found[0].topic} is a JSON object with a value, and "
                f"the columns of {spec.table} are not declared: declare them"
            )
        fitted: dict[int, Fitted] = {}
        outcomes: list[FileOutcome] = []
        for number, (records, content) in enumerate(zip(found, staged, strict=True)):
            result = _fit(records, spec, content, columns, folder / f"{number}.fitted")
            fitted[number] = result
            outcome = _outcome(records)
            outcomes.append(
                replace(
                    outcome,
                    rows=result.rows,
                    rescued_rows=result.rescued,
                    discarded_rows=result.discarded,
                    reason=reason_of(result),
                )
            )
        commit = commit_rows(lakehouse, spec, attempt, columns, fitted, outcomes)
    record(lakehouse, spec.table, attempt.batch_id, outcomes, attempt.now)
    return commit, outcomes


def _fit(
    records: Records, spec: IngestSpec, content: Staged, columns: Sequence[Column], target: Path
) -> Fitted:
    every = replace(content, columns=tuple(dict.fromkeys([*content.columns, *_names(columns)])))
    try:
        # A record without a column has null there, whatever the others have.
        return fit(every, columns, spec.schema_policy, target, keep=tuple(TOPIC_PROVENANCE))
    except RejectedFileError as error:
        raise IngestError(
            f"{records.path} does not fit {spec.table}, which is frozen: {error}. Nothing of it "
            "was taken in. Change the columns or the schema_policy in the YAML, or correct the "
            "producer"
        ) from error


def _names(columns: Iterable[Column]) -> list[str]:
    return [c.name for c in columns]


def _outcome(records: Records) -> FileOutcome:
    newest = max(records.rows["timestamp"].to_pylist())
    size = sum(len(v or b"") for c in ("key", "value") for v in records.rows[c].to_pylist())
    return FileOutcome(records.path, size, newest, "", "ingested")


def stage_records(
    records: Records,
    spec: IngestSpec,
    known: Collection[str],
    target: Path,
    spelled: dict[str, str],
) -> Staged:
    """Write records as rows of text beside where they came from; no record is refused here.

    What is not of the format, and a name that no column can have, goes to the cells without a
    column.

    Args:
        records: The records.
        spec: The table and its topic.
        known: Columns that the table has.
        target: The file to write.
        spelled: Names in lower case -> names of columns, to which new ones are added: of two that
            differ in their case alone, the second is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict.fromkeys(known)
    reserved = {name.lower() for name in (*spec.provenance, EXTRA, WHOLE)}
    rows = []
    for value in records.rows["value"].to_pylist():
        row: dict[str, Any] = {}
        extra: dict[str, str] = {}
        for name, cell in _cells(value, spec).items():
            folded = name.lower()
            usable = folded not in reserved and not UNUSABLE.search(name)
            if usable and spelled.setdefault(folded, name) == name:
                row[name] = cell
                columns[name] = None
            elif cell is not None:
                extra[name] = cell
        rows.append({**row, EXTRA: list(extra.items()) or None})
    schema = pa.schema([*((n, pa.string()) for n in columns), (EXTRA, extra_type())])
    table = pa.Table.from_pylist(rows, schema=schema)
    for name, column in _provenance(records).items():
        table = table.append_column(name, column)
    pq.write_table(table, target)
    return Staged(target, tuple(columns), text=True)


def _provenance(records: Records) -> dict[str, pa.Array]:
    import pyarrow as pa

    keys = [None if k is None else _decoded(k) for k in records.rows["key"].to_pylist()]
    count = records.rows.num_rows
    return {
        "_topic": pa.array([records.topic] * count, pa.string()),
        "_partition": pa.array([records.partition] * count, pa.int32()),
        "_offset": records.rows["offset"],
        "_timestamp": records.rows["timestamp"].cast(pa.timestamp("us", "UTC")),
        "_key": pa.array(keys, pa.string()),
    }


def _cells(value: bytes | None, spec: IngestSpec) -> dict[str, str | None]:
    """Return the cells of a record by name; one that cannot be read is a cell of its own."""
    if value is None:
        return {}
    as_csv = spec.topic is not None and spec.topic.format == "csv"
    try:
        cells = _csv(value, spec) if as_csv else _json(value)
        for text in (*cells, *cells.values()):
            (text or "").encode()  # half of a surrogate pair can be escaped and is no text
    except (ValueError, csv.Error, RecursionError):
        return {WHOLE: _decoded(value)}
    return cells


def _json(value: bytes) -> dict[str, str | None]:
    row = json.loads(value)
    if not isinstance(row, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - what the parser raises too
    return {name: as_text(cell) for name, cell in row.items()}


def _csv(value: bytes, spec: IngestSpec) -> dict[str, str | None]:
    row = ragged_row(value.decode().rstrip("\r\n"), [c.name for c in spec.columns], spec)
    return {**{k: v for k, v in row.items() if k != EXTRA}, **dict(row[EXTRA] or [])}


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
