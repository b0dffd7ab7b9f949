"""Maintenance on real tables: small files, old versions, the log, and what is locked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lakeops_assets.lakehouse import (
    Lakehouse,
    LakehouseError,
    LockedVersionError,
    Locks,
    MaintenancePolicy,
    MaintenanceResult,
    TableName,
    maintenance,
)

TABLE = TableName("dev", "shop", "t")
NOTHING: Locks = {}
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=40)
# Files may go at once; entries of the log after a month.
POLICY = MaintenancePolicy(TABLE, vacuum_retention_hours=0)


@pytest.fixture
def table(lakehouse: Lakehouse) -> Lakehouse:
    """A table of five files: versions 1 to 5, of ten rows each."""
    lakehouse.create(TABLE, pa.schema([("k", pa.int64()), ("v", pa.int64())]))
    for batch in range(5):
        lakehouse.append(TABLE, rows(batch * 10, batch * 10 + 10))
    return lakehouse


def rows(first: int, last: int, value: int = 0) -> pa.Table:
    return pa.table({"k": range(first, last), "v": [value] * (last - first)})


def maintain(
    lakehouse: Lakehouse,
    policy: MaintenancePolicy = POLICY,
    locks: Locks = NOTHING,
    now: datetime = NOW,
) -> MaintenanceResult:
    plan = maintenance.plan_maintenance(lakehouse, policy, locks, now=now)
    return maintenance.carry_out(lakehouse, plan)


def readable(lakehouse: Lakehouse, version: int) -> bool:
    try:
        return lakehouse.read(TABLE, version=version).read_all().num_rows > 0
    except LakehouseError:
        return False


def test_several_small_files_become_one_and_the_old_ones_go(table: Lakehouse) -> None:
    plan = maintenance.plan_maintenance(table, POLICY, NOTHING, now=NOW)
    assert plan.optimize == "5 files are smaller than 3.12 MiB"
    assert (plan.removable_files, plan.does_nothing) == (0, False)
    done = maintenance.carry_out(table, plan)
    assert (done.before.files, done.after.files) == (5, 1)
    assert (done.before.stored_files, done.after.stored_files) == (5, 1)
    assert done.bytes_freed == done.before.stored_bytes - done.after.stored_bytes > 0
    assert table.row_count(TABLE) == 50
    assert table.data_version(TABLE) == 5


def test_a_second_time_does_nothing_and_commits_nothing(table: Lakehouse) -> None:
    maintain(table)
    version = table.version(TABLE)
    plan = maintenance.plan_maintenance(table, POLICY, NOTHING, now=NOW)
    assert plan.does_nothing
    done = maintenance.carry_out(table, plan)
    assert table.version(TABLE) == version == done.after.version
    assert (done.bytes_freed, done.files_removed, done.optimized) == (0, 0, False)


def test_files_that_zorder_left_small_are_not_rewritten_again(table: Lakehouse) -> None:
    # A target that every file is below, and that a rewrite cannot reach.
    policy = replace(POLICY, zorder=("k",), target_bytes=400)
    maintain(table, policy)
    version = table.version(TABLE)
    assert maintenance.plan_maintenance(table, policy, NOTHING, now=NOW).does_nothing
    maintain(table, policy)
    assert table.version(TABLE) == version


def test_few_files_are_left_alone(lakehouse: Lakehouse) -> None:
    lakehouse.create(TABLE, pa.schema([("k", pa.int64()), ("v", pa.int64())]))
    for batch in range(3):
        lakehouse.append(TABLE, rows(batch * 10, batch * 10 + 10))
    assert maintenance.plan_maintenance(lakehouse, POLICY, NOTHING, now=NOW).does_nothing


def test_small_files_are_counted_per_partition(lakehouse: Lakehouse) -> None:
    schema = pa.schema([("k", pa.int64()), ("place", pa.string())])
    lakehouse.create(TABLE, schema, partition_by=["place"])
    for place in ("a b", "c/d", "e", "f"):
        lakehouse.append(TABLE, pa.table({"k": [1], "place": [place]}))
    plan = maintenance.plan_maintenance(lakehouse, POLICY, NOTHING, now=NOW)
    assert plan.does_nothing
    assert plan.size.bytes == plan.size.stored_bytes > 0
    locks = {str(TABLE): {4: ("m@1",)}}
    lakehouse.overwrite(TABLE, pa.table({"k": [1], "place": ["a b"]}))
    [locked] = maintenance.plan_maintenance(lakehouse, POLICY, locks, now=NOW).locked
    assert locked.readable
    assert locked.bytes == plan.size.bytes
    maintain(lakehouse, locks=locks)
    assert readable(lakehouse, 4)


def test_young_versions_stay(table: Lakehouse) -> None:
    done = maintain(table, replace(POLICY, vacuum_retention_hours=1))
    assert done.optimized
    assert (done.files_removed, done.bytes_freed < 0) == (0, True)
    assert readable(table, 5)


def test_a_policy_can_switch_everything_off(table: Lakehouse) -> None:
    off = MaintenancePolicy(
        TABLE, optimize=False, vacuum_retention_hours=None, log_retention_hours=None
    )
    table.optimize(TABLE)
    assert maintenance.plan_maintenance(table, off, NOTHING, now=LATER).does_nothing


def test_a_locked_version_stays_readable_and_the_plan_says_for_whom(table: Lakehouse) -> None:
    locks = {str(TABLE): {3: ("dev.shop.model@1", "dev.shop.model@2"), 5: ("dev.shop.model@3",)}}
    maintain(table, replace(POLICY, vacuum_retention_hours=None))
    plan = maintenance.plan_maintenance(table, POLICY, locks, now=NOW)
    assert [(v.version, v.needed_by, v.readable) for v in plan.locked] == [
        (3, ("dev.shop.model@1", "dev.shop.model@2"), True),
        (5, ("dev.shop.model@3",), True),
    ]
    assert plan.removable_files == 0
    assert plan.locked_bytes == plan.size.stored_bytes - plan.size.bytes
    assert plan.locked_bytes == plan.locked[1].bytes > plan.locked[0].bytes > 0
    maintain(table, locks=locks)
    assert table.read(TABLE, version=3).read_all().num_rows == 30
    assert table.read(TABLE, version=5).read_all().num_rows == 50


def test_an_unlocked_version_goes(table: Lakehouse) -> None:
    maintain(table, locks={str(TABLE): {3: ("dev.shop.model@1",)}})
    assert readable(table, 3)
    assert not readable(table, 5)
    freed = maintain(table)
    assert freed.files_removed == 3
    assert not readable(table, 3)
    assert table.row_count(TABLE) == 50


def test_a_lock_that_came_too_late_is_shown_and_does_no_harm(table: Lakehouse) -> None:
    maintain(table)
    locks = {str(TABLE): {3: ("dev.shop.model@1",), 99: ("dev.shop.model@2",)}}
    plan = maintenance.plan_maintenance(table, POLICY, locks, now=NOW)
    assert [(v.version, v.readable) for v in plan.locked] == [(3, False), (99, False)]
    assert plan.kept_versions == (3,)
    maintenance.carry_out(table, plan)


def test_dropping_a_locked_version_is_refused_with_the_models_name(table: Lakehouse) -> None:
    locks = {str(TABLE): {3: ("dev.shop.model@1",)}}
    maintain(table, replace(POLICY, vacuum_retention_hours=None))
    table.overwrite(TABLE, rows(0, 5))
    before = table.stored_files(TABLE)
    with pytest.raises(LockedVersionError, match=r"dev\.shop\.model@1 needs 3"):
        maintenance.drop_versions(table, TABLE, 4, locks)
    assert table.stored_files(TABLE) == before
    with pytest.raises(LakehouseError, match="the newest is 7"):
        maintenance.drop_versions(table, TABLE, 7, NOTHING)
    maintenance.drop_versions(table, TABLE, 5, NOTHING)
    assert [readable(table, v) for v in (3, 5, 6, 7)] == [False, False, True, True]


def test_the_change_feed_goes_with_the_retention(table: Lakehouse) -> None:
    table.merge(TABLE, rows(0, 10, value=1), ["k"])
    assert table.feed_gap(TABLE, 6, 6) == ""
    assert any(f.startswith("_change_data/") for f in table.stored_files(TABLE))
    maintain(table, locks={str(TABLE): {6: ("dev.shop.model@1",)}})
    assert not any(f.startswith("_change_data/") for f in table.stored_files(TABLE))
    assert table.feed_gap(TABLE, 6, 6) == "files of version 6 were vacuumed"
    with pytest.raises(LakehouseError, match="are not whole: files of version 6 were vacuumed"):
        table.query("SELECT * FROM feed", {"feed": table.changes(TABLE, 6)}).read_all()
    # OPTIMIZE and VACUUM changed nothing: their feed is empty and whole.
    assert table.feed_gap(TABLE, 7, table.version(TABLE) or 0) == ""


@pytest.fixture
def long_log(table: Lakehouse) -> Lakehouse:
    """Versions 6 to 25 each add a row."""
    for k in range(20):
        table.append(TABLE, rows(100 + k, 101 + k))
    return table


KEEP_FILES = replace(POLICY, optimize=False, vacuum_retention_hours=None)


def test_the_log_is_cut_where_nobody_looks_back(long_log: Lakehouse) -> None:
    young = maintenance.plan_maintenance(long_log, KEEP_FILES, NOTHING, now=NOW)
    assert young.does_nothing
    done = maintain(long_log, KEEP_FILES, now=LATER)
    assert done.plan.log_from == 25
    assert (done.before.log_entries, done.after.log_entries) == (26, 1)
    assert done.entries_removed == 25
    assert long_log.row_count(TABLE) == 70
    assert long_log.data_version(TABLE) == 25
    assert not readable(long_log, 24)
    assert maintenance.plan_maintenance(long_log, KEEP_FILES, NOTHING, now=LATER).does_nothing
    assert "the log of version 20" in long_log.feed_gap(TABLE, 20, 25)


def test_a_locked_version_keeps_its_log(long_log: Lakehouse) -> None:
    locks = {str(TABLE): {15: ("dev.shop.model@1",)}}
    done = maintain(long_log, KEEP_FILES, locks, now=LATER)
    assert (done.plan.log_from, done.plan.log_reason) == (15, "version 15 for dev.shop.model@1")
    assert long_log.read(TABLE, version=15).read_all().num_rows == 60
    # The 10 entries before 25 would be worth it, and the 4 before 19 are not.
    early = {str(TABLE): {19: ("dev.shop.model@2",)}}
    assert maintenance.plan_maintenance(long_log, KEEP_FILES, early, now=LATER).log_from is None


def test_what_a_writer_recorded_last_is_kept(long_log: Lakehouse) -> None:
    long_log.append(TABLE, rows(200, 201), metadata={"features": "recorded"})
    for k in range(5):
        long_log.append(TABLE, rows(300 + k, 301 + k))
    done = maintain(long_log, KEEP_FILES, now=LATER)
    assert done.plan.log_from == 26
    assert any(c.metadata == {"features": "recorded"} for c in long_log.history(TABLE))


def test_a_vacuum_after_the_log_was_cut_finds_the_files_that_nobody_names(
    long_log: Lakehouse,
) -> None:
    maintain(long_log, replace(POLICY, vacuum_retention_hours=None), now=NOW)
    long_log.append(TABLE, rows(900, 901))
    locks = {str(TABLE): {25: ("dev.shop.model@1",)}}
    maintain(long_log, KEEP_FILES, locks, now=LATER)
    assert maintain(long_log, locks=locks).files_removed == 0
    assert long_log.read(TABLE, version=25).read_all().num_rows == 70
    assert maintain(long_log).files_removed == 25
    assert long_log.row_count(TABLE) == 71


@pytest.mark.parametrize("step", ["vacuum", "truncate_log"])
def test_maintenance_that_was_cut_off_is_finished_by_the_next(
    long_log: Lakehouse, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*arguments: object, **options: object) -> None:
        if options.get("dry_run", False) is False:
            raise KeyboardInterrupt

    real = getattr(Lakehouse, step)

    def dies(self: Lakehouse, *arguments: object, **options: object) -> object:
        killed(**options)
        return real(self, *arguments, **options)

    with monkeypatch.context() as context:
        context.setattr(Lakehouse, step, dies)
        with pytest.raises(KeyboardInterrupt):
            maintain(long_log, now=LATER)
    assert long_log.row_count(TABLE) == 70
    done = maintain(long_log, now=LATER)
    assert (done.optimized, done.after.files, done.after.stored_files) == (False, 1, 1)
    assert done.after.log_entries < 10
    assert long_log.row_count(TABLE) == 70
    assert maintenance.plan_maintenance(long_log, POLICY, NOTHING, now=LATER).does_nothing


def test_a_log_that_was_cut_off_halfway_can_be_read_and_cut_again(
    long_log: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlinked: list[Path] = []
    real = Path.unlink

    def dies(self: Path, *arguments: bool) -> None:
        if len(unlinked) == 10:
            raise KeyboardInterrupt
        unlinked.append(self)
        real(self, *arguments)

    with monkeypatch.context() as context:
        context.setattr(Path, "unlink", dies)
        with pytest.raises(KeyboardInterrupt):
            maintain(long_log, KEEP_FILES, now=LATER)
    assert long_log.row_count(TABLE) == 70
    assert len(long_log.history(TABLE)) > 0
    maintain(long_log, KEEP_FILES, now=LATER)
    assert len([f for f in long_log.stored_files(TABLE) if f.endswith(".json")]) == 1


def test_delta_rs_does_not_clean_the_log_by_itself(table: Lakehouse) -> None:
    from deltalake import DeltaTable

    properties = DeltaTable(table.location(TABLE)).metadata().configuration
    assert properties["delta.enableExpiredLogCleanup"] == "false"


def test_what_is_wrong_is_said(table: Lakehouse) -> None:
    with pytest.raises(LakehouseError, match="sorted by nothing, which is no column; it has: k, v"):
        maintenance.plan_maintenance(table, replace(POLICY, zorder=("nothing",)), NOTHING, now=NOW)
    elsewhere = MaintenancePolicy(TableName("dev", "shop", "other"))
    with pytest.raises(LakehouseError, match="no table"):
        maintenance.plan_maintenance(table, elsewhere, NOTHING, now=NOW)


def noise(seed: int, count: int) -> pa.Table:
    """Rows that no encoding makes small."""
    import numpy as np

    numbers = np.random.default_rng(seed).integers(-(2**62), 2**62, size=(2, count))
    return pa.table({"k": numbers[0], "v": numbers[1]})


def test_a_large_file_is_left_alone_when_a_few_small_ones_come(lakehouse: Lakehouse) -> None:
    """Else every row would be written again each time."""
    tiers = replace(POLICY, target_bytes=2**20)
    lakehouse.create(TABLE, pa.schema([("k", pa.int64()), ("v", pa.int64())]))
    lakehouse.append(TABLE, noise(0, 20_000))
    [large] = lakehouse.files(TABLE)
    for day in range(1, 5):
        lakehouse.append(TABLE, noise(day, 100))
    done = maintain(lakehouse, tiers)
    assert done.plan.optimize == "4 files are smaller than 32 KiB"
    assert done.after.files == 2
    assert large in lakehouse.files(TABLE)
    assert lakehouse.row_count(TABLE) == 20_400


@pytest.mark.parametrize("lakehouse", ["duckdb"], indirect=True)
def test_a_row_is_written_again_a_few_times_and_not_each_time(lakehouse: Lakehouse) -> None:
    tiers = replace(POLICY, target_bytes=2**20, vacuum_retention_hours=None)
    lakehouse.create(TABLE, pa.schema([("k", pa.int64()), ("v", pa.int64())]))
    written = rewritten = 0
    for day in range(64):
        lakehouse.append(TABLE, noise(day, 100))
        written += 100
        if day % 4 == 3:
            before = set(lakehouse.files(TABLE))
            maintain(lakehouse, tiers)
            sizes = lakehouse.stored_files(TABLE)
            rewritten += sum(sizes[f] for f in set(lakehouse.files(TABLE)) - before)
    now = sum(lakehouse.stored_files(TABLE)[f] for f in lakehouse.files(TABLE))
    assert lakehouse.row_count(TABLE) == written
    # Putting everything together each time writes the table 8.5 times over.
    assert rewritten < 5 * now
