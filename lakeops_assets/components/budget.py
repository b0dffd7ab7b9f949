"""What a product may cost, as checks of its spending."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets.components.names import LAYER, ON_REQUEST, STATE, digest
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.monitoring import costs

# Metadata of the asset: the budgets, for whoever has the definitions at hand.
BUDGETS = "lakeops/budgets"


class BudgetModel(dg.Model, dg.Resolvable):
    """How much a product may cost in a period."""

    period: Literal["day", "week", "month"] = Field(
        description="Period, in UTC; a week starts on Monday."
    )
    money: float = Field(
        gt=0, description="How much, in the currency of `LAKEOPS_CURRENCY` (USD by default)."
    )


@dg.scaffold_with(ExampleScaffolder)
class Budget(dg.Component, dg.Model, dg.Resolvable):
    """Compares what a product spent with its budgets, one check per period.

    Each run of an asset records its seconds, bytes and rows in `<catalog>.lakeops.costs`, whether
    there is a budget or not. Prices are those of the settings. Runs by its schedule, by its button
    or by `lakeops costs`, and never as part of `lakeops run`.
    """

    budgets: list[BudgetModel] = Field(
        min_length=1, description="How much may be spent, once per period."
    )
    schedule: str = Field(
        default="0 * * * *",
        description="Cron expression; the schedule is off until it is switched on in the UI.",
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["costs", "deltalake"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the asset with its checks, its job and its schedule."""
        product = self.product or context.path.name
        budgets = tuple(costs.Budget(product, b.period, b.money) for b in self.budgets)
        key = spending_key(product)

        @dg.multi_asset(
            name=f"{product}__spending",
            specs=[
                dg.AssetSpec(
                    key,
                    description=f"What {product} spent in the present periods, and on what.",
                    group_name=product,
                    kinds={"deltalake"},
                    code_version=digest(*budgets),
                    metadata={
                        LAYER: "costs",
                        ON_REQUEST: True,
                        BUDGETS: ObjectMetadataValue(budgets),
                    },
                )
            ],
            check_specs=[
                dg.AssetCheckSpec(
                    f"within_{budget.period}",
                    asset=key,
                    description=f"No more than {budget.money:g} was spent this {budget.period}.",
                )
                for budget in budgets
            ],
        )
        def spending(lakeops: LakeopsResource) -> Iterator[Any]:
            lakehouse, now = lakeops.lakehouse(), lakeops.now()
            prices = lakeops.settings().prices
            judged = [costs.judge(lakehouse, budget, prices, now=now) for budget in budgets]
            since = min(status.start for status in judged)
            spent = costs.asset_costs(lakehouse, [product], since=since)
            yield dg.MaterializeResult(
                asset_key=key,
                metadata=spending_metadata(judged, spent),
                tags={STATE: lakeops.state_id()},
            )
            for status in judged:
                yield dg.AssetCheckResult(
                    check_name=f"within_{status.budget.period}",
                    asset_key=key,
                    passed=status.within,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=status.reason,
                    metadata={"spent": status.spent, "expected": status.expected},
                )

        job = dg.define_asset_job(
            f"{product}_spending",
            selection=dg.AssetSelection.assets(key),
            description=f"Compares what {product} spent with its budgets.",
        )
        schedule = dg.ScheduleDefinition(
            name=f"{product}_spending",
            job=job,
            cron_schedule=self.schedule,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description=f"Looks at the budgets of {product} as time goes by.",
        )
        return dg.Definitions(assets=[spending], jobs=[job], schedules=[schedule])


def spending_key(product: str) -> dg.AssetKey:
    """Return the key of a product's spending."""
    return dg.AssetKey([product, "spending"])


def budgets_of(graph: AssetGraph) -> list[costs.Budget]:
    """Return the budgets of all products."""
    found = (graph.get(key).metadata.get(BUDGETS) for key in graph.toposorted_asset_keys)
    return [budget for value in found for budget in getattr(value, "instance", ())]


def spending_metadata(
    judged: Sequence[costs.BudgetStatus], spent: Sequence[costs.AssetCost]
) -> dict[str, Any]:
    """Return what was spent: a number per period to plot, and the most expensive assets."""
    lines = [
        f"| {c.asset} | {c.runs} | {c.wall_seconds:.1f} | {c.cpu_seconds:.1f} | "
        f"{c.rows_written:,} | {c.money:.6f} |"
        for c in spent[:20]
    ]
    head = "| asset | runs | wall s | CPU s | rows | money |"
    table = "\n".join([head, "| --- | ---: | ---: | ---: | ---: | ---: |", *lines])
    return {
        **{f"spent_this_{s.budget.period}": s.spent for s in judged},
        "assets": dg.MetadataValue.md(table if lines else "nothing was spent"),
    }
