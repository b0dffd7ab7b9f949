"""delta-rs: opens tables and makes commits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse.engines.arrow import Counted
from lakeops_assets.lakehouse.engines.commit_lock import committing
from lakeops_assets.lakehouse.engines.protocol import (
    Commit,
    CommitInfo,
    Transaction,
)
from lakeops_assets.lakehouse.errors import (
    ConcurrentWriteError,
    LakehouseError,
    SchemaError,
    TableNotFoundError,
    UnsupportedError,
)
from lakeops_assets.lakehouse.statements import transpile_condition

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable
    from sqlglot import exp

# Where Spark's `userMetadata` stands in the log: one place for both engines.
METADATA = "userMetadata"
# Tells a commit of Spark from others of the same moment; readers of the history do not see it.
COMMIT_ID = "lakeops.commit"
# What delta-rs says of features of a table that it does not write.
UNSUPPORTED = "Unsupported table features"
# Application transaction of every merge: of two that read the same table one is refused. Delta's
# own check would let one through whose rows are all new, though both may bring the same key.
MERGE_APP_ID = "lakeops.merge"
# Marks the rows that a merge deletes; Delta forbids no name that starts like this.
DELETE = "__lakeops_delete"


def open_table(location: str, version: int | None = None) -> DeltaTable:
    """Return a table, loaded at a version or the newest.

    Raises:
        TableNotFoundError: There is no Delta table.
        LakehouseError: It cannot be read, or not at that version.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return DeltaTable(location, version=version)
    except DeltaError as error:
        if not DeltaTable.is_deltatable(location):
            raise TableNotFoundError(f"there is no Delta table at {location}") from error
        if version is None:
            raise LakehouseError(f"the table at {location} cannot be opened: {error}") from error
        newest = DeltaTable(location).version()
        raise LakehouseError(
            f"version {version} of the table at {location} cannot be read; the newest is {newest}, "
            "and versions whose files were vacuumed are gone"
        ) from error


def schema_of(table: DeltaTable) -> pa.Schema:
    """Return the columns with their descriptions as `comment`."""
    import pyarrow as pa

    return pa.schema(table.schema().to_arrow())


def commit_info(entry: Mapping[str, Any]) -> CommitInfo:
    """Return an entry of the log as one of ours."""
    try:
        metadata = json.loads(entry.get(METADATA) or "{}")
    except json.JSONDecodeError:  # free text that somebody else's writer recorded
        metadata = {METADATA: entry[METADATA]}
    if isinstance(metadata, dict):
        metadata.pop(COMMIT_ID, None)
    return CommitInfo(
        version=int(entry["version"]),
        timestamp=datetime.fromtimestamp(entry.get("timestamp", 0) / 1000, tz=UTC),
        operation=str(entry.get("operation", "")),
        metrics=dict(entry.get("operationMetrics") or {}),
        metadata=metadata if isinstance(metadata, dict) else {METADATA: str(metadata)},
    )


def version_of(location: str, identifier: str, since: int) -> int | None:
    """Return the version after another whose commit has an identifier; None when none has."""
    table = open_table(location)
    for entry in table.history(table.version() - since) if table.version() > since else []:
        if f'"{COMMIT_ID}": "{identifier}"' in entry.get(METADATA, ""):
            return int(entry["version"])
    return None


def already_committed(table: DeltaTable, transaction: Transaction | None) -> Commit | None:
    """Return the commit of a transaction that the table has seen; None when it is new."""
    if transaction is None:
        return None
    seen = table.transaction_version(transaction.app_id)
    if seen is None or seen < transaction.version:
        return None
    return Commit(
        int(table.version()),
        written=False,
        reason=f"transaction {transaction.app_id} {transaction.version} is committed already",
    )


def commit_properties(
    *transactions: Transaction | None,
    metadata: Mapping[str, str] | None,
    retries: int | None = None,
) -> CommitProperties:
    """Return what a commit carries besides its rows, and how often it may be tried again."""
    from deltalake import CommitProperties
    from deltalake import Transaction as DeltaTransaction

    carried = [DeltaTransaction(t.app_id, t.version) for t in transactions if t is not None]
    return CommitProperties(
        custom_metadata={METADATA: json.dumps(dict(metadata), sort_keys=True)}
        if metadata
        else None,
        app_transactions=carried or None,
        max_commit_retries=retries,
    )


def write_rows(
    table: DeltaTable,
    rows: Counted,
    mode: str,
    *transactions: Transaction | None,
    metadata: Mapping[str, str] | None,
    evolve: bool,
    at_once: bool = False,
) -> Commit:
    """Append rows to a table, or replace its rows; `at_once`: only as its very next version."""
    from deltalake import write_deltalake

    schema_mode = None if not evolve else "merge" if mode == "append" else "overwrite"
    removed = int(table.count()) if mode == "overwrite" else 0
    with commit_to(table.table_uri):
        write_deltalake(  # type: ignore[call-overload]
            table,
            rows.reader(),
            mode=mode,
            schema_mode=schema_mode,
            commit_properties=commit_properties(
                *transactions, metadata=metadata, retries=0 if at_once else None
            ),
        )
    return Commit(int(table.version()), inserted=rows.count, deleted=removed)


def replace_rows(
    table: DeltaTable,
    rows: Counted,
    where: str,
    meeting: int,
    transaction: Transaction | None,
    metadata: Mapping[str, str] | None,
) -> Commit:
    """Replace the rows that meet a condition in Spark's dialect; `meeting` says how many do."""
    from deltalake import write_deltalake

    with commit_to(table.table_uri):
        write_deltalake(
            table,
            rows.reader(),
            mode="overwrite",
            predicate=_condition(where),
            commit_properties=commit_properties(transaction, metadata=metadata),
        )
    return Commit(int(table.version()), inserted=rows.count, deleted=meeting)


def merge_rows(
    table: DeltaTable,
    changed: pa.Table,
    keys: Sequence[str],
    *transactions: Transaction | None,
    metadata: Mapping[str, str] | None,
    evolve: bool,
) -> dict[str, Any]:
    """Insert, update and delete the rows of a table that differ."""
    same_key = " AND ".join(f'target."{k}" = source."{k}"' for k in keys)
    with commit_to(table.table_uri):
        merger = table.merge(
            changed,
            predicate=same_key,
            source_alias="source",
            target_alias="target",
            merge_schema=evolve,
            commit_properties=commit_properties(*transactions, metadata=metadata),
        )
        return (
            merger.when_matched_delete(f"source.{DELETE}")
            .when_matched_update_all(f"NOT source.{DELETE}", except_cols=[DELETE])
            .when_not_matched_insert_all(f"NOT source.{DELETE}", except_cols=[DELETE])
            .execute()
        )


def delete_rows(
    table: DeltaTable,
    where: str,
    transaction: Transaction | None,
    metadata: Mapping[str, str] | None,
) -> None:
    """Remove the rows of a table that meet a condition in Spark's dialect."""
    with commit_to(table.table_uri):
        table.delete(
            _condition(where), commit_properties=commit_properties(transaction, metadata=metadata)
        )


def _condition(where: str) -> str:
    """Return a condition in Spark's dialect as DataFusion reads it, which evaluates it.

    It quotes like PostgreSQL, reads `a.b` as a column of a table and not as a field of a struct,
    and does not compare times of different units.
    """
    import sqlglot
    from sqlglot import exp

    def rewritten(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and node.table:
            struct = exp.column(node.args["table"].copy())
            return exp.Anonymous(this="get_field", expressions=[struct, _text(node.name)])
        if isinstance(node, exp.Cast) and node.to.this in exp.DataType.TEMPORAL_TYPES:
            unit = 'Timestamp(Microsecond, Some("UTC"))'
            if node.to.this != exp.DataType.Type.DATE:
                return exp.Anonymous(this="arrow_cast", expressions=[node.this, _text(unit)])
        return node

    tree = sqlglot.parse_one(transpile_condition(where, "postgres"), dialect="postgres")
    return tree.transform(rewritten).sql(dialect="postgres")


def _text(value: str) -> exp.Expr:
    from sqlglot import exp

    return exp.Literal.string(value)


def delete_keys(
    table: DeltaTable,
    keys: pa.Table,
    transaction: Transaction | None,
    metadata: Mapping[str, str] | None,
) -> int:
    """Remove the rows of a table whose key is among some; return how many."""
    same_key = " AND ".join(f'target."{k}" = source."{k}"' for k in keys.column_names)
    with commit_to(table.table_uri):
        merger = table.merge(
            keys,
            predicate=same_key,
            source_alias="source",
            target_alias="target",
            commit_properties=commit_properties(transaction, metadata=metadata),
        )
        result = merger.when_matched_delete().execute()
    return int(result["num_target_rows_deleted"])


def truncate_log(location: str, oldest: int) -> tuple[str, ...]:
    """Delete the entries of a log before a version, which a checkpoint takes the place of.

    The checkpoint is there before an entry goes, so a table that is killed in between can be read.
    """
    log = Path(location) / "_delta_log"
    newest = open_table(location)
    with write_errors(location):
        open_table(location, oldest).create_checkpoint()
        if oldest != newest.version():  # the last checkpoint is the one that a reader starts from
            newest.create_checkpoint()
    earlier = sorted(
        path
        for path in log.iterdir()
        if path.name.split(".")[0].isdigit() and int(path.name.split(".")[0]) < oldest
    )
    for path in earlier:
        path.unlink()
    return tuple(f"_delta_log/{path.name}" for path in earlier)


@contextmanager
def commit_to(location: str) -> Iterator[None]:
    """Keep writers apart that have to be, and turn errors of a write into ours."""
    with committing(location, alone=False), write_errors(location):
        yield


@contextmanager
def write_errors(location: str) -> Iterator[None]:
    """Turn errors of a write into ours."""
    from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError

    try:
        yield
    except CommitFailedError as error:
        if UNSUPPORTED in str(error):
            raise UnsupportedError(
                f"delta-rs cannot write the table at {location}: {error}. Write it with the engine "
                "that gave it the feature (LAKEOPS_ENGINE, or `engine` of the asset)"
            ) from error
        raise ConcurrentWriteError(
            f"another writer changed the table at {location} meanwhile; read it again and repeat "
            f"the write. {error}"
        ) from error
    except SchemaMismatchError as error:
        raise SchemaError(f"the rows do not fit the table at {location}: {error}") from error
    except DeltaError as error:
        raise LakehouseError(f"the table at {location} cannot be written: {error}") from error
