"""What may stand between computed rows and their table.

The contracts room has the one that is used. Said here as protocols, because neither room knows the
other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from lakeops_assets.lakehouse import Lakehouse, TableName

if TYPE_CHECKING:
    import pyarrow as pa

# Reads the computed rows, again and again in the same order: some columns, or all for None.
Rows: TypeAlias = "Callable[[Sequence[str] | None], pa.RecordBatchReader]"


class Screened(Protocol):
    """What came through."""

    @property
    def valid(self) -> pa.RecordBatchReader:
        """Rows for the table."""
        ...

    @property
    def quarantined(self) -> int:
        """Rows that were set aside."""
        ...


class Screen(Protocol):
    """Lets good rows pass and sets the others aside."""

    @property
    def digest(self) -> str:
        """Hash of what decides; all rows are computed again when it changes."""
        ...

    def compares(self, keys: Sequence[str]) -> bool:
        """Return whether a verdict needs rows of other keys, so that all have to be computed."""
        ...

    def state(
        self,
        lakehouse: Lakehouse,
        table: TableName,
        rows: Rows,
        *,
        keys: Sequence[str],
        changed: pa.Table | None,
    ) -> Screened:
        """Judge rows that will replace those of the same keys.

        Args:
            lakehouse: Where the tables are.
            table: Table that the rows are for.
            rows: The rows.
            keys: Columns that identify a row.
            changed: The keys that were computed; all when None.
        """
        ...


@contextmanager
def held(reader: pa.RecordBatchReader) -> Iterator[Rows]:
    """Hold rows that can be read once in a file, so that they can be read again."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        with pq.ParquetWriter(path, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)

        def rows(wanted: Sequence[str] | None) -> pa.RecordBatchReader:
            import pyarrow as pa

            names = reader.schema.names if wanted is None else wanted
            schema = pa.schema([reader.schema.field(name) for name in names])
            batches = pq.ParquetFile(path).iter_batches(columns=list(names))
            fitting = (pa.RecordBatch.from_arrays(b.columns, schema=schema) for b in batches)
            return pa.RecordBatchReader.from_batches(schema, fitting)

        yield rows


def in_memory(table: pa.Table) -> Rows:
    """Return rows that are in memory as rows that can be read again."""
    return lambda wanted: (table if wanted is None else table.select(list(wanted))).to_reader()
