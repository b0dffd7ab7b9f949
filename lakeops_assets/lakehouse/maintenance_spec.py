"""How a table is to be maintained, what that would change, and what it changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from lakeops_assets.lakehouse.names import TableName

# Full name of a table -> Delta version -> who needs it.
Locks: TypeAlias = Mapping[str, Mapping[int, tuple[str, ...]]]


@dataclass(frozen=True)
class MaintenancePolicy:
    """How a table is maintained.

    Attributes:
        table: The table.
        optimize: Rewrite small files into large ones when there are several.
        zorder: Columns to sort by when files are rewritten.
        target_bytes: Size of the files to make.
        vacuum_retention_hours: Age from which files that the newest version does not need are
            deleted; None keeps them.
        log_retention_hours: Age from which entries of the log are deleted, and with them the
            versions; None keeps them.
    """

    table: TableName
    optimize: bool = True
    zorder: tuple[str, ...] = ()
    target_bytes: int = 100 * 2**20
    vacuum_retention_hours: int | None = 168
    log_retention_hours: int | None = 720


@dataclass(frozen=True)
class TableSize:
    """What a table takes up.

    Attributes:
        version: Delta version.
        files: Data files of the newest version.
        bytes: Size of those files.
        stored_files: Files in the table's folder without the log: also of older versions and of
            the change feed.
        stored_bytes: Size of those files.
        log_entries: Commits in the log.
    """

    version: int
    files: int
    bytes: int
    stored_files: int
    stored_bytes: int
    log_entries: int


@dataclass(frozen=True)
class LockedVersion:
    """A table version that somebody needs.

    Attributes:
        version: Delta version.
        needed_by: Who, such as `dev.churn.model@3`.
        bytes: Size of its files that would go otherwise; two versions may share files.
        in_log: Whether the log still has it, so that its files can be kept.
        readable: Whether all its files are there still.
    """

    version: int
    needed_by: tuple[str, ...]
    bytes: int
    in_log: bool
    readable: bool


@dataclass(frozen=True)
class MaintenancePlan:
    """What maintenance would do to a table.

    Attributes:
        policy: How the table is maintained.
        size: What it takes up.
        optimize: Why files should be rewritten; empty when they should not.
        optimize_bytes: Size of the files to make of them; larger ones are left alone.
        removable_files: Files that VACUUM would delete.
        removable_bytes: Their size.
        locked: Versions that somebody needs, oldest first.
        locked_bytes: Size of the files that stay for their sake alone.
        log_from: Version from which the log is kept; None to leave it alone.
        log_entries: Entries of the log that would go.
        log_reason: What decides how far the log goes back.
    """

    policy: MaintenancePolicy
    size: TableSize
    optimize: str
    optimize_bytes: int
    removable_files: int
    removable_bytes: int
    locked: tuple[LockedVersion, ...]
    locked_bytes: int
    log_from: int | None
    log_entries: int
    log_reason: str

    @property
    def table(self) -> TableName:
        """The table."""
        return self.policy.table

    @property
    def does_nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.optimize or self.removable_files or self.log_from is not None)

    @property
    def kept_versions(self) -> tuple[int, ...]:
        """Versions whose files VACUUM leaves."""
        return tuple(v.version for v in self.locked if v.in_log)


@dataclass(frozen=True)
class MaintenanceResult:
    """What maintenance did to a table.

    Attributes:
        plan: The plan.
        before: What the table took up.
        after: What it takes up now.
        optimized: Whether files were rewritten.
        files_removed: Files that VACUUM deleted.
        entries_removed: Entries of the log that were deleted.
        locked: Versions that somebody needs, with what they cost now.
        locked_bytes: Size of the files that stay for their sake alone.
    """

    plan: MaintenancePlan
    before: TableSize
    after: TableSize
    optimized: bool
    files_removed: int
    entries_removed: int
    locked: tuple[LockedVersion, ...]
    locked_bytes: int

    @property
    def bytes_freed(self) -> int:
        """Bytes that the folder takes up less; negative when files were rewritten and none went."""
        return self.before.stored_bytes - self.after.stored_bytes
