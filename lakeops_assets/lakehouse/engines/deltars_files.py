"""delta-rs' tables as files: what is stored, and whether a change feed is whole."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from deltalake import DeltaTable

# Where rows wait that are written in several passes. Delta's readers and VACUUM leave folders alone
# whose name starts like this.
STAGING = "_staging"
# A write that takes longer than this would lose its staged rows.
ABANDONED_SECONDS = 24 * 3600


def data_files(table: DeltaTable) -> tuple[str, ...]:
    """Return the data files of a table's version as they are named on disk, relative to it.

    The log writes paths as URIs: there the folder `p=a%20b` of a partition `a b` is `p=a%2520b`.
    """
    import pyarrow as pa

    actions = pa.table(table.get_add_actions(flatten=True))
    return tuple(sorted(unquote(path) for path in actions["path"].to_pylist()))


def stored_files(location: str) -> Mapping[str, int]:
    """Return every file in a table's folder with its size, relative to the folder."""
    root = Path(location)
    return {
        str(path.relative_to(root)): path.stat().st_size
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def feed_gap(location: str, first: int, last: int) -> str:
    """Return why the change feed between two versions is not whole any more; empty when it is.

    Reading it would not tell: delta-rs leaves out a version whose log entry is gone.
    """
    if "://" in location:
        return ""
    root = Path(location)
    for version in range(first, last + 1):
        entry = root / "_delta_log" / f"{version:020}.json"
        if not entry.is_file():
            return f"the log of version {version} was cleaned up"
        gone = [file for file in _feed_files(entry) if not (root / unquote(file)).is_file()]
        if gone:
            return f"files of version {version} were vacuumed"
    return ""


def _feed_files(entry: Path) -> list[str]:
    """Return the files that the change feed of one commit is read from."""
    actions = list(_actions(entry))
    changes = [action["cdc"]["path"] for action in actions if "cdc" in action]
    if changes:
        return changes
    written = [action.get("add") or action.get("remove") for action in actions]
    return [file["path"] for file in written if file and file.get("dataChange", True)]


def _actions(entry: Path) -> Iterator[dict[str, Any]]:
    for line in entry.read_text().splitlines():
        if line.strip():
            yield json.loads(line)


def sweep(location: str) -> None:
    """Delete what writes have staged that were killed."""
    for folder in (Path(location) / STAGING).glob("*"):
        with suppress(FileNotFoundError):  # another process was faster
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
