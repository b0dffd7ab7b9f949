"""`lakeops ui`: the Dagster UI and the MLflow UI, started and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

from lakeops_assets.commands.run import prepare_dagster_home
from lakeops_assets.settings import NO_TELEMETRY, Settings

LOOPBACK = "127.0.0.1"


class PortInUseError(OSError):
    """Another program listens on the port."""


def serve(settings: Settings, port: int, mlflow_port: int) -> int:
    """Serve both until one ends or a signal arrives; return the exit code.

    Raises:
        PortInUseError: One of the ports is taken.
    """
    for name, number in (("--port", port), ("--mlflow-port", mlflow_port)):
        _check_free(name, number)
    prepare_dagster_home(settings)
    env = {
        **os.environ,
        **NO_TELEMETRY,
        "DAGSTER_HOME": str(settings.dagster_home),
        "LAKEOPS_HOME": str(settings.home),
        "LAKEOPS_DEFS": str(settings.products),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "LAKEOPS_DAGSTER_URL": f"http://{LOOPBACK}:{port}",
        "LAKEOPS_MLFLOW_URL": f"http://{LOOPBACK}:{mlflow_port}",
        # Without these MLflow starts job runners that need two gigabytes and that nobody uses here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    _prepare_store(settings)
    commands = [_mlflow(settings, mlflow_port), _dagster(settings, port)]
    # Not in the project folder: Dagster would read the .env file there over our DAGSTER_HOME.
    processes = [subprocess.Popen(c, env=env, cwd=settings.dagster_home) for c in commands]  # noqa: S603
    # The terminal sends Ctrl-C to the whole group; a supervisor sends SIGTERM to this process only.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while all(p.poll() is None for p in processes):
            time.sleep(0.5)
        return next(p.returncode for p in processes if p.returncode is not None)
    except KeyboardInterrupt:
        return 0
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.wait(timeout=30)


def _dagster(settings: Settings, port: int) -> list[str]:
    base = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", "-h", LOOPBACK, "-p", str(port)]
    workspace = settings.project / "workspace.yaml"
    if workspace.is_file():
        return [*base, "-w", str(workspace)]
    return [*base, "-m", "lakeops_assets.definitions"]


def _mlflow(settings: Settings, port: int) -> list[str]:
    return [
        *(sys.executable, "-W", "ignore", "-m", "mlflow", "server"),
        *("--backend-store-uri", settings.tracking_uri),
        *("--artifacts-destination", str(settings.mlflow_root / "artifacts")),
        *("--host", LOOPBACK, "--port", str(port), "--workers", "1"),
    ]


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
