"""Runs of jobs as processes of this machine."""

from __future__ import annotations

import base64
import binascii
import configparser
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from databricks_jobs.stand_in.validate import RefusedError

_NAME = re.compile(r"[-_.]+")
# Digest of a wheel -> where it is unpacked; shared by all stand-ins, and compiled once.
_INSTALLED: dict[str, Path] = {}
# Dagster Pipes looks once a second whether there is something to write, also when all is over.
_IMPATIENT = """
import time
_sleep = time.sleep
time.sleep = lambda seconds: _sleep(min(seconds, 0.05))
"""


@dataclass
class Run:
    """One run of one task."""

    run_id: int
    body: dict[str, Any]
    host: str
    cluster: dict[str, Any] | None
    state: str = "PENDING"
    result: str = ""
    message: str = ""
    output: str = ""
    error: str = ""
    trace: str = ""
    seen: bool = False
    process: subprocess.Popen[str] | None = None
    started: float = field(default_factory=time.time)
    executing: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def task(self) -> dict[str, Any]:
        return self.body["tasks"][0]

    @property
    def over(self) -> bool:
        return self.state in ("TERMINATED", "INTERNAL_ERROR")

    def view(self) -> dict[str, Any]:
        """Return what `jobs/runs/get` says; the first look always comes before the task starts."""
        state: dict[str, Any] = {"life_cycle_state": self.state if self.seen else "PENDING"}
        if self.seen and self.over:
            state |= {"result_state": self.result, "state_message": self.message}
        self.seen = True
        task = {k: v for k, v in self.task.items() if k != "new_cluster"}
        milliseconds = int(self.executing * 1000)
        compute = {} if self.cluster is None else {"new_cluster": self.cluster}
        instance = {} if self.cluster is None else {"cluster_id": f"0101-{self.run_id}-job"}
        started = {"start_time": int(self.started * 1000), "attempt_number": 0}
        return {
            "job_id": self.run_id * 10,
            "run_id": self.run_id,
            "run_name": self.body.get("run_name", "Untitled"),
            "run_page_url": f"{self.host}/#job/{self.run_id * 10}/run/{self.run_id}",
            "run_type": "SUBMIT_RUN",
            "state": state,
            # Of a run with `tasks` the durations are those of its tasks.
            "execution_duration": 0,
            "setup_duration": 0,
            "cleanup_duration": 0,
            "run_duration": milliseconds + 3000,
            **started,
            "tasks": [
                {
                    **task,
                    **compute,
                    "run_id": self.run_id + 1,
                    "state": state,
                    "setup_duration": 2000,
                    "execution_duration": milliseconds,
                    "cleanup_duration": 1000,
                    "cluster_instance": instance,
                    **started,
                }
            ],
        }

    def cancel(self) -> None:
        with self.lock:
            if self.over:
                return
            self.state, self.result = "TERMINATED", "CANCELED"
            self.message = "Run cancelled."
            if self.process is not None and self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


class Runner:
    """Runs tasks as processes; `/Volumes` is a folder of this machine."""

    def __init__(self, root: Path, volumes: Path) -> None:
        self.root = root
        self.volumes = volumes
        self.site = root / "site"
        self.site.mkdir(parents=True)
        (self.site / "sitecustomize.py").write_text(_IMPATIENT)

    def start(self, run: Run) -> None:
        """Start a run in the background."""
        threading.Thread(target=self._execute, args=(run,), daemon=True).start()

    def local(self, text: str) -> str:
        """Return a text with paths of volumes as paths of this machine, Pipes' parameters too."""
        decoded = _decoded(text)
        if decoded is not None:
            return _encoded(json.loads(self.local(json.dumps(decoded))))
        return text.replace("/Volumes/", f"{self.volumes}/")

    def _execute(self, run: Run) -> None:
        try:
            command, paths = self._command(run)
        except RefusedError as refused:
            run.result, run.error = "FAILED", str(refused)
            run.message, run.state = f"Task failed: {refused}", "TERMINATED"
            return
        cluster = run.cluster or {}
        ours = ("DATABRICKS", "DAGSTER", "LAKEOPS", "PYTHON", "MLFLOW")
        env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        env["PYTHONPATH"] = os.pathsep.join(map(str, [*paths, self.site]))
        env |= {k: self.local(v) for k, v in (cluster.get("spark_env_vars") or {}).items()}
        folder = self.root / f"run-{run.run_id}"
        folder.mkdir(parents=True, exist_ok=True)
        with run.lock:
            if run.over:
                return
            run.process = subprocess.Popen(
                command,
                env=env,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            run.state = "RUNNING"
        began = time.monotonic()
        limit = run.task.get("timeout_seconds") or run.body.get("timeout_seconds") or None
        try:
            output, errors = run.process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(run.process.pid, signal.SIGKILL)
            output, errors = run.process.communicate()
            with run.lock:
                run.state, run.result, run.message = "TERMINATED", "TIMEDOUT", "Timed out."
        run.output, run.executing = output + errors, time.monotonic() - began
        if run.process.returncode != 0 and "Traceback" in errors:
            run.trace = errors[errors.rindex("Traceback") :]
            run.error = run.trace.strip().splitlines()[-1]
        with run.lock:
            if run.over:
                return
            good = run.process.returncode == 0
            run.result = "SUCCESS" if good else "FAILED"
            run.message = "" if good else "Workload failed, see run output for details."
            run.state = "TERMINATED"

    def _command(self, run: Run) -> tuple[list[str], list[Path]]:
        task = run.task
        paths = [self._installed(wheel) for wheel in _wheels(run)]
        if "spark_python_task" in task:
            spark = task["spark_python_task"]
            parameters = map(self.local, spark.get("parameters", []))
            return [sys.executable, self.local(spark["python_file"]), *parameters], paths
        wheel = task["python_wheel_task"]
        target = _entry_point(paths, wheel["package_name"], wheel["entry_point"])
        module, _, function = target.partition(":")
        script = (
            f"import importlib, sys; sys.argv[0] = {wheel['entry_point']!r}; "
            f"importlib.import_module({module!r}).{function}()"
        )
        return [sys.executable, "-c", script, *map(self.local, wheel.get("parameters", []))], paths

    def _installed(self, wheel: str) -> Path:
        file = Path(self.local(wheel))
        if not file.is_file():
            raise RefusedError(f"Library installation failed: no such file: {wheel}")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest not in _INSTALLED:
            _INSTALLED[digest] = self.root / "wheels" / digest
            zipfile.ZipFile(file).extractall(_INSTALLED[digest])
        return _INSTALLED[digest]


def _wheels(run: Run) -> list[str]:
    environments = {e["environment_key"]: e["spec"] for e in run.body.get("environments", [])}
    spec = environments.get(run.task.get("environment_key", ""), {})
    libraries = [x["whl"] for x in run.task.get("libraries", []) if "whl" in x]
    return [d for d in spec.get("dependencies", []) if d.endswith(".whl")] + libraries


def _entry_point(sites: list[Path], package: str, name: str) -> str:
    """Return where an entry point leads, from the metadata of the wheels of the task."""
    for site in sites:
        for metadata in site.glob("*.dist-info"):
            distribution = metadata.name.partition("-")[0]
            if _NAME.sub("-", distribution).lower() != _NAME.sub("-", package).lower():
                continue
            found = configparser.ConfigParser(delimiters=("=",))
            found.read(metadata / "entry_points.txt")
            if found.has_option("console_scripts", name):
                return found.get("console_scripts", name)
    raise RefusedError(f"The wheel of {package} has no entry point {name}")


def _decoded(text: str) -> Any:
    """Return the value of a parameter of Dagster Pipes; None when it is none."""
    try:
        return json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except (binascii.Error, ValueError, zlib.error):
        return None


def _encoded(value: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()
