"""Drift: rows of a profile table compared with each other.

The table has the columns of Databricks' drift metrics, in their order. A window is compared with
the window before it (CONSECUTIVE) and with the baseline (BASELINE), both within the same slice and
model. No data is read for it: each statistic comes from two rows of the profile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lakeops_assets.monitoring import statistics
from lakeops_assets.monitoring.columns import TEMPORAL_TYPES
from lakeops_assets.monitoring.custom import of_type, with_columns
from lakeops_assets.monitoring.profile import TABLE_ROW
from lakeops_assets.monitoring.sketch import ALL_MODELS
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

# Differences are the current value less the one it is compared with, as everywhere in the table.
DELTAS = {
    "count_delta": "count",
    "avg_delta": "avg",
    "percent_null_delta": "percent_null",
    "percent_zeros_delta": "percent_zeros",
    "percent_distinct_delta": "percent_distinct",
}


def drift_schema(spec: MonitorSpec) -> pa.Schema:
    """Return the columns of the drift table of a spec."""
    import pyarrow as pa

    time = pa.timestamp("us", tz="UTC")
    window = pa.struct([("start", time), ("end", time)])
    test = pa.struct([("statistic", pa.float64()), ("pvalue", pa.float64())])
    return with_columns(
        [
            ("window", window),
            ("granularity", pa.string()),
            ("monitor_version", pa.int64()),
            *([(spec.model_id_col, pa.string())] if spec.model_id_col else []),
            ("slice_key", pa.string()),
            ("slice_value", pa.string()),
            ("column_name", pa.string()),
            ("data_type", pa.string()),
            ("window_cmp", window),
            ("drift_type", pa.string()),
            ("count_delta", pa.int64()),
            ("avg_delta", pa.float64()),
            ("percent_null_delta", pa.float64()),
            ("percent_zeros_delta", pa.float64()),
            ("percent_distinct_delta", pa.float64()),
            (
                "non_null_columns_delta",
                pa.struct([("added", pa.int32()), ("missing", pa.int32())]),
            ),
            ("js_distance", pa.float64()),
            ("ks_test", test),
            ("wasserstein_distance", pa.float64()),
            ("population_stability_index", pa.float64()),
            ("chi_squared_test", test),
            ("tv_distance", pa.float64()),
            ("l_infinity_distance", pa.float64()),
        ],
        of_type(spec.custom_metrics, "drift"),
    )


class Comparison(NamedTuple):
    """Two rows of a profile that are compared.

    Attributes:
        drift_type: `CONSECUTIVE` or `BASELINE`.
        current: Position of the row of the window.
        base: Position of the row that it is compared with.
    """

    drift_type: str
    current: int
    base: int


def comparisons(
    profile: pa.Table, spec: MonitorSpec, only: Collection[Window] | None = None
) -> list[Comparison]:
    """Return what is compared with what.

    The window before is the newest earlier one that has rows. A model that the baseline does not
    know is compared with the baseline of all models.

    Args:
        profile: Rows with the columns of `profile_schema(spec)`.
        spec: What was monitored.
        only: Windows to compare; None for all.
    """
    model_id = [spec.model_id_col] if spec.model_id_col else []
    keys = ["window", "log_type", "granularity", "slice_key", "slice_value", "column_name"]
    rows = list(enumerate(profile.select([*keys, *model_id]).to_pylist()))
    baseline = {_identity(r, _model(r, spec)): i for i, r in rows if r["log_type"] == "BASELINE"}
    inputs = [(i, r) for i, r in rows if r["log_type"] == "INPUT"]
    inputs.sort(key=lambda pair: pair[1]["window"]["start"])
    found: list[Comparison] = []
    before: dict[tuple[Any, ...], int] = {}
    for i, row in inputs:
        model = _model(row, spec)
        same = (row["granularity"], *_identity(row, model))
        earlier = before.get(same)
        before[same] = i
        if only is not None and Window(row["granularity"], row["window"]["start"]) not in only:
            continue
        if earlier is not None:
            found.append(Comparison("CONSECUTIVE", i, earlier))
        base = baseline.get(_identity(row, model), baseline.get(_identity(row, ALL_MODELS)))
        if base is not None:
            found.append(Comparison("BASELINE", i, base))
    return found


def drift(profile: pa.Table, spec: MonitorSpec, compared: Sequence[Comparison]) -> pa.Table:
    """Return how far the rows of a profile are from those they are compared with.

    A column that is missing on one side, or that is a date or timestamp, has no distance; nor has
    one without a value.

    Args:
        profile: Rows with the columns of `profile_schema(spec)`.
        spec: What was monitored.
        compared: What to compare with what, from `comparisons`.

    Returns:
        Rows with the columns of `drift_schema(spec)`, one per comparison.
    """
    import pyarrow as pa

    rows = list(_rows(profile))
    return pa.Table.from_pylist(
        [compare(rows[c.current], rows[c.base]) | {"drift_type": c.drift_type} for c in compared],
        schema=drift_schema(spec),
    )


def compare(current: Row, base: Row) -> Row:
    """Return the drift of one row of a profile from another.

    Args:
        current: Row of a profile as a mapping; `quantiles` is an array or None.
        base: Row of the same column that it is compared with.

    Returns:
        Values of the drift table's columns by name, without `drift_type`.
    """
    result = dict(current) | {"window_cmp": base["window"]}
    for delta, value in DELTAS.items():
        both = current[value] is not None and base[value] is not None
        result[delta] = current[value] - base[value] if both else None
    if current["column_name"] == TABLE_ROW:
        now, then = set(current["non_null_columns"]), set(base["non_null_columns"])
        result["non_null_columns_delta"] = {
            "added": len(now - then),
            "missing": len(then - now),
        }
        return result
    if current["data_type"] in TEMPORAL_TYPES or base["data_type"] in TEMPORAL_TYPES:
        return result
    if current["quantiles"] is not None and base["quantiles"] is not None:
        result |= _numeric(current, base)
    if current["frequent_items"] and base["frequent_items"]:
        result |= _categorical(current, base)
    return result


def _numeric(current: Row, base: Row) -> Row:
    p = statistics.as_numbers(current["quantiles"])
    q = statistics.as_numbers(base["quantiles"])
    if len(p) != len(q):
        return {}  # kept from a time when the monitor had another number of quantiles
    sizes = (values(current), values(base))
    return {
        "ks_test": statistics.ks(p, q, *sizes)._asdict(),
        "wasserstein_distance": statistics.wasserstein(p, q),
        "population_stability_index": statistics.psi(p, q, *sizes),
    }


def _categorical(current: Row, base: Row) -> Row:
    sides = []
    for row in (current, base):
        counts = {item["item"]: item["count"] for item in row["frequent_items"]}
        sides.append(statistics.Items(counts, values(row)))
    p, q = statistics.align(*sides)
    return {
        "js_distance": statistics.js_distance(p, q),
        "chi_squared_test": statistics.chi_squared(p, q, sides[0].total, sides[1].total)._asdict(),
        "tv_distance": statistics.tv_distance(p, q),
        "l_infinity_distance": statistics.l_infinity(p, q),
    }


def values(row: Row) -> int:
    """Return how many values the statistics of a row of a profile were made of."""
    return int(row["count"] - row["num_nulls"] - (row["num_nan"] or 0))


def _model(row: Row, spec: MonitorSpec) -> str | None:
    return row[spec.model_id_col] if spec.model_id_col else None


def _identity(row: Row, model: str | None) -> tuple[str | None, ...]:
    return (model, row["slice_key"], row["slice_value"], row["column_name"])


def _rows(profile: pa.Table) -> Iterator[Row]:
    """Return rows as mappings, quantiles without an object per number."""
    at = profile.schema.get_field_index("quantiles")
    quantiles = profile.column(at)
    for row, scalar in zip(profile.remove_column(at).to_pylist(), quantiles, strict=True):
        values = scalar.values if scalar.is_valid else None
        yield row | {"quantiles": None if values is None else values.to_numpy()}
