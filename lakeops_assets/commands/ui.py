"""`lakeops ui`: the Dagster UI and the MLflow UI, started and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lakeops_assets.commands.run import prepare_dagster_home
from lakeops_assets.settings import NO_TELEMETRY, Settings

LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS = 10
LAST_LINES = 20


class PortInUseError(OSError):
    """Another program listens on the port."""


@dataclass(frozen=True)
class Server:
    """One of the two programs.

    Attributes:
        name: As people call it.
        command: How it is started.
        url: Where people open it.
        ready: Path that answers as soon as it is up.
        log: File that it writes to.
    """

    name: str
    command: list[str]
    url: str
    ready: str
    log: Path


def serve(
    settings: Settings, port: int, mlflow_port: int, say: Callable[[str], None] = print
) -> int:
    """Serve both until one ends or a signal arrives; return the exit code.

    Args:
        settings: Where state lives.
        port: Port of the Dagster UI.
        mlflow_port: Port of the MLflow UI.
        say: Takes the lines that people read.

    Raises:
        PortInUseError: One of the ports is taken.
    """
    for name, number in (("--port", port), ("--mlflow-port", mlflow_port)):
        _check_free(name, number)
    prepare_dagster_home(settings)
    _prepare_store(settings)
    servers = [_dagster(settings, port), _mlflow(settings, mlflow_port)]
    # A shell starts its background jobs with SIGINT ignored, and what is ignored is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    processes = [_start(server, settings, port, mlflow_port) for server in servers]
    # The terminal sends Ctrl-C to the whole group; a supervisor sends SIGTERM to this process only.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        say("starting; this takes a few seconds")
        waiting = list(servers)
        while all(p.poll() is None for p in processes):
            for server in [s for s in waiting if _answers(s)]:
                waiting.remove(server)
                say(f"{server.name:8} {server.url}")
                if not waiting:
                    say(f"Ctrl-C stops both. Logs: {servers[0].log.parent}")
            time.sleep(0.5)
        ended = next(i for i, p in enumerate(processes) if p.poll() is not None)
        last = servers[ended].log.read_text().splitlines()[-LAST_LINES:]
        say("\n".join([f"{servers[ended].name} ended; the last lines of its log:", *last]))
        return processes[ended].returncode or 1
    except KeyboardInterrupt:
        return 0
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        patience = time.monotonic() + PATIENCE_SECONDS
        for process in processes:
            _end(process, patience - time.monotonic())


def _start(
    server: Server, settings: Settings, port: int, mlflow_port: int
) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        **NO_TELEMETRY,
        "DAGSTER_HOME": str(settings.dagster_home),
        "LAKEOPS_HOME": str(settings.home),
        "LAKEOPS_DEFS": str(settings.products),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "LAKEOPS_DAGSTER_URL": f"http://{LOOPBACK}:{port}",
        "LAKEOPS_MLFLOW_URL": f"http://{LOOPBACK}:{mlflow_port}",
        # Without this MLflow starts job runners that need two gigabytes and that nobody uses here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "NO_COLOR": "1",
    }
    server.log.parent.mkdir(parents=True, exist_ok=True)
    with server.log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603
            server.command,
            env=env,
            # Not in the project folder: Dagster would read the .env there over our DAGSTER_HOME.
            cwd=settings.dagster_home,
            stdout=log,
            stderr=log,
            # In a session of its own, so that Ctrl-C reaches it once, through us, and that nothing
            # which it started is left behind.
            start_new_session=True,
        )


def _answers(server: Server) -> bool:
    import urllib.request

    try:
        with urllib.request.urlopen(server.url + server.ready, timeout=2):  # noqa: S310
            return True
    except OSError:
        return False


def _end(process: subprocess.Popen, seconds: float) -> None:
    """Wait for a process to end, and kill what is left of its session."""
    try:
        process.wait(timeout=max(0, seconds))
    except subprocess.TimeoutExpired:
        print(f"process {process.pid} did not end; it is killed", file=sys.stderr)  # noqa: T201
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _dagster(settings: Settings, port: int) -> Server:
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev"]
    command += ["-h", LOOPBACK, "-p", str(port)]
    workspace = settings.project / "workspace.yaml"
    if workspace.is_file():
        command += ["-w", str(workspace)]
    else:
        command += ["-m", "lakeops_assets.definitions"]
    log = settings.home / "logs" / "dagster.log"
    return Server("Dagster", command, f"http://{LOOPBACK}:{port}", "/server_info", log)


def _mlflow(settings: Settings, port: int) -> Server:
    command = [
        *(sys.executable, "-W", "ignore", "-m", "mlflow", "server"),
        *("--backend-store-uri", settings.tracking_uri),
        *("--artifacts-destination", str(settings.mlflow_root / "artifacts")),
        *("--host", LOOPBACK, "--port", str(port), "--workers", "1"),
    ]
    log = settings.home / "logs" / "mlflow.log"
    return Server("MLflow", command, f"http://{LOOPBACK}:{port}", "/health", log)


def _prepare_store(settings: Settings) -> None:
    """Create the MLflow store before two processes could do it at the same time."""
    from lakeops_assets.models import ensure_store

    ensure_store(settings.tracking_uri)


def _check_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortInUseError(f"port {port} is taken; choose another with {name}") from error
