"""What can be said of a column, by its type."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.spec import MonitorSpec

if TYPE_CHECKING:
    import pyarrow as pa

TEMPORAL_TYPES = ("date", "timestamp", "timestamp_ntz")


class ColumnKind(Enum):
    """Which statistics a column has.

    Numbers have moments and quantiles. Strings and booleans have frequent items. Dates and
    timestamps have the range and quantiles of their epoch seconds; they move with the calendar,
    so no drift is computed for them. Everything else is counted.
    """

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEMPORAL = "temporal"
    OPAQUE = "opaque"


@dataclass(frozen=True)
class Column:
    """A column to profile.

    Attributes:
        name: Name in the table.
        kind: Which statistics it has.
        data_type: Spark's name of its type, such as `double` or `array<string>`.
    """

    name: str
    kind: ColumnKind
    data_type: str


def monitored_columns(schema: pa.Schema, spec: MonitorSpec) -> tuple[Column, ...]:
    """Return the columns that a spec profiles, in the table's order.

    Raises:
        MonitorSpecError: None is left.
    """
    wanted = spec.columns or schema.names
    left_out = {*spec.exclude, spec.model_id_col}
    columns = tuple(
        Column(f.name, _kind(f.type), data_type(f.type))
        for f in schema
        if f.name in wanted and f.name not in left_out
    )
    if not columns:
        raise MonitorSpecError(
            f"no column is left to profile of: {', '.join(schema.names)}. Name some in columns, or "
            "fewer in exclude"
        )
    return columns


def data_type(arrow: pa.DataType) -> str:
    """Return Spark's name of an Arrow type.

    Source: Spark `DataType.simpleString`, as `DESCRIBE TABLE` prints it.
    """
    import pyarrow.types as is_

    if is_.is_decimal(arrow):
        return f"decimal({arrow.precision},{arrow.scale})"
    if is_.is_timestamp(arrow):
        return "timestamp" if arrow.tz else "timestamp_ntz"
    if is_.is_list(arrow) or is_.is_large_list(arrow) or is_.is_fixed_size_list(arrow):
        return f"array<{data_type(arrow.value_type)}>"
    if is_.is_map(arrow):
        return f"map<{data_type(arrow.key_type)},{data_type(arrow.item_type)}>"
    if is_.is_struct(arrow):
        fields = (arrow.field(i) for i in range(arrow.num_fields))
        return f"struct<{','.join(f'{f.name}:{data_type(f.type)}' for f in fields)}>"
    names = {
        "bool": "boolean",
        "int8": "tinyint",
        "int16": "smallint",
        "int32": "int",
        "int64": "bigint",
        "float": "float",
        "double": "double",
        "large_string": "string",
        "string_view": "string",
        "large_binary": "binary",
        "binary_view": "binary",
        "date32[day]": "date",
    }
    return names.get(str(arrow), str(arrow))


def _kind(arrow: pa.DataType) -> ColumnKind:
    import pyarrow.types as is_

    if is_.is_integer(arrow) or is_.is_floating(arrow) or is_.is_decimal(arrow):
        return ColumnKind.NUMERIC
    if data_type(arrow) in ("string", "boolean"):
        return ColumnKind.CATEGORICAL
    if data_type(arrow) in TEMPORAL_TYPES:
        return ColumnKind.TEMPORAL
    return ColumnKind.OPAQUE
