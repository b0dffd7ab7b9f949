"""The lakehouse: an engine and a root folder, addressed by three-part names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.binding import bind
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.lakehouse.engines.protocol import (
    ChangesOf,
    Commit,
    CommitInfo,
    Engine,
    Input,
    Maintenance,
    Query,
    Source,
    TableAt,
    Transaction,
)
from lakeops_assets.lakehouse.errors import TableNotFoundError
from lakeops_assets.lakehouse.names import TableName
from lakeops_assets.lakehouse.statements import quote

if TYPE_CHECKING:
    import pyarrow as pa

    from lakeops_assets.lakehouse.meter import Meter
    from lakeops_assets.settings import Settings


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Lakehouse:
    """Reads and writes tables by name.

    Every method that takes a table accepts a `TableName` or its text; a text with two parts gets
    this lakehouse's catalog.

    Args:
        root: Folder of all catalogs.
        catalog: Catalog of names that do not say one; the environment.
        engine: What reads and writes.
        meter: What counts the rows that are written; nobody when None.
    """

    def __init__(
        self, root: Path, catalog: str, engine: Engine, *, meter: Meter | None = None
    ) -> None:
        self.root = root
        self.catalog = catalog
        self.engine = engine
        self._meter = meter

    # Names

    def name(self, table: TableName | str) -> TableName:
        """Return the full name of a table."""
        if isinstance(table, TableName):
            return table
        return TableName.parse(table, catalog=self.catalog)

    def location(self, table: TableName | str) -> str:
        """Return where the table is."""
        return str(self.name(table).location(self.root))

    def tables(self, schema: str | None = None, catalog: str | None = None) -> list[TableName]:
        """Return the tables that exist, sorted by name."""
        pattern = f"{catalog or self.catalog}/{schema or '*'}/*/_delta_log"
        found = (log.parent.relative_to(self.root).parts for log in self.root.glob(pattern))
        return sorted(TableName(*parts) for parts in found)

    # Looking

    def exists(self, table: TableName | str) -> bool:
        """Return whether the table exists."""
        return self.engine.exists(self.location(table))

    def version(self, table: TableName | str) -> int | None:
        """Return the newest Delta version; None when there is no such table."""
        return self.engine.version(self.location(table)) if self.exists(table) else None

    def data_version(self, table: TableName | str) -> int | None:
        """Return the newest Delta version that changed rows; None when there is no such table.

        Maintenance makes new Delta versions with the same rows: whoever asks whether data is new
        asks for this one.
        """
        change = self.last_change(table)
        return change.version if change else None

    def last_change(self, table: TableName | str) -> CommitInfo | None:
        """Return the newest commit that changed rows; None when there is no such table."""
        if not self.exists(table):
            return None
        commits = self.history(table, limit=50)
        return next((c for c in commits if c.changed_rows), commits[-1])

    def schema(self, table: TableName | str, version: int | None = None) -> pa.Schema:
        """Return the columns of a table."""
        return self.engine.schema(self._existing(table), version)

    def row_count(self, table: TableName | str, version: int | None = None) -> int:
        """Return the number of rows."""
        return self.engine.row_count(self._existing(table), version)

    def size_bytes(self, table: TableName | str) -> int:
        """Return the size of the data files of the newest version."""
        return self.engine.size_bytes(self._existing(table))

    def files(self, table: TableName | str, version: int | None = None) -> tuple[str, ...]:
        """Return the data files of a version, relative to the table's folder."""
        return self.engine.files(self._existing(table), version)

    def stored_files(self, table: TableName | str) -> Mapping[str, int]:
        """Return every file in the table's folder with its size; see `Engine.stored_files`."""
        return self.engine.stored_files(self._existing(table))

    def history(self, table: TableName | str, limit: int | None = None) -> list[CommitInfo]:
        """Return the commits of a table, newest first."""
        return self.engine.history(self._existing(table), limit)

    def transaction_version(self, table: TableName | str, app_id: str) -> int | None:
        """Return the last version a writer committed; None without a table or a commit of it."""
        if not self.exists(table):
            return None
        return self.engine.transaction_version(self.location(table), app_id)

    # Reading

    def read(
        self,
        table: TableName | str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
    ) -> pa.RecordBatchReader:
        """Stream the rows of a table.

        Args:
            table: Table to read.
            version: Delta version; the newest when None.
            columns: Columns wanted, in this order; all when None.
            where: Condition in Spark's dialect.
        """
        selected = ", ".join(quote(c) for c in columns) if columns is not None else "*"
        condition = f" WHERE {where}" if where else ""
        return self.engine.query(
            Query(
                f"SELECT {selected} FROM source{condition}",
                {"source": TableAt(self._existing(table), version)},
            )
        )

    def newest_time(
        self,
        table: TableName | str,
        column: str,
        *,
        version: int | None = None,
        where: str | None = None,
    ) -> datetime | None:
        """Return the newest value of a column of times or dates, in UTC; None without one.

        Args:
            table: Table to read.
            column: The column.
            version: Delta version; the newest when None.
            where: Condition in Spark's dialect.
        """
        condition = f" WHERE {where}" if where else ""
        found = self.engine.query(
            Query(
                f"SELECT max(unix_micros(CAST({quote(column)} AS TIMESTAMP))) AS newest "
                f"FROM source{condition}",
                {"source": TableAt(self._existing(table), version)},
            )
        )
        micros = found.read_all()["newest"][0].as_py()
        return None if micros is None else EPOCH + timedelta(microseconds=micros)

    def changes(self, table: TableName | str, first: int, last: int | None = None) -> ChangesOf:
        """Return the change feed of a table between two versions, as the input of a query."""
        return ChangesOf(self._existing(table), first, last)

    def feed_gap(self, table: TableName | str, first: int, last: int) -> str:
        """Return why the change feed of some versions is not whole any more; empty when it is.

        VACUUM deletes change data as well: who was away longer than the retention computes in full.
        """
        return self.engine.feed_gap(self._existing(table), first, last)

    def at(self, table: TableName | str, version: int | None = None) -> TableAt:
        """Return a table at a version, as the input of a query."""
        return TableAt(self._existing(table), version)

    def query(
        self, sql: str, inputs: Mapping[str, Input] | None = None, *, version: int | None = None
    ) -> pa.RecordBatchReader:
        """Run a SELECT in Spark's dialect and stream the result.

        Args:
            sql: The statement. Names that are not in `inputs` are tables: two or three parts,
                each optionally followed by `VERSION AS OF n` or `TIMESTAMP AS OF '...'`.
            inputs: One-part names in the statement -> where their rows come from.
            version: Delta version of every table that does not say one itself.

        Raises:
            QueryError: The statement is not a single SELECT, or cannot be run.
            TableNotFoundError: It names a table that does not exist.
        """
        return self.engine.query(self.bind(sql, inputs, version=version))

    def bind(
        self, sql: str, inputs: Mapping[str, Input] | None = None, *, version: int | None = None
    ) -> Query:
        """Return the query that `query` would run, for use as the source of a write."""
        return bind(self, sql, inputs or {}, version)

    # Writing

    def create(
        self,
        table: TableName | str,
        schema: pa.Schema,
        *,
        description: str = "",
        partition_by: Sequence[str] = (),
    ) -> None:
        """Create an empty table with its change feed on; does nothing where one exists."""
        self.engine.create(
            self.location(table), schema, description=description, partition_by=partition_by
        )

    def append(
        self,
        table: TableName | str,
        source: Source,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        evolve: bool = False,
    ) -> Commit:
        """Add rows in one commit; see `Engine.append`."""
        return self._counted(
            self.engine.append(
                self._existing(table),
                source,
                transaction=transaction,
                metadata=metadata,
                evolve=evolve,
            )
        )

    def overwrite(
        self,
        table: TableName | str,
        source: Source,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        evolve: bool = False,
        where: str | None = None,
    ) -> Commit:
        """Replace all rows, or those that meet a condition, in one commit; see the engine's."""
        return self._counted(
            self.engine.overwrite(
                self._existing(table),
                source,
                transaction=transaction,
                metadata=metadata,
                evolve=evolve,
                where=where,
            )
        )

    def merge(
        self,
        table: TableName | str,
        source: Source,
        keys: Sequence[str],
        *,
        delete_missing: bool = False,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        evolve: bool = False,
    ) -> Commit:
        """Insert new keys and update rows that differ in one commit; see `Engine.merge`."""
        return self._counted(
            self.engine.merge(
                self._existing(table),
                source,
                keys,
                delete_missing=delete_missing,
                transaction=transaction,
                metadata=metadata,
                evolve=evolve,
            )
        )

    def delete(
        self,
        table: TableName | str,
        where: str,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Remove the rows that meet a condition in one commit; see `Engine.delete`."""
        return self._counted(
            self.engine.delete(
                self._existing(table), where, transaction=transaction, metadata=metadata
            )
        )

    def delete_keys(
        self,
        table: TableName | str,
        keys: pa.Table,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Remove the rows whose key is among some in one commit; see `Engine.delete_keys`."""
        return self._counted(
            self.engine.delete_keys(
                self._existing(table), keys, transaction=transaction, metadata=metadata
            )
        )

    # Maintaining

    def optimize(
        self,
        table: TableName | str,
        *,
        zorder: Sequence[str] = (),
        target_bytes: int | None = None,
    ) -> Maintenance:
        """Rewrite small files into large ones; see `Engine.optimize`."""
        return self.engine.optimize(self._existing(table), zorder=zorder, target_bytes=target_bytes)

    def cluster(self, table: TableName | str, columns: Sequence[str]) -> None:
        """Let OPTIMIZE keep a table clustered by columns from now on; see `Engine.cluster`."""
        self.engine.cluster(self._existing(table), columns)

    def vacuum(
        self,
        table: TableName | str,
        *,
        retention_hours: int = 168,
        keep_versions: Sequence[int] = (),
        full: bool = False,
        dry_run: bool = True,
    ) -> Maintenance:
        """Delete files that no version younger than the retention needs; see `Engine.vacuum`."""
        return self.engine.vacuum(
            self._existing(table),
            retention_hours=retention_hours,
            keep_versions=keep_versions,
            full=full,
            dry_run=dry_run,
        )

    def truncate_log(self, table: TableName | str, *, oldest: int) -> Maintenance:
        """Make a version the oldest that can be read; see `Engine.truncate_log`."""
        return self.engine.truncate_log(self._existing(table), oldest=oldest)

    def _counted(self, commit: Commit) -> Commit:
        if self._meter is not None:
            self._meter.wrote(commit.changed)
        return commit

    def _existing(self, table: TableName | str) -> str:
        name = self.name(table)
        location = self.location(name)
        if self.engine.exists(location):
            return location
        there = [str(t) for t in self.tables(catalog=name.catalog)]
        listed = f"it has: {', '.join(there)}" if there else "it has no tables yet"
        raise TableNotFoundError(
            f"there is no table {name} in the lakehouse at {self.root}; catalog {name.catalog}: "
            f"{listed}. Materialize the asset that writes it, or run `lakeops run`"
        )


def open_lakehouse(settings: Settings, *, meter: Meter | None = None) -> Lakehouse:
    """Return the lakehouse that the settings describe."""
    engine = create_engine(settings.engine, settings.spark)
    return Lakehouse(settings.lakehouse_root, settings.environment, engine, meter=meter)
