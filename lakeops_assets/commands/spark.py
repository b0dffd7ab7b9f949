"""`lakeops spark`: a Spark Connect server that all processes of this machine share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lakeops_assets.lakehouse.engines.spark_java import find_jars, find_java, spark_home
from lakeops_assets.lakehouse.engines.spark_session import listens, local_settings
from lakeops_assets.lakehouse.errors import UnsupportedError
from lakeops_assets.settings import SparkOptions

LOOPBACK = "127.0.0.1"
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
PATIENCE_SECONDS = 180.0
LAST_LINES = 20
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class ConnectServer:
    """How a server is started.

    Attributes:
        command: Its command line.
        env: Its environment.
        url: What clients set `LAKEOPS_SPARK_REMOTE` to.
        port: Where it listens, on the loopback interface.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    url: str
    port: int


def connect_server(options: SparkOptions, port: int) -> ConnectServer:
    """Return how a server is started whose sessions are like those of a local Spark.

    Args:
        options: How Spark starts; its remote address is not read.
        port: Where it is to listen.

    Raises:
        UnsupportedError: Spark, Java or Delta's jars are missing.
    """
    java = find_java(options.java_home, options.cache)
    jars = find_jars(java, options.cache, options.ivy_settings)
    settings = {
        **local_settings(options, jars),
        "spark.connect.grpc.binding.address": LOOPBACK,
        "spark.connect.grpc.binding.port": str(port),
        # It is named here and not by the last of its clients.
        "spark.app.name": "lakeops spark",
    }
    home = spark_home()
    command = [str(home / "bin" / "spark-submit"), "--master", "local[*]", "--class", SERVER]
    for key, value in settings.items():
        command += ["--conf", f"{key}={value}"]
    env = {
        **os.environ,
        "JAVA_HOME": str(java.home),
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": LOOPBACK,
    }
    url = f"sc://{LOOPBACK}:{port}"
    return ConnectServer((*command, "spark-internal"), env, url, port)


def serve(options: SparkOptions, port: int, log: Path, say: Callable[[str], None] = print) -> int:
    """Serve until the server ends or a signal arrives; return the exit code.

    Args:
        options: How Spark starts.
        port: Where it is to listen.
        log: File that it writes to.
        say: Takes the lines that people read.

    Raises:
        UnsupportedError: The port is taken, or Spark, Java or Delta's jars are missing.
    """
    if listens(LOOPBACK, port):
        raise UnsupportedError(f"port {port} is taken; choose another with --port")
    server = connect_server(options, port)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - Spark's own script
            server.command, env=server.env, stdout=file, stderr=file, start_new_session=True
        )
    try:
        say("starting; this takes up to a minute")
        if wait_until_ready(process, port):
            say(f"Spark Connect on {server.url}; Ctrl-C stops it. Log: {log}")
            say(f"export LAKEOPS_ENGINE=spark LAKEOPS_SPARK_REMOTE={server.url}")
        process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(process)
    last = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    say("\n".join(["the server ended; the last lines of its log:", *last]))
    return process.returncode or 1


def wait_until_ready(
    process: subprocess.Popen[bytes], port: int, patience_seconds: float = PATIENCE_SECONDS
) -> bool:
    """Wait until a server answers; return False when it ended or did not in time."""
    until = time.monotonic() + patience_seconds
    while process.poll() is None and time.monotonic() < until:
        if listens(LOOPBACK, port):
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def stop(process: subprocess.Popen[bytes], patience_seconds: float = 10.0) -> None:
    """End a server with everything that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=patience_seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
