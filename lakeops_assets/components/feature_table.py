"""A SELECT beside the YAML becomes a feature table."""

from typing import Literal

import dagster as dg
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets import features, settings
from lakeops_assets.components.contract_checks import (
    contract_beside,
    contract_checks,
    contract_digest,
    contract_metadata,
    require_inputs,
    screen_of,
)
from lakeops_assets.components.engine import OnEngine
from lakeops_assets.components.lineage import TRACED
from lakeops_assets.components.metadata import table_result
from lakeops_assets.components.names import (
    LAYER,
    PRIMARY_KEY,
    REFRESH,
    TABLE_NAME,
    asset_key,
    digest,
    table_name,
)
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.statements import output_columns


@dg.scaffold_with(ExampleScaffolder)
class FeatureTable(OnEngine, dg.Component, dg.Model, dg.Resolvable):
    """Computes a Delta table with one row per key from a SELECT in Spark's dialect.

    What it depends on is read from the SQL. A refresh computes what changed upstream can have
    touched and merges the rows that differ, so that a commit holds what changed and nothing else.
    With a contract, `contracts/<table>.yaml`, rows that break it wait in `<table>_quarantine`, and
    the table has no row for their keys.
    """

    table: str = Field(description="Name of the table; the asset is `<product>/<table>`.")
    sql: str = Field(
        description="File with the SELECT, beside the YAML. Tables are named "
        "`<product>.<table>`; the catalog is that of the environment."
    )
    primary_key: list[str] = Field(description="Columns that identify a row.")
    refresh: Literal["by_key", "full"] = Field(
        default="full",
        description="`by_key` recomputes only keys that changed upstream: right when a row depends "
        "on input rows of the same key alone. `full` recomputes all rows: always right.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="Column -> description; shown in the UI."
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )
    description: str = Field(default="", description="What a row is; shown in the UI.")

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["features", "deltalake"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the table."""
        product = self.product or context.path.name
        key = dg.AssetKey([product, self.table])
        path = context.path / self.sql
        if not path.is_file():
            there = ", ".join(sorted(p.name for p in context.path.glob("*.sql"))) or "none"
            raise features.FeatureSpecError(
                f"{product}.{self.table} names the SQL file {self.sql}, which is not in "
                f"{context.path}; SQL files there: {there}"
            )
        spec = features.FeatureSpec(
            table=table_name(key, settings.load().environment),
            sql=path.read_text(),
            primary_key=tuple(self.primary_key),
            refresh=self.refresh,
            columns=self.columns,
            description=self.description,
        )
        made = output_columns(spec.sql)
        contract = contract_beside(context.path, self.table, columns=[] if "*" in made else made)
        products = context.path.parent
        inputs = [table_name(asset_key(name, product), spec.table.catalog) for name in spec.inputs]

        @dg.asset(
            key=key,
            deps=[asset_key(name, product) for name in spec.inputs],
            group_name=product,
            kinds={"silver", "deltalake"},
            description=self.description or f"Feature table `{self.table}`.",
            code_version=digest(spec.digest, spec.refresh, contract_digest(contract)),
            metadata={
                TABLE_NAME: str(spec.table),
                LAYER: "silver",
                PRIMARY_KEY: ", ".join(spec.primary_key),
                REFRESH: spec.refresh,
                TRACED: ObjectMetadataValue(spec),
                "sql": dg.MetadataValue.md(f"```sql\n{spec.sql.strip()}\n```"),
                **contract_metadata(contract),
            },
        )
        def feature_table(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            require_inputs(lakeops, products, inputs, context.run_id)
            screen = screen_of(contract, lakeops, context.run_id)
            result = features.refresh_features(lakeops.lakehouse(self.engine), spec, screen=screen)
            context.log.info("%s refresh of %s: %s", result.mode, spec.table, result.reason)
            return table_result(
                lakeops,
                spec.table,
                result.commit,
                metadata={
                    "refresh": f"{result.mode}: {result.reason}",
                    "inputs": dict(result.inputs),
                    "rows_quarantined": result.quarantined,
                    **({} if result.keys is None else {"keys_recomputed": result.keys}),
                    **coverage_metadata(lakeops.lakehouse(), spec),
                },
            )

        return dg.Definitions(
            assets=[feature_table],
            asset_checks=contract_checks(key, spec.table, contract),
        )


def coverage_metadata(lakehouse: Lakehouse, spec: features.FeatureSpec) -> dict[str, float]:
    """Return the share of rows with a value per column, as numbers that the UI plots over time."""
    columns = [c for c in lakehouse.schema(spec.table).names if c not in spec.primary_key]
    found = features.measure_coverage(
        lakehouse, spec.table, [features.CoverageSpec(c) for c in columns]
    )
    return {f"coverage/{column}": share for column, share in found.shares.items()}
