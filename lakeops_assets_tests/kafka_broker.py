"""A broker of Kafka on this machine, alone and on the loopback interface."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

from lakeops_assets.lakehouse.engines.spark_java import find_jars, find_java
from lakeops_assets.settings import SparkOptions

PINNED = Path(__file__).with_name("kafka_jars.txt")
# What Spark brings along and the broker needs as well.
OF_SPARK = ("jackson-", "log4j-", "lz4-", "scala-library", "scala-reflect", "slf4j-", "snappy-")
WITHIN_SECONDS = 120


@contextmanager
def broker(folder: Path, options: SparkOptions) -> Iterator[str]:
    """Start a broker with two partitions per topic, and provide its address.

    Raises:
        UnsupportedError: Its jars cannot be fetched.
    """
    java = find_java(options.java_home, options.cache)
    jars = find_jars(java, options.cache, options.ivy_settings, PINNED)
    of_spark = (Path(pyspark.__file__).parent / "jars").glob("*.jar")
    jars += [jar for jar in of_spark if jar.name.startswith((*OF_SPARK, "zstd-"))]
    port, controller = free_ports(2)
    logs = folder / "logs"
    logs.mkdir(parents=True)
    # What Kafka's own tool for formatting would write.
    (logs / "meta.properties").write_text(
        "version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\nnode.id=1\n"
    )
    settings = folder / "server.properties"
    settings.write_text(
        "process.roles=broker,controller\n"
        "node.id=1\n"
        f"controller.quorum.voters=1@127.0.0.1:{controller}\n"
        f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n"
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n"
        "controller.listener.names=CONTROLLER\n"
        f"log.dirs={logs}\n"
        "num.partitions=2\n"
        "offsets.topic.replication.factor=1\n"
        "transaction.state.log.replication.factor=1\n"
        "transaction.state.log.min.isr=1\n"
    )
    command = [str(java.home / "bin" / "java"), "-Xmx256m", "-cp", ":".join(map(str, jars))]
    said = folder / "broker.log"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [*command, "kafka.Kafka", str(settings)], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + WITHIN_SECONDS
        while not answers(port):
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
