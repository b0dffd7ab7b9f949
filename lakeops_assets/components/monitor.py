"""Profile and drift of a table against a baseline."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import dagster as dg
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets import monitoring, settings
from lakeops_assets.components.engine import OnEngine
from lakeops_assets.components.lineage import graph_of
from lakeops_assets.components.metadata import table_result
from lakeops_assets.components.monitored import MONITORED, MonitoredTable
from lakeops_assets.components.names import LAYER, TABLE_NAME, asset_key, digest, table_name
from lakeops_assets.components.report import report_asset
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.components.triage import ask, how, suspects_table


class Metric(dg.Model, dg.Resolvable):
    """A metric of one's own, which becomes a column of the metric tables."""

    type: Literal["aggregate", "derived", "drift"] = Field(
        description="`aggregate` reads the table's rows; `derived` the other metrics of a window; "
        "`drift` the metrics of a window and of what it is compared with."
    )
    name: str = Field(description="Name of the column.")
    # Its braces are not for Dagster to fill in.
    definition: Annotated[str, dg.Resolver.passthrough()] = Field(
        description="SQL expression with `{{input_column}}`, `{{prediction_col}}`, "
        "`{{label_col}}`; a drift metric: `{{current_df}}.name - {{base_df}}.name`."
    )
    columns: list[str] = Field(
        default=[":table"],
        description="Columns that it is computed for; `:table` is the whole table.",
    )
    data_type: Literal["double", "bigint", "string", "boolean"] = Field(
        default="double", description="Type of its values."
    )

    def spec(self) -> monitoring.CustomMetric:
        """Return what the monitoring room needs to know."""
        return monitoring.CustomMetric(
            self.type, self.name, self.definition, tuple(self.columns), self.data_type
        )


class Alerts(dg.Model, dg.Resolvable):
    """When a drift is worth somebody's attention."""

    psi: float = Field(
        default=0.2, description="Numbers: population stability index that is significant."
    )
    js_distance: float = Field(
        default=0.2, description="Texts: Jensen-Shannon distance that is significant, 0 to 1."
    )
    wasserstein: float = Field(
        default=0.5,
        description="Numbers: distance that is significant, in standard deviations of the "
        "baseline.",
    )
    percent_null: float = Field(
        default=10.0, description="Points by which missing values may become more or fewer."
    )
    windows: int = Field(default=3, description="How many of the newest windows are looked at.")
    at_least: int = Field(
        default=2,
        description="In how many of them, the newest among them, a column must have drifted.",
    )
    same_cause: float = Field(
        default=0.5,
        description="Association, 0 to 1, from which on two columns are one alert.",
    )

    def rules(self) -> monitoring.AlertRules:
        """Return what the monitoring room needs to know."""
        thresholds = monitoring.Thresholds(
            self.psi, self.js_distance, self.wasserstein, self.percent_null
        )
        return monitoring.AlertRules(thresholds, self.windows, self.at_least, self.same_cause)


@dg.scaffold_with(ExampleScaffolder)
class Monitor(OnEngine, dg.Component, dg.Model, dg.Resolvable):
    """Writes `<table>_profile_metrics` and `<table>_drift_metrics` beside a table.

    The tables have the columns of Databricks' monitors, so that queries and dashboards made for
    those work on these. Each column is sketched once per window; every drift statistic is computed
    from two sketches, and no row is read twice. Only windows whose rows changed are computed again,
    such as those that late labels touch. While labels are missing, performance is estimated from
    calibrated probabilities, in columns named `estimated_*`.
    """

    table: str = Field(description="Table to watch; one part means this product's.")
    kind: Literal["snapshot", "time_series", "inference_log"] = Field(
        default="snapshot",
        description="`snapshot`: the whole table each time; `time_series`: windows of a time; "
        "`inference_log`: windows of scores, per model version.",
    )
    timestamp: str = Field(default="", description="Column with the time; not for snapshots.")
    granularities: list[str] = Field(
        default_factory=list, description="Lengths of windows, such as `1 day` or `1 week`."
    )
    baseline: str = Field(
        default="", description="Table to compare with; without one only consecutive windows are."
    )
    baseline_where: str = Field(
        default="", description="Rows of the baseline that count, as a condition in SQL."
    )
    prediction: str = Field(default="", description="Column with the prediction.")
    prediction_proba: str = Field(default="", description="Column with the probability.")
    positive: str = Field(
        default="",
        description="Class that the probability is of, such as `Yes`, `1` or `true`; needed with "
        "`prediction_proba` and `label`.",
    )
    label: str = Field(
        default="",
        description="Column with the label, null until it is known; the baseline's is enough to "
        "estimate performance.",
    )
    model_id: str = Field(default="", description="Column with the version of the model.")
    task: Literal["classification", "regression"] = Field(
        default="classification", description="What is predicted; for inference logs."
    )
    slices: list[str] = Field(
        default_factory=list,
        description="Columns or conditions to look at apart, such as `contract`.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Columns that are not watched: keys, identifiers, labels."
    )
    metrics: list[Metric] = Field(
        default_factory=list, description="Metrics of one's own, beside those of the format."
    )
    alerts: Alerts = Field(
        default_factory=Alerts,
        description="When a drift is an alert; the check `drift` fails then.",
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["monitor", "deltalake"])

    def monitor_spec(self) -> monitoring.MonitorSpec:
        """Return what the monitoring room needs to know."""
        return monitoring.MonitorSpec(
            kind=self.kind,
            timestamp_col=self.timestamp or None,
            granularities=tuple(self.granularities),
            prediction_col=self.prediction or None,
            prediction_proba_col=self.prediction_proba or None,
            positive=self.positive or None,
            label_col=self.label or None,
            model_id_col=self.model_id or None,
            problem_type=self.task if self.kind == "inference_log" else None,
            slicing_exprs=tuple(self.slices),
            exclude=tuple(self.exclude),
            custom_metrics=tuple(metric.spec() for metric in self.metrics),
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the two tables and the check of drift."""
        product = self.product or context.path.name
        environment = settings.load().environment
        watched_key = asset_key(self.table, product)
        watched = table_name(watched_key, environment)
        spec, rules = self.monitor_spec(), self.alerts.rules()
        upstream = [watched_key]
        baseline = None
        if self.baseline:
            baseline_key = asset_key(self.baseline, product)
            baseline = table_name(baseline_key, environment)
            upstream.append(baseline_key)
        profile_table, drift_table = (
            watched.beside("profile_metrics"),
            watched.beside("drift_metrics"),
        )
        profile_key = dg.AssetKey([profile_table.schema, profile_table.table])
        drift_key = dg.AssetKey([drift_table.schema, drift_table.table])
        monitored = MonitoredTable(
            product,
            watched,
            replace(
                spec,
                baseline=str(baseline) if baseline else None,
                baseline_where=self.baseline_where or None,
            ),
            rules,
        )

        @dg.multi_asset(
            name=f"{product}__{watched.table}_monitor",
            specs=[
                dg.AssetSpec(
                    profile_key,
                    deps=upstream,
                    description=f"Profile of each column of `{watched}`, per window.",
                    group_name=product,
                    kinds={"gold", "deltalake"},
                    code_version=digest(spec, self.baseline_where),
                    metadata={
                        TABLE_NAME: str(profile_table),
                        LAYER: "gold",
                        MONITORED: ObjectMetadataValue(monitored),
                    },
                ),
                dg.AssetSpec(
                    drift_key,
                    deps=upstream,
                    description=f"Drift of each column of `{watched}` against the window before "
                    "and against the baseline.",
                    group_name=product,
                    kinds={"gold", "deltalake"},
                    code_version=digest(spec, self.baseline_where, rules),
                    metadata={TABLE_NAME: str(drift_table), LAYER: "gold"},
                ),
            ],
            check_specs=[
                dg.AssetCheckSpec(
                    "drift",
                    asset=drift_key,
                    description="No column has drifted from the baseline significantly in the "
                    f"newest window and in {rules.at_least} of the last {rules.windows}. Columns "
                    "of one cause count once. A warning: it stops nothing.",
                )
            ],
        )
        def monitor(context: dg.AssetExecutionContext, lakeops: LakeopsResource) -> Iterator[Any]:
            result = monitoring.refresh(
                lakeops.lakehouse(self.engine),
                watched,
                spec,
                baseline=baseline,
                baseline_where=self.baseline_where or None,
                now=lakeops.now(),
                rules=rules,
            )
            yield table_result(lakeops, profile_table, result.profile, key=profile_key)
            yield table_result(
                lakeops,
                drift_table,
                result.drift,
                key=drift_key,
                metadata=drift_metadata(result),
            )
            said, cause = causes(context, lakeops, monitored, result)
            yield dg.AssetCheckResult(
                check_name="drift",
                asset_key=drift_key,
                passed=not result.alerts,
                severity=dg.AssetCheckSeverity.WARN,
                description="; ".join([*map(str, result.alerts), *said]) or quiet(result),
                metadata={
                    "alerts": len(result.alerts),
                    "drifted": sum(f.level == "significant" for f in result.findings),
                    **cause,
                },
            )

        return dg.Definitions(assets=[monitor, report_asset(monitored)])


def causes(
    context: dg.AssetExecutionContext,
    lakeops: LakeopsResource,
    monitored: MonitoredTable,
    result: monitoring.MonitorResult,
) -> tuple[list[str], dict[str, Any]]:
    """Return what moved upstream: the likeliest cause in words, and metadata with all of them.

    Nothing is looked for when there is no alert.
    """
    if not result.alerts or not monitored.spec.granularities:
        return [], {}
    graph = graph_of(context)
    answer = ask(lakeops, graph, monitored, alerts=result.alerts)
    found: dict[str, Any] = {"triage": dg.MetadataValue.md(suspects_table(answer))}
    if not answer.triage.suspects:
        return ["nothing upstream moved"], found
    first = answer.triage.suspects[0]
    table = first.move.where.table
    found["cause"] = dg.MetadataValue.asset(dg.AssetKey([table.schema, table.table]))
    since = f"{first.move.since:%Y-%m-%d %H:%M}"
    return [f"likeliest cause: {first.move.where} since {since}, {how(first)}"], found


def quiet(result: monitoring.MonitorResult) -> str:
    """Return why there is no alert."""
    drifted = [f.column for f in result.findings if f.level == "significant"]
    if drifted:
        return f"no alert yet: {', '.join(drifted)} drifted, in too few windows so far"
    return "no column has drifted" if result.baseline else "there is no baseline to compare with"


def drift_metadata(result: monitoring.MonitorResult) -> dict[str, Any]:
    """Return the strongest drifts as a short table."""
    lines = [
        f"| {f.column} | {f.statistic} | {f.value:.4f} | {f.level} |" for f in result.findings[:8]
    ]
    found = "\n".join(
        ["| column | statistic | value | level |", "| --- | --- | --- | --- |", *lines]
    )
    return {
        "windows": result.windows,
        "windows_refreshed": result.refreshed,
        "reason": result.reason,
        # How many times its threshold the strongest effect is.
        "strongest_drift": max((f.strength[1] for f in result.findings), default=0.0),
        "drift": dg.MetadataValue.md(found if lines else "nothing was compared"),
    }
