"""Sketches as rows of a profile table.

The table has the columns of Databricks' profile metrics, in their order, so that what reads one
reads the other. Shares are percentages from 0 to 100, quantiles are 1000 by default and each
stands for the same share of rows, timestamps are profiled as epoch seconds.
Source: docs.databricks.com, "Data profiling metric tables".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lakeops_assets.monitoring.custom import of_type, with_columns
from lakeops_assets.monitoring.estimate import estimate_fields
from lakeops_assets.monitoring.quality import quality_fields
from lakeops_assets.monitoring.sketch import GroupSketch, Sketch
from lakeops_assets.monitoring.spec import MonitorSpec

if TYPE_CHECKING:
    import pyarrow as pa

LogType: TypeAlias = Literal["INPUT", "BASELINE"]

# Column name of the rows that are about the whole table.
TABLE_ROW = ":table"


def profile_schema(spec: MonitorSpec) -> pa.Schema:
    """Return the columns of the profile table of a spec.

    The model's id has a column only for an inference log; it is named as in the monitored table.
    After the columns of every profile come those of model quality, of estimates and of custom
    metrics, where the spec has them.
    """
    import pyarrow as pa

    time = pa.timestamp("us", tz="UTC")
    return with_columns(
        [
            ("window", pa.struct([("start", time), ("end", time)])),
            ("log_type", pa.string()),
            ("logging_table_commit_version", pa.int32()),
            ("monitor_version", pa.int64()),
            ("granularity", pa.string()),
            *([(spec.model_id_col, pa.string())] if spec.model_id_col else []),
            ("slice_key", pa.string()),
            ("slice_value", pa.string()),
            ("column_name", pa.string()),
            ("count", pa.int64()),
            ("data_type", pa.string()),
            ("num_nulls", pa.int64()),
            ("avg", pa.float64()),
            ("quantiles", pa.list_(pa.float64())),
            ("min", pa.float64()),
            ("max", pa.float64()),
            ("stddev", pa.float64()),
            ("num_zeros", pa.int64()),
            ("num_nan", pa.int64()),
            ("min_length", pa.float64()),
            ("max_length", pa.float64()),
            ("avg_length", pa.float64()),
            ("non_null_columns", pa.list_(pa.string())),
            (
                "frequent_items",
                pa.list_(pa.struct([("item", pa.string()), ("count", pa.int64())])),
            ),
            ("median", pa.float64()),
            ("distinct_count", pa.int64()),
            ("percent_nan", pa.float64()),
            ("percent_null", pa.float64()),
            ("percent_zeros", pa.float64()),
            ("percent_distinct", pa.float64()),
            *quality_fields(spec),
            *estimate_fields(spec),
        ],
        of_type(spec.custom_metrics, "aggregate", "derived"),
    )


def profile(
    sketches: Sequence[GroupSketch],
    spec: MonitorSpec,
    *,
    log_type: LogType,
    version: int,
    monitor_version: int,
) -> pa.Table:
    """Return sketches as rows of the profile table.

    Each group has one row per column, and one named `:table` with its rows and the columns that
    have a value.

    Args:
        sketches: Groups of one table.
        spec: What was monitored.
        log_type: `INPUT` for the monitored table, `BASELINE` for what it is compared with.
        version: Delta version of the table that was read.
        monitor_version: Version of the monitor's configuration.

    Returns:
        Rows with the columns of `profile_schema`.
    """
    import pyarrow as pa

    schema = profile_schema(spec)
    rows: list[dict[str, Any]] = []
    for sketched in sketches:
        group = sketched.group
        common: dict[str, Any] = {
            "window": {"start": group.start, "end": group.end} if group.start else None,
            "log_type": log_type,
            "logging_table_commit_version": version,
            "monitor_version": monitor_version,
            "granularity": group.granularity,
            "slice_key": group.slice_key,
            "slice_value": group.slice_value,
        }
        if spec.model_id_col:
            common[spec.model_id_col] = group.model_id
        rows.append(
            common
            | {
                "column_name": TABLE_ROW,
                "count": sketched.count,
                "non_null_columns": sketched.non_null_columns,
            }
            | dict(sketched.metrics)
        )
        rows += [common | _values(sketch) for sketch in sketched.columns]
    return pa.table(
        [
            _lists([row.get("quantiles") for row in rows])
            if field.name == "quantiles"
            else pa.array([row.get(field.name) for row in rows], field.type)
            for field in schema
        ],
        schema=schema,
    )


def _values(sketch: Sketch) -> dict[str, Any]:
    count = sketch.count
    return {
        "column_name": sketch.column.name,
        "count": count,
        "data_type": sketch.column.data_type,
        "num_nulls": sketch.nulls,
        "avg": sketch.avg,
        "quantiles": sketch.quantiles,
        "min": sketch.min,
        "max": sketch.max,
        "stddev": sketch.stddev,
        "num_zeros": sketch.zeros,
        "num_nan": sketch.nan,
        "min_length": sketch.min_length,
        "max_length": sketch.max_length,
        "avg_length": sketch.avg_length,
        "frequent_items": None
        if sketch.items is None
        else [{"item": item, "count": n} for item, n in sketch.items],
        "median": sketch.median,
        "distinct_count": sketch.distinct,
        "percent_nan": _percent(sketch.nan, count),
        "percent_null": _percent(sketch.nulls, count),
        "percent_zeros": _percent(sketch.zeros, count),
        "percent_distinct": _percent(sketch.distinct, count),
        **sketch.custom,
    }


def _percent(part: int | None, count: int) -> float | None:
    return None if part is None or count == 0 else 100 * part / count


def _lists(values: Sequence[Sequence[float] | None]) -> pa.Array:
    """Return lists of doubles without making an object of each number."""
    import numpy as np
    import pyarrow as pa

    lengths = [0 if v is None else len(v) for v in values]
    flat = np.concatenate([np.empty(0), *(np.asarray(v) for v in values if v is not None)])
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype("int32"))
    missing = pa.array([v is None for v in values], pa.bool_())
    return pa.ListArray.from_arrays(offsets, pa.array(flat, pa.float64()), mask=missing)
