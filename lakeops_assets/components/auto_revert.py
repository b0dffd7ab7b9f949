"""A champion that fails its KPI is reverted: a sensor that looks at states, and a job that acts."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from lakeops_assets import monitoring
from lakeops_assets.components.kpi_rows import KpiInputs
from lakeops_assets.components.names import ModelNames, digest
from lakeops_assets.components.refresh import IN_PROGRESS
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.lakehouse import TableName
from lakeops_assets.promotion import (
    Ledger,
    LedgerEntry,
    RevertPlan,
    RevertResult,
    carry_out_revert,
    plan_revert,
)

# Metadata of the windows: the `KpiRule` itself, for whoever has the definitions in its process.
KPI_RULE = "lakeops/kpi"
# Tag of a run: the failing that it reverts.
REVERT_OF = "lakeops/revert-of"
ATTEMPTS = 3


@dataclass(frozen=True)
class KpiRule:
    """A KPI, where its rows and windows are, and what follows when it fails.

    Attributes:
        name: Name of the KPI.
        product: Product that it belongs to.
        model: Name of the model within the product.
        registered: Registered name of the model.
        table: Table of the windows.
        inputs: Tables and columns that it is measured on.
        spec: The metric, the threshold and the rule.
        measure: Measures the metric.
        of_data: Whether the clock is the newest time in the data.
        cooldown: How long a champion that came back is left alone.
        rescore: What a restored champion scores: `changed`, `all` or `none`.
    """

    name: str
    product: str
    model: str
    registered: str
    table: TableName
    inputs: KpiInputs
    spec: monitoring.KpiSpec
    measure: monitoring.Measure
    of_data: bool
    cooldown: timedelta
    rescore: str

    @property
    def prefix(self) -> str:
        """Start of the names of its job and sensor."""
        return self.product if self.name == "kpi" else f"{self.product}_{self.name}"


@dataclass(frozen=True)
class Due:
    """A revert that is due.

    Attributes:
        plan: What it would change.
        failing: Identifies the failing: champion, the event that made it live, and window.
    """

    plan: RevertPlan
    failing: str


def due_revert(lakeops: LakeopsResource, rule: KpiRule) -> Due | str:
    """Return the revert that is due, or why none is.

    It looks at the windows and the ledger and at nothing that happened before: a tick that was
    missed or a run that was killed is made up for by the next look.

    Raises:
        LedgerBrokenError: The ledger was tampered with.
    """
    lakehouse = lakeops.lakehouse()
    windows = monitoring.read_windows(lakehouse, rule.table, rule.spec)
    if not windows:
        return f"{rule.table} holds no window of this rule yet"
    ledger = Ledger(lakehouse)
    live = ledger.live(rule.registered)
    if live is None:
        return f"{rule.registered} has no champion"
    decision = monitoring.decide(windows, rule.spec, str(live.version))
    if not decision.fires:
        return decision.reason
    window = decision.windows[-1].start.isoformat()
    before = reverted_on(ledger.entries(rule.registered), rule.name, live.version, window)
    if before is not None:
        return (
            f"version {live.version} was reverted on this evidence already (event "
            f"{before.sequence}) and promoted again: a newer window has to speak against it"
        )
    plan = plan_revert(
        ledger,
        lakeops.registry(rule.product, rule.model),
        measured=live.version,
        reason=decision.reason,
        evidence=_evidence(lakeops, rule, decision),
        cooldown=rule.cooldown,
        now=lakeops.now(),
    )
    if plan.action != "revert":
        return f"{decision.reason}. Not reverted: {plan.refusal}"
    return Due(plan, digest(lakeops.state_id(), rule.name, live.version, live.sequence, window))


def reverted_on(
    entries: tuple[LedgerEntry, ...], name: str, version: int, window: str
) -> LedgerEntry | None:
    """Return the revert from a version that a window of a KPI led to; None without one."""
    for entry in entries:
        measured = entry.evidence.get("measured", {})
        same = (measured.get("kpi"), measured.get("window")) == (name, window)
        if entry.action == "revert" and entry.replaced == version and same:
            return entry
    return None


def revert_sensor(rule: KpiRule, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that asks for the revert of a champion that fails its KPI."""

    @dg.sensor(
        name=f"{rule.prefix}_auto_revert",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Reverts the champion of `{rule.registered}` when it fails its KPI: "
        f"{monitoring.in_words(rule.spec)}.",
    )
    def auto_revert(
        context: dg.SensorEvaluationContext, lakeops: LakeopsResource
    ) -> dg.RunRequest | dg.SkipReason:
        due = due_revert(lakeops, rule)
        if isinstance(due, str):
            return dg.SkipReason(due)
        runs = context.instance.get_runs(dg.RunsFilter(tags={REVERT_OF: due.failing}))
        busy = [r.run_id[:8] for r in runs if r.status in IN_PROGRESS]
        if busy:
            return dg.SkipReason(f"run {', '.join(busy)} is at it")
        if len(runs) >= ATTEMPTS:
            return dg.SkipReason(
                f"{len(runs)} runs have tried to revert version {due.plan.champion} and it is "
                f"still champion; look at them, then launch the job {job.name} by hand"
            )
        config = RevertConfig(version=due.plan.champion or 0)
        return dg.RunRequest(
            # A run that was killed is asked for again under a new key.
            run_key=f"{due.failing}:{len(runs)}",
            run_config=dg.RunConfig(ops={_op_name(rule): config}),
            tags={REVERT_OF: due.failing, "lakeops/because": due.plan.reason},
        )

    return auto_revert


class RevertConfig(dg.Config):
    """Which champion is reverted."""

    version: int = Field(description="Version that failed; another champion is left alone.")


def revert_job(rule: KpiRule) -> dg.JobDefinition:
    """Return the job that reverts a champion which fails its KPI."""
    names = ModelNames(rule.product, rule.model)

    @dg.op(name=_op_name(rule))
    def revert(
        context: dg.OpExecutionContext, config: RevertConfig, lakeops: LakeopsResource
    ) -> dict[str, Any]:
        due = due_revert(lakeops, rule)
        if isinstance(due, str) or due.plan.champion != config.version:
            reason = due if isinstance(due, str) else f"version {due.plan.champion} is champion now"
            context.log.info("nothing to do: %s", reason)
            return {"reverted": False, "reason": reason}
        result = carry_out_revert(
            Ledger(lakeops.lakehouse()),
            lakeops.registry(rule.product, rule.model),
            due.plan,
            actor=f"{lakeops.actor} ({rule.prefix}_auto_revert)",
            run_id=context.run_id,
            now=lakeops.now(),
        )
        context.log.info("%s", result.reason)
        context.log_event(
            dg.AssetObservation(names.champion, metadata=revert_metadata(due.plan, result))
        )
        return {"reverted": result.reverted, "reason": result.reason}

    @dg.job(
        name=f"{rule.prefix}_revert",
        description=f"Puts the previous champion of `{rule.registered}` back when the present one "
        "fails its KPI; does nothing when it does not. The refresh sensor brings up to date what "
        "depends on the champion.",
    )
    def job() -> None:
        revert()

    return job


def revert_metadata(plan: RevertPlan, result: RevertResult) -> dict[str, Any]:
    """Return what a revert shows on the champion's page."""
    return {
        "reverted": result.reverted,
        "champion": result.champion or 0,
        **({} if result.replaced is None else {"reverted_from": result.replaced}),
        "reason": result.reason,
        "evidence": dg.MetadataValue.json(dict(plan.evidence)),
    }


def _evidence(
    lakeops: LakeopsResource, rule: KpiRule, decision: monitoring.KpiDecision
) -> dict[str, Any]:
    """Return what a decision was made on, so that it can be made again from the same data."""
    lakehouse = lakeops.lakehouse()
    source = monitoring.read_source(lakehouse, rule.table)
    return {
        "kpi": rule.name,
        "rule": rule.spec.rule,
        "threshold": rule.spec.threshold,
        "window": decision.windows[-1].start.isoformat(),
        "windows": [
            {
                "start": w.start.isoformat(),
                "value": w.value,
                "low": w.low,
                "high": w.high,
                "labelled": w.labelled,
                "violates": w.violates,
            }
            for w in decision.windows
        ],
        "table": f"{rule.table} version {lakehouse.data_version(rule.table)}",
        "rescore": rule.rescore,
        "features_version": lakehouse.data_version(rule.inputs.features),
        **(
            {}
            if source is None
            else {
                "scores_version": source.scores,
                "labels_version": source.labels,
                "clock": source.clock.isoformat(),
            }
        ),
    }


def _op_name(rule: KpiRule) -> str:
    return f"{rule.prefix}_revert_champion_on_{rule.name}"
