"""What may stand between the rows of a batch and the table.

The contracts room has the one that is used. Said here as protocols, because neither room knows the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from lakeops_assets.lakehouse import Lakehouse, TableName

if TYPE_CHECKING:
    import pyarrow as pa

# Reads the rows of a batch, again and again in the same order: some columns, or all for None.
Rows: TypeAlias = "Callable[[Sequence[str] | None], pa.RecordBatchReader]"


class Screened(Protocol):
    """What came through."""

    @property
    def valid(self) -> pa.RecordBatchReader:
        """Rows for the table."""
        ...

    @property
    def by_file(self) -> Mapping[str, int]:
        """Landing file -> rows that were set aside."""
        ...


class Screen(Protocol):
    """Lets good rows pass and sets the others aside."""

    def batch(
        self,
        lakehouse: Lakehouse,
        table: TableName,
        rows: Rows,
        *,
        batch_id: int,
        files: Sequence[str],
        existing: int | None,
    ) -> Screened:
        """Judge the rows of a batch; a batch that is tried again leaves each row once.

        Args:
            lakehouse: Where the tables are.
            table: Table that the rows are for.
            rows: The rows.
            batch_id: Number of the batch; a repeated try has the same.
            files: Landing files of the batch.
            existing: Version of the table before the batch; None when there was no table.
        """
        ...

    def settle(
        self, lakehouse: Lakehouse, table: TableName, ingested: Mapping[str, int], batch_id: int
    ) -> None:
        """Remove what tries left that were killed and repeated with other files.

        Args:
            lakehouse: Where the tables are.
            table: Table that the rows are for.
            ingested: File -> batch that brought it.
            batch_id: Number of the next batch; what came before is decided.
        """
        ...
