"""Ingest what is pending, in one commit per batch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lakeops_assets.ingest.files import LandingFile, look, sha256
from lakeops_assets.ingest.fit import Fitted, fit, infer, widen
from lakeops_assets.ingest.ledger import (
    APP_ID,
    FileOutcome,
    batches,
    encode,
    next_batch,
    outcomes,
    pending,
    record,
    recover,
)
from lakeops_assets.ingest.screen import Screen
from lakeops_assets.ingest.spec import PROVENANCE, Column, IngestError, IngestSpec
from lakeops_assets.ingest.stage import RejectedFileError, Staged, stage
from lakeops_assets.lakehouse import Commit, ConcurrentWriteError, Lakehouse, Transaction

if TYPE_CHECKING:
    import pyarrow as pa

ATTEMPTS = 5
ABANDONED_SECONDS = 86_400


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


def ingest(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    *,
    now: datetime,
    progress: Callable[[str], None] = lambda text: None,
    screen: Screen | None = None,
) -> IngestResult:
    """Bring every pending file into the table, each exactly once.

    The rows of a batch are one Delta commit under an application transaction, and the commit
    carries what became of each file. Killed before it, the batch is repeated; killed after it, the
    next start finds the commit and writes the ledger first. Of two processes that ingest at the
    same time one commits a batch, and the other finds its files done. Where there is a screen, each
    row that it does not let pass is in the quarantine before the batch is committed.

    Raises:
        IngestError: Nothing tells the columns of the table.
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
        files = [f for f in pending(lakehouse, spec, now=now) if f.path not in deferred]
        if not files:
            break
        try:
            written, seen = _batch(
                lakehouse,
                spec,
                files[: spec.max_files_per_batch],
                _Attempt(batch_id, existing, now, screen),
                progress,
            )
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
        commit = Commit(_table_version(lakehouse, spec), written=False, reason="no file is new")
    rows = sum(f.rows for f in done)
    return IngestResult(commit, count, tuple(done), rows, f"{rows} rows of {len(done)} new files")


@dataclass(frozen=True)
class _Attempt:
    """One try at one batch: its number, the table before it, the time, and what judges rows."""

    batch_id: int
    existing: int | None
    now: datetime
    screen: Screen | None


def _table_version(lakehouse: Lakehouse, spec: IngestSpec) -> int:
    """Return the version of the table; an empty one is made if its columns are declared."""
    version = lakehouse.version(spec.table)
    if version is not None:
        return version
    if not spec.columns:
        raise IngestError(
            f"no file has landed for {spec.table} yet and its columns are not declared; drop files "
            f"named {spec.glob} into {spec.landing}"
        )
    with tempfile.TemporaryDirectory() as folder:
        _create(lakehouse, spec, list(spec.columns), Path(folder))
    return lakehouse.version(spec.table) or 0


def _batch(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    files: Sequence[LandingFile],
    attempt: _Attempt,
    progress: Callable[[str], None],
) -> tuple[Commit | None, list[FileOutcome]]:
    with _staging(lakehouse, attempt.now) as folder:
        before = outcomes(lakehouse, spec.table)
        # Bytes that were rejected may come again: the schema may have been corrected meanwhile.
        seen = {f.sha256: f.path for f in reversed(before) if f.status == "ingested"}
        known_paths = {f.path for f in before if f.status == "ingested"}
        staged: dict[int, Staged] = {}
        found: list[FileOutcome] = []
        for number, file in enumerate(files):
            progress(f"reading {file.path}")
            outcome, content = _read(file, spec, seen, known_paths, folder / f"{number}.staged")
            found.append(outcome)
            if content is not None:
                staged[number] = content
                seen[outcome.sha256] = file.path
        columns = _columns(lakehouse, spec, list(staged.values()))
        fitted: dict[int, Fitted] = {}
        for number, content in staged.items():
            try:
                result = fit(content, columns, spec.schema_policy, folder / f"{number}.fitted")
            except RejectedFileError as error:
                found[number] = replace(found[number], status="rejected", reason=str(error))
                continue
            fitted[number] = result
            found[number] = replace(
                found[number],
                rows=result.rows,
                rescued_rows=result.rescued,
                discarded_rows=result.discarded,
                reason=_reason(result),
            )
        commit = _commit(lakehouse, spec, attempt, columns, fitted, found, folder)
    record(lakehouse, spec.table, attempt.batch_id, found, attempt.now)
    return commit, found


def _read(
    file: LandingFile,
    spec: IngestSpec,
    seen: dict[str, str],
    known_paths: set[str],
    target: Path,
) -> tuple[FileOutcome, Staged | None]:
    """Stage one file, or say why not."""
    outcome = FileOutcome(file.path, file.size, file.modified_at, "", "ingested")
    try:
        digest = sha256(file.full_path)
        outcome = replace(outcome, sha256=digest)
        if digest in seen:
            reason = f"holds the same bytes as {seen[digest]}"
            if seen[digest] == file.path:
                reason = "was touched, and holds the same bytes as before"
            return replace(outcome, status="duplicate", reason=reason), None
        if file.path in known_paths:
            reason = "came before with other bytes; land the new ones under another name"
            return replace(outcome, status="changed", reason=reason), None
        staged = stage(file.full_path, spec, target)
    except RejectedFileError as error:
        rejected = replace(outcome, status="rejected", reason=str(error))
        return _unless_moving(file, rejected), None
    except FileNotFoundError:
        return replace(outcome, status="deferred", reason="it disappeared"), None
    settled = _unless_moving(file, outcome)
    return settled, staged if settled.status == "ingested" else None


def _unless_moving(file: LandingFile, outcome: FileOutcome) -> FileOutcome:
    """Return the outcome, or defer a file that changed while it was read."""
    now = look(file.full_path, file.path)
    if now is not None and now.identity == file.identity:
        return outcome
    return replace(outcome, status="deferred", reason="it changed while it was read")


def _columns(lakehouse: Lakehouse, spec: IngestSpec, staged: list[Staged]) -> list[Column]:
    """Return the columns of the table after this batch."""
    declared = {c.name: c for c in spec.columns}
    known: dict[str, Column] = {}
    if lakehouse.exists(spec.table):
        from lakeops_assets.lakehouse.types import spark_type

        for field in lakehouse.schema(spec.table):
            if field.name not in PROVENANCE:
                known[field.name] = declared.get(field.name) or Column(
                    field.name, spark_type(field.type)
                )
    known.update({n: c for n, c in declared.items() if n not in known})
    if known and spec.schema_policy != "evolve":
        return list(known.values())
    new: dict[str, str] = {}
    for content in staged:
        # A file that shares nothing with the table is rejected and must not shape it.
        if known and not set(content.columns) & set(known):
            continue
        names = [n for n in content.columns if n not in known and n not in PROVENANCE]
        for name, kind in infer(content, names).items():
            new[name] = widen(new.get(name, kind), kind)
    return [*known.values(), *(Column(name, kind) for name, kind in new.items())]


def _commit(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    attempt: _Attempt,
    columns: list[Column],
    fitted: dict[int, Fitted],
    found: list[FileOutcome],
    folder: Path,
) -> Commit | None:
    """Append the rows of a batch, those that pass the screen; None when there are none."""
    if not fitted:
        return None
    batch_id = attempt.batch_id
    schema = _create(lakehouse, spec, columns, folder)
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


def _create(
    lakehouse: Lakehouse, spec: IngestSpec, columns: list[Column], folder: Path
) -> pa.Schema:
    """Create the table where there is none, and return the schema of the rows to append."""
    import pyarrow as pa

    from lakeops_assets.ingest.types import arrow_schema

    provenance = {
        "_source_file": pa.string(),
        "_ingested_at": pa.timestamp("us", "UTC"),
        "_batch_id": pa.int64(),
        "_rescued_data": pa.string(),
    }
    schema = pa.schema(
        [
            *arrow_schema(columns),
            *(
                pa.field(name, kind, metadata={"comment": PROVENANCE[name]})
                for name, kind in provenance.items()
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


def _reason(fitted: Fitted) -> str:
    if fitted.discarded:
        return f"{fitted.discarded} rows left out, for example {fitted.example}"
    if fitted.rescued:
        return f"{fitted.rescued} rows with rescued values, for example {fitted.example}"
    return ""


@contextmanager
def _staging(lakehouse: Lakehouse, now: datetime) -> Iterator[Path]:
    """A folder beside the lakehouse for the files of one batch."""
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
