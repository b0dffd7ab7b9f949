"""What keeps a table small and fast, and what must not be lost by it.

Maintenance is planned from what is there and can be printed; carrying it out walks the plan. A
plan that is carried out twice, or was cut off, finds nothing or the rest to do.

VACUUM and the clean-up of the log respect locks: table versions that somebody needs, and who. They
come from outside, since tables know nothing of models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from lakeops_assets.lakehouse.engines.protocol import CommitInfo, Maintenance
from lakeops_assets.lakehouse.errors import LakehouseError
from lakeops_assets.lakehouse.lakehouse import Lakehouse
from lakeops_assets.lakehouse.maintenance_spec import (
    LockedVersion,
    Locks,
    MaintenancePlan,
    MaintenancePolicy,
    MaintenanceResult,
    TableSize,
)
from lakeops_assets.lakehouse.names import TableName

# OPTIMIZE pays from so many small files in one folder; a file is small below half the target.
SEVERAL = 4
# Files are put together with those of their size: a tier ends at a quarter of the next one. A row
# is so written again once or twice per tier, and not each time that a few new files are there.
# Below the last tier, which is 1/32 of the target, all files are of one size.
TIER = 4
TIERS = 3
# A clean-up of the log writes a checkpoint: it pays from so many entries that go.
ENTRIES_WORTH_A_CHECKPOINT = 10
LOG = "_delta_log"


class LockedVersionError(LakehouseError):
    """A table version was to be dropped that somebody needs."""


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
    locked, held = _locked(lakehouse, policy, stored, needed)
    kept = tuple(v.version for v in locked if v.in_log)
    removable = _removable(lakehouse, policy, stored, kept)
    log_from, entries, log_reason = _log_cut(policy, history, kept, needed, stored, now)
    optimize, optimize_bytes = _why_optimize(lakehouse, policy, stored, history)
    return MaintenancePlan(
        policy=policy,
        size=_size(lakehouse, table, stored),
        optimize=optimize,
        optimize_bytes=optimize_bytes,
        removable_files=len(removable),
        removable_bytes=_bytes(removable, stored),
        locked=locked,
        locked_bytes=_bytes(held, stored),
        log_from=log_from,
        log_entries=entries,
        log_reason=log_reason,
    )


def carry_out(lakehouse: Lakehouse, plan: MaintenancePlan) -> MaintenanceResult:
    """Carry out a plan: OPTIMIZE, VACUUM, clean up the log."""
    table, policy = plan.table, plan.policy
    removed = entries = 0
    if plan.optimize:
        lakehouse.optimize(table, zorder=policy.zorder, target_bytes=plan.optimize_bytes)
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
        gone = lakehouse.truncate_log(table, oldest=plan.log_from).files
        entries = sum(file.endswith(".json") for file in gone)
    stored = lakehouse.stored_files(table)
    locked, held = _locked(lakehouse, policy, stored, {v.version: v.needed_by for v in plan.locked})
    return MaintenanceResult(
        plan=plan,
        before=plan.size,
        after=_size(lakehouse, table, stored),
        optimized=bool(plan.optimize),
        files_removed=removed,
        entries_removed=entries,
        locked=locked,
        locked_bytes=_bytes(held, stored),
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
        named = "; ".join(f"{', '.join(who)} needs {v}" for v, who in sorted(locked.items()))
        raise LockedVersionError(
            f"versions of {name} up to {up_to} cannot be dropped: {named}. Delete those model "
            "versions first, or keep only live models in the maintenance policy"
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
) -> tuple[str, int]:
    """Return why files should be rewritten, with figures, and into files of which size.

    The reason is empty when none should. Sorting by several columns works on all files at once.
    """
    if not policy.optimize:
        return "", 0
    rewritten = next((c.version for c in history if c.operation.upper() == "OPTIMIZE"), -1)
    changed = next((c.version for c in history if c.changed_rows), -1)
    if changed < rewritten:
        return "", 0  # what OPTIMIZE left small it would leave small again
    sizes = [(PurePosixPath(f).parent, stored.get(f, 0)) for f in lakehouse.files(policy.table)]
    largest = policy.target_bytes // 2
    tiers = 1 if policy.zorder else TIERS
    for tier in range(tiers):
        limit = largest // TIER**tier
        lowest = 0 if tier == tiers - 1 else limit // TIER
        crowded = Counter(folder for folder, size in sizes if lowest <= size < limit)
        if max(crowded.values(), default=0) < SEVERAL:
            continue
        small = Counter(folder for folder, size in sizes if size < limit)
        number = sum(small[folder] for folder, n in crowded.items() if n >= SEVERAL)
        sorted_by = f", sorted by {', '.join(policy.zorder)}" if policy.zorder else ""
        reason = f"{number} files are smaller than {_size_text(limit)}{sorted_by}"
        return reason, policy.target_bytes if tier == 0 else limit
    return "", 0


def _size_text(size: int) -> str:
    return f"{size / 2**20:.3g} MiB" if size >= 2**20 else f"{size / 2**10:.3g} KiB"


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


def _locked(
    lakehouse: Lakehouse,
    policy: MaintenancePolicy,
    stored: Mapping[str, int],
    needed: Mapping[int, tuple[str, ...]],
) -> tuple[tuple[LockedVersion, ...], set[str]]:
    """Return the versions that somebody needs, and the files that stay for their sake alone."""
    if not needed:
        return (), set()
    files: dict[int, tuple[str, ...]] = {}
    for version in sorted(needed):
        try:
            files[version] = lakehouse.files(policy.table, version)
        except LakehouseError:
            continue  # the log does not have it any more, or never had: nothing can be kept
    free = _removable(lakehouse, policy, stored, ())
    locked = tuple(
        LockedVersion(
            version=version,
            needed_by=needed[version],
            bytes=_bytes(free.intersection(files.get(version, ())), stored),
            in_log=version in files,
            readable=version in files and all(f in stored for f in files[version]),
        )
        for version in sorted(needed)
    )
    return locked, free.intersection(f for own in files.values() for f in own)


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
