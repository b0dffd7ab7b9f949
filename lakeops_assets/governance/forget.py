"""Remove an entity from every table of a product, and prove that it is gone.

The plan is made from what is there, so a forget that was killed is finished by repeating it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lakeops_assets.governance.keys import Key
from lakeops_assets.governance.search import Hit, Search, log_version, search
from lakeops_assets.lakehouse import Lakehouse, LakehouseError, Locks, TableName, Transaction
from lakeops_assets.lakehouse.statements import quote

# Key of what a commit of this module records: the act, so that it can be told from other writes.
MARK = "forget"


@dataclass(frozen=True)
class Kept:
    """A file that still holds the key, and why it stays."""

    hit: Hit
    reason: str


@dataclass(frozen=True)
class TablePlan:
    """What is done to one table.

    Attributes:
        table: The table.
        has_key: Whether it has the key's columns; one without may have had them before.
        rows: Rows of the newest version that are deleted.
        hits: Files that hold the key, old ones and those of the log included.
        kept: Those of them that stay.
        versions_kept: Versions that a registered model needs -> models.
        same_value: Other columns of the key's type -> rows with the same value.
    """

    table: TableName
    has_key: bool
    rows: int
    hits: tuple[Hit, ...]
    kept: tuple[Kept, ...]
    versions_kept: Mapping[int, tuple[str, ...]]
    same_value: tuple[tuple[str, int], ...]

    @property
    def removable(self) -> tuple[Hit, ...]:
        """Files that hold the key and go."""
        kept = {k.hit for k in self.kept}
        return tuple(hit for hit in self.hits if hit not in kept)


@dataclass(frozen=True)
class ForgetPlan:
    """What is done to forget an entity, and what cannot be done.

    Attributes:
        product: Product.
        key: The entity.
        tables: Tables that can hold the key, in the order in which they are cleared.
        elsewhere: Tables of other products that hold the entity; they are left alone.
    """

    product: str
    key: Key
    tables: tuple[TablePlan, ...]
    elsewhere: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows that are deleted."""
        return sum(table.rows for table in self.tables)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do to a table."""
        return not any(table.rows or table.removable for table in self.tables)

    @property
    def kept(self) -> tuple[Kept, ...]:
        """Files that hold the key and stay."""
        return tuple(kept for table in self.tables for kept in table.kept)


@dataclass(frozen=True)
class Proof:
    """What a search over the bytes found.

    Attributes:
        tables: Tables whose files were read.
        files: Number of files.
        kept: Files that hold the key for a reason that the plan gives.
        left: Files that hold it for no reason; empty when the entity is forgotten.
    """

    tables: int
    files: int
    kept: tuple[Kept, ...]
    left: tuple[Hit, ...]


@dataclass(frozen=True)
class ForgetResult:
    """What was done.

    Attributes:
        plan: What was planned.
        rows: Table -> rows deleted.
        files_removed: Data and change files deleted.
        log_entries_removed: Entries of logs deleted, because one of them held the key.
        proof: What a search found afterwards.
    """

    plan: ForgetPlan
    rows: Mapping[str, int]
    files_removed: int
    log_entries_removed: int
    proof: Proof


def plan_forget(
    lakehouse: Lakehouse, product: str, key: Key, tables: Sequence[TableName], locks: Locks
) -> ForgetPlan:
    """Return what has to be done to forget an entity.

    Args:
        lakehouse: Where the tables are.
        product: Product.
        key: The entity.
        tables: Tables of the product, each after those it is made from.
        locks: Versions that registered models need; their files stay.
    """
    plans = [
        _plan_table(lakehouse, table, key, locks.get(str(table), {}))
        for table in tables
        if lakehouse.exists(table)
    ]
    others = [t for t in lakehouse.tables() if t not in tables]
    elsewhere = tuple(str(t) for t in others if count_rows(lakehouse, t, key))
    return ForgetPlan(product, key, tuple(p for p in plans if p.has_key or p.hits), elsewhere)


def carry_out(
    lakehouse: Lakehouse,
    plan: ForgetPlan,
    *,
    act: str = "",
    follow: Callable[[TableName], tuple[Mapping[str, str], Transaction | None]] = (
        lambda table: ({}, None)
    ),
) -> ForgetResult:
    """Delete the rows, then every file that holds them, then what the logs say of them.

    Args:
        lakehouse: Where the tables are.
        plan: What to do.
        act: Name of the act, recorded with each delete; the same when it is repeated.
        follow: Returns what the delete from a table records, so that its writer finds it up to date
            with the tables that were cleared before it.
    """
    deleted: dict[str, int] = {}
    files = entries = 0
    for planned in plan.tables:
        table = planned.table
        keys = plan.key.rows(lakehouse.schema(table))
        if planned.rows and keys is not None:
            metadata, transaction = follow(table)
            commit = lakehouse.delete_keys(
                table, keys, metadata={**metadata, MARK: act}, transaction=transaction
            )
            deleted[str(table)] = commit.deleted
        if planned.rows or any(hit.kind != "log" for hit in planned.removable):
            done = lakehouse.vacuum(
                table,
                retention_hours=0,
                keep_versions=sorted(planned.versions_kept),
                full=True,
                dry_run=False,
            )
            files += done.files_removed
        entries += _clean_log(lakehouse, planned, plan.key)
    return ForgetResult(plan, deleted, files, entries, prove(lakehouse, plan))


def prove(lakehouse: Lakehouse, plan: ForgetPlan) -> Proof:
    """Search the bytes of every file of the tables of a plan."""
    files = 0
    kept: list[Kept] = []
    left: list[Hit] = []
    for planned in plan.tables:
        found = _search(lakehouse, planned.table, plan.key)
        files += found.files
        reasons = _kept(lakehouse, planned.table, found.hits, planned.versions_kept)
        kept += reasons
        excused = {k.hit for k in reasons}
        left += [hit for hit in found.hits if hit not in excused]
    return Proof(len(plan.tables), files, tuple(kept), tuple(left))


def _plan_table(
    lakehouse: Lakehouse, table: TableName, key: Key, needed: Mapping[int, tuple[str, ...]]
) -> TablePlan:
    readable = {v: models for v, models in sorted(needed.items()) if _readable(lakehouse, table, v)}
    found = _search(lakehouse, table, key)
    return TablePlan(
        table=table,
        has_key=key.rows(lakehouse.schema(table)) is not None,
        rows=count_rows(lakehouse, table, key),
        hits=found.hits,
        kept=tuple(_kept(lakehouse, table, found.hits, readable)),
        versions_kept=readable,
        same_value=found.same_value,
    )


def _search(lakehouse: Lakehouse, table: TableName, key: Key) -> Search:
    return search(table.location(lakehouse.root), str(table), key)


def count_rows(lakehouse: Lakehouse, table: TableName, key: Key, version: int | None = None) -> int:
    """Return the rows of a version that have the key."""
    keys = key.rows(lakehouse.schema(table, version))
    if keys is None:
        return 0
    same = " AND ".join(f"k.{quote(c)} = t.{quote(c)}" for c in key.columns)
    found = lakehouse.query(
        "SELECT count(*) AS n FROM rows_of AS t "
        f"WHERE EXISTS (SELECT 1 FROM keys AS k WHERE {same})",
        {"rows_of": lakehouse.at(table, version), "keys": keys},
    )
    return int(found.read_all()["n"][0].as_py())


def holders(
    lakehouse: Lakehouse, table: TableName, version: int, key: Key, models: Sequence[str]
) -> tuple[str, ...]:
    """Return the models of a table version that had the entity among its rows.

    Those of a version that cannot be read any more are returned with that remark: they may have.
    """
    try:
        rows = count_rows(lakehouse, table, key, version)
    except LakehouseError:
        gone = f"perhaps: version {version} of {table} cannot be read any more"
        return tuple(f"{model} ({gone})" for model in models)
    return tuple(models) if rows else ()


def _readable(lakehouse: Lakehouse, table: TableName, version: int) -> bool:
    """Return whether the log still knows a version; one that it does not cannot be kept."""
    try:
        lakehouse.files(table, version)
    except LakehouseError:
        return False
    return True


def _kept(
    lakehouse: Lakehouse,
    table: TableName,
    hits: Iterable[Hit],
    needed: Mapping[int, tuple[str, ...]],
) -> list[Kept]:
    """Return the files that a version which a model needs is made of, and its log."""
    if not needed:
        return []
    files = {v: set(lakehouse.files(table, v)) for v in needed}
    oldest = min(needed)
    kept = []
    for hit in hits:
        users = {v: models for v, models in needed.items() if hit.path in files[v]}
        version = log_version(hit)
        if users:
            reason = "; ".join(
                f"version {v} of {table} is needed by {', '.join(models)}"
                for v, models in users.items()
            )
            kept.append(Kept(hit, reason))
        elif version is not None and version >= oldest:
            models = ", ".join(needed[oldest])
            reason = f"the log from version {oldest} of {table} on is needed by {models}"
            kept.append(Kept(hit, reason))
    return kept


def _clean_log(lakehouse: Lakehouse, planned: TablePlan, key: Key) -> int:
    """Delete the entries of a log before the oldest needed version, if one holds the key."""
    table = planned.table
    newest = lakehouse.version(table) or 0
    oldest = min([newest, *planned.versions_kept])
    hits = _search(lakehouse, table, key).hits
    earlier = [v for v in map(log_version, hits) if v is not None and v < oldest]
    if not earlier:
        return 0
    return lakehouse.truncate_log(table, oldest=oldest).files_removed
