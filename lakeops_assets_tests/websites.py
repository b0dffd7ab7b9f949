"""`lakeops ui` as a process of its own, and a page of a real browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from command_line import environment
from playwright.sync_api import Page

PROJECT = Path(__file__).parents[1]
# Set to a folder to keep the pictures, as for docs/images.
PICTURES = os.environ.get("LAKEOPS_PICTURES")
READY_SECONDS = 120


@dataclass(frozen=True)
class Site:
    """Addresses of the two user interfaces."""

    dagster: str
    mlflow: str


@contextmanager
def serving(state: Path, **variables: str) -> Iterator[Site]:
    """Serve a folder of state; further variables go to the environment of the process."""
    ports = _free_port(), _free_port()
    site = Site(*(f"http://127.0.0.1:{port}" for port in ports))
    arguments = ["ui", "--port", str(ports[0]), "--mlflow-port", str(ports[1])]
    log = (state / "ui.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "lakeops_assets.cli", *arguments],
        cwd=PROJECT,
        env={**environment(state), **variables},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        _wait_until_up(f"{site.dagster}/server_info", process)
        _wait_until_up(f"{site.mlflow}/health", process)
        yield site
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            log.close()


def picture(page: Page, name: str) -> None:
    """Keep a picture of a page, where pictures are kept."""
    if PICTURES:
        page.wait_for_timeout(1500)  # what slides in has arrived
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_up(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "lakeops ui ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{url} did not answer within {READY_SECONDS} s")
