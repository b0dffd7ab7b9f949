"""The version that scores: it changes only through the gates."""

import dagster as dg

from lakeops_assets.components import training
from lakeops_assets.components.names import LAYER, STATE, ModelNames
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.promotion import Gate, carry_out, plan_promotion


def champion_asset(
    names: ModelNames, registered: str, gates: tuple[Gate, ...]
) -> dg.AssetsDefinition:
    """Return the champion of a model."""

    @dg.asset(
        key=names.champion,
        deps=[names.version],
        group_name=names.product,
        kinds={"mlflow"},
        description=f"Version of `{registered}` that scores; changes only through the gates.",
        metadata={LAYER: "model", "lakeops/registered_name": registered},
    )
    def champion(
        context: dg.AssetExecutionContext, lakeops: LakeopsResource
    ) -> dg.MaterializeResult:
        lakehouse, registry = lakeops.lakehouse(), lakeops.registry(names.product, names.model)
        plan = plan_promotion(lakehouse, registry, training.candidate(registry), gates)
        result = carry_out(lakehouse, registry, plan, gates)
        context.log.info("%s: %s", plan.action, result.reason)
        if result.champion is None:
            raise dg.Failure(
                f"{registered} has no champion: version {plan.candidate} was refused because "
                f"{result.reason}",
                allow_retries=False,
            )
        return dg.MaterializeResult(
            metadata=training.promotion_metadata(plan, result, lakeops.mlflow_url),
            data_version=dg.DataVersion(f"v{result.champion}"),
            tags={STATE: lakeops.state_id()},
        )

    return champion
