"""Between Spark SQL's names of types and Arrow's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakeops_assets.ingest.spec import Column, duckdb_type

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_schema(columns: Sequence[Column]) -> list[pa.Field]:
    """Return columns as Arrow fields, with their descriptions as `comment`."""
    import pyarrow as pa

    return [
        pa.field(
            c.name,
            _arrow_type(c),
            metadata={"comment": c.description} if c.description else None,
        )
        for c in columns
    ]


def _arrow_type(column: Column) -> pa.DataType:
    import pyarrow as pa

    base = duckdb_type(column.type, column.name).split("(")[0].upper()
    if base == "DECIMAL":
        numbers = [int(n) for n in re.findall(r"\d+", column.type)] or [10, 0]
        return pa.decimal128(numbers[0], numbers[1] if len(numbers) > 1 else 0)
    names = {
        "BOOLEAN": pa.bool_(),
        "TINYINT": pa.int8(),
        "SMALLINT": pa.int16(),
        "INT": pa.int32(),
        "INTEGER": pa.int32(),
        "BIGINT": pa.int64(),
        "FLOAT": pa.float32(),
        "REAL": pa.float32(),
        "DOUBLE": pa.float64(),
        "DATE": pa.date32(),
        "BLOB": pa.binary(),
        "TEXT": pa.string(),
        "VARCHAR": pa.string(),
    }
    return names.get(base, pa.timestamp("us", "UTC"))
