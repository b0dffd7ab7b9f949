"""How a bronze table is fed by a stream: its YAML, and what keeps a continuous one running."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal

import dagster as dg
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG
from pydantic import Field

from lakeops_assets import ingest
from lakeops_assets.components.contract_checks import screen_of
from lakeops_assets.components.durations import seconds
from lakeops_assets.components.metadata import (
    commit_metadata,
    table_data_version,
    table_metadata,
)
from lakeops_assets.components.names import STATE
from lakeops_assets.components.refresh import STREAM, WAITING
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.contracts import Contract

# Metadata of a table that is fed by a topic; the session of Spark needs more jars for it.
TOPIC = "lakeops/topic"
# A run that has not begun to stream after this long was killed.
STARTING_SECONDS = 300


class KafkaModel(dg.Model, dg.Resolvable):
    """A topic of Kafka."""

    servers: str = Field(description="Addresses of brokers: `host:port,host:port`.")
    topic: str = Field(description="Name of the topic.")
    format: Literal["json", "csv"] = Field(
        default="json",
        description="What a record is: a JSON object, or a line of csv with the declared columns.",
    )
    starting: Literal["earliest", "latest"] = Field(
        default="earliest",
        description="Where the first start begins; later ones go on where the table is.",
    )
    max_records: int = Field(
        default=10_000, description="About the most records of one micro-batch."
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="Further settings of Kafka's client, such as `security.protocol`; write "
        "secrets as `{{ env.NAME }}`.",
    )


class StreamModel(dg.Model, dg.Resolvable):
    """How a table is fed by a stream."""

    trigger: Literal["available_now", "continuous"] = Field(
        default="available_now",
        description="`available_now`: the asset takes in what is there and ends. `continuous`: "
        "besides, the job `<product>_<table>_stream` runs until it is stopped, and a sensor keeps "
        "it running.",
    )
    every: str = Field(
        default="10 seconds", description="How often a continuous stream looks for more."
    )
    max_files: int = Field(default=100, description="Most files of one micro-batch.")
    stop_after: str = Field(
        default="",
        description="How long a run of a continuous stream lasts, such as `1 hour`; the sensor "
        "starts the next. Until it is stopped when empty.",
    )
    kafka: KafkaModel | None = Field(
        default=None, description="Topic that feeds the table instead of its landing folder."
    )

    def spec(self) -> ingest.StreamSpec:
        """Return what the ingest room needs to know."""
        return ingest.StreamSpec(max_files=self.max_files, every_seconds=seconds(self.every))

    def topic(self) -> ingest.Topic | None:
        """Return the topic; None when files feed the table."""
        if self.kafka is None:
            return None
        said = self.kafka
        return ingest.Topic(
            said.servers,
            said.topic,
            said.format,
            said.starting,
            said.max_records,
            tuple(said.options.items()),
        )


@dataclass(frozen=True)
class Streamed:
    """A bronze table that is fed by a stream.

    Attributes:
        key: The asset.
        table: The table and what feeds it.
        how: How it is fed.
        contract: What its rows have to keep; None without one.
        code_version: Of the asset.
        stop_after_seconds: How long a run of a continuous stream lasts; None for no end.
        engine: Engine of this asset; that of the settings when empty.
    """

    key: dg.AssetKey
    table: ingest.IngestSpec
    how: ingest.StreamSpec
    contract: Contract | None
    code_version: str
    stop_after_seconds: float | None = None
    engine: str = ""

    @property
    def job_name(self) -> str:
        """Name of the job and of the sensor that keeps it running."""
        return f"{'_'.join(self.key.path)}_stream"

    def running(self, lakeops: LakeopsResource) -> bool:
        """Return whether a process streams into the table now."""
        return ingest.is_streaming(self.table, lakeops.settings().checkpoints)

    def take_in(
        self,
        lakeops: LakeopsResource,
        run_id: str,
        progress: Callable[[str], None],
        *,
        go_on: Callable[[], bool] | None = None,
        each: Callable[[ingest.IngestResult], None] = lambda result: None,
    ) -> ingest.IngestResult:
        """Stream into the table; see `ingest.stream`."""
        around = ingest.Surroundings(
            clock=lakeops.now,
            checkpoints=lakeops.settings().checkpoints,
            screen=lambda: screen_of(self.contract, lakeops, run_id),
            progress=progress,
        )
        return ingest.stream(
            lakeops.lakehouse(self.engine), self.table, self.how, around, go_on=go_on, each=each
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


class StreamConfig(dg.Config):
    """How long a run of a stream lasts."""

    stop_after_seconds: float | None = Field(
        default=None, description="End after so many seconds; what the YAML says when empty."
    )


def stream_job(streamed: Streamed) -> dg.JobDefinition:
    """Return the job that streams into a table until it is stopped.

    Each micro-batch that brought something is a materialization of the asset, so that what is
    downstream follows while the stream runs.
    """

    @dg.op(name=streamed.job_name)
    def run_stream(
        context: dg.OpExecutionContext, config: StreamConfig, lakeops: LakeopsResource
    ) -> None:
        said = config.stop_after_seconds
        last = streamed.stop_after_seconds if said is None else said
        begun_at: float | None = None
        # Micro-batches come in a thread of Spark; events are written in this one.
        done: SimpleQueue[ingest.IngestResult] = SimpleQueue()

        def go_on() -> bool:
            nonlocal begun_at
            # To start Spark does not count.
            begun_at = begun_at or time.monotonic()
            for result in _drained(done):
                context.log_event(_materialization(streamed, lakeops, result))
            return last is None or time.monotonic() < begun_at + last

        try:
            result = streamed.take_in(
                lakeops, context.run_id, context.log.info, go_on=go_on, each=done.put
            )
        finally:  # also when the run is terminated
            go_on()
        context.add_output_metadata({**ingest_metadata(result), "reason": result.reason})

    @dg.job(
        name=streamed.job_name,
        tags={STREAM: streamed.key.to_user_string()},
        description=f"Streams into `{streamed.table.table}` until it is stopped.",
    )
    def job() -> None:
        run_stream()

    return job


def stream_sensor(streamed: Streamed, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that keeps the stream running.

    It looks whether a process streams, and not what a run said of itself before it was killed. A
    stream that failed or that a person stopped stays so until somebody starts it.
    """

    @dg.sensor(
        name=streamed.job_name,
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Keeps the stream into `{streamed.table.table}` running.",
    )
    def keep(
        context: dg.SensorEvaluationContext, lakeops: LakeopsResource
    ) -> dg.RunRequest | dg.SkipReason:
        if streamed.running(lakeops):
            return dg.SkipReason("the stream runs")
        records = context.instance.get_run_records(
            dg.RunsFilter(job_name=streamed.job_name), limit=1
        )
        if records:
            run, age = records[0].dagster_run, _age(records[0], lakeops)
            if run.status in WAITING or (
                run.status == dg.DagsterRunStatus.STARTED and age < STARTING_SECONDS
            ):
                return dg.SkipReason(f"run {run.run_id[:8]} is about to start the stream")
            if run.status == dg.DagsterRunStatus.FAILURE:
                return dg.SkipReason(f"run {run.run_id[:8]} failed; mend it and start the job")
            if run.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING):
                return dg.SkipReason(f"run {run.run_id[:8]} was stopped; start the job to go on")
        return dg.RunRequest(tags={"lakeops/because": "no process streams into the table"})

    return keep


def packages(metadata: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    """Return what a Spark session needs beside Delta, by the metadata of all assets."""
    return ("kafka",) if any(TOPIC in of_one for of_one in metadata) else ()


def topic_metadata(topic: ingest.Topic) -> Mapping[str, Any]:
    """Return what the asset shows of its topic; client options can be secrets and are left out."""
    return {TOPIC: f"{topic.servers}/{topic.topic}"}


def _age(record: dg.RunRecord, lakeops: LakeopsResource) -> float:
    return lakeops.now().timestamp() - (record.start_time or record.create_timestamp.timestamp())


def _drained(queue: SimpleQueue[ingest.IngestResult]) -> Iterator[ingest.IngestResult]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


def _materialization(
    streamed: Streamed, lakeops: LakeopsResource, result: ingest.IngestResult
) -> dg.AssetMaterialization:
    lakehouse, table = lakeops.lakehouse(), streamed.table.table
    return dg.AssetMaterialization(
        streamed.key,
        metadata={
            **table_metadata(lakehouse, table),
            **commit_metadata(result.commit),
            **ingest_metadata(result),
        },
        tags={
            STATE: lakeops.state_id(),
            CODE_VERSION_TAG: streamed.code_version,
            DATA_VERSION_TAG: table_data_version(lakehouse, table).value,
        },
    )
