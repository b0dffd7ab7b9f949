"""What an asset shows in the UI about the table it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakeops_assets.components.names import (
    COLUMN_SCHEMA,
    ROW_COUNT,
    SIZE_BYTES,
    STATE,
    TABLE_NAME,
    URI,
)
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.lakehouse import Commit, Lakehouse, TableName
from lakeops_assets.lakehouse.types import spark_type

if TYPE_CHECKING:
    import pyarrow as pa


def table_result(
    lakeops: LakeopsResource,
    table: TableName,
    commit: Commit | None,
    *,
    metadata: Mapping[str, Any] | None = None,
    key: dg.AssetKey | None = None,
) -> dg.MaterializeResult:
    """Return the result of an asset that wrote a table, or found nothing to write.

    The data version is the Delta version of the last commit that changed rows: an asset that ran
    and changed nothing leaves everything downstream in sync.
    """
    lakehouse = lakeops.lakehouse()
    return dg.MaterializeResult(
        asset_key=key,
        metadata={
            **table_metadata(lakehouse, table),
            **(commit_metadata(commit) if commit is not None else {}),
            **(metadata or {}),
        },
        data_version=table_data_version(lakehouse, table),
        tags={STATE: lakeops.state_id()},
    )


def table_data_version(lakehouse: Lakehouse, table: TableName) -> dg.DataVersion:
    """Return the data version of a table: the Delta version that last changed rows."""
    return dg.DataVersion(f"delta:{lakehouse.data_version(table)}")


def table_metadata(lakehouse: Lakehouse, table: TableName) -> dict[str, Any]:
    """Return the metadata that every table shows."""
    if not lakehouse.exists(table):
        return {TABLE_NAME: str(table)}
    return {
        TABLE_NAME: str(table),
        URI: lakehouse.location(table),
        ROW_COUNT: lakehouse.row_count(table),
        SIZE_BYTES: lakehouse.size_bytes(table),
        COLUMN_SCHEMA: column_schema(lakehouse.schema(table)),
        "delta_version": lakehouse.version(table),
    }


def commit_metadata(commit: Commit) -> dict[str, Any]:
    """Return what one write did, as numbers that the UI plots over time."""
    return {
        "rows_inserted": commit.inserted,
        "rows_updated": commit.updated,
        "rows_deleted": commit.deleted,
        "written": commit.written,
        **({"reason": commit.reason} if commit.reason else {}),
    }


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Return the columns of a table with Spark's names of their types."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                type=spark_type(field.type),
                description=(field.metadata or {}).get(b"comment", b"").decode() or None,
            )
            for field in schema
        ]
    )
