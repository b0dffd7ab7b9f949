"""Ingest the files that are pending, in one commit per batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from lakeops_assets.ingest.commit import (
    Attempt,
    IngestResult,
    columns_of,
    commit_rows,
    in_batches,
    reason_of,
    staging,
)
from lakeops_assets.ingest.files import LandingFile, look, sha256
from lakeops_assets.ingest.fit import Fitted, fit
from lakeops_assets.ingest.ledger import FileOutcome, outcomes, pending, record
from lakeops_assets.ingest.screen import Screen
from lakeops_assets.ingest.spec import IngestSpec
from lakeops_assets.ingest.stage import RejectedFileError, Staged, stage
from lakeops_assets.lakehouse import Commit, Lakehouse


def ingest(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    *,
    now: datetime,
    progress: Callable[[str], None] = lambda text: None,
    screen: Screen | None = None,
    only: Collection[str] | None = None,
    whole: bool = True,
) -> IngestResult:
    """Bring every pending file into the table, each exactly once.

    The rows of a batch are one Delta commit under an application transaction, and the commit
    carries what became of each file. Killed before it, the batch is repeated; killed after it, the
    next start finds the commit and writes the ledger first. Of two processes that ingest at the
    same time one commits a batch, and the other finds its files done. Where there is a screen, each
    row that it does not let pass is in the quarantine before the batch is committed.

    Args:
        lakehouse: Where the tables are.
        spec: The table and its folder.
        now: Recorded with what is ingested.
        progress: Told what is read.
        screen: What rows have to pass.
        only: Paths of the files to look at; all when None.
        whole: Nothing follows: where nothing came, an empty table is made.

    Raises:
        IngestError: Nothing tells the columns of the table.
        ConcurrentWriteError: Other writers were in the way again and again.
    """
    looked_at: set[str] = set()

    def waiting(deferred: Collection[str]) -> list[LandingFile]:
        if only is not None and looked_at.issuperset(only):
            return []
        files = pending(lakehouse, spec, now=now)
        asked = [f for f in files if only is None or f.path in only]
        return [f for f in asked if f.path not in deferred][: spec.max_files_per_batch]

    def take(
        files: Sequence[LandingFile], attempt: Attempt
    ) -> tuple[Commit | None, list[FileOutcome]]:
        done = _batch(lakehouse, spec, files, attempt, progress)
        looked_at.update(f.path for f in files)
        return done

    return in_batches(lakehouse, spec, now, screen, waiting, take, whole=whole)


def _batch(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    files: Sequence[LandingFile],
    attempt: Attempt,
    progress: Callable[[str], None],
) -> tuple[Commit | None, list[FileOutcome]]:
    with staging(lakehouse, attempt.now) as folder:
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
        columns = columns_of(lakehouse, spec, list(staged.values()))
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
                reason=reason_of(result),
            )
        commit = commit_rows(lakehouse, spec, attempt, columns, fitted, found)
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
