"""Rows and past events become features as they were known at an instant."""

import dagster as dg
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets import settings
from lakeops_assets.components.contract_checks import (
    contract_beside,
    contract_checks,
    contract_digest,
    contract_metadata,
    require_inputs,
)
from lakeops_assets.components.engine import OnEngine
from lakeops_assets.components.lineage import TRACED
from lakeops_assets.components.metadata import table_result
from lakeops_assets.components.names import LAYER, TABLE_NAME, asset_key, digest, table_name
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.features import point_in_time

# Metadata of the asset: its definition, for `lakeops explain`.
POINT_IN_TIME = "lakeops/point_in_time"


class EventsModel(dg.Model, dg.Resolvable):
    """Past events that a row looks back on."""

    name: str = Field(description="Name of the source; its features are named after it.")
    table: str = Field(description="Table with one row per event, `<product>.<table>`.")
    known_at: str = Field(
        description="Column with the instant from which an event is known; it alone decides what "
        "a row can see."
    )
    key: dict[str, str] = Field(
        default_factory=dict,
        description="Column of the event -> column of the row that it equals; when empty, every "
        "row sees every event.",
    )
    windows: list[str] = Field(
        description="How far before the cut-off an event may have become known, such as `3 hours`."
    )
    features: dict[str, str] = Field(
        description="Feature -> SQL over count, sum, avg, min, max and last of the events in a "
        "window; each window makes a column `<name>_<feature>_<window>`, such as `origin_late_3h`."
    )
    where: str = Field(default="", description="Condition on the events.")


class LookupModel(dg.Model, dg.Resolvable):
    """A table of things that do not change with time."""

    table: str = Field(description="Table with one row per key, `<product>.<table>`.")
    key: dict[str, str] = Field(
        description="Column of the table -> column of the row that it equals."
    )
    columns: dict[str, str] = Field(description="Feature -> SQL over the columns of the table.")


@dg.scaffold_with(ExampleScaffolder)
class PointInTimeFeatures(OnEngine, dg.Component, dg.Model, dg.Resolvable):
    """Computes for each row what was known at its cut-off, a lead before the row's own time.

    A row waits until its cut-off has passed; then it is appended. What arrives late and was known
    earlier makes the rows behind it be computed again, so the table is what its sources say,
    whatever the order of their files, and a refresh costs what is new. The same definition gives
    the rows for training and for scoring. `lakeops explain` says which source rows a row has seen.
    """

    table: str = Field(description="Name of the table; the asset is `<product>/<table>`.")
    rows: str = Field(
        description="Table with one row per key, `<product>.<table>`: what features are made for."
    )
    primary_key: list[str] = Field(description="Columns that identify a row.")
    timestamp: str = Field(
        description="Column of the rows with their own time, such as a scheduled departure."
    )
    lead: str = Field(
        default="0 hours",
        description="How long before its time a row is looked at: the cut-off is timestamp minus "
        "lead.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="Feature -> SQL over the columns of the row itself."
    )
    lookups: list[LookupModel] = Field(
        default_factory=list, description="Tables of things that do not change with time."
    )
    events: list[EventsModel] = Field(
        default_factory=list, description="Sources of past events that rows look back on."
    )
    derived: dict[str, str] = Field(
        default_factory=dict, description="Feature -> SQL over other columns of the result."
    )
    descriptions: dict[str, str] = Field(
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

    def point_in_time_spec(self, product: str, environment: str) -> point_in_time.PointInTimeSpec:
        """Return what the features room needs to know."""
        return point_in_time.PointInTimeSpec(
            table=table_name(dg.AssetKey([product, self.table]), environment),
            rows=_full(self.rows, product),
            primary_key=tuple(self.primary_key),
            timestamp=self.timestamp,
            lead=self.lead,
            columns=self.columns,
            lookups=tuple(
                point_in_time.Lookup(_full(x.table, product), x.key, x.columns)
                for x in self.lookups
            ),
            events=tuple(
                point_in_time.Events(
                    e.name,
                    _full(e.table, product),
                    e.known_at,
                    e.key,
                    tuple(e.windows),
                    e.features,
                    e.where,
                )
                for e in self.events
            ),
            derived=self.derived,
            descriptions=self.descriptions,
            description=self.description,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the table."""
        product = self.product or context.path.name
        key = dg.AssetKey([product, self.table])
        spec = self.point_in_time_spec(product, settings.load().environment)
        contract = contract_beside(context.path, self.table, columns=spec.output, screened=False)
        products = context.path.parent
        inputs = [table_name(asset_key(name, product), spec.table.catalog) for name in spec.tables]
        example = point_in_time.statement(spec, {t: t for t in spec.tables})

        @dg.asset(
            key=key,
            deps=[asset_key(name, product) for name in spec.tables],
            group_name=product,
            kinds={"silver", "deltalake"},
            description=self.description or f"Features as known {self.lead} before.",
            code_version=digest(spec.digest, contract_digest(contract)),
            metadata={
                TABLE_NAME: str(spec.table),
                LAYER: "silver",
                "lead": self.lead,
                POINT_IN_TIME: point_in_time.encode(spec),
                TRACED: ObjectMetadataValue(spec),
                "sql": dg.MetadataValue.md(f"```sql\n{example}\n```"),
                **contract_metadata(contract),
            },
        )
        def features(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            require_inputs(lakeops, products, inputs, context.run_id)
            result = point_in_time.refresh_point_in_time(lakeops.lakehouse(self.engine), spec)
            context.log.info("%s: %s", result.mode, result.reason)
            return table_result(
                lakeops,
                spec.table,
                result.commit,
                metadata={
                    "refresh": f"{result.mode}: {result.reason}",
                    "rows_computed": result.rows,
                    "inputs": dict(result.inputs),
                    **(
                        {}
                        if result.known_until is None
                        else {"known_until": result.known_until.isoformat()}
                    ),
                },
            )

        return dg.Definitions(
            assets=[features], asset_checks=contract_checks(key, spec.table, contract)
        )


def _full(name: str, product: str) -> str:
    """Return the name of a table with its product before it."""
    return name if "." in name else f"{product}.{name}"
