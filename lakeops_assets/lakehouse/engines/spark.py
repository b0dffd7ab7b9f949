"""Spark computes and writes, delta-rs looks into the log: the engine for data beyond one machine.

Everything here is SQL and data frames, so that the same code runs in a local session, through
Spark Connect and on a cluster: no RDD, nothing of the Java side, no cached data frame.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.engines.deltars import (
    already_committed,
    open_table,
    schema_of,
    version_of,
)
from lakeops_assets.lakehouse.engines.protocol import (
    Capabilities,
    Capability,
    Commit,
    Query,
    Source,
    TableAt,
    Transaction,
)
from lakeops_assets.lakehouse.engines.spark_maintenance import SparkMaintenance
from lakeops_assets.lakehouse.engines.spark_merge import check_keys, differences, merge_statement
from lakeops_assets.lakehouse.engines.spark_query import (
    from_arrow,
    run_query,
    to_batches,
    write_errors,
)
from lakeops_assets.lakehouse.engines.spark_stage import rows_of, staged
from lakeops_assets.lakehouse.engines.spark_statements import STATEMENTS, user_metadata
from lakeops_assets.lakehouse.engines.spark_stream import require_streaming, run_stream
from lakeops_assets.lakehouse.engines.streams import StreamOf
from lakeops_assets.lakehouse.errors import ConcurrentWriteError
from lakeops_assets.lakehouse.statements import quote

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, DataFrameWriter

MERGE_ATTEMPTS = 10


class SparkEngine(SparkMaintenance):
    """Implements `Engine` on Spark.

    Args:
        options: How the session is started, when it is first needed.
    """

    name = "spark"
    capabilities = Capabilities(
        zorder=Capability(available=True),
        liquid_clustering=Capability(available=True),
        deletion_vectors=Capability(available=True),
        column_mapping=Capability(available=True),
        streaming_ingest=Capability(available=True),
        topics=Capability(available=True),
        distributed=Capability(available=True),
    )

    # Reading

    def query(self, query: Query) -> pa.RecordBatchReader:
        """Run a query and stream its result."""
        return to_batches(run_query(self.session, query), query.inputs, query.sql)

    def stream(
        self,
        source: StreamOf,
        handle: Callable[[pa.Table], None],
        *,
        checkpoint: str,
        every_seconds: float | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Hand what arrives to a function, one micro-batch after the other, until the end."""
        require_streaming(self._options, source)
        run_stream(
            self.session,
            source,
            handle,
            checkpoint=checkpoint,
            every_seconds=every_seconds,
            go_on=go_on,
        )

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
        with staged(self.session, source, schema_of(table), location, evolve=evolve) as rows:
            with write_errors(location):
                if rows.isEmpty():
                    return Commit(table.version(), written=False, reason="no rows to append")
            return self._write(
                location, rows, "append", transaction, metadata, mergeSchema=evolve or None
            )

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
        removed = table.count() if where is None else self._count(location, table.version(), where)
        columns = schema_of(table)
        with staged(
            self.session, source, columns, location, evolve=evolve, strict=not evolve
        ) as rows:
            return self._write(
                location,
                rows,
                "overwrite",
                transaction,
                metadata,
                deleted=int(removed),
                overwriteSchema=evolve or None,
                replaceWhere=where,
            )

    def _write(
        self,
        location: str,
        rows: DataFrame,
        mode: str,
        transaction: Transaction | None,
        metadata: Mapping[str, str] | None,
        *,
        deleted: int = 0,
        **options: str | bool | None,
    ) -> Commit:
        from pyspark.sql import Observation
        from pyspark.sql import functions as f

        seen, identifier = Observation(), uuid.uuid4().hex
        writer: DataFrameWriter = rows.observe(seen, f.count(f.lit(1)).alias("rows")).write
        writer = (
            writer.format("delta")
            .mode(mode)
            .option("userMetadata", user_metadata(metadata, identifier))
        )
        if transaction is not None:
            writer = writer.option("txnAppId", transaction.app_id)
            writer = writer.option("txnVersion", transaction.version)
        for key, value in options.items():
            writer = writer if value is None else writer.option(key, value)
        # What a statement of another thread carries would also be said of this write.
        with STATEMENTS, self.committing(location):
            since = self.version(location)
            writer.save(location)
        version = version_of(location, identifier, since)
        if version is None and not deleted and rows.isEmpty():  # Delta commits no such write
            return Commit(since, written=False, reason="no rows, before and after")
        if version is None:
            return self._skipped(location, transaction)
        return Commit(version, inserted=int(seen.get["rows"]), deleted=deleted)

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

        The source is computed once and compared with the table; only rows that differ are merged,
        so a commit holds what changed and nothing else. When another writer was faster, rows that
        are all new are compared again with what it wrote; rows that change others were perhaps
        made from those, and are refused.
        """
        table = open_table(location)
        if seen := already_committed(table, transaction):
            return seen
        session = self.session
        with staged(session, source, schema_of(table), location, evolve=evolve, again=True) as rows:
            near = check_keys(rows, keys, location)
            refused: ConcurrentWriteError | None = None
            for _ in range(MERGE_ATTEMPTS):
                table = open_table(location)
                if seen := already_committed(table, transaction):
                    return seen
                there = schema_of(table).names
                target = TableAt(location, table.version())
                found = differences(
                    session, rows, target, keys, there, near, delete_missing=delete_missing
                )
                if not found.new + found.changed:
                    return Commit(table.version(), written=False, reason="no row differs")
                if refused is not None and found.changed:
                    raise refused
                # Rows that are deleted need not lie near those that are merged.
                bounds = "TRUE" if delete_missing else near
                sql = merge_statement(found.rows, location, keys, there, bounds, evolve=evolve)
                try:
                    return self._merge(location, sql, found.rows, transaction, metadata)
                except ConcurrentWriteError as error:
                    if found.changed:
                        raise
                    refused = error
        raise ConcurrentWriteError(
            f"{MERGE_ATTEMPTS} times in a row another writer changed the table at {location} first"
        ) from refused

    def _merge(
        self,
        location: str,
        sql: str,
        changed: DataFrame,
        transaction: Transaction | None,
        metadata: Mapping[str, str] | None,
    ) -> Commit:
        identifier = uuid.uuid4().hex
        with self.carrying(transaction, metadata, identifier), self.committing(location):
            since = self.version(location)
            done = self.session.sql(sql, changed=changed).collect()
        version = version_of(location, identifier, since)
        if version is None:
            return self._skipped(location, transaction)
        if not int(done[0]["num_affected_rows"]):  # another writer had brought the same rows
            return Commit(version, written=False, reason="no row differs")
        return Commit(
            version,
            inserted=int(done[0]["num_inserted_rows"]),
            updated=int(done[0]["num_updated_rows"]),
            deleted=int(done[0]["num_deleted_rows"]),
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
        if not self._count(location, table.version(), where):
            return Commit(table.version(), written=False, reason="no row meets the condition")
        identifier = uuid.uuid4().hex
        with self.carrying(transaction, metadata, identifier), self.committing(location):
            since = self.version(location)
            sql = f"DELETE FROM delta.{quote(location)} WHERE {where}"
            deleted = rows_of(self.session.sql(sql).collect())
        version = version_of(location, identifier, since)
        if version is None:
            return self._skipped(location, transaction)
        return Commit(version, deleted=deleted)

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
        wanted = from_arrow(self.session, keys.group_by(keys.column_names).aggregate([]))
        same_key = " AND ".join(f"t.{quote(k)} = s.{quote(k)}" for k in keys.column_names)
        target = f"delta.{quote(location)}"
        identifier = uuid.uuid4().hex
        with self.carrying(transaction, metadata, identifier), self.committing(location):
            since = self.version(location)
            there = f"SELECT 1 FROM {target} t LEFT SEMI JOIN {{wanted}} s ON {same_key}"
            if self.session.sql(there, wanted=wanted).isEmpty():
                return Commit(table.version(), written=False, reason="no row has such a key")
            sql = f"MERGE INTO {target} t USING {{wanted}} s ON {same_key} WHEN MATCHED THEN DELETE"
            deleted = rows_of(self.session.sql(sql, wanted=wanted).collect())
        version = version_of(location, identifier, since)
        if version is None:
            return self._skipped(location, transaction)
        return Commit(version, deleted=deleted)

    def _skipped(self, location: str, transaction: Transaction | None) -> Commit:
        """Return the commit of a write that left no trace: somebody else's had its transaction."""
        if seen := already_committed(open_table(location), transaction):
            return seen
        raise ConcurrentWriteError(
            f"what was written to the table at {location} is not in its history; another writer "
            "changed it meanwhile. Read it again and repeat the write"
        )
