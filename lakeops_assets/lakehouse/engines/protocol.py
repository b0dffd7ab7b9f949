"""What an engine must do, written so that a laptop and a cluster can both do it.

An engine reads and writes Delta tables by location. It never sees table names, products or
Dagster: the `Lakehouse` above it maps names to locations. Data goes in as a `Source`, which is
either Arrow record batches, or a `Query` that the engine runs itself, or such a query `Mapped` by
a function: a cluster engine writes their result without pulling a row through this process. Data
comes out as record batches; no method holds a whole table in memory.

Every write is one Delta commit. A write that carries a `Transaction` is applied once: when the
table has already seen that version of the application, the write is skipped and the commit that
is there is returned. Source: Delta protocol, "Transaction Identifiers",
github.com/delta-io/delta/blob/master/PROTOCOL.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from lakeops_assets.lakehouse.engines.streams import StreamOf

if TYPE_CHECKING:
    import pyarrow as pa

WITHOUT_ROWS = frozenset({"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "FSCK"})


@dataclass(frozen=True)
class TableAt:
    """A Delta table as the input of a query.

    Attributes:
        location: Folder or object-store URI of the table.
        version: Delta version to read; the newest when None.
    """

    location: str
    version: int | None = None


@dataclass(frozen=True)
class ChangesOf:
    """The change feed of a table as the input of a query.

    Columns are those of the table and `_change_type` (`insert`, `delete`, `update_preimage`,
    `update_postimage`), `_commit_version` and `_commit_timestamp`.

    Attributes:
        location: Folder or object-store URI of the table.
        first: First Delta version whose changes are wanted.
        last: Last Delta version, inclusive; the newest when None.
    """

    location: str
    first: int
    last: int | None = None


Input: TypeAlias = "TableAt | ChangesOf | pa.Table | pa.RecordBatchReader"


@dataclass(frozen=True)
class Query:
    """A SELECT in Spark's dialect over named inputs.

    Attributes:
        sql: One statement. It names its inputs by the keys of `inputs`, unquoted or in backticks.
        inputs: Name in the statement -> where its rows come from.
    """

    sql: str
    inputs: Mapping[str, Input] = field(default_factory=dict)


@dataclass(frozen=True)
class Mapped:
    """The rows of a query after a function, which an engine calls where the rows are.

    Attributes:
        query: Where the rows come from.
        function: What makes of each batch one with the columns of `schema` and as many rows as it
            likes. An engine on several machines sends it there, pickled.
        schema: Columns that the function makes.
    """

    query: Query
    function: Callable[[pa.RecordBatch], pa.RecordBatch]
    schema: pa.Schema


Source: TypeAlias = "Query | Mapped | pa.Table | pa.RecordBatchReader"


@dataclass(frozen=True)
class Transaction:
    """Identifier that makes a write happen once, whatever is killed and repeated.

    Attributes:
        app_id: Name of the writer, unique per kind of write to the table.
        version: Grows with each write of that writer; a version at or below the one that the
            table has seen is skipped.
    """

    app_id: str
    version: int


@dataclass(frozen=True)
class Commit:
    """What a write did.

    Attributes:
        version: Delta version that holds the result.
        inserted: Rows added.
        updated: Rows replaced.
        deleted: Rows removed.
        written: False when there was nothing to write, so that no commit was made.
        reason: Why nothing was written, else empty.
    """

    version: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    written: bool = True
    reason: str = ""

    @property
    def changed(self) -> int:
        """Rows that differ from the version before."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True)
class CommitInfo:
    """One entry of a table's history.

    Attributes:
        version: Delta version.
        timestamp: When it was committed, in UTC.
        operation: Delta's name of the operation: WRITE, MERGE, OPTIMIZE ...
        metrics: Delta's operation metrics, such as `numOutputRows`.
        metadata: What the writer recorded with the commit.
    """

    version: int
    timestamp: datetime
    operation: str
    metrics: Mapping[str, object]
    metadata: Mapping[str, str]

    @property
    def changed_rows(self) -> bool:
        """Whether the operation can have changed what a reader sees."""
        return self.operation.upper() not in WITHOUT_ROWS


@dataclass(frozen=True)
class Maintenance:
    """What OPTIMIZE or VACUUM did or, in a dry run, would do."""

    version: int
    files_added: int = 0
    files_removed: int = 0
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Capability:
    """Whether an engine can do a thing and, if not, why not."""

    available: bool
    reason: str = ""


@dataclass(frozen=True)
class Capabilities:
    """What engines differ in, as data; read these flags, never the engine's name.

    Attributes:
        zorder: OPTIMIZE can sort files by several columns at once.
        liquid_clustering: Tables can be created with CLUSTER BY.
        deletion_vectors: Tables that carry deletion vectors can be read.
        column_mapping: Tables with mapped column names can be read.
        streaming_ingest: Files can be ingested by a long-running stream.
        topics: Records of a topic of Kafka can be ingested.
        distributed: Work is spread over several machines.
    """

    zorder: Capability
    liquid_clustering: Capability
    deletion_vectors: Capability
    column_mapping: Capability
    streaming_ingest: Capability
    topics: Capability
    distributed: Capability


@runtime_checkable
class Engine(Protocol):
    """Reads and writes Delta tables.

    Errors are `LakehouseError`s that name the location, what exists and what to do next.
    """

    name: str
    capabilities: Capabilities

    # Looking

    def exists(self, location: str) -> bool:
        """Return whether a Delta table is at the location."""
        ...

    def version(self, location: str) -> int:
        """Return the newest Delta version."""
        ...

    def schema(self, location: str, version: int | None = None) -> pa.Schema:
        """Return the columns, with their descriptions as field metadata `comment`."""
        ...

    def row_count(self, location: str, version: int | None = None) -> int:
        """Return the number of rows, from statistics where the log has them."""
        ...

    def size_bytes(self, location: str) -> int:
        """Return the size of the newest version's data files."""
        ...

    def files(self, location: str, version: int | None = None) -> tuple[str, ...]:
        """Return the data files of a version, relative to the table."""
        ...

    def stored_files(self, location: str) -> Mapping[str, int]:
        """Return every file in the table's folder with its size: data, change feed and log."""
        ...

    def history(self, location: str, limit: int | None = None) -> list[CommitInfo]:
        """Return commits, newest first."""
        ...

    def feed_gap(self, location: str, first: int, last: int) -> str:
        """Return why the change feed of some versions is not whole any more; empty when it is."""
        ...

    def transaction_version(self, location: str, app_id: str) -> int | None:
        """Return the last version that a writer committed; None before its first."""
        ...

    # Reading

    def query(self, query: Query) -> pa.RecordBatchReader:
        """Run a query and stream its result."""
        ...

    def stream(
        self,
        source: StreamOf,
        handle: Callable[[pa.Table], None],
        *,
        checkpoint: str,
        every_seconds: float | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Hand what arrives to a function, one micro-batch after the other, until the end.

        A micro-batch that was not handled to its end comes again when the stream is started again
        with the same checkpoint; the function has to know what it has done.

        Args:
            source: What is streamed.
            handle: Takes a micro-batch; what it raises ends the stream, and is raised here.
            checkpoint: Folder that remembers how far the stream is.
            every_seconds: How often it looks for more; None ends it when what is there is handled.
            go_on: Asked about once a second, in the thread of the caller; no ends the stream.

        Raises:
            UnsupportedError: `capabilities` says that it cannot.
        """
        ...

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
        ...

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
        ...

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
        """Replace all rows, or those that meet a condition.

        Args:
            location: Table to write.
            source: Rows that it holds then; with `where`, each of them meets it as well.
            transaction: Identifier that makes the write happen once.
            metadata: Recorded with the commit.
            evolve: Replace the columns as well; not together with `where`.
            where: Condition in Spark's dialect, on columns, fields of structs and constants.
        """
        ...

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

        Args:
            location: Table to merge into.
            source: Rows with the table's columns, unique in `keys`.
            keys: Columns that identify a row; never null.
            delete_missing: Also delete rows whose key is not in the source.
            transaction: Identifier that makes the write happen once.
            metadata: Recorded with the commit.
            evolve: Add the columns that the table does not have yet.
        """
        ...

    def delete(
        self,
        location: str,
        where: str,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Remove the rows that meet a condition in Spark's dialect; no commit when none does."""
        ...

    def delete_keys(
        self,
        location: str,
        keys: pa.Table,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Remove the rows whose key is among some; no commit when none is.

        The log of the table names the columns and not the values, where `delete` writes its
        condition down.

        Args:
            location: Table to delete from.
            keys: Keys, with the names and types of the table's columns.
            transaction: Identifier that makes the write happen once.
            metadata: Recorded with the commit.
        """
        ...

    # Maintaining

    def optimize(
        self, location: str, *, zorder: Sequence[str] = (), target_bytes: int | None = None
    ) -> Maintenance:
        """Rewrite small files into large ones, sorted by `zorder` when given."""
        ...

    def cluster(self, location: str, columns: Sequence[str]) -> None:
        """Let OPTIMIZE keep a table clustered by columns from now on, and by no other order.

        Liquid clustering. Engines that cannot write clustered tables can still read them.

        Raises:
            UnsupportedError: The engine cannot; says why and what to use.
        """
        ...

    def vacuum(
        self,
        location: str,
        *,
        retention_hours: int,
        keep_versions: Sequence[int] = (),
        full: bool = False,
        dry_run: bool = True,
    ) -> Maintenance:
        """Delete files that no version younger than the retention needs.

        Args:
            location: Table to clean up.
            retention_hours: Age from which files that the newest version does not need may go.
            keep_versions: Versions whose files stay, whatever their age.
            full: Delete also the files of the change feed, and those that the log does not name.
            dry_run: Only say which files would go.
        """
        ...

    def truncate_log(self, location: str, *, oldest: int) -> Maintenance:
        """Make a version the oldest that can be read: delete what the log says of earlier ones."""
        ...
