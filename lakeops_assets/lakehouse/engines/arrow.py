"""Arrow batches on their way into a table: one schema, counted, cast safely."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa


def as_reader(source: Any) -> pa.RecordBatchReader:
    """Return anything that streams Arrow as a record batch reader of pyarrow."""
    import pyarrow as pa

    if isinstance(source, pa.RecordBatchReader):
        return source
    if isinstance(source, pa.Table):
        return source.to_reader()
    return pa.RecordBatchReader.from_stream(source)


def conform(
    reader: pa.RecordBatchReader, schema: pa.Schema, location: str, *, evolve: bool
) -> pa.RecordBatchReader:
    """Return the rows with exactly a table's columns, in its order and types.

    Args:
        reader: Rows to write.
        schema: The table's columns. A column that the rows do not have becomes null.
        location: The table, for the error.
        evolve: Keep columns that the table does not have, behind its own.

    Raises:
        SchemaError: A column is unknown, or a value cannot become the table's type without loss.
    """
    import pyarrow as pa

    unknown = [f for f in reader.schema if f.name not in schema.names]
    if unknown and not evolve:
        raise SchemaError(
            f"the table at {location} has no column {', '.join(f.name for f in unknown)}; it has: "
            f"{', '.join(schema.names)}"
        )
    wanted = pa.schema([*(_plain(f) for f in schema), *unknown])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield pa.RecordBatch.from_arrays(
                [_column(batch, field, location) for field in wanted], schema=wanted
            )

    return pa.RecordBatchReader.from_batches(wanted, batches())


class Counted:
    """Rows that are counted while somebody else consumes them."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self.schema = reader.schema
        self.count = 0
        self._batches = (batch for batch in reader if batch.num_rows)
        self._first: pa.RecordBatch | None = None

    def peek(self) -> pa.RecordBatch | None:
        """Return the first batch that has rows, without taking it away; None without rows."""
        if self._first is None:
            self._first = next(self._batches, None)
        return self._first

    def reader(self) -> pa.RecordBatchReader:
        """Return all rows, to be read once."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, self._counted())

    def _counted(self) -> Iterator[pa.RecordBatch]:
        first, self._first = self._first, None
        for batch in [first] if first is not None else []:
            self.count += batch.num_rows
            yield batch
        for batch in self._batches:
            self.count += batch.num_rows
            yield batch


def _plain(field: pa.Field) -> pa.Field:
    # Whether nulls are allowed is for the table to say when it is written.
    return field.with_nullable(True)


def _column(batch: pa.RecordBatch, field: pa.Field, location: str) -> pa.Array:
    import pyarrow as pa

    index = batch.schema.get_field_index(field.name)
    if index < 0:
        return pa.nulls(batch.num_rows, field.type)
    column = batch.column(index)
    if column.type == field.type:
        return column
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"column {field.name} of the table at {location} is {field.type} and the rows have "
            f"{column.type}: {error}"
        ) from error
