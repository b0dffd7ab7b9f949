"""One Spark session per process, started when a table is first computed or written by Spark."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lakeops_assets.lakehouse.engines.spark_java import INSTALL, PACKAGES, find_jars, find_java
from lakeops_assets.lakehouse.errors import UnsupportedError
from lakeops_assets.settings import SparkOptions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What a query means, wherever Spark runs. Casts that fail are errors, as with DuckDB.
MEANING = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Spark's default, INT96, has no statistics, and delta-rs reads it as nanoseconds since 1970:
    # a merge would rewrite years before 1677 and after 2262 as others.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
# A laptop: few partitions, nothing that others can connect to.
LOCAL = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "ERROR",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.adaptive.coalescePartitions.initialPartitionNum": "2",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.warehouse.dir": "/nonexistent",
    "spark.databricks.delta.snapshotPartitions": "2",
    # A file of checksums beside each file of a table, which no other engine writes or reads.
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.file.impl": "org.apache.hadoop.fs.local.RawLocalFs",
    # VACUUM lists a table in so many tasks; the default is 10,000.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
CONNECT_PORT = 15002
_starting = Lock()


def open_session(options: SparkOptions) -> SparkSession:
    """Return the process' session; starts one when there is none.

    On a Databricks cluster it is the cluster's, with a remote address one of Spark Connect, else a
    local one.

    Raises:
        UnsupportedError: Spark, Java or Delta's jars are missing, or the server is.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise UnsupportedError(f"Spark is not installed: {INSTALL}") from error
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    with _starting:
        if options.on_databricks:
            return _meant(SparkSession.builder.getOrCreate(), options)
        if options.remote:
            return _remote(options)
        return _local(options)


def _remote(options: SparkOptions) -> SparkSession:
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None and not getattr(active, "is_stopped", False):
        return active
    host, port = connect_address(options.remote)
    if not listens(host, port):  # the client would try for minutes
        raise UnsupportedError(
            f"nobody answers at {host}, port {port}, of LAKEOPS_SPARK_REMOTE={options.remote}: "
            "start a server there, such as with `lakeops spark`, or unset the variable"
        )
    return _meant(SparkSession.builder.remote(options.remote).getOrCreate(), options)


def _meant(session: SparkSession, options: SparkOptions) -> SparkSession:
    for key, value in {**MEANING, **dict(options.confs)}.items():
        session.conf.set(key, value)
    return session


def _local(options: SparkOptions) -> SparkSession:
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    java = find_java(options.java_home, options.cache)
    jars = find_jars(java, options.cache, options.ivy_settings)
    for package in options.packages:
        jars += find_jars(java, options.cache, options.ivy_settings, PACKAGES[package])
    # The launcher reads both; workers have to be this Python.
    os.environ["JAVA_HOME"] = str(java.home)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[*]").appName("lakeops")
    for key, value in local_settings(options, jars).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def local_settings(options: SparkOptions, jars: Sequence[Path]) -> dict[str, str]:
    """Return the settings of a Spark on this machine, for a session or a server."""
    return {
        **LOCAL,
        **MEANING,
        "spark.driver.memory": options.memory,
        "spark.jars": ",".join(map(str, jars)),
        **dict(options.confs),
    }


def connect_address(remote: str) -> tuple[str, int]:
    """Return host and port of an address of Spark Connect, such as `sc://host:15002/;token=x`."""
    parts = urlsplit(remote.partition(";")[0])
    return parts.hostname or "127.0.0.1", parts.port or CONNECT_PORT


def listens(host: str, port: int, timeout_seconds: float = 2.0) -> bool:
    """Return whether somebody accepts connections at an address."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds):
            return True
    except OSError:
        return False
