"""Gates of a model version as YAML, and as asset checks that store their verdict."""

from collections.abc import Iterator, Sequence

import dagster as dg
from pydantic import Field

from lakeops_assets.components import training
from lakeops_assets.components.names import ModelNames
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.lakehouse import TableName
from lakeops_assets.models import METRICS, ModelError, ModelSpec
from lakeops_assets.models.spec import Task
from lakeops_assets.promotion import (
    ChampionGate,
    Gate,
    MetricGate,
    evaluate_gate,
    record_results,
)


class MetricGateModel(dg.Model, dg.Resolvable):
    """A metric on the held-out rows must reach a value."""

    metric: str = Field(description="Name of the metric, such as roc_auc, log_loss or rmse.")
    at_least: float | None = Field(default=None, description="Smallest value that passes.")
    at_most: float | None = Field(default=None, description="Largest value that passes.")


class ChampionGateModel(dg.Model, dg.Resolvable):
    """The challenger must not be worse than the champion on the same held-out rows."""

    metric: str = Field(description="Name of the metric that decides.")
    margin: float = Field(
        default=0.005, description="Loss that would be accepted, in units of the metric."
    )


def gate_specs(
    task: Task, absolute: Sequence[MetricGateModel], paired: Sequence[ChampionGateModel]
) -> tuple[Gate, ...]:
    """Return what the promotion room needs to know.

    Raises:
        ModelError: A gate is about a metric that the task does not have.
    """
    named = {g.metric for g in absolute} | {g.metric for g in paired}
    unknown = [m for m in sorted(named) if m not in METRICS[task]]
    if unknown:
        raise ModelError(
            f"gates ask for {', '.join(unknown)}, and a {task} has the metrics "
            f"{', '.join(METRICS[task])}"
        )
    return (
        *(MetricGate(g.metric, g.at_least, g.at_most) for g in absolute),
        *(ChampionGate(g.metric, g.margin) for g in paired),
    )


def gates_check(
    names: ModelNames, spec: ModelSpec, features: TableName, gates: tuple[Gate, ...]
) -> dg.AssetChecksDefinition:
    """Return the gates as checks of the model version."""

    @dg.multi_asset_check(
        name=f"{names.product}_{names.model}_gates",
        specs=[
            dg.AssetCheckSpec(
                gate.name,
                asset=names.version,
                description=f"Gate: {gate.requirement}. Not measured is not passed.",
                blocking=True,
            )
            for gate in gates
        ],
        can_subset=True,
    )
    def model_gates(
        context: dg.AssetCheckExecutionContext, lakeops: LakeopsResource
    ) -> Iterator[dg.AssetCheckResult]:
        lakehouse, registry = lakeops.lakehouse(), lakeops.registry(names.product, names.model)
        version = training.candidate(registry)
        results = training.standing_results(lakehouse, registry, version, gates)
        if not results:
            evidence = training.measure(lakehouse, registry, spec, features, version, gates)
            results = [evaluate_gate(gate, evidence) for gate in gates]
            record_results(
                lakehouse,
                evidence,
                gates,
                results,
                now=lakeops.now(),
                run_id=context.run.run_id,
            )
        # One gate that is executed from its page evaluates all: a verdict is about all of them.
        wanted = {key.name for key in context.selected_asset_check_keys}
        for result in results:
            if result.gate not in wanted:
                continue
            yield dg.AssetCheckResult(
                check_name=result.gate,
                asset_key=names.version,
                passed=result.passed,
                description=result.reason,
                metadata={"version": version, **result.evidence},
            )

    return model_gates
