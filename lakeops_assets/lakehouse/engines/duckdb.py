"""DuckDB computes, delta-rs reads and writes: the engine for one machine.

Tables are written without deletion vectors and column mapping, so that every other engine can
read them; tables of others that have them are read by delta-rs' own scan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse.engines.arrow import Counted, as_reader, conform
from lakeops_assets.lakehouse.engines.protocol import (
    Capabilities,
    Capability,
    ChangesOf,
    Commit,
    CommitInfo,
    Input,
    Maintenance,
    Query,
    Source,
    TableAt,
    Transaction,
)
from lakeops_assets.lakehouse.errors import (
    ConcurrentWriteError,
    LakehouseError,
    QueryError,
    SchemaError,
    TableNotFoundError,
)
from lakeops_assets.lakehouse.statements import parse_select, transpile

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

BATCH_ROWS = 65_536
CHANGE_FEED = {"delta.enableChangeDataFeed": "true"}
# Where Spark's `userMetadata` stands in the log: one place for both engines.
METADATA = "userMetadata"
# Types that a query may end in and Delta does not have, and what Spark would have returned.
OUTPUT_TYPES = {
    "HUGEINT": "BIGINT",
    "UBIGINT": "BIGINT",
    "UINTEGER": "BIGINT",
    "USMALLINT": "INTEGER",
    "UTINYINT": "SMALLINT",
    "TIMESTAMP": "TIMESTAMPTZ",
    "TIMESTAMP_S": "TIMESTAMPTZ",
    "TIMESTAMP_MS": "TIMESTAMPTZ",
    "TIMESTAMP_NS": "TIMESTAMPTZ",
    "UUID": "VARCHAR",
    "TIME": "VARCHAR",
    "JSON": "VARCHAR",
    '"NULL"': "VARCHAR",
    "NULL": "VARCHAR",
}
# Marks the rows that a merge deletes; Delta forbids no name that starts like this.
DELETE = "__lakeops_delete"


class DuckDBEngine:
    """Implements `Engine` on one machine."""

    name = "duckdb"
    capabilities = Capabilities(
        zorder=Capability(available=True),
        liquid_clustering=Capability(
            available=False, reason="delta-rs cannot write clustering metadata; use Z-order"
        ),
        deletion_vectors=Capability(available=True),
        column_mapping=Capability(available=True),
        streaming_ingest=Capability(
            available=False, reason="files are ingested in micro-batches; no stream stays open"
        ),
        distributed=Capability(available=False, reason="DuckDB runs in this process"),
    )

    # Looking

    def exists(self, location: str) -> bool:
        """Return whether a Delta table is at the location."""
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(location)

    def version(self, location: str) -> int:
        """Return the newest Delta version."""
        return int(_open(location).version())

    def schema(self, location: str, version: int | None = None) -> pa.Schema:
        """Return the columns, with their descriptions as field metadata `comment`."""
        return _schema(_open(location, version))

    def row_count(self, location: str, version: int | None = None) -> int:
        """Return the number of rows, from statistics where the log has them."""
        return int(_open(location, version).count())

    def size_bytes(self, location: str) -> int:
        """Return the size of the newest version's data files."""
        import pyarrow as pa

        actions = pa.table(_open(location).get_add_actions(flatten=True))
        return sum(actions["size_bytes"].to_pylist())

    def history(self, location: str, limit: int | None = None) -> list[CommitInfo]:
        """Return commits, newest first."""
        return [_commit_info(entry) for entry in _open(location).history(limit)]

    def transaction_version(self, location: str, app_id: str) -> int | None:
        """Return the last version that a writer committed; None before its first."""
        return _open(location).transaction_version(app_id)

    # Reading

    def query(self, query: Query) -> pa.RecordBatchReader:
        """Run a query and stream its result."""
        import pyarrow as pa

        connection = _connect(query.inputs.values())
        try:
            with _query_errors(query.sql):
                result = _run(connection, query).to_arrow_reader(BATCH_ROWS)
        except BaseException:
            connection.close()
            raise

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                with _query_errors(query.sql):
                    yield from result
            finally:
                connection.close()

        return pa.RecordBatchReader.from_batches(result.schema, batches())

    # Writing

    def create(
        self,
        location: str,
        schema: pa.Schema,
        *,
        description: str = "",
        partition_by: Sequence[str] = (),
    ) -> None:
        """Create an empty table with its change feed on; does nothing where one exists."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        if self.exists(location):
            return
        try:
            DeltaTable.create(
                location,
                schema,
                mode="ignore",
                partition_by=list(partition_by) or None,
                description=description or None,
                configuration=CHANGE_FEED,
            )
        except DeltaError as error:
            if self.exists(location):  # another process created it in the same moment
                return
            raise LakehouseError(f"cannot create a table at {location}: {error}") from error

    def append(
        self,
        location: str,
        source: Source,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        evolve: bool = False,
    ) -> Commit:
        """Add rows. `evolve` adds the columns that the table does not have yet."""
        table = _open(location)
        if seen := _already(table, transaction):
            return seen
        reader = self._reader(source)
        rows = Counted(conform(reader, _schema(table), location, evolve=evolve))
        first = rows.peek()
        if first is None:
            return Commit(table.version(), written=False, reason="no rows to append")
        return _write(table, rows, "append", transaction, metadata, evolve=evolve)

    def overwrite(
        self,
        location: str,
        source: Source,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        evolve: bool = False,
    ) -> Commit:
        """Replace all rows. `evolve` replaces the columns as well."""
        table = _open(location)
        if seen := _already(table, transaction):
            return seen
        reader = self._reader(source)
        rows = Counted(
            reader if evolve else conform(reader, _schema(table), location, evolve=False)
        )
        return _write(table, rows, "overwrite", transaction, metadata, evolve=evolve)

    def merge(
        self,
        location: str,
        source: Source,
        keys: Sequence[str],
        *,
        delete_missing: bool = False,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        evolve: bool = False,
    ) -> Commit:
        """Insert new keys and update rows that differ; rows that are equal are left alone.

        The source is staged in DuckDB, which spills to disk, and compared with the table there.
        Only rows that differ reach delta-rs, so a commit holds what changed and nothing else.
        """
        table = _open(location)
        if seen := _already(table, transaction):
            return seen
        target = TableAt(location, table.version())
        with _connect([target]) as connection:
            rows = conform(self._reader(source), _schema(table), location, evolve=evolve)
            columns = rows.schema.names
            missing = [k for k in keys if k not in columns]
            if missing:
                raise SchemaError(
                    f"the key {', '.join(missing)} is not a column of the rows to merge into "
                    f"{location}; they have: {', '.join(columns)}"
                )
            _stage(connection, "staged", rows)
            _check_keys(connection, keys, location)
            _register(connection, "target", target)
            changed = _differences(
                connection, columns, keys, _schema(table).names, delete_missing=delete_missing
            )
            if changed.num_rows == 0:
                return Commit(table.version(), written=False, reason="no row differs")
            result = _merge(table, changed, keys, transaction, metadata, evolve=evolve)
        return Commit(
            int(table.version()),
            inserted=int(result["num_target_rows_inserted"]),
            updated=int(result["num_target_rows_updated"]),
            deleted=int(result["num_target_rows_deleted"]),
        )

    # Maintaining

    def optimize(self, location: str, *, zorder: Sequence[str] = ()) -> Maintenance:
        """Rewrite small files into large ones, sorted by `zorder` when given."""
        table = _open(location)
        with _write_errors(location):
            done = table.optimize.z_order(list(zorder)) if zorder else table.optimize.compact()
        return Maintenance(
            int(table.version()), int(done["numFilesAdded"]), int(done["numFilesRemoved"])
        )

    def vacuum(self, location: str, *, retention_hours: int, dry_run: bool = True) -> Maintenance:
        """Delete files that no version younger than the retention needs."""
        table = _open(location)
        with _write_errors(location):
            files = table.vacuum(retention_hours, dry_run=dry_run, enforce_retention_duration=False)
        return Maintenance(int(table.version()), files_removed=len(files), files=tuple(files))

    def _reader(self, source: Source) -> pa.RecordBatchReader:
        return self.query(source) if isinstance(source, Query) else as_reader(source)


# delta-rs


def _open(location: str, version: int | None = None) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError
    from deltalake.exceptions import TableNotFoundError as NoTableError

    try:
        return DeltaTable(location, version=version)
    except NoTableError as error:
        raise TableNotFoundError(f"there is no Delta table at {location}") from error
    except DeltaError as error:
        if version is None:
            raise LakehouseError(f"the table at {location} cannot be opened: {error}") from error
        newest = DeltaTable(location).version()
        raise LakehouseError(
            f"version {version} of the table at {location} cannot be read; the newest is {newest}, "
            "and versions whose files were vacuumed are gone"
        ) from error


def _schema(table: DeltaTable) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(table.schema().to_arrow())


def _commit_info(entry: Mapping[str, Any]) -> CommitInfo:
    try:
        metadata = json.loads(entry.get(METADATA) or "{}")
    except json.JSONDecodeError:  # free text that somebody else's writer recorded
        metadata = {METADATA: entry[METADATA]}
    return CommitInfo(
        version=int(entry["version"]),
        timestamp=datetime.fromtimestamp(entry.get("timestamp", 0) / 1000, tz=UTC),
        operation=str(entry.get("operation", "")),
        metrics=dict(entry.get("operationMetrics") or {}),
        metadata=metadata if isinstance(metadata, dict) else {METADATA: str(metadata)},
    )


def _already(table: DeltaTable, transaction: Transaction | None) -> Commit | None:
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


def _properties(
    transaction: Transaction | None, metadata: Mapping[str, str] | None
) -> CommitProperties:
    from deltalake import CommitProperties
    from deltalake import Transaction as DeltaTransaction

    return CommitProperties(
        custom_metadata={METADATA: json.dumps(dict(metadata), sort_keys=True)}
        if metadata
        else None,
        app_transactions=[DeltaTransaction(transaction.app_id, transaction.version)]
        if transaction
        else None,
    )


def _write(
    table: DeltaTable,
    rows: Counted,
    mode: str,
    transaction: Transaction | None,
    metadata: Mapping[str, str] | None,
    *,
    evolve: bool,
) -> Commit:
    from deltalake import write_deltalake

    schema_mode = None if not evolve else "merge" if mode == "append" else "overwrite"
    removed = int(table.count()) if mode == "overwrite" else 0
    with _write_errors(table.table_uri):
        write_deltalake(  # type: ignore[call-overload]
            table,
            rows.reader(),
            mode=mode,
            schema_mode=schema_mode,
            commit_properties=_properties(transaction, metadata),
        )
    return Commit(int(table.version()), inserted=rows.count, deleted=removed)


def _merge(
    table: DeltaTable,
    changed: pa.Table,
    keys: Sequence[str],
    transaction: Transaction | None,
    metadata: Mapping[str, str] | None,
    *,
    evolve: bool,
) -> dict[str, Any]:
    same_key = " AND ".join(f'target."{k}" = source."{k}"' for k in keys)
    with _write_errors(table.table_uri):
        merger = table.merge(
            changed,
            predicate=same_key,
            source_alias="source",
            target_alias="target",
            merge_schema=evolve,
            commit_properties=_properties(transaction, metadata),
        )
        return (
            merger.when_matched_delete(f"source.{DELETE}")
            .when_matched_update_all(f"NOT source.{DELETE}", except_cols=[DELETE])
            .when_not_matched_insert_all(f"NOT source.{DELETE}", except_cols=[DELETE])
            .execute()
        )


@contextmanager
def _write_errors(location: str) -> Iterator[None]:
    from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError

    try:
        yield
    except CommitFailedError as error:
        raise ConcurrentWriteError(
            f"another writer changed the table at {location} meanwhile; read it again and repeat "
            f"the write. {error}"
        ) from error
    except SchemaMismatchError as error:
        raise SchemaError(f"the rows do not fit the table at {location}: {error}") from error
    except DeltaError as error:
        raise LakehouseError(f"the table at {location} cannot be written: {error}") from error


# DuckDB


def _connect(inputs: Iterable[Input]) -> duckdb.DuckDBPyConnection:
    """Return a connection that can read its inputs and nothing else of this machine."""
    import duckdb

    connection = duckdb.connect(config={"python_enable_replacements": False})
    folders = sorted({i.location for i in inputs if isinstance(i, TableAt)})
    listed = ", ".join(_literal(folder) for folder in folders)
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET enable_progress_bar = false")
    # The cache of file contents would grow with every table that is read.
    connection.execute("SET enable_external_file_cache = false")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _run(connection: duckdb.DuckDBPyConnection, query: Query) -> duckdb.DuckDBPyRelation:
    from sqlglot import exp

    uses = [t.name for t in parse_select(query.sql).find_all(exp.Table)]
    for name, source in query.inputs.items():
        if name in uses:
            _register(connection, name, source, stage=uses.count(name) > 1)
    statement = transpile(query.sql, "duckdb")
    with _query_errors(query.sql), _columns_named(connection, query.inputs):
        relation = connection.sql(statement)
        types = dict(zip(relation.columns, (str(t) for t in relation.types), strict=True))
        if len(types) < len(relation.columns):
            twice = sorted({c for c in relation.columns if relation.columns.count(c) > 1})
            raise QueryError(
                f"the statement makes the column {', '.join(twice)} more than once; give each "
                "its own name with AS"
            )
        if not any(t in OUTPUT_TYPES for t in types.values()):
            return relation
        casts = (
            f'CAST("{c}" AS {OUTPUT_TYPES[t]}) AS "{c}"' if t in OUTPUT_TYPES else f'"{c}"'
            for c, t in types.items()
        )
        return relation.project(", ".join(casts))


@contextmanager
def _columns_named(
    connection: duckdb.DuckDBPyConnection, inputs: Mapping[str, Input]
) -> Iterator[None]:
    """Add the columns that exist to the error about one that does not."""
    import duckdb

    try:
        yield
    except duckdb.BinderException as error:
        there = []
        for name in inputs:
            described = connection.execute(f'DESCRIBE "{name}"').fetchall()
            columns = ", ".join(row[0] for row in described)
            there.append(f"{name.replace('__', '.')} has the columns {columns}")
        raise QueryError(f"{error}. {'; '.join(there)}") from error


def _register(
    connection: duckdb.DuckDBPyConnection, name: str, source: Input, *, stage: bool = False
) -> None:
    """Make an input readable by name; one that can be read once is staged if it is used twice."""
    if isinstance(source, TableAt):
        table = _open(source.location, source.version)
        if _plain_parquet(table):
            _view(connection, name, table)
            return
        scanned = as_reader(table.scan())
    elif isinstance(source, ChangesOf):
        scanned = _changes(source)
    else:
        scanned = source
    if stage and not hasattr(scanned, "num_rows"):
        _stage(connection, name, scanned)
    else:
        connection.register(name, scanned)


def _plain_parquet(table: DeltaTable) -> bool:
    """Return whether the rows of a table are what its Parquet files hold.

    DuckDB then reads the files itself, with filters and columns pushed down and bounded memory. A
    table with deletion vectors, mapped column names or partition values is read by delta-rs.
    """
    features = table.protocol().reader_features or []
    return (
        "://" not in table.table_uri.removeprefix("file://")
        and not {"deletionVectors", "columnMapping"} & set(features)
        and table.protocol().min_reader_version != 2
        and not table.metadata().partition_columns
    )


def _view(connection: duckdb.DuckDBPyConnection, name: str, table: DeltaTable) -> None:
    files = ", ".join(_literal(uri.removeprefix("file://")) for uri in table.file_uris())
    # The empty rows give the table's columns and types: files that were written before a column
    # was added do not have it.
    connection.register(f"{name} columns", _schema(table).empty_table())
    rows = (
        f" UNION ALL BY NAME SELECT * FROM read_parquet([{files}], union_by_name = true)"
        if files
        else ""
    )
    connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM "{name} columns"{rows}')


def _changes(source: ChangesOf) -> pa.RecordBatchReader:
    from deltalake.exceptions import DeltaError

    try:
        feed = _open(source.location).load_cdf(
            starting_version=source.first, ending_version=source.last, allow_out_of_range=True
        )
    except DeltaError as error:
        raise LakehouseError(
            f"the changes of {source.location} from version {source.first} to "
            f"{'now' if source.last is None else source.last} cannot be read: {error}"
        ) from error
    return as_reader(feed)


def _stage(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.RecordBatchReader) -> None:
    connection.register("incoming", rows)
    connection.execute(f'CREATE TEMP TABLE "{name}" AS SELECT * FROM incoming')
    connection.unregister("incoming")


def _check_keys(connection: duckdb.DuckDBPyConnection, keys: Sequence[str], location: str) -> None:
    listed = ", ".join(f'"{k}"' for k in keys)
    null = " OR ".join(f'"{k}" IS NULL' for k in keys)
    nulls = connection.execute(f"SELECT count(*) FROM staged WHERE {null}").fetchone()
    if nulls and nulls[0]:
        raise SchemaError(
            f"{nulls[0]} rows to merge into {location} have no value in the key {', '.join(keys)}"
        )
    twice = connection.execute(
        f"SELECT {listed}, count(*) FROM staged GROUP BY {listed} HAVING count(*) > 1 "
        f"ORDER BY {listed} LIMIT 3"
    ).fetchall()
    if twice:
        examples = "; ".join(", ".join(map(repr, row[:-1])) for row in twice)
        raise SchemaError(
            f"the rows to merge into {location} have the key {', '.join(keys)} more than once, "
            f"for example {examples}; make the key unique with GROUP BY or QUALIFY"
        )


def _differences(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[str],
    keys: Sequence[str],
    existing: Sequence[str],
    *,
    delete_missing: bool,
) -> pa.Table:
    same_key = " AND ".join(f't."{k}" = s."{k}"' for k in keys)
    values = [c for c in columns if c not in keys]
    differs = " OR ".join(
        f's."{c}" IS DISTINCT FROM t."{c}"' if c in existing else f's."{c}" IS NOT NULL'
        for c in values
    )
    selected = ", ".join(f's."{c}"' for c in columns)
    statement = (
        f"SELECT {selected}, false AS {DELETE} FROM staged s LEFT JOIN target t ON {same_key} "
        f'WHERE t."{keys[0]}" IS NULL OR ({differs or "false"})'
    )
    if delete_missing:
        gone = ", ".join(f't."{c}"' if c in existing else f'NULL AS "{c}"' for c in columns)
        statement += (
            f" UNION ALL SELECT {gone}, true FROM target t ANTI JOIN staged s ON {same_key}"
        )
    return connection.sql(statement).to_arrow_table()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _query_errors(sql: str) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise QueryError(f"the statement cannot be run: {error}\n{sql}") from error
