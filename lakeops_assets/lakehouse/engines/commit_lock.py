"""Who may commit to a table on a local disk, where its log does not keep writers apart by itself.

A commit of Delta is the file with the next number, and whoever comes second must not replace it.
delta-rs links the file, which fails when it is there. Spark looks whether it is there and renames,
which on a disk replaces it: a commit of another process in between would be lost. Object stores and
HDFS do not have that gap. Source: `HDFSLogStore` of delta-storage, and `RawLocalFileSystem.rename`
of Hadoop, which is rename(2).

So a writer with Spark commits alone, and those with delta-rs beside each other. The kernel gives
the lock back when a process is killed. What stays open: Java that outlives its killed driver for a
moment holds no lock.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from lakeops_assets.lakehouse.errors import ConcurrentWriteError

# Readers of Delta pass over files of the log that do not start with a version.
LOCK = ".lakeops.lock"
# Whoever waits to be alone holds this, so that no others go in before it.
TURN = ".lakeops.turn"
PATIENCE_SECONDS = 3600.0
QUIET_SECONDS = 30.0
_LOOK_SECONDS = 0.005
_log = logging.getLogger(__name__)


@contextmanager
def committing(
    location: str, *, alone: bool, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[None]:
    """Keep writers out of a table for whom a block's commit would not be safe.

    Args:
        location: Folder of the table, or its URI. Object stores need no lock.
        alone: No other writer may be in such a block: what commits replaces files.
        patience_seconds: How long to wait for others.

    Raises:
        ConcurrentWriteError: Others did not finish in time.
    """
    path = unquote(location.removeprefix("file://")) if "file://" in location else location
    log = Path(path) / "_delta_log"
    if "://" in path or not log.is_dir():
        yield
        return
    with (log / LOCK).open("ab") as lock:
        with (log / TURN).open("ab") as turn:
            _acquire(turn, fcntl.LOCK_EX, patience_seconds, path)
            _acquire(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, patience_seconds, path)
        yield


def _acquire(file: IO[bytes], kind: int, patience_seconds: float, path: str) -> None:
    begun, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - begun
            if waited > patience_seconds:
                raise ConcurrentWriteError(
                    f"another process has been writing to the table at {path} for all of the "
                    f"{waited:.0f} s that this one waited, and holds {file.name}; look whether it "
                    "hangs, and repeat the write"
                ) from None
            if waited > QUIET_SECONDS and not told:
                _log.warning("waiting for another process that writes to the table at %s", path)
                told = True
            time.sleep(_LOOK_SECONDS)
        else:
            return
