from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeops_assets.monitoring import (
    ColumnKind,
    Granularity,
    GranularityError,
    MonitorSpec,
    MonitorSpecError,
    drift_schema,
    monitored_columns,
    profile_schema,
)

LOG = MonitorSpec(
    "inference_log",
    timestamp_col="at",
    granularities=("1 day",),
    prediction_col="prediction",
    model_id_col="model_version",
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "stream"}, "use one of: snapshot, time_series, inference_log"),
        ({"kind": "time_series"}, "needs timestamp_col, granularities"),
        ({"kind": "snapshot", "timestamp_col": "at"}, "has no timestamp_col"),
        (
            {"kind": "inference_log", "timestamp_col": "at", "granularities": ("1 day",)},
            "needs prediction_col, model_id_col",
        ),
        (
            {"kind": "time_series", "timestamp_col": "at", "granularities": ("daily",)},
            "'1 day', '2 weeks' or '1 month'",
        ),
        ({"kind": "snapshot", "problem_type": "ranking"}, "classification, regression"),
        ({"kind": "snapshot", "columns": ("a",), "exclude": ("a",)}, "both in columns and in"),
        ({"kind": "snapshot", "quantiles": 1}, "use 1000"),
        ({"kind": "snapshot", "baseline_where": "x > 1"}, "needs a baseline"),
    ],
)
def test_a_spec_that_cannot_work_says_what_to_write(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MonitorSpecError, match=message):
        MonitorSpec(**options)


def test_a_column_that_is_missing_is_named_with_those_that_exist() -> None:
    with pytest.raises(MonitorSpecError, match=r"dev.a.b has no column prediction.*it has: at"):
        LOG.check(pa.schema([("at", pa.date32())]), "dev.a.b")


def test_the_digest_follows_what_is_profiled() -> None:
    assert MonitorSpec("snapshot").digest == MonitorSpec("snapshot").digest
    assert MonitorSpec("snapshot").digest != MonitorSpec("snapshot", exclude=("id",)).digest


def test_columns_are_chosen_in_the_order_of_the_table() -> None:
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("x", pa.decimal128(10, 2)),
            ("flag", pa.bool_()),
            ("day", pa.date32()),
            ("tags", pa.list_(pa.string())),
            ("point", pa.struct([("lat", pa.float64()), ("lon", pa.float32())])),
        ]
    )
    chosen = monitored_columns(schema, MonitorSpec("snapshot", exclude=("id",)))
    assert [(c.name, c.kind, c.data_type) for c in chosen] == [
        ("x", ColumnKind.NUMERIC, "decimal(10,2)"),
        ("flag", ColumnKind.CATEGORICAL, "boolean"),
        ("day", ColumnKind.TEMPORAL, "date"),
        ("tags", ColumnKind.OPAQUE, "array<string>"),
        ("point", ColumnKind.OPAQUE, "struct<lat:double,lon:float>"),
    ]
    assert [
        c.name for c in monitored_columns(schema, MonitorSpec("snapshot", columns=("day", "x")))
    ] == [
        "x",
        "day",
    ]
    with pytest.raises(MonitorSpecError, match="no column is left"):
        monitored_columns(
            schema.empty_table().select(["id"]).schema, MonitorSpec("snapshot", exclude=("id",))
        )


def test_the_tables_have_the_columns_of_the_format_in_its_order() -> None:
    assert profile_schema(LOG).names == [
        "window", "log_type", "logging_table_commit_version", "monitor_version", "granularity",
        "model_version", "slice_key", "slice_value", "column_name", "count", "data_type",
        "num_nulls", "avg", "quantiles", "min", "max", "stddev", "num_zeros", "num_nan",
        "min_length", "max_length", "avg_length", "non_null_columns", "frequent_items", "median",
        "distinct_count", "percent_nan", "percent_null", "percent_zeros", "percent_distinct",
    ]  # fmt: skip
    assert drift_schema(LOG).names == [
        "window", "granularity", "monitor_version", "model_version", "slice_key", "slice_value",
        "column_name", "data_type", "window_cmp", "drift_type", "count_delta", "avg_delta",
        "percent_null_delta", "percent_zeros_delta", "percent_distinct_delta",
        "non_null_columns_delta", "js_distance", "ks_test", "wasserstein_distance",
        "population_stability_index", "chi_squared_test", "tv_distance", "l_infinity_distance",
    ]  # fmt: skip
    assert "model_version" not in profile_schema(MonitorSpec("snapshot")).names
    assert profile_schema(LOG).field("logging_table_commit_version").type == pa.int32()
    assert drift_schema(LOG).field("non_null_columns_delta").type == pa.struct(
        [("added", pa.int32()), ("missing", pa.int32())]
    )


@pytest.mark.parametrize("text", ["day", "0 days", "-1 day", "2 months", "1.5 days", "1 fortnight"])
def test_other_texts_are_no_granularity(text: str) -> None:
    with pytest.raises(GranularityError, match="is not a granularity"):
        Granularity.parse(text)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_calendar_windows_end_where_the_next_one_starts(moment: datetime) -> None:
    month = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = Granularity.parse("1 month").end(month)
    assert end.day == 1
    assert (end - month).days in (28, 29, 30, 31)
    year = month.replace(month=1)
    assert Granularity.parse("1 year").end(year) == year.replace(year=year.year + 1)
