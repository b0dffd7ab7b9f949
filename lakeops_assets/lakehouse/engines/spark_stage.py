"""Rows on their way into a table of Spark: fitted to it, and staged where they are used twice."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse.engines.arrow import as_reader, conform
from lakeops_assets.lakehouse.engines.deltars_files import STAGING, sweep
from lakeops_assets.lakehouse.engines.protocol import Mapped, Query, Source
from lakeops_assets.lakehouse.engines.spark_query import from_arrow, query_errors, run_query
from lakeops_assets.lakehouse.errors import SchemaError
from lakeops_assets.lakehouse.statements import quote

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType

# Arrow rows beyond this go to Spark as files.
IN_MEMORY_BYTES = 64 << 20


@contextmanager
def staged(
    session: SparkSession,
    source: Source,
    schema: pa.Schema,
    location: str,
    *,
    evolve: bool,
    again: bool = False,
    strict: bool = True,
) -> Iterator[DataFrame]:
    """Provide rows as a data frame with a table's columns, in its order and types.

    Args:
        session: Where it is computed.
        source: Rows.
        schema: The table's columns.
        location: The table.
        evolve: Keep columns that the table does not have, behind its own.
        again: They are read more than once: a query is computed once, into files.
        strict: Columns and types have to be the table's; what comes replaces them when not.

    Raises:
        SchemaError: A column is unknown, or a value cannot become the table's type without loss.
    """
    sweep(location)
    folder = Path(location) / STAGING / uuid.uuid4().hex
    try:
        if isinstance(source, Query | Mapped):
            found = _computed(session, source)
            frame = fitted(found, schema, location, evolve=evolve) if strict else found
            if again:
                with query_errors(source.sql if isinstance(source, Query) else source.query.sql):
                    frame.write.parquet(str(folder))
                frame = session.read.schema(frame.schema).parquet(str(folder))
            yield frame
            return
        reader = as_reader(source)
        if strict:
            reader = conform(reader, schema, location, evolve=evolve)
        rows, rest = _some(reader)
        if rest is None:
            yield from_arrow(session, rows)
            return
        _write_files(folder, rows, rest)
        yield session.read.parquet(str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _computed(session: SparkSession, source: Query | Mapped) -> DataFrame:
    from pyspark.sql.pandas.types import from_arrow_schema

    if isinstance(source, Query):
        return run_query(session, source)
    function, columns = source.function, source.schema

    def mapped(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            made = function(batch)
            yield made.cast(columns) if made.schema != columns else made

    rows = run_query(session, source.query)
    return rows.mapInArrow(mapped, from_arrow_schema(columns, prefer_timestamp_ntz=False))


def _some(reader: pa.RecordBatchReader) -> tuple[pa.Table, Iterator[pa.RecordBatch] | None]:
    """Return rows that fit in memory, and the batches behind them; None when that is all."""
    import pyarrow as pa

    batches: list[pa.RecordBatch] = []
    size = 0
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > IN_MEMORY_BYTES:
            return pa.Table.from_batches(batches, reader.schema), reader
    return pa.Table.from_batches(batches, reader.schema), None


def _write_files(folder: Path, first: pa.Table, rest: Iterator[pa.RecordBatch]) -> None:
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    with pq.ParquetWriter(folder / "rows.parquet", first.schema) as writer:
        writer.write_table(first)
        for batch in rest:
            writer.write_batch(batch)


def fitted(frame: DataFrame, schema: pa.Schema, location: str, *, evolve: bool) -> DataFrame:
    """Return the result of a query with a table's columns, in its order and types.

    Raises:
        SchemaError: A column is unknown.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_schema

    table = from_arrow_schema(schema, prefer_timestamp_ntz=False)
    unknown = [c for c in frame.columns if c not in schema.names]
    if unknown and not evolve:
        raise SchemaError(
            f"the table at {location} has no column {', '.join(unknown)}; it has: "
            f"{', '.join(schema.names)}"
        )
    there = {field.name: field.dataType for field in frame.schema}
    columns = [
        _cast(frame[quote(field.name)], there[field.name], field.dataType, field.name, location)
        if field.name in there
        else f.lit(None).cast(field.dataType).alias(field.name)
        for field in table
    ]
    return frame.select(*columns, *(frame[quote(c)] for c in unknown))


def _cast(column: Column, have: DataType, want: DataType, name: str, location: str) -> Column:
    """Return a column in the table's type, which fails where a value would not be the same."""
    from pyspark.sql import functions as f
    from pyspark.sql import types as t

    if have == want:
        return column
    cast = column.cast(want)
    numbers = isinstance(have, t.NumericType) and isinstance(want, t.NumericType)
    if numbers and not isinstance(want, t.DoubleType | t.FloatType):
        message = f"column {name} of the table at {location} is {want.simpleString()}, and a value "
        message += f"of the rows, {have.simpleString()}, is not"
        same = column.isNull() | (cast.cast(have) == column)
        cast = f.when(same, cast).otherwise(f.raise_error(f.lit(message)).cast(want))
    return cast.alias(name)


def rows_of(row: Any) -> int:
    """Return the affected rows that Delta reports of a statement; zero when it skipped it."""
    return int(row[0]["num_affected_rows"]) if row else 0
