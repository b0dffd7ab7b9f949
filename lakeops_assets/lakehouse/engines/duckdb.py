"""DuckDB computes, delta-rs reads and writes: the engine for one machine.

Tables are written without deletion vectors and column mapping, so that every other engine can
read them; tables of others that have them are read by delta-rs' own scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.engines.arrow import Counted, as_reader, conform
from lakeops_assets.lakehouse.engines.delta_log import DeltaLog
from lakeops_assets.lakehouse.engines.deltars import (
    DELETE,
    MERGE_APP_ID,
    already_committed,
    commit_to,
    delete_keys,
    delete_rows,
    merge_rows,
    open_table,
    replace_rows,
    schema_of,
    write_rows,
)
from lakeops_assets.lakehouse.engines.duckdb_query import (
    BATCH_ROWS,
    NEW,
    all_new,
    check_keys,
    connect,
    differences,
    query_errors,
    register,
    run_query,
    stage_rows,
)
from lakeops_assets.lakehouse.engines.protocol import (
    Capabilities,
    Capability,
    Commit,
    Maintenance,
    Mapped,
    Query,
    Source,
    TableAt,
    Transaction,
)
from lakeops_assets.lakehouse.engines.streams import RecordsOf, StreamOf
from lakeops_assets.lakehouse.errors import (
    ConcurrentWriteError,
    SchemaError,
    UnsupportedError,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

MERGE_ATTEMPTS = 10


class DuckDBEngine(DeltaLog):
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
        topics=Capability(
            available=False,
            reason="DuckDB has no client of Kafka; set LAKEOPS_ENGINE=spark, or let the producer "
            "or a connector write files into the landing folder",
        ),
        distributed=Capability(available=False, reason="DuckDB runs in this process"),
    )

    # Reading

    def query(self, query: Query) -> pa.RecordBatchReader:
        """Run a query and stream its result."""
        import pyarrow as pa

        connection = connect(query.inputs.values())
        try:
            with query_errors(query.sql):
                result = run_query(connection, query).to_arrow_reader(BATCH_ROWS)
        except BaseException:
            connection.close()
            raise

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                with query_errors(query.sql):
                    yield from result
            finally:
                connection.close()

        return pa.RecordBatchReader.from_batches(result.schema, batches())

    def stream(
        self,
        source: StreamOf,
        handle: Callable[[pa.Table], None],
        *,
        checkpoint: str,
        every_seconds: float | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Say why there is no stream."""
        there = self.capabilities
        lacks = there.topics if isinstance(source, RecordsOf) else there.streaming_ingest
        raise UnsupportedError(f"the engine {self.name} has no streams: {lacks.reason}")

    # Writing

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
        table = open_table(location)
        if seen := already_committed(table, transaction):
            return seen
        reader = self._reader(source)
        rows = Counted(conform(reader, schema_of(table), location, evolve=evolve))
        first = rows.peek()
        if first is None:
            return Commit(table.version(), written=False, reason="no rows to append")
        return write_rows(table, rows, "append", transaction, metadata=metadata, evolve=evolve)

    def overwrite(
        self,
        location: str,
        source: Source,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        evolve: bool = False,
        where: str | None = None,
    ) -> Commit:
        """Replace all rows, or those that meet a condition."""
        table = open_table(location)
        if seen := already_committed(table, transaction):
            return seen
        reader = self._reader(source)
        rows = Counted(
            reader if evolve else conform(reader, schema_of(table), location, evolve=False)
        )
        if where is not None:
            meeting = self._count(location, table.version(), where)
            return replace_rows(table, rows, where, meeting, transaction, metadata)
        # Rows that came meanwhile would stay beside these, those of another overwrite as well.
        return write_rows(
            table, rows, "overwrite", transaction, metadata=metadata, evolve=evolve, at_once=True
        )

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
        Only rows that differ reach delta-rs, so a commit holds what changed and nothing else. When
        another merge was faster, rows that are all new are compared again with what it wrote; rows
        that change others were perhaps made from those, and are refused.
        """
        table = open_table(location)
        if seen := already_committed(table, transaction):
            return seen
        with connect([TableAt(location)]) as connection:
            rows = conform(self._reader(source), schema_of(table), location, evolve=evolve)
            missing = [k for k in keys if k not in rows.schema.names]
            if missing:
                raise SchemaError(
                    f"the key {', '.join(missing)} is not a column of the rows to merge into "
                    f"{location}; they have: {', '.join(rows.schema.names)}"
                )
            stage_rows(connection, "staged", rows)
            check_keys(connection, keys, location)
            refused: ConcurrentWriteError | None = None
            for _ in range(MERGE_ATTEMPTS):
                table = open_table(location)
                if seen := already_committed(table, transaction):
                    return seen
                register(connection, "target", TableAt(location, table.version()))
                changed = differences(
                    connection,
                    rows.schema.names,
                    keys,
                    schema_of(table).names,
                    delete_missing=delete_missing,
                )
                if changed.num_rows == 0:
                    return Commit(table.version(), written=False, reason="no row differs")
                if refused is not None and not all_new(changed):
                    raise refused
                # Of two merges that read the same version, one is refused.
                alone = Transaction(MERGE_APP_ID, table.version() + 1)
                try:
                    return self._commit_merge(
                        table, changed, keys, transaction, alone, metadata=metadata, evolve=evolve
                    )
                except ConcurrentWriteError as error:
                    if not all_new(changed):
                        raise
                    refused = error
        raise ConcurrentWriteError(
            f"{MERGE_ATTEMPTS} times in a row another writer changed the table at {location} first"
        ) from refused

    def _commit_merge(
        self,
        table: DeltaTable,
        changed: pa.Table,
        keys: Sequence[str],
        *transactions: Transaction | None,
        metadata: Mapping[str, str] | None,
        evolve: bool,
    ) -> Commit:
        if all_new(changed):
            # No file of the table has to be rewritten, nor read again. Any other commit since may
            # have brought the same keys: Spark's merges do not carry the transaction of ours.
            new = Counted(as_reader(changed.drop_columns([NEW, DELETE])))
            return write_rows(
                table, new, "append", *transactions, metadata=metadata, evolve=evolve, at_once=True
            )
        rows = changed.drop_columns([NEW])
        result = merge_rows(table, rows, keys, *transactions, metadata=metadata, evolve=evolve)
        return Commit(
            int(table.version()),
            inserted=int(result["num_target_rows_inserted"]),
            updated=int(result["num_target_rows_updated"]),
            deleted=int(result["num_target_rows_deleted"]),
        )

    def delete(
        self,
        location: str,
        where: str,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Remove the rows that meet a condition in Spark's dialect; no commit when none does."""
        table = open_table(location)
        if seen := already_committed(table, transaction):
            return seen
        count = self._count(location, table.version(), where)
        if not count:
            return Commit(table.version(), written=False, reason="no row meets the condition")
        delete_rows(table, where, transaction, metadata)
        return Commit(int(table.version()), deleted=count)

    def delete_keys(
        self,
        location: str,
        keys: pa.Table,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Remove the rows whose key is among some; no commit when none is."""
        table = open_table(location)
        if seen := already_committed(table, transaction):
            return seen
        before = table.version()
        deleted = delete_keys(table, keys, transaction, metadata)
        if table.version() == before:
            return Commit(before, written=False, reason="no row has such a key")
        return Commit(int(table.version()), deleted=deleted)

    # Maintaining

    def optimize(
        self, location: str, *, zorder: Sequence[str] = (), target_bytes: int | None = None
    ) -> Maintenance:
        """Rewrite small files into large ones, sorted by `zorder` when given."""
        table = open_table(location)
        with commit_to(location):
            if zorder:
                done = table.optimize.z_order(list(zorder), target_size=target_bytes)
            else:
                done = table.optimize.compact(target_size=target_bytes)
        return Maintenance(
            int(table.version()), int(done["numFilesAdded"]), int(done["numFilesRemoved"])
        )

    def cluster(self, location: str, columns: Sequence[str]) -> None:
        """Refuse: delta-rs cannot write clustered tables."""
        raise UnsupportedError(
            f"the table at {location} cannot be clustered: "
            f"{self.capabilities.liquid_clustering.reason}"
        )

    def _reader(self, source: Source) -> pa.RecordBatchReader:
        import pyarrow as pa

        if isinstance(source, Query):
            return self.query(source)
        if isinstance(source, Mapped):
            batches = map(source.function, self.query(source.query))
            return pa.RecordBatchReader.from_batches(source.schema, batches)
        return as_reader(source)
