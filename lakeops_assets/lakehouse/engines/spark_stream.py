"""Structured Streaming: hands micro-batches of files or records to a function of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.engines.spark_query import first_lines
from lakeops_assets.lakehouse.engines.streams import FilesOf, RecordsOf, StreamOf
from lakeops_assets.lakehouse.errors import LakehouseError, UnsupportedError
from lakeops_assets.settings import SparkOptions

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

FILE = "path string, modificationTime timestamp, length bigint, content binary"
# How often whoever waits is asked whether to go on.
LOOK_SECONDS = 0.5
CONNECTOR = "org.apache.spark_spark-sql-kafka"
# Spark 4.1.1 fails when it reports on a micro-batch of a topic that comes again after a kill,
# behind the commit of that micro-batch (SPARK-55271): another start goes on with the next one.
REPORTED_NOTHING = 'the return value of "scala.Option.get()" is null'
AGAIN = "again"


def require_streaming(options: SparkOptions, source: StreamOf) -> None:
    """Refuse a session in which the stream could not run.

    Raises:
        UnsupportedError: It is one of Spark Connect, or runs already without Kafka's jars.
    """
    if options.remote:
        raise UnsupportedError(
            f"a stream calls back into this process for each micro-batch, and with Spark Connect "
            f"({options.remote}) that would be the server's: leave LAKEOPS_SPARK_REMOTE empty, or "
            "take `stream` out of the YAML to ingest in batches"
        )
    if isinstance(source, FilesOf) or options.on_databricks:  # which has the connector
        return
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None and CONNECTOR not in running.sparkContext.getConf().get(
        "spark.jars", ""
    ):
        raise UnsupportedError(
            "the Spark session of this process was started without the jars of Kafka, and there is "
            "one session per process: start the process again with packages=('kafka',) in its "
            "SparkOptions, as the asset graph does when a product has a topic"
        )


def run_stream(
    session: SparkSession,
    source: StreamOf,
    handle: Callable[[pa.Table], None],
    *,
    checkpoint: str,
    every_seconds: float | None,
    go_on: Callable[[], bool],
) -> None:
    """Run a stream until it ends or is ended; see `Engine.stream`."""
    while _run(session, source, handle, checkpoint, every_seconds, go_on) == AGAIN:
        pass


def _run(
    session: SparkSession,
    source: StreamOf,
    handle: Callable[[pa.Table], None],
    checkpoint: str,
    every_seconds: float | None,
    go_on: Callable[[], bool],
) -> str:
    """Run a stream until it ends; `AGAIN` when it ended for no reason that concerns it."""
    from pyspark.errors import PySparkException, StreamingQueryException

    handler = _Handler(handle)
    try:
        writer = _frame(session, source).writeStream.foreachBatch(handler)
        writer = writer.option("checkpointLocation", checkpoint)
        trigger = (
            writer.trigger(availableNow=True)
            if every_seconds is None
            else writer.trigger(processingTime=f"{round(every_seconds * 1000)} milliseconds")
        )
        query = trigger.start()
    except PySparkException as error:
        raise LakehouseError(f"the stream cannot be started: {first_lines(error)}") from error
    try:
        # Not in one long call: when a signal comes, Spark's Python calls it in the middle of it.
        while query.isActive and go_on():
            time.sleep(LOOK_SECONDS)
        if not query.isActive:
            query.awaitTermination()  # raises what ended it
    except StreamingQueryException as error:
        if handler.failure is not None:
            raise handler.failure from None
        if handler.handled == 1 and REPORTED_NOTHING in str(error):
            return AGAIN
        raise LakehouseError(
            f"the stream with the checkpoint {checkpoint} ended: {first_lines(error)}"
        ) from error
    finally:
        handler.stop(query)
    return ""


class _Handler:
    """What Spark calls with each micro-batch; remembers the error that Spark would wrap in text."""

    def __init__(self, handle: Callable[[pa.Table], None]) -> None:
        self._handle = handle
        self._running = Lock()
        self._stopping = False
        self.failure: Exception | None = None
        self.handled = 0

    def __call__(self, frame: DataFrame, number: int) -> None:
        with self._running:
            if self._stopping:
                # To return would tell Spark that the micro-batch is done.
                raise LakehouseError("the stream was stopped")
            rows = frame.toArrow()
            try:
                self._handle(rows)
                self.handled += 1
            except Exception as error:
                self.failure = error
                raise

    def stop(self, query: StreamingQuery) -> None:
        """End the stream behind the micro-batch that it is at."""
        self._stopping = True
        with self._running:
            pass
        query.stop()


def _frame(session: SparkSession, source: StreamOf) -> DataFrame:
    if isinstance(source, FilesOf):
        reader = session.readStream.format("binaryFile").schema(FILE)
        reader = reader.option("pathGlobFilter", source.pattern)
        reader = reader.option("recursiveFileLookup", "true")
        reader = reader.option("maxFilesPerTrigger", source.max_files)
        # Without its content a file is not read.
        return reader.load(source.folder).select("path", "length", "modificationTime")
    return _topic(session, source)


def _topic(session: SparkSession, source: RecordsOf) -> DataFrame:
    reader = session.readStream.format("kafka")
    # Records of transactions that were aborted are none.
    reader = reader.option("kafka.isolation.level", "read_committed")
    for name, value in source.options:
        reader = reader.option(f"kafka.{name}", value)
    reader = reader.option("kafka.bootstrap.servers", source.servers)
    reader = reader.option("subscribe", source.topic)
    reader = reader.option("startingOffsets", source.starting)
    reader = reader.option("maxOffsetsPerTrigger", source.max_records)
    found = reader.load()
    return found.select("key", "value", "topic", "partition", "offset", "timestamp")
