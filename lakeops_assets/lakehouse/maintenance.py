"""What keeps a table small and fast, and what must not be lost by it.

Maintenance is planned from what is there and can be printed; carrying it out walks the plan. A
plan that is carried out twice, or was cut off, finds nothing or the rest to do.

VACUUM and the clean-up of the log respect locks: table versions that somebody needs, and who. They
come from outside, since tables know nothing of models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from lakeops_assets.lakehouse.engines.protocol import CommitInfo, Maintenance
from lakeops_assets.lakehouse.errors import LakehouseError
from lakeops_assets.lakehouse.lakehouse import Lakehouse
from lakeops_assets.lakehouse.names import TableName

# Full name of a table -> Delta version -> who needs it.
Locks: TypeAlias = Mapping[str, Mapping[int, tuple[str, ...]]]

# OPTIMIZE pays from so many small files in one folder; a file is small below half the target.
SEVERAL = 4
# A clean-up of the log writes a checkpoint: it pays from so many entries that go.
ENTRIES_WORTH_A_CHECKPOINT = 10
LOG = "_delta_log"


class LockedVersionError(LakehouseError):
    """A table version was to be dropped that somebody needs."""


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
        readable: Whether all its files are there still.
    """

    version: int
    needed_by: tuple[str, ...]
    bytes: int
    readable: bool


@dataclass(frozen=True)
class MaintenancePlan:
    """What maintenance would do to a table.

    Attributes:
        policy: How the table is maintained.
        size: What it takes up.
        optimize: Why files should be rewritten; empty when they should not.
        removable_files: Files that VACUUM would delete.
        removable_bytes: Their size.
        locked: Versions that somebody needs, oldest first.
        kept_versions: Those that the log still has, whose files VACUUM leaves.
        locked_files: Files that stay for their sake alone.
        locked_bytes: Their size.
        log_from: Version from which the log is kept; None to leave it alone.
        log_entries: Entries of the log that would go.
        log_reason: What decides how far the log goes back.
    """

    policy: MaintenancePolicy
    size: TableSize
    optimize: str
    removable_files: int
    removable_bytes: int
    locked: tuple[LockedVersion, ...]
    kept_versions: tuple[int, ...]
    locked_files: int
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
    """

    plan: MaintenancePlan
    before: TableSize
    after: TableSize
    optimized: bool
    files_removed: int
    entries_removed: int

    @property
    def bytes_freed(self) -> int:
        """Bytes that the folder takes up less; negative when files were rewritten and none went."""
        return self.before.stored_bytes - self.after.stored_bytes


# Planning


def plan_maintenance(
    lakehouse: Lakehouse, policy: MaintenancePolicy, locks: Locks, *, now: datetime
) -> MaintenancePlan:
    """Plan the maintenance of a table.

    Args:
        lakehouse: Where the table is.
        policy: How it is maintained.
        locks: Versions that somebody needs, of any table.
        now: The present.

    Raises:
        TableNotFoundError: There is no such table.
        LakehouseError: It has no column that files are to be sorted by.
    """
    table = policy.table
    columns = lakehouse.schema(table).names
    missing = [c for c in policy.zorder if c not in columns]
    if missing:
        raise LakehouseError(
            f"{table} is to be sorted by {', '.join(missing)}, which is no column; it has: "
            f"{', '.join(columns)}"
        )
    stored = lakehouse.stored_files(table)
    history = lakehouse.history(table)
    needed = locks.get(str(table), {})
    files = _files_of(lakehouse, table, sorted(needed))
    kept = tuple(files)
    removable = _removable(lakehouse, policy, stored, kept)
    free = _removable(lakehouse, policy, stored, ())
    log_from, entries, log_reason = _log_cut(policy, history, kept, needed, stored, now)
    return MaintenancePlan(
        policy=policy,
        size=_size(lakehouse, table, stored),
        optimize=_why_optimize(lakehouse, policy, stored, history),
        removable_files=len(removable),
        removable_bytes=_bytes(removable, stored),
        locked=tuple(
            LockedVersion(
                version=version,
                needed_by=needed[version],
                bytes=_bytes(free.intersection(files.get(version, ())), stored),
                readable=version in files and all(f in stored for f in files[version]),
            )
            for version in sorted(needed)
        ),
        kept_versions=kept,
        locked_files=len(free - removable),
        locked_bytes=_bytes(free - removable, stored),
        log_from=log_from,
        log_entries=entries,
        log_reason=log_reason,
    )


def carry_out(lakehouse: Lakehouse, plan: MaintenancePlan) -> MaintenanceResult:
    """Carry out a plan: OPTIMIZE, VACUUM, clean up the log."""
    table, policy = plan.table, plan.policy
    removed = entries = 0
    if plan.optimize:
        lakehouse.optimize(table, zorder=policy.zorder, target_bytes=policy.target_bytes)
    if policy.vacuum_retention_hours is not None and (plan.removable_files or plan.optimize):
        stored = lakehouse.stored_files(table)
        # VACUUM commits even when it has nothing to delete, so it is asked first.
        if _removable(lakehouse, policy, stored, plan.kept_versions):
            lakehouse.vacuum(
                table,
                retention_hours=policy.vacuum_retention_hours,
                keep_versions=plan.kept_versions,
                full=True,
                dry_run=False,
            )
            removed = len(stored.keys() - lakehouse.stored_files(table).keys())
    if plan.log_from is not None:
        entries = lakehouse.truncate_log(table, oldest=plan.log_from).files_removed
    return MaintenanceResult(
        plan=plan,
        before=plan.size,
        after=_size(lakehouse, table, lakehouse.stored_files(table)),
        optimized=bool(plan.optimize),
        files_removed=removed,
        entries_removed=entries,
    )


def drop_versions(
    lakehouse: Lakehouse, table: TableName | str, up_to: int, locks: Locks
) -> Maintenance:
    """Delete the files that only versions up to one need, whatever their age.

    Raises:
        LockedVersionError: Somebody needs one of them; nothing is deleted.
        LakehouseError: There would be no version left.
    """
    name = lakehouse.name(table)
    newest = lakehouse.version(name)
    locked = {v: who for v, who in locks.get(str(name), {}).items() if v <= up_to}
    if locked:
        named = "; ".join(f"version {v} by {', '.join(who)}" for v, who in sorted(locked.items()))
        raise LockedVersionError(
            f"versions of {name} up to {up_to} cannot be dropped: {named} is needed. Delete those "
            "model versions first, or keep only live models in the maintenance policy"
        )
    if newest is None or up_to >= newest:
        raise LakehouseError(
            f"versions of {name} up to {up_to} cannot be dropped: the newest is {newest}"
        )
    kept = [c.version for c in lakehouse.history(name) if c.version > up_to]
    return lakehouse.vacuum(name, retention_hours=0, keep_versions=kept, dry_run=False)


# Files


def _why_optimize(
    lakehouse: Lakehouse,
    policy: MaintenancePolicy,
    stored: Mapping[str, int],
    history: Sequence[CommitInfo],
) -> str:
    """Return why files should be rewritten, with figures; empty when they should not."""
    if not policy.optimize:
        return ""
    rewritten = next((c.version for c in history if c.operation.upper() == "OPTIMIZE"), -1)
    changed = next((c.version for c in history if c.changed_rows), -1)
    if changed < rewritten:
        return ""  # what OPTIMIZE left small it would leave small again
    small = [
        PurePosixPath(file).parent
        for file in lakehouse.files(policy.table)
        if stored.get(file, 0) < policy.target_bytes / 2
    ]
    folders = {folder: n for folder, n in Counter(small).items() if n >= SEVERAL}
    if not folders:
        return ""
    sorted_by = f", sorted by {', '.join(policy.zorder)}" if policy.zorder else ""
    return (
        f"{sum(folders.values())} files are smaller than {policy.target_bytes // 2**21} MiB"
        f"{sorted_by}"
    )


def _removable(
    lakehouse: Lakehouse, policy: MaintenancePolicy, stored: Mapping[str, int], kept: Sequence[int]
) -> set[str]:
    """Return files that VACUUM would delete; it names also those that are gone already."""
    if policy.vacuum_retention_hours is None:
        return set()
    found = lakehouse.vacuum(
        policy.table,
        retention_hours=policy.vacuum_retention_hours,
        keep_versions=kept,
        full=True,
        dry_run=True,
    )
    root = Path(lakehouse.location(policy.table))
    paths = (Path(file) for file in found.files)
    names = {str(p.relative_to(root) if p.is_absolute() else p) for p in paths}
    return names & stored.keys()


def _files_of(
    lakehouse: Lakehouse, table: TableName, versions: Iterable[int]
) -> dict[int, tuple[str, ...]]:
    """Return the files of versions, without versions that the log does not have any more."""
    found: dict[int, tuple[str, ...]] = {}
    for version in versions:
        try:
            found[version] = lakehouse.files(table, version)
        except LakehouseError:
            continue
    return found


def _size(lakehouse: Lakehouse, table: TableName, stored: Mapping[str, int]) -> TableSize:
    current = lakehouse.files(table)
    data = [f for f in stored if not f.startswith(f"{LOG}/")]
    return TableSize(
        version=lakehouse.version(table) or 0,
        files=len(current),
        bytes=_bytes(current, stored),
        stored_files=len(data),
        stored_bytes=_bytes(data, stored),
        log_entries=len(_entries(stored)),
    )


def _bytes(files: Iterable[str], stored: Mapping[str, int]) -> int:
    return sum(stored.get(file, 0) for file in files)


# The log


def _entries(stored: Mapping[str, int]) -> list[int]:
    """Return the versions whose commits are in the log."""
    names = (PurePosixPath(f) for f in stored if f.startswith(f"{LOG}/"))
    return sorted(int(n.stem) for n in names if n.suffix == ".json" and n.stem.isdigit())


def _log_cut(
    policy: MaintenancePolicy,
    history: Sequence[CommitInfo],
    kept: Sequence[int],
    needed: Mapping[int, tuple[str, ...]],
    stored: Mapping[str, int],
    now: datetime,
) -> tuple[int | None, int, str]:
    """Return from which version the log is kept, how many entries go, and what decides."""
    if policy.log_retention_hours is None:
        return None, 0, "the whole log is kept"
    oldest_wanted = now - timedelta(hours=policy.log_retention_hours)
    older = [c.version for c in history if c.timestamp <= oldest_wanted]
    if not older:
        return None, 0, "every entry is younger than the retention"
    bounds = {max(older): f"the table as it was {policy.log_retention_hours} hours ago"}
    if kept:
        bounds.setdefault(min(kept), f"version {min(kept)} for {', '.join(needed[min(kept)])}")
    remembered = _remembered(history)
    bounds.setdefault(remembered, f"version {remembered} for what its writer recorded")
    cut = min(bounds)
    going = [v for v in _entries(stored) if v < cut]
    if len(going) < ENTRIES_WORTH_A_CHECKPOINT:
        return None, 0, f"{len(going)} entries are too few to write a checkpoint for"
    return cut, len(going), bounds[cut]


def _remembered(history: Sequence[CommitInfo]) -> int:
    """Return the oldest commit that somebody looks up: what writers recorded last is their memory.

    That is the newest commit that changed rows, and the newest with each kind of metadata.
    """
    newest: dict[str, int] = {}
    for commit in history:
        for key in commit.metadata:
            newest.setdefault(key, commit.version)
        if commit.changed_rows:
            newest.setdefault("", commit.version)
    return min(newest.values(), default=history[0].version)
