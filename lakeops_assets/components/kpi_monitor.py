"""Scores and labels to windows of a KPI, and a champion that is reverted when they fail."""

from collections.abc import Mapping
from typing import Literal

import dagster as dg
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets import monitoring, settings
from lakeops_assets.components import kpi_rows
from lakeops_assets.components.auto_revert import KPI_RULE, KpiRule, revert_job, revert_sensor
from lakeops_assets.components.kpi_chart import window_metadata
from lakeops_assets.components.metadata import table_result
from lakeops_assets.components.names import (
    LAYER,
    TABLE_NAME,
    ModelNames,
    asset_key,
    digest,
    table_name,
)
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.lakehouse import Commit
from lakeops_assets.monitoring.granularity import length
from lakeops_assets.promotion import Ledger


class RevertModel(dg.Model, dg.Resolvable):
    """What happens when the champion fails its KPI."""

    enabled: bool = Field(
        default=True, description="Whether a sensor puts the previous champion back."
    )
    cooldown: str = Field(
        default="1 day",
        description="How long a champion that came back is left alone, such as `12 hours`.",
    )
    rescore: Literal["changed", "all", "none"] = Field(
        default="changed",
        description="What the restored champion scores: rows that changed since it last scored, "
        "every row anew, or only rows that change from then on.",
    )


@dg.scaffold_with(ExampleScaffolder)
class KpiMonitor(dg.Component, dg.Model, dg.Resolvable):
    """Measures the champion where labels have arrived, and puts the previous one back.

    Writes `<table>_<name>_windows`: a metric per model version and window, on rows that the version
    was never trained on. A window is judged once its labels have had their time and enough of them
    are there. When k of the last n of those violate the threshold and the newest does, the check
    fails and a sensor reverts the champion, once, with the evidence in the ledger.
    """

    table: str = Field(default="scores", description="Table of scores.")
    name: str = Field(
        default="kpi", description="Name of the KPI, of its check and its table's ending."
    )
    model_name: str = Field(default="model", description="Name of the model that scores.")
    features: str = Field(
        default="features", description="Feature table that the model is trained on."
    )
    labels: str = Field(
        default="", description="Table with the labels; the feature table when empty."
    )
    label: str = Field(description="Column with the label in the table of labels.")
    labelled_at: str = Field(
        default="",
        description="Column of that table: since when a label is known. Without one it counts as "
        "known `label_delay` after the row's time.",
    )
    task: Literal["classification", "regression"] = Field(
        default="classification", description="What is predicted."
    )
    positive: str | int | bool | None = Field(
        default=None, description="Label that counts as positive; needed for classification."
    )
    timestamp: str = Field(description="Column of the scores: the time a row was scored for.")
    metric: str = Field(
        description="A metric of the model, `value`, or for classification `accuracy` or `f1`."
    )
    payoffs: dict[str, float] = Field(
        default_factory=dict,
        description="What each outcome is worth, for the metric `value`: `true_positive`, "
        "`false_positive`, `false_negative` and `true_negative`; `over` and `under` per unit for "
        "regression.",
    )
    decide_at: float = Field(
        default=0.5,
        description="Probability from which a row is called positive, for `accuracy`, `f1` and "
        "`value`.",
    )
    at_least: float | None = Field(default=None, description="Smallest value that is good.")
    at_most: float | None = Field(default=None, description="Largest value that is good.")
    window: str = Field(default="1 week", description="Length of a window.")
    violations: int = Field(
        default=2, description="How many of the last `of` mature windows must violate to fire."
    )
    of: int = Field(default=3, description="How many mature windows are looked at.")
    label_delay: str = Field(
        description="How long after a window's end its labels are waited for, such as `7 days`."
    )
    labelled_at_least: float = Field(
        default=0.8, description="Share of a window's rows that must have a label."
    )
    min_rows: int = Field(default=100, description="Labelled rows that a window must have.")
    clock: Literal["data", "wall"] = Field(
        default="data",
        description="When labels are due is judged by the newest time in the data, or by the wall "
        "clock.",
    )
    revert: RevertModel = Field(
        default_factory=RevertModel, description="What happens when the champion fails."
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["monitor", "deltalake"])

    def kpi_spec(self) -> monitoring.KpiSpec:
        """Return what the monitoring room needs to know."""
        return monitoring.KpiSpec(
            metric=self.metric,
            at_least=self.at_least,
            at_most=self.at_most,
            window=self.window,
            violations=self.violations,
            of=self.of,
            label_delay=length(self.label_delay),
            labelled_at_least=self.labelled_at_least,
            min_rows=self.min_rows,
            payoffs=tuple(self.payoffs.items()),
            decide_at=self.decide_at,
        )

    def rule(self, product: str, environment: str) -> KpiRule:
        """Return the KPI with the names of its tables and of its model."""
        if self.task == "classification" and self.positive is None:
            raise monitoring.KpiSpecError(
                f"the KPI {self.name} of a classification needs `positive`, the value of "
                f"{self.label} that counts as positive"
            )
        scores = table_name(asset_key(self.table, product), environment)
        features = table_name(asset_key(self.features, product), environment)
        labels = table_name(asset_key(self.labels, product), environment)
        spec = self.kpi_spec()
        return KpiRule(
            name=self.name,
            product=product,
            model=self.model_name,
            registered=ModelNames(product, self.model_name).registered(environment),
            table=scores.beside(f"{self.name}_windows"),
            inputs=kpi_rows.KpiInputs(
                scores=scores,
                labels=labels if self.labels else features,
                features=features,
                task=self.task,
                label=self.label,
                positive=self.positive,
                timestamp=self.timestamp,
                score="prediction_proba" if self.task == "classification" else "prediction",
                labelled_at=self.labelled_at,
            ),
            spec=spec,
            measure=kpi_rows.measure_of(self.task, spec),
            of_data=self.clock == "data",
            cooldown=length(self.revert.cooldown),
            rescore=self.revert.rescore,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the windows with their check, and what reverts the champion."""
        product = self.product or context.path.name
        rule = self.rule(product, settings.load().environment)
        key = dg.AssetKey([product, rule.table.table])
        scores_key = asset_key(self.table, product)
        labels_key = asset_key(self.labels or self.features, product)

        @dg.asset(
            key=key,
            deps=[scores_key, labels_key],
            group_name=product,
            kinds={"gold", "deltalake"},
            description=f"{self.metric} of each version of `{rule.registered}` in each window, on "
            "rows that it was not trained on.",
            code_version=digest(rule.spec.rule, rule.inputs, rule.of_data),
            metadata={
                TABLE_NAME: str(rule.table),
                LAYER: "gold",
                KPI_RULE: ObjectMetadataValue(rule),
            },
            check_specs=[
                dg.AssetCheckSpec(
                    self.name,
                    asset=key,
                    description=f"The champion keeps {rule.spec.threshold}: fails when "
                    f"{self.violations} of the last {self.of} mature windows violate it and the "
                    "newest does. It stops nothing; the previous champion is put back.",
                )
            ],
        )
        def windows(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            lakehouse = lakeops.lakehouse()
            registry = lakeops.registry(product, self.model_name)
            commit, found, left_out = refresh_windows(lakeops, rule)
            for version, reason in left_out.items():
                context.log.warning("version %s is left out: %s", version, reason)
            live = Ledger(lakehouse).live(registry.name)
            champion = str(live.version) if live else ""
            decision = monitoring.decide(found, rule.spec, champion)
            result = table_result(
                lakeops,
                rule.table,
                commit,
                metadata=window_metadata(found, rule.spec, decision, champion),
            )
            return dg.MaterializeResult(
                metadata=result.metadata,
                data_version=result.data_version,
                tags=result.tags,
                check_results=[check_result(self.name, decision, champion, registry.name)],
            )

        if not self.revert.enabled:
            return dg.Definitions(assets=[windows])
        job = revert_job(rule)
        return dg.Definitions(assets=[windows], jobs=[job], sensors=[revert_sensor(rule, job)])


def refresh_windows(
    lakeops: LakeopsResource, rule: KpiRule
) -> tuple[Commit, tuple[monitoring.KpiWindow, ...], Mapping[str, str]]:
    """Bring the windows up to date; only those are measured whose labelled rows changed.

    Returns:
        The write, all windows, and which versions were left out and why.
    """
    lakehouse = lakeops.lakehouse()
    now = lakeops.now()
    source = kpi_rows.newest_source(lakehouse, rule.inputs, now=now, of_data=rule.of_data)
    registry = lakeops.registry(rule.product, rule.model)
    rows = kpi_rows.read_rows(lakehouse, registry, rule.inputs, rule.spec, source)
    known = {
        (w.model_version, w.start): w
        for w in monitoring.read_windows(lakehouse, rule.table, rule.spec)
    }
    windows = monitoring.kpi_windows(
        rows.table, rule.spec, rule.measure, clock=source.clock, known=known
    )
    commit = monitoring.write_windows(lakehouse, rule.table, windows, rule.spec, source)
    return commit, windows, rows.left_out


def check_result(
    name: str, decision: monitoring.KpiDecision, champion: str, registered: str
) -> dg.AssetCheckResult:
    """Return the decision on the champion as the result of a check."""
    reason = decision.reason if champion else f"{registered} has no champion to judge"
    return dg.AssetCheckResult(
        check_name=name,
        passed=not decision.fires,
        severity=dg.AssetCheckSeverity.ERROR,
        description=reason,
        metadata={
            "version": champion or "none",
            "decision": "revert" if decision.fires else "keep",
            "reason": reason,
            "windows": [
                {"start": w.start.isoformat(), "value": w.value, "violates": w.violates}
                for w in decision.windows
            ],
        },
    )
