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
from lakeops_assets.components.durations import seconds
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
from lakeops_assets.components.streaming import (
    Streamed,
    StreamModel,
    ingest_metadata,
    stream_job,
    stream_sensor,
    topic_metadata,
)
from lakeops_assets.contracts import Contract


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
    `_batch_id` and `_rescued_data` behind it. A sensor watches the folder. With `stream`, files
    come in small batches as they arrive, or records of a topic do. With a contract,
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
    stream: StreamModel | None = Field(
        default=None, description="Feeds the table by a stream; by batches when empty."
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

        code_version = digest(
            spec.columns,
            spec.schema_policy,
            spec.format if spec.topic is None else spec.topic.format,
            spec.delimiter,
            spec.null_values,
            contract_digest(contract),
        )
        streamed = self._streamed(key, spec, contract, code_version)
        landing, source = self._source(landing_key, spec)

        @dg.asset(
            key=key,
            deps=[landing_key],
            group_name=product,
            kinds={"bronze", "deltalake"},
            description=self.description or f"Every row of `{self.table}` as it arrived.",
            code_version=code_version,
            metadata={
                TABLE_NAME: str(spec.table),
                LAYER: "bronze",
                **source,
                **contract_metadata(contract),
            },
        )
        def bronze(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            if streamed is not None:
                result = streamed.take_in(lakeops, context.run_id, context.log.info)
            else:
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

        jobs = [stream_job(streamed)] if streamed is not None and self._continuous else []
        keepers = [stream_sensor(streamed, job) for job in jobs if streamed is not None]
        return dg.Definitions(
            assets=[landing, bronze],
            asset_checks=contract_checks(key, spec.table, contract),
            jobs=jobs,
            sensors=[self._sensor(key, spec, streamed), *keepers],
        )

    @property
    def _continuous(self) -> bool:
        return self.stream is not None and self.stream.trigger == "continuous"

    def _streamed(
        self,
        key: dg.AssetKey,
        spec: ingest.IngestSpec,
        contract: Contract | None,
        code_version: str,
    ) -> Streamed | None:
        """Return how the table is fed by a stream; None when batches feed it."""
        if self.stream is None:
            return None
        ends = seconds(self.stream.stop_after) if self.stream.stop_after else None
        return Streamed(key, spec, self.stream.spec(), contract, code_version, ends, self.engine)

    def _source(
        self, key: dg.AssetKey, spec: ingest.IngestSpec
    ) -> tuple[dg.AssetSpec, dict[str, Any]]:
        """Return the asset that stands for what feeds the table, and what the table says of it."""
        topic = spec.topic
        if topic is not None:
            about = topic_metadata(topic)
            asset = dg.AssetSpec(
                key,
                description=f"Records of the topic `{topic.topic}`.",
                group_name=spec.table.schema,
                kinds={"source", "kafka"},
                metadata={**about, LAYER: "landing"},
            )
            return asset, dict(about)
        asset = dg.AssetSpec(
            key,
            description=f"Files that arrive in the landing folder of `{self.table}`.",
            group_name=spec.table.schema,
            kinds={"source", self.format},
            metadata={"dagster/uri": str(spec.landing), LAYER: "landing"},
        )
        files = {"format": spec.format, "pattern": spec.glob, "delimiter": spec.delimiter}
        return asset, {LANDING: str(spec.landing), FILES: files}

    def _sensor(
        self, key: dg.AssetKey, spec: ingest.IngestSpec, streamed: Streamed | None
    ) -> dg.SensorDefinition:
        """Return the sensor that starts the asset; `lakeops run` asks it as well.

        It is off where a continuous stream has a sensor of its own, and for a topic, which would
        have to be read to know whether there is something new.
        """
        on = spec.topic is None and not self._continuous
        status = dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
        when = "files arrive in the landing folder" if spec.topic is None else "it is time to look"

        @dg.sensor(
            name=f"{'_'.join(key.path)}_landing",
            target=[key],
            minimum_interval_seconds=self.interval_seconds,
            default_status=status,
            description=f"Starts a run when {when} of `{self.table}`.",
        )
        def landed(
            context: dg.SensorEvaluationContext, lakeops: LakeopsResource
        ) -> dg.RunRequest | dg.SkipReason:
            if streamed is not None and streamed.running(lakeops):
                return dg.SkipReason("a stream takes in what arrives")
            if spec.topic is not None:
                because = f"what is new in the topic {spec.topic.topic} shows when it is read"
                return dg.RunRequest(asset_selection=[key], tags={"lakeops/because": because})
            files = ingest.pending(lakeops.lakehouse(), spec, now=lakeops.now())
            if not files:
                return dg.SkipReason(f"no new files in {spec.landing}")
            seen = [f"{f.path}:{f.size}:{f.modified_at}" for f in files]
            return dg.RunRequest(
                run_key=digest(lakeops.state_id(), key.to_user_string(), *seen),
                asset_selection=[key],
                tags={"lakeops/because": f"{len(files)} new files, first {files[0].path}"},
            )

        return landed

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
            topic=self.stream.topic() if self.stream is not None else None,
            **options,
        )
