"""Profile and drift of a table against a baseline."""

from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from lakeops_assets import monitoring, settings
from lakeops_assets.components.metadata import table_result
from lakeops_assets.components.names import LAYER, TABLE_NAME, asset_key, digest, table_name
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder


@dg.scaffold_with(ExampleScaffolder)
class Monitor(dg.Component, dg.Model, dg.Resolvable):
    """Writes `<table>_profile_metrics` and `<table>_drift_metrics` beside a table.

    The tables have the columns of Databricks' monitors, so that queries and dashboards made for
    those work on these. Each column is sketched once per window; every drift statistic is computed
    from two sketches, and no row is read twice.
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
    label: str = Field(default="", description="Column with the label.")
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
            label_col=self.label or None,
            model_id_col=self.model_id or None,
            problem_type=self.task if self.kind == "inference_log" else None,
            slicing_exprs=tuple(self.slices),
            exclude=tuple(self.exclude),
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the two tables and the check of drift."""
        product = self.product or context.path.name
        environment = settings.load().environment
        watched_key = asset_key(self.table, product)
        watched = table_name(watched_key, environment)
        spec = self.monitor_spec()
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
        code_version = digest(spec, self.baseline_where)

        @dg.multi_asset(
            name=f"{product}__{watched.table}_monitor",
            specs=[
                dg.AssetSpec(
                    profile_key,
                    deps=upstream,
                    description=f"Profile of each column of `{watched}`, per window.",
                    group_name=product,
                    kinds={"gold", "deltalake"},
                    code_version=code_version,
                    metadata={TABLE_NAME: str(profile_table), LAYER: "gold"},
                ),
                dg.AssetSpec(
                    drift_key,
                    deps=upstream,
                    description=f"Drift of each column of `{watched}` against the window before "
                    "and against the baseline.",
                    group_name=product,
                    kinds={"gold", "deltalake"},
                    code_version=code_version,
                    metadata={TABLE_NAME: str(drift_table), LAYER: "gold"},
                ),
            ],
            check_specs=[
                dg.AssetCheckSpec(
                    "drift",
                    asset=drift_key,
                    description="No column of the newest window has drifted from the baseline "
                    "significantly (PSI 0.2 or more). A warning: it stops nothing.",
                )
            ],
        )
        def monitor(lakeops: LakeopsResource) -> Iterator[Any]:
            result = monitoring.refresh(
                lakeops.lakehouse(),
                watched,
                spec,
                baseline=baseline,
                baseline_where=self.baseline_where or None,
                now=lakeops.now(),
            )
            yield table_result(lakeops, profile_table, result.profile, key=profile_key)
            yield table_result(
                lakeops,
                drift_table,
                result.drift,
                key=drift_key,
                metadata=drift_metadata(result),
            )
            significant = [f for f in result.findings if f.level == "significant"]
            yield dg.AssetCheckResult(
                check_name="drift",
                asset_key=drift_key,
                passed=not significant,
                severity=dg.AssetCheckSeverity.WARN,
                description=", ".join(
                    f"{f.column} {f.statistic} {f.value:.3f}" for f in significant
                )
                or "no column has drifted",
                metadata={"drifted": len(significant)},
            )

        return dg.Definitions(assets=[monitor])


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
        "strongest_drift": max((f.value for f in result.findings), default=0.0),
        "drift": dg.MetadataValue.md(found if lines else "nothing was compared"),
    }
