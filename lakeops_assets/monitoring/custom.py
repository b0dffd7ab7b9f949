"""Metrics that a monitor's owner defines, as templates of SQL expressions.

There are three types. An `aggregate` is computed from the rows of the table, `derived` from the
other metrics of the same row of the profile, `drift` from two rows of the profile. So only
aggregates cost a look at the data. Source: docs.databricks.com, "Use custom metrics with data
profiling".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lakeops_assets.lakehouse import LakehouseError
from lakeops_assets.lakehouse.statements import literal, parse_select, quote
from lakeops_assets.monitoring.errors import MonitorSpecError

if TYPE_CHECKING:
    import pyarrow as pa

MetricType: TypeAlias = Literal["aggregate", "derived", "drift"]

METRIC_TYPES = ("aggregate", "derived", "drift")
DATA_TYPES = ("double", "bigint", "string", "boolean")
# Input column that stands for the rows that are about the whole table.
WHOLE_TABLE = ":table"
# Names under which the two sides of a drift metric are read.
CURRENT, BASE = "current_df", "base_df"


@dataclass(frozen=True)
class CustomMetric:
    """A metric of its owner's own, which becomes a column of the metric tables.

    Attributes:
        type: What it is computed from.
        name: Name of the column.
        definition: Template of an SQL expression in Spark's dialect. `{{input_column}}` is the
            input column, `{{prediction_col}}`, `{{label_col}}`, `{{prediction_proba_col}}`,
            `{{timestamp_col}}` and `{{model_id_col}}` those of the monitor. A drift metric reads
            `{{current_df}}.metric` and `{{base_df}}.metric`.
        input_columns: Columns that it is computed for, one value each; `:table` is the whole
            table.
        output_data_type: `double`, `bigint`, `string` or `boolean`.
    """

    type: MetricType
    name: str
    definition: str
    input_columns: tuple[str, ...] = (WHOLE_TABLE,)
    output_data_type: str = "double"

    def __post_init__(self) -> None:
        if self.type not in METRIC_TYPES:
            raise MonitorSpecError(
                f"{self.type!r} is not a type of metric; use one of: {', '.join(METRIC_TYPES)}"
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.name):
            raise MonitorSpecError(
                f"{self.name!r} cannot be the name of a metric: use letters, digits and underscores"
            )
        if self.output_data_type not in DATA_TYPES:
            raise MonitorSpecError(
                f"metric {self.name} has the type {self.output_data_type!r}; use one of: "
                f"{', '.join(DATA_TYPES)}"
            )
        if not self.input_columns:
            raise MonitorSpecError(f"metric {self.name} needs input_columns, such as :table")

    def expression(self, columns: Mapping[str, str]) -> str:
        """Return the SQL expression, cast to the metric's type.

        Args:
            columns: Name in the template -> what stands there.

        Raises:
            MonitorSpecError: The template names something else, or makes no single expression.
        """
        from jinja2 import StrictUndefined, TemplateError
        from jinja2.sandbox import SandboxedEnvironment

        environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        try:
            rendered = environment.from_string(self.definition).render(columns)
        except TemplateError as error:
            raise MonitorSpecError(
                f"the definition of metric {self.name} cannot be filled in: {error}. It can use: "
                f"{', '.join(sorted(columns))}"
            ) from error
        cast = f"CAST(({rendered}) AS {self.output_data_type.upper()})"
        if not _is_expression(cast):
            raise MonitorSpecError(
                f"the definition of metric {self.name} is not one SQL expression: {rendered}"
            )
        return cast

    @property
    def field(self) -> pa.Field:
        """Column of the metric tables."""
        import pyarrow as pa

        types = {
            "double": pa.float64(),
            "bigint": pa.int64(),
            "string": pa.string(),
            "boolean": pa.bool_(),
        }
        return pa.field(self.name, types[self.output_data_type])


def of_type(metrics: Sequence[CustomMetric], *types: MetricType) -> list[CustomMetric]:
    """Return the metrics of some types, in the order in which they are defined."""
    return [m for m in metrics if m.type in types]


def with_columns(fields: Sequence[Any], metrics: Sequence[CustomMetric]) -> pa.Schema:
    """Return the schema of a metric table with its custom metrics.

    Raises:
        MonitorSpecError: A metric has the name of a column that the table has.
    """
    import pyarrow as pa

    schema = pa.schema(fields)
    for metric in metrics:
        if metric.name in schema.names:
            raise MonitorSpecError(
                f"custom metric {metric.name} needs another name: {metric.name} is a column of "
                "the format"
            )
        schema = schema.append(metric.field)
    return schema


def with_derived(
    rows: pa.Table, metrics: Sequence[CustomMetric], columns: Mapping[str, str], run: Any
) -> pa.Table:
    """Fill in the derived metrics of rows of a profile, one after the other.

    A derived metric reads the metrics before it: those of the format, aggregates, and derived ones
    that are defined earlier.

    Args:
        rows: Rows of the profile, with a column for each metric.
        metrics: All custom metrics.
        columns: Name in the templates -> column of the monitor, quoted.
        run: `Lakehouse.query`.
    """
    import pyarrow as pa

    for metric in of_type(metrics, "derived"):
        statement = " UNION ALL ".join(
            f"SELECT position, {metric.expression({**columns, 'input_column': quote(column)})} "
            f"AS value FROM metrics WHERE column_name = {literal(column)}"
            for column in metric.input_columns
        )
        inputs = {"metrics": rows.append_column("position", pa.array(range(rows.num_rows)))}
        rows = _filled(rows, metric, run(statement, inputs))
    return rows


def with_drift(
    drift: pa.Table,
    profile: pa.Table,
    pairs: Sequence[tuple[int, int]],
    metrics: Sequence[CustomMetric],
    columns: Mapping[str, str],
    run: Any,
) -> pa.Table:
    """Fill in the drift metrics of rows of the drift table.

    Args:
        drift: Rows of the drift table, with a column for each metric.
        profile: Rows of the profile that were compared.
        pairs: Positions of the two rows of the profile, per row of the drift table.
        metrics: All custom metrics.
        columns: Name in the templates -> column of the monitor, quoted.
        run: `Lakehouse.query`.
    """
    import pyarrow as pa

    wanted = of_type(metrics, "drift")
    if not wanted or not pairs:
        return drift
    positions = pa.array(range(len(pairs)))
    sides = {
        name: profile.take([pair[i] for pair in pairs]).append_column("position", positions)
        for i, name in enumerate((CURRENT, BASE))
    }
    for metric in wanted:
        names = {**columns, CURRENT: CURRENT, BASE: BASE}
        statement = " UNION ALL ".join(
            f"SELECT {CURRENT}.position AS position, "
            f"{metric.expression({**names, 'input_column': quote(column)})} AS value "
            f"FROM {CURRENT} JOIN {BASE} ON {CURRENT}.position = {BASE}.position "
            f"WHERE {CURRENT}.column_name = {literal(column)}"
            for column in metric.input_columns
        )
        drift = _filled(drift, metric, run(statement, sides))
    return drift


def _is_expression(cast: str) -> bool:
    from sqlglot import exp

    try:
        selects = parse_select(f"SELECT {cast}").selects
    except LakehouseError:
        return False
    return len(selects) == 1 and isinstance(selects[0].this, exp.Paren)


def _filled(rows: pa.Table, metric: CustomMetric, found: pa.RecordBatchReader) -> pa.Table:
    import pyarrow as pa

    values: list[Any] = [None] * rows.num_rows
    for row in found.read_all().to_pylist():
        values[row["position"]] = row["value"]
    at = rows.schema.get_field_index(metric.name)
    return rows.set_column(at, metric.field, pa.array(values, metric.field.type))
