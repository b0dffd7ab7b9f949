"""The files of a landing folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lakeops_assets.ingest.spec import IngestSpec

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload")
BLOCK = 1 << 20


@dataclass(frozen=True)
class LandingFile:
    """A file as it was when the folder was looked at.

    Attributes:
        path: Relative to the landing folder, with forward slashes.
        size: Bytes.
        modified_at: Time of the last change.
        full_path: Where it is.
    """

    path: str
    size: int
    modified_at: datetime
    full_path: Path

    @property
    def identity(self) -> tuple[str, int, datetime]:
        """What tells a file that is known from one that is new, without reading it."""
        return self.path, self.size, self.modified_at


def list_files(spec: IngestSpec) -> list[LandingFile]:
    """Return the finished files of the landing folder, sorted by path.

    Hidden files, those that start with an underscore and those with the suffix of an unfinished
    download are not files yet.
    """
    if not spec.landing.is_dir():
        return []
    found = []
    for path in spec.landing.rglob(spec.glob):
        relative = path.relative_to(spec.landing)
        hidden = any(part.startswith((".", "_")) for part in relative.parts)
        if hidden or path.suffix in UNFINISHED:
            continue
        file = look(path, relative.as_posix())
        if file is not None:
            found.append(file)
    return sorted(found, key=lambda file: file.path)


def look(full_path: Path, path: str) -> LandingFile | None:
    """Return a file as it is now; None when it is gone or no file."""
    try:
        stat = full_path.stat()
    except FileNotFoundError:
        return None
    if not full_path.is_file():
        return None
    # Microseconds are what a Delta timestamp keeps; whole integers, because floats would round.
    seconds, nanoseconds = divmod(stat.st_mtime_ns, 1_000_000_000)
    modified = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
    return LandingFile(path, stat.st_size, modified, full_path)


def sha256(path: Path) -> str:
    """Return the hash of the bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
