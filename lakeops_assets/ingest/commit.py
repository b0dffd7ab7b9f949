"""One batch: its number, its columns, its commit and its record, wherever its rows come from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lakeops_assets.ingest.fit import Fitted, infer, widen
from lakeops_assets.ingest.ledger import (
    APP_ID,
    FileOutcome,
    batches,
    encode,
    next_batch,
    recover,
)
from lakeops_assets.ingest.screen import Screen
from lakeops_assets.ingest.spec import Column, IngestError, IngestSpec
from lakeops_assets.ingest.stage import Staged
from lakeops_assets.lakehouse import Commit, ConcurrentWriteError, Lakehouse, Transaction

if TYPE_CHECKING:
    import pyarrow as pa

ATTEMPTS = 5
ABANDONED_SECONDS = 86_400
Item = TypeVar("Item")


@dataclass(frozen=True)
class IngestResult:
    """What an ingest did.

    Attributes:
        commit: The last write; not written when nothing was new.
        batches: Number of batches that made a commit.
        files: What became of each file.
        rows: Rows that went to the table.
        reason: In words.
    """

    commit: Commit
    batches: int
    files: tuple[FileOutcome, ...]
    rows: int
    reason: str

    def count(self, status: str) -> int:
        """Return the number of files with a status."""
        return sum(f.status == status for f in self.files)

    @property
    def rescued_rows(self) -> int:
        """Rows with something in `_rescued_data`."""
        return sum(f.rescued_rows for f in self.files)

    @property
    def discarded_rows(self) -> int:
        """Rows left out."""
        return sum(f.discarded_rows for f in self.files)

    @property
    def quarantined_rows(self) -> int:
        """Rows that the contract set aside."""
        return sum(f.quarantined_rows for f in self.files)


@dataclass(frozen=True)
class Attempt:
    """One try at one batch: its number, the table before it, the time, and what judges rows."""

    batch_id: int
    existing: int | None
    now: datetime
    screen: Screen | None


def in_batches(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    now: datetime,
    screen: Screen | None,
    waiting: Callable[[Collection[str]], Sequence[Item]],
    take: Callable[[Sequence[Item], Attempt], tuple[Commit | None, list[FileOutcome]]],
    *,
    whole: bool = True,
) -> IngestResult:
    """Take in what waits, one batch after the other, until nothing does.

    Args:
        lakehouse: Where the tables are.
        spec: The table.
        now: Recorded with what is ingested.
        screen: What rows have to pass.
        waiting: Returns what the next batch has, without what was deferred; nothing at the end.
        take: Commits a batch and records it.
        whole: Nothing follows: where nothing came, an empty table is made.

    Raises:
        ConcurrentWriteError: Other writers were in the way again and again.
    """
    done: list[FileOutcome] = []
    deferred: set[str] = set()
    commit, count = None, 0
    conflicts = 0
    while True:
        # The number comes before anything is looked at: when another process commits a batch in
        # between, the commit of this one is refused, and no file is taken in twice.
        batch_id = next_batch(lakehouse, spec.table)
        existing = lakehouse.version(spec.table)
        recover(lakehouse, spec.table, now)
        if screen is not None:
            screen.settle(lakehouse, spec.table, batches(lakehouse, spec.table), batch_id)
        found = waiting(deferred)
        if not found:
            break
        try:
            written, seen = take(found, Attempt(batch_id, existing, now, screen))
        except ConcurrentWriteError:
            conflicts += 1
            if conflicts == ATTEMPTS:
                raise
            continue
        done.extend(seen)
        deferred.update(f.path for f in seen if f.status == "deferred")
        if written is not None:
            commit, count = written, count + 1
    if commit is None:
        version = table_version(lakehouse, spec) if whole else lakehouse.version(spec.table)
        commit = unwritten(version or 0, spec)
    return result_of(commit, count, done)


def unwritten(version: int, spec: IngestSpec) -> Commit:
    """Return what an ingest did that found nothing new."""
    what = "file" if spec.topic is None else "record"
    return Commit(version, written=False, reason=f"no {what} is new")


def result_of(commit: Commit, batches: int, files: Sequence[FileOutcome]) -> IngestResult:
    """Return what some batches did together."""
    rows = sum(f.rows for f in files)
    return IngestResult(
        commit, batches, tuple(files), rows, f"{rows} rows of {len(files)} new files"
    )


def table_version(lakehouse: Lakehouse, spec: IngestSpec) -> int:
    """Return the version of the table; an empty one is made if its columns are declared."""
    version = lakehouse.version(spec.table)
    if version is not None:
        return version
    if not spec.columns and spec.topic is not None:
        raise IngestError(
            f"no record of {spec.topic.topic} has come for {spec.table} yet and its columns are "
            "not declared; declare them, or produce the first record"
        )
    if not spec.columns:
        raise IngestError(
            f"no file has landed for {spec.table} yet and its columns are not declared; drop files "
            f"named {spec.glob} into {spec.landing}"
        )
    create(lakehouse, spec, list(spec.columns))
    return lakehouse.version(spec.table) or 0


def known_columns(lakehouse: Lakehouse, spec: IngestSpec) -> dict[str, Column]:
    """Return the columns that the table has, or will have because they are declared, by name."""
    declared = {c.name: c for c in spec.columns}
    known: dict[str, Column] = {}
    if lakehouse.exists(spec.table):
        from lakeops_assets.lakehouse.types import spark_type

        for field in lakehouse.schema(spec.table):
            if field.name not in spec.provenance:
                known[field.name] = declared.get(field.name) or Column(
                    field.name, spark_type(field.type)
                )
    known.update({n: c for n, c in declared.items() if n not in known})
    return known


def columns_of(lakehouse: Lakehouse, spec: IngestSpec, staged: Sequence[Staged]) -> list[Column]:
    """Return the columns of the table after this batch."""
    known = known_columns(lakehouse, spec)
    if known and spec.schema_policy != "evolve":
        return list(known.values())
    new: dict[str, str] = {}
    for content in staged:
        # A file that shares nothing with the table is rejected and must not shape it.
        if known and not set(content.columns) & set(known):
            continue
        names = [n for n in content.columns if n not in known and n not in spec.provenance]
        for name, kind in infer(content, names).items():
            new[name] = widen(new.get(name, kind), kind)
    return [*known.values(), *(Column(name, kind) for name, kind in new.items())]


def commit_rows(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    attempt: Attempt,
    columns: list[Column],
    fitted: dict[int, Fitted],
    found: list[FileOutcome],
) -> Commit | None:
    """Append the rows of a batch, those that pass the screen; None when there are none."""
    if not fitted:
        return None
    batch_id = attempt.batch_id
    schema = create(lakehouse, spec, columns)
    files = [(found[n].path, f) for n, f in fitted.items()]

    def rows(wanted: Sequence[str] | None) -> pa.RecordBatchReader:
        return _rows(schema, files, batch_id, attempt.now, wanted)

    if attempt.screen is None:
        valid = rows(None)
    else:
        screened = attempt.screen.batch(
            lakehouse,
            spec.table,
            rows,
            batch_id=batch_id,
            files=[path for path, _ in files],
            existing=attempt.existing,
        )
        for number in fitted:
            aside = screened.by_file.get(found[number].path, 0)
            kept = found[number].rows - aside
            found[number] = replace(found[number], rows=kept, quarantined_rows=aside)
        valid = screened.valid
    commit = lakehouse.append(
        spec.table,
        valid,
        transaction=Transaction(APP_ID, batch_id),
        metadata=encode(batch_id, found),
        evolve=spec.schema_policy == "evolve",
    )
    if not commit.written and "committed already" in commit.reason:
        raise ConcurrentWriteError(f"batch {batch_id} of {spec.table} was taken meanwhile")
    return commit if commit.written else None


def create(lakehouse: Lakehouse, spec: IngestSpec, columns: list[Column]) -> pa.Schema:
    """Create the table where there is none, and return the schema of the rows to append."""
    import pyarrow as pa

    from lakeops_assets.ingest.types import arrow_schema

    types = {
        "_ingested_at": pa.timestamp("us", "UTC"),
        "_batch_id": pa.int64(),
        "_partition": pa.int32(),
        "_offset": pa.int64(),
        "_timestamp": pa.timestamp("us", "UTC"),
    }
    schema = pa.schema(
        [
            *arrow_schema(columns),
            *(
                pa.field(name, types.get(name, pa.string()), metadata={"comment": comment})
                for name, comment in spec.provenance.items()
            ),
        ]
    )
    lakehouse.create(spec.table, schema, description=spec.description)
    return schema


def _rows(
    schema: pa.Schema,
    files: list[tuple[str, Fitted]],
    batch_id: int,
    now: datetime,
    wanted: Sequence[str] | None,
) -> pa.RecordBatchReader:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if wanted is not None:
        schema = pa.schema([schema.field(name) for name in wanted])

    def batches() -> Iterator[pa.RecordBatch]:
        for path, file in files:
            constant = {"_source_file": path, "_ingested_at": now, "_batch_id": batch_id}
            read = [name for name in schema.names if name not in constant]
            for batch in pq.ParquetFile(file.path).iter_batches(columns=read):
                columns = []
                for field in schema:
                    if field.name in constant:
                        value = pa.scalar(constant[field.name], field.type)
                        columns.append(pa.repeat(value, batch.num_rows))
                    else:
                        columns.append(batch.column(field.name).cast(field.type))
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def reason_of(fitted: Fitted) -> str:
    """Return what a table or its reader should know of a file that was fitted."""
    if fitted.discarded:
        return f"{fitted.discarded} rows left out, for example {fitted.example}"
    if fitted.rescued:
        return f"{fitted.rescued} rows with rescued values, for example {fitted.example}"
    return ""


@contextmanager
def staging(lakehouse: Lakehouse, now: datetime) -> Iterator[Path]:
    """Provide a folder beside the lakehouse for the files of one batch."""
    root = lakehouse.root.parent / "staging"
    root.mkdir(parents=True, exist_ok=True)
    for left in root.iterdir():  # by a process that was killed
        if now.timestamp() - left.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
