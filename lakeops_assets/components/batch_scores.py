"""Champion and feature table to a log of scores."""

import dagster as dg
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets import settings
from lakeops_assets.components import scoring
from lakeops_assets.components.contract_checks import (
    contract_beside,
    contract_checks,
    contract_digest,
    contract_metadata,
)
from lakeops_assets.components.engine import OnEngine
from lakeops_assets.components.lineage import TRACED, ScoredTable
from lakeops_assets.components.metadata import table_result
from lakeops_assets.components.names import (
    LAYER,
    TABLE_NAME,
    ModelNames,
    asset_key,
    table_name,
)
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.promotion import Ledger, live_champion, require_gates


@dg.scaffold_with(ExampleScaffolder)
class BatchScores(OnEngine, dg.Component, dg.Model, dg.Resolvable):
    """Scores the rows of a feature table with the champion, and keeps every score.

    Rows that are new or whose features changed are scored, and all of them when the champion
    changes, unless `backfill` is off. The table is a log: an old score stays beside the new one,
    with the version that gave it, so that monitors can look back. A contract,
    `contracts/<table>.yaml`, is checked on the table; rows do not pass through it.
    """

    table: str = Field(default="scores", description="Name of the table of scores.")
    model_name: str = Field(default="model", description="Name of the model that scores.")
    features: str = Field(
        default="features", description="Feature table; one part means this product's."
    )
    primary_key: list[str] = Field(
        default_factory=list,
        description="Columns that identify a row; those of the model when empty.",
    )
    carry: list[str] = Field(
        default_factory=list, description="Columns of the feature table to repeat in the scores."
    )
    backfill: bool = Field(
        default=True,
        description="Whether a new champion scores all rows there are. `false` where a row is of "
        "use once, such as a flight: then it scores what comes after the rows that are scored.",
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )
    description: str = Field(default="", description="What a row is; shown in the UI.")

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["scores", "deltalake"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the table of scores."""
        product = self.product or context.path.name
        names = ModelNames(product, self.model_name)
        environment = settings.load().environment
        key = dg.AssetKey([product, self.table])
        features_key = asset_key(self.features, product)
        spec = scoring.ScoreSpec(
            table=table_name(key, environment),
            features=table_name(features_key, environment),
            primary_key=tuple(self.primary_key),
            carry=tuple(self.carry),
            description=self.description,
            backfill=self.backfill,
        )
        contract = contract_beside(context.path, self.table, screened=False)

        @dg.asset(
            key=key,
            deps=[names.champion, features_key],
            group_name=product,
            kinds={"gold", "deltalake"},
            description=self.description or f"Log of scores by `{names.registered(environment)}`.",
            code_version=contract_digest(contract) or None,
            metadata={
                TABLE_NAME: str(spec.table),
                LAYER: "gold",
                TRACED: ObjectMetadataValue(
                    ScoredTable(spec.features, spec.carry, spec.primary_key, self.model_name)
                ),
                **contract_metadata(contract),
            },
        )
        def scores(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            lakehouse, registry = (
                lakeops.lakehouse(self.engine),
                lakeops.registry(product, self.model_name),
            )
            ledger = Ledger(lakehouse)
            live = live_champion(ledger, registry)
            version = live.version
            if version is None:
                raise dg.Failure(
                    f"{live.reason}; materialize {names.champion.to_user_string()} first",
                    allow_retries=False,
                )
            model_id = registry.version(version).model_id
            require_gates(lakehouse, registry.name, version, None, model_id=model_id)
            rescore = scoring.rescore_of(ledger.live(registry.name), version)
            result = scoring.score(
                lakehouse, registry, spec, version, now=lakeops.now(), rescore=rescore
            )
            context.log.info("%s", result.reason)
            return table_result(
                lakeops,
                spec.table,
                result.commit,
                metadata={"model_version": version, "scored": result.reason},
            )

        return dg.Definitions(
            assets=[scores], asset_checks=contract_checks(key, spec.table, contract)
        )
