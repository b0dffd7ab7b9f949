"""What every engine does through delta-rs: look into the log, create, clean up.

The log is a few small files, and reading them takes no engine: a cluster would need a second for
what takes a millisecond here. So an engine adds to this how it computes and how it writes rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.engines.deltars import (
    commit_info,
    commit_to,
    open_table,
    schema_of,
    truncate_log,
    write_errors,
)
from lakeops_assets.lakehouse.engines.deltars_files import data_files, feed_gap, stored_files, sweep
from lakeops_assets.lakehouse.engines.protocol import CommitInfo, Maintenance, Query, TableAt
from lakeops_assets.lakehouse.errors import LakehouseError
from lakeops_assets.lakehouse.statements import parse_select

if TYPE_CHECKING:
    import pyarrow as pa

# delta-rs would delete old entries of the log by itself, with versions that models still need.
PROPERTIES = {"delta.enableChangeDataFeed": "true", "delta.enableExpiredLogCleanup": "false"}


class DeltaLog(ABC):
    """The part of `Engine` that is the same whatever computes.

    Locations have to be reachable from this process, whether the engine is here or not.
    """

    @abstractmethod
    def query(self, query: Query) -> pa.RecordBatchReader:
        """Run a query and stream its result."""

    # Looking

    def exists(self, location: str) -> bool:
        """Return whether a Delta table is at the location."""
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(location)

    def version(self, location: str) -> int:
        """Return the newest Delta version."""
        return int(open_table(location).version())

    def schema(self, location: str, version: int | None = None) -> pa.Schema:
        """Return the columns, with their descriptions as field metadata `comment`."""
        return schema_of(open_table(location, version))

    def row_count(self, location: str, version: int | None = None) -> int:
        """Return the number of rows, from statistics where the log has them."""
        table = open_table(location, version)
        if "deletionVectors" not in (table.protocol().reader_features or []):
            return int(table.count())
        return self._count(location, table.version())

    def _count(self, location: str, version: int, where: str = "TRUE") -> int:
        """Count the rows of a version that meet a condition in Spark's dialect.

        Raises:
            QueryError: The text is not one condition.
        """
        parse_select(f"SELECT ({where}) AS met")
        sql = f"SELECT count(*) AS n FROM target WHERE {where}"
        counted = self.query(Query(sql, {"target": TableAt(location, version)}))
        return int(counted.read_all()["n"][0].as_py())

    def size_bytes(self, location: str) -> int:
        """Return the size of the newest version's data files."""
        import pyarrow as pa

        actions = pa.table(open_table(location).get_add_actions(flatten=True))
        return sum(actions["size_bytes"].to_pylist())

    def files(self, location: str, version: int | None = None) -> tuple[str, ...]:
        """Return the data files of a version, relative to the table."""
        return data_files(open_table(location, version))

    def stored_files(self, location: str) -> Mapping[str, int]:
        """Return every file in the table's folder with its size: data, change feed and log."""
        return stored_files(location)

    def history(self, location: str, limit: int | None = None) -> list[CommitInfo]:
        """Return commits, newest first."""
        return [commit_info(entry) for entry in open_table(location).history(limit)]

    def feed_gap(self, location: str, first: int, last: int) -> str:
        """Return why the change feed of some versions is not whole any more; empty when it is."""
        return feed_gap(location, first, last)

    def transaction_version(self, location: str, app_id: str) -> int | None:
        """Return the last version that a writer committed; None before its first."""
        return open_table(location).transaction_version(app_id)

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
                configuration=PROPERTIES,
            )
        except DeltaError as error:
            if self.exists(location):  # another process created it in the same moment
                return
            raise LakehouseError(f"cannot create a table at {location}: {error}") from error

    # Maintaining

    def vacuum(
        self,
        location: str,
        *,
        retention_hours: int,
        keep_versions: Sequence[int] = (),
        full: bool = False,
        dry_run: bool = True,
    ) -> Maintenance:
        """Delete files that no version younger than the retention needs."""
        table = open_table(location)
        if not dry_run:
            sweep(location)
        with write_errors(location) if dry_run else commit_to(location):
            files = table.vacuum(
                retention_hours,
                dry_run=dry_run,
                enforce_retention_duration=False,
                keep_versions=list(keep_versions) or None,
                full=full,
            )
        return Maintenance(int(table.version()), files_removed=len(files), files=tuple(files))

    def truncate_log(self, location: str, *, oldest: int) -> Maintenance:
        """Make a version the oldest that can be read: delete what the log says of earlier ones."""
        files = truncate_log(location, oldest)
        return Maintenance(self.version(location), files_removed=len(files), files=files)
