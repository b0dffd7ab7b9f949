"""Feed a bronze table by a stream: what arrives is ingested as it comes, in small batches.

A stream brings no state of its own into the question what was ingested: that is the record of
ingested files, the same as for batches. So a table can change between batches and a stream, and
between engines, at any time, and a checkpoint that is lost costs a second look and no row.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from lakeops_assets.ingest.commit import IngestResult, result_of, table_version, unwritten
from lakeops_assets.ingest.ingest import ingest
from lakeops_assets.ingest.ledger import FileOutcome, ends, pending
from lakeops_assets.ingest.records import ingest_records
from lakeops_assets.ingest.screen import Screen
from lakeops_assets.ingest.spec import IngestError, IngestSpec
from lakeops_assets.lakehouse import Commit, FilesOf, Lakehouse, RecordsOf, UnsupportedError

if TYPE_CHECKING:
    import pyarrow as pa

# How often whoever waits is asked whether to go on.
LOOK_SECONDS = 1.0
# Spark writes the names of local files like this, with nothing encoded.
FILE_URI = re.compile(r"^file:/+")


@dataclass(frozen=True)
class StreamSpec:
    """How a table is fed by a stream.

    Attributes:
        max_files: Most files of one micro-batch.
        every_seconds: How often a continuous stream looks for more.
    """

    max_files: int = 100
    every_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.max_files < 1 or self.every_seconds <= 0:
            raise IngestError("a stream needs max_files of at least 1 and a positive interval")


@dataclass(frozen=True)
class Surroundings:
    """What a stream is given, so that it makes none of it itself.

    Attributes:
        clock: Tells the time.
        checkpoints: Folder of the checkpoints of all streams.
        screen: Makes what rows have to pass; asked before each micro-batch.
        progress: Told what happens, in words.
        sleep: Waits for some seconds.
    """

    clock: Callable[[], datetime]
    checkpoints: Path
    screen: Callable[[], Screen | None] = lambda: None
    progress: Callable[[str], None] = lambda text: None
    sleep: Callable[[float], None] = time.sleep


def stream(
    lakehouse: Lakehouse,
    spec: IngestSpec,
    how: StreamSpec,
    around: Surroundings,
    *,
    go_on: Callable[[], bool] | None = None,
    each: Callable[[IngestResult], None] = lambda result: None,
) -> IngestResult:
    """Bring what arrives into the table, each file or record exactly once.

    On an engine with streams it is one, with a checkpoint; on another the same files come in the
    same small batches. Where another process streams into the table, nothing is done.

    Args:
        lakehouse: Where the tables are.
        spec: The table, and the folder or topic.
        how: How it is fed.
        around: Clock, checkpoints and so on.
        go_on: Asked about once a second; the stream runs until it says no. What is there now and
            no more when None.
        each: Told of each micro-batch that ingested something.

    Raises:
        UnsupportedError: The engine has no topics, or cannot stream as it was started.
        IngestError: Nothing tells the columns, or under `freeze` a record does not fit.
    """
    running = _Stream(lakehouse, replace(spec, max_files_per_batch=how.max_files), around, each)
    there = lakehouse.engine.capabilities
    if spec.topic is not None and not there.topics.available:
        raise UnsupportedError(
            f"{spec.table} is fed by the topic {spec.topic.topic}, and the engine "
            f"{lakehouse.engine.name} has no topics: {there.topics.reason}"
        )
    folder = checkpoint_of(spec, around.checkpoints)
    with _alone(folder) as alone:
        if not alone:
            version = table_version(lakehouse, spec)
            reason = "another process streams into it"
            return replace(
                result_of(Commit(version, written=False, reason=reason), 0, ()), reason=reason
            )
        if not there.streaming_ingest.available:
            running.repeat(how, go_on)
        elif spec.topic is not None:
            running.records(how, folder, go_on)
        else:
            running.files(how, folder, go_on)
    return running.result()


def checkpoint_of(spec: IngestSpec, checkpoints: Path) -> Path:
    """Return the folder of the checkpoint; a table that is fed by something else has another."""
    source = (
        f"kafka:{spec.topic.topic}" if spec.topic is not None else f"{spec.landing}/{spec.glob}"
    )
    digest = hashlib.sha256(source.encode()).hexdigest()[:8]
    return checkpoints / f"{spec.table}-{digest}"


def is_streaming(spec: IngestSpec, checkpoints: Path) -> bool:
    """Return whether a process of this machine streams into a table now."""
    if not checkpoints.is_dir():
        return False
    with _alone(checkpoint_of(spec, checkpoints)) as alone:
        return not alone


class _Stream:
    """A stream that runs, and what it has done."""

    def __init__(
        self,
        lakehouse: Lakehouse,
        spec: IngestSpec,
        around: Surroundings,
        each: Callable[[IngestResult], None],
    ) -> None:
        self._lakehouse = lakehouse
        self._spec = spec
        self._around = around
        self._each = each
        # Micro-batches come in a thread of Spark, and what they leave is looked for in another.
        self._one_at_a_time = Lock()
        self._commit: Commit | None = None
        self._batches = 0
        self._files: list[FileOutcome] = []

    def result(self) -> IngestResult:
        """Return what was done; makes the table where nothing came."""
        commit = self._commit
        if commit is None:
            commit = unwritten(table_version(self._lakehouse, self._spec), self._spec)
        return result_of(commit, self._batches, self._files)

    def repeat(self, how: StreamSpec, go_on: Callable[[], bool] | None) -> None:
        """Ingest again and again in this thread."""
        self._ingest(None)
        while go_on is not None and self._waited(how.every_seconds, go_on):
            self._ingest(None)

    def files(self, how: StreamSpec, folder: Path, go_on: Callable[[], bool] | None) -> None:
        """Ingest files as the engine's stream finds them."""
        self._spec.landing.mkdir(parents=True, exist_ok=True)
        root = self._spec.landing.resolve()
        source = FilesOf(str(root), self._spec.glob, how.max_files)

        def handle(found: pa.Table) -> None:
            paths = (Path(FILE_URI.sub("/", uri)) for uri in found["path"].to_pylist())
            self._ingest({p.relative_to(root).as_posix() for p in paths})

        self._lakehouse.engine.stream(
            source,
            handle,
            checkpoint=str(folder),
            every_seconds=None if go_on is None else how.every_seconds,
            go_on=(lambda: True)
            if go_on is None
            else self._with_leftovers(how.every_seconds, go_on),
        )
        if go_on is None:
            # A stream names each path once. Files that were still being written, and those that
            # came again with other bytes, are found by looking at the folder.
            self._ingest(None)

    def _with_leftovers(
        self, every_seconds: float, go_on: Callable[[], bool]
    ) -> Callable[[], bool]:
        """Return a question whether to go on that looks for files the stream leaves behind.

        What waited at one look and still does at the next, which is behind a whole interval, does
        not come by the stream.
        """
        before: set[tuple[str, int, datetime]] = set()
        next_look = time.monotonic() + 2 * every_seconds

        def asked() -> bool:
            nonlocal before, next_look
            if not go_on():
                return False
            if time.monotonic() < next_look or self._one_at_a_time.locked():
                return True
            waiting = pending(self._lakehouse, self._spec, now=self._around.clock())
            left = {file.path for file in waiting if file.identity in before}
            if left:
                self._ingest(left)
            before = {file.identity for file in waiting}
            next_look = time.monotonic() + 2 * every_seconds
            return True

        return asked

    def records(self, how: StreamSpec, folder: Path, go_on: Callable[[], bool] | None) -> None:
        """Ingest records as the engine's stream brings them."""
        topic = self._spec.topic
        if topic is None:
            raise IngestError(f"{self._spec.table} is fed by no topic")
        starting: str = topic.starting
        begun = any((folder / "offsets").glob("[0-9]*"))
        ingested = bool(ends(self._lakehouse, self._spec.table))
        if ingested and not begun:
            # The checkpoint is lost. What was ingested is left out; `latest` would leave a gap.
            starting = "earliest"
        if begun and not ingested and starting == "earliest":
            # The table is lost, or the first micro-batch was killed.
            shutil.rmtree(folder)
        source = RecordsOf(topic.servers, topic.topic, starting, topic.max_records, topic.options)
        self._lakehouse.engine.stream(
            source,
            self._ingest_records,
            checkpoint=str(folder),
            every_seconds=None if go_on is None else how.every_seconds,
            go_on=go_on or (lambda: True),
        )

    def _ingest(self, only: set[str] | None) -> None:
        with self._one_at_a_time:
            now = self._around.clock()
            self._add(
                ingest(
                    self._lakehouse,
                    self._spec,
                    now=now,
                    progress=self._around.progress,
                    screen=self._around.screen(),
                    only=only,
                    whole=False,
                )
            )

    def _ingest_records(self, found: pa.Table) -> None:
        with self._one_at_a_time:
            now, screen = self._around.clock(), self._around.screen()
            self._around.progress(f"{found.num_rows} records")
            self._add(ingest_records(self._lakehouse, self._spec, found, now=now, screen=screen))

    def _add(self, result: IngestResult) -> None:
        self._batches += result.batches
        self._files += result.files
        if result.commit.written:
            self._commit = result.commit
        if result.files:
            self._each(result)

    def _waited(self, seconds: float, go_on: Callable[[], bool]) -> bool:
        """Wait, and return whether to go on."""
        while seconds > 0:
            if not go_on():
                return False
            self._around.sleep(min(seconds, LOOK_SECONDS))
            seconds -= LOOK_SECONDS
        return go_on()


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Provide whether this is the only process at a checkpoint; the system ends it with ours."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.with_name(f".{folder.name}.lock"), os.O_CREAT | os.O_RDWR, 0o644)
    try:
        locked = False
        for pause in (0.2, 0.0):  # whoever only looks holds it for a moment
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
                break
            except BlockingIOError:
                time.sleep(pause)
        yield locked
    finally:
        os.close(handle)
