"""What a catalog holds: tables with their columns, and changes of grants."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeops_assets.catalogs.errors import CatalogError
from lakeops_assets.lakehouse import TableName
from lakeops_assets.lakehouse.types import spark_type

if TYPE_CHECKING:
    import pyarrow as pa

_NAMES = {
    "boolean": ("BOOLEAN", "boolean"),
    "tinyint": ("BYTE", "byte"),
    "smallint": ("SHORT", "short"),
    "int": ("INT", "integer"),
    "bigint": ("LONG", "long"),
    "float": ("FLOAT", "float"),
    "double": ("DOUBLE", "double"),
    "date": ("DATE", "date"),
    "timestamp": ("TIMESTAMP", "timestamp"),
    "timestamp_ntz": ("TIMESTAMP_NTZ", "timestamp_ntz"),
    "string": ("STRING", "string"),
    "binary": ("BINARY", "binary"),
}


@dataclass(frozen=True)
class Column:
    """A column as Unity Catalog knows it.

    Attributes:
        name: Its name.
        type_text: Type in Spark's words, such as `array<bigint>`.
        type_name: Type in the catalog's words, such as `ARRAY`.
        type_json: The field in Spark's JSON.
        nullable: Whether it may be null.
        comment: What it means.
        precision: Digits of a decimal.
        scale: Digits of a decimal behind the point.
    """

    name: str
    type_text: str
    type_name: str
    type_json: str
    nullable: bool = True
    comment: str = ""
    precision: int | None = None
    scale: int | None = None

    def body(self, position: int) -> dict[str, Any]:
        """Return the column as requests and answers hold it."""
        decimal = {"type_precision": self.precision, "type_scale": self.scale}
        return {
            "name": self.name,
            "type_text": self.type_text,
            "type_json": self.type_json,
            "type_name": self.type_name,
            "position": position,
            "nullable": self.nullable,
            **({"comment": self.comment} if self.comment else {}),
            **{name: value for name, value in decimal.items() if value is not None},
        }


@dataclass(frozen=True)
class Table:
    """An external Delta table.

    Attributes:
        name: Its full name.
        location: URL of its folder.
        columns: Its columns.
        comment: What a row is.
    """

    name: TableName
    location: str
    columns: tuple[Column, ...] = ()
    comment: str = ""

    def body(self) -> dict[str, Any]:
        """Return the body of the request that registers it."""
        return {
            "name": self.name.table,
            "catalog_name": self.name.catalog,
            "schema_name": self.name.schema,
            "table_type": "EXTERNAL",
            "data_source_format": "DELTA",
            "columns": [column.body(number) for number, column in enumerate(self.columns)],
            "storage_location": self.location,
            **({"comment": self.comment} if self.comment else {}),
        }


@dataclass(frozen=True)
class GrantChange:
    """What changes for one principal on one object.

    Attributes:
        principal: Who.
        add: Privileges that are granted.
        remove: Privileges that are revoked.
    """

    principal: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def columns(schema: pa.Schema) -> tuple[Column, ...]:
    """Return the columns of a table.

    Args:
        schema: Its schema; comments are in the metadata of the fields.

    Raises:
        CatalogError: A column has a type that catalogs have no word for.
    """
    return tuple(_column(field) for field in schema)


def normal_location(url: str) -> str:
    """Return a URL so that equal places are equal texts."""
    scheme, colon, rest = url.partition(":")
    if not colon or len(scheme) < 2:
        return normal_location(f"file://{url}")
    path = re.sub(r"/{2,}", "/", rest).strip("/")
    return f"{scheme}:///{path}" if scheme == "file" else f"{scheme}://{path}"


def _column(field: pa.Field) -> Column:
    import pyarrow as pa

    text = spark_type(field.type)
    decimal = pa.types.is_decimal(field.type)
    definition = {
        "name": field.name,
        "type": _spark_json(field.type),
        "nullable": field.nullable,
        "metadata": {},
    }
    return Column(
        name=field.name,
        type_text=text,
        type_name=_type_name(text, field.name),
        type_json=json.dumps(definition, separators=(",", ":")),
        nullable=field.nullable,
        comment=(field.metadata or {}).get(b"comment", b"").decode(),
        precision=field.type.precision if decimal else None,
        scale=field.type.scale if decimal else None,
    )


def _type_name(text: str, column: str) -> str:
    if text in _NAMES:
        return _NAMES[text][0]
    kind = re.split(r"[<(]", text)[0].upper()
    if kind not in ("DECIMAL", "ARRAY", "STRUCT", "MAP"):
        raise CatalogError(f"a catalog has no word for the type {text} of the column {column}")
    return kind


def _spark_json(kind: pa.DataType) -> Any:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        element = _spark_json(kind.value_type)
        return {"type": "array", "elementType": element, "containsNull": True}
    if pa.types.is_map(kind):
        key, value = _spark_json(kind.key_type), _spark_json(kind.item_type)
        return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}
    if pa.types.is_struct(kind):
        fields = [
            {"name": f.name, "type": _spark_json(f.type), "nullable": f.nullable, "metadata": {}}
            for f in kind
        ]
        return {"type": "struct", "fields": fields}
    text = spark_type(kind)
    return _NAMES[text][1] if text in _NAMES else text
