"""Landing files to a bronze Delta table, exactly once."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from lakeops_assets import ingest, settings
from lakeops_assets.components.contract_checks import (
    contract_beside,
    contract_checks,
    contract_digest,
    contract_metadata,
    screen_of,
)
from lakeops_assets.components.engine import OnEngine
from lakeops_assets.components.metadata import table_result
from lakeops_assets.components.names import (
    FILES,
    LANDING,
    LAYER,
    TABLE_NAME,
    digest,
    table_name,
)
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder


class ColumnModel(dg.Model, dg.Resolvable):
    """A column of a landing file."""

    name: str = Field(description="Name of the column, as in the file.")
    type: str = Field(
        default="string",
        description="Spark SQL type: string, boolean, int, bigint, double, date, timestamp, "
        "decimal(p,s) ...",
    )
    description: str = Field(default="", description="What the column means; shown in the UI.")


@dg.scaffold_with(ExampleScaffolder)
class BronzeTable(OnEngine, dg.Component, dg.Model, dg.Resolvable):
    """Ingests the files of a landing folder into a Delta table, each file exactly once.

    The table keeps every row as it arrived, with the columns `_source_file`, `_ingested_at`,
    `_batch_id` and `_rescued_data` behind it. A sensor watches the folder. With a contract,
    `contracts/<table>.yaml`, rows that break it wait in `<table>_quarantine`.
    """

    table: str = Field(description="Name of the table; the asset is `<product>/<table>`.")
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )
    description: str = Field(default="", description="What a row is; shown in the UI.")
    format: Literal["csv", "json", "parquet"] = Field(
        default="csv", description="Format of the files: csv, json (lines or arrays) or parquet."
    )
    pattern: str = Field(
        default="", description="Names of the files to ingest, such as `*.csv`; by format if empty."
    )
    columns: list[ColumnModel] = Field(
        default_factory=list,
        description="Columns of the files; inferred from the first batch when empty.",
    )
    schema_policy: Literal["evolve", "freeze", "discard_row"] = Field(
        default="evolve",
        description="What happens to what does not fit: `evolve` adds new columns and rescues "
        "values of a wrong type, `freeze` rejects the file, `discard_row` leaves the row out.",
    )
    delimiter: str = Field(default=",", description="Separates the cells of a csv file.")
    null_values: list[str] = Field(
        default=[""], description="Unquoted cells of a csv file that mean null, such as `NA`."
    )
    settle_seconds: int = Field(
        default=0, description="Files modified within so many seconds are left for the next run."
    )
    max_files_per_batch: int = Field(
        default=1000, description="Most files that one commit takes in."
    )
    interval_seconds: int = Field(
        default=30, description="How often the sensor looks for new files."
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["bronze", "deltalake"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the landing folder, the table and the sensor between them."""
        product = self.product or context.path.name
        config = settings.load()
        key = dg.AssetKey([product, self.table])
        landing_key = dg.AssetKey([product, f"{self.table}_landing"])
        spec = self.ingest_spec(product, config)
        contract = contract_beside(context.path, self.table, columns=[c.name for c in self.columns])

        landing = dg.AssetSpec(
            landing_key,
            description=f"Files that arrive in the landing folder of `{self.table}`.",
            group_name=product,
            kinds={"source", self.format},
            metadata={"dagster/uri": str(spec.landing), LAYER: "landing"},
        )

        @dg.asset(
            key=key,
            deps=[landing_key],
            group_name=product,
            kinds={"bronze", "deltalake"},
            description=self.description or f"Every row of `{self.table}` as it arrived.",
            code_version=digest(
                spec.columns,
                spec.schema_policy,
                spec.format,
                spec.delimiter,
                spec.null_values,
                contract_digest(contract),
            ),
            metadata={
                TABLE_NAME: str(spec.table),
                LAYER: "bronze",
                LANDING: str(spec.landing),
                FILES: {"format": spec.format, "pattern": spec.glob, "delimiter": spec.delimiter},
                **contract_metadata(contract),
            },
        )
        def bronze(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            result = ingest.ingest(
                lakeops.lakehouse(self.engine),
                spec,
                now=lakeops.now(),
                progress=context.log.info,
                screen=screen_of(contract, lakeops, context.run_id),
            )
            metadata = ingest_metadata(result)
            context.log_event(dg.AssetObservation(landing_key, metadata=metadata))
            return table_result(lakeops, spec.table, result.commit, metadata=metadata)

        @dg.sensor(
            name=f"{product}_{self.table}_landing",
            target=[key],
            minimum_interval_seconds=self.interval_seconds,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=f"Starts a run when files arrive in the landing folder of `{self.table}`.",
        )
        def landed(
            context: dg.SensorEvaluationContext, lakeops: LakeopsResource
        ) -> dg.RunRequest | dg.SkipReason:
            files = ingest.pending(lakeops.lakehouse(), spec, now=lakeops.now())
            if not files:
                return dg.SkipReason(f"no new files in {spec.landing}")
            seen = [f"{f.path}:{f.size}:{f.modified_at}" for f in files]
            return dg.RunRequest(
                run_key=digest(lakeops.state_id(), key.to_user_string(), *seen),
                asset_selection=[key],
                tags={"lakeops/because": f"{len(files)} new files, first {files[0].path}"},
            )

        return dg.Definitions(
            assets=[landing, bronze],
            asset_checks=contract_checks(key, spec.table, contract),
            sensors=[landed],
        )

    def ingest_spec(self, product: str, config: settings.Settings) -> ingest.IngestSpec:
        """Return what the ingest room needs to know."""
        options: dict[str, Any] = {"pattern": self.pattern} if self.pattern else {}
        return ingest.IngestSpec(
            table=table_name(dg.AssetKey([product, self.table]), config.environment),
            landing=config.landing(product, self.table),
            format=self.format,
            columns=tuple(ingest.Column(c.name, c.type, c.description) for c in self.columns),
            schema_policy=self.schema_policy,
            delimiter=self.delimiter,
            null_values=tuple(self.null_values),
            description=self.description,
            settle_seconds=self.settle_seconds,
            max_files_per_batch=self.max_files_per_batch,
            **options,
        )


def ingest_metadata(result: ingest.IngestResult) -> dict[str, Any]:
    """Return what an ingest did; each number is plotted over time."""
    metadata: dict[str, Any] = {
        "files_ingested": result.count("ingested"),
        "files_rejected": result.count("rejected"),
        "files_deferred": result.count("deferred"),
        "files_duplicate": result.count("duplicate"),
        "rows_discarded": result.discarded_rows,
        "rows_rescued": result.rescued_rows,
        "rows_quarantined": result.quarantined_rows,
    }
    refused = [f for f in result.files if f.status not in ("ingested", "deferred")]
    if refused:
        lines = [f"| `{f.path}` | {f.status} | {f.reason} |" for f in refused[:20]]
        metadata["refused_files"] = dg.MetadataValue.md(
            "\n".join(["| file | status | reason |", "| --- | --- | --- |", *lines])
        )
    return metadata
