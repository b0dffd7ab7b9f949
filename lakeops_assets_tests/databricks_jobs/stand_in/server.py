"""A strict stand-in for the parts of a Databricks workspace that jobs of assets need.

It refuses what the vendor would refuse: fields that the SDK's dataclasses do not know, a token that
is missing, a cluster beyond its policy. Tasks are processes of this machine. It is no proof that a
real workspace takes the same requests.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from databricks.sdk.service import compute, jobs
from databricks_jobs.stand_in import policies
from databricks_jobs.stand_in.runs import Run, Runner
from databricks_jobs.stand_in.validate import RefusedError, check

TOKEN = "dapi-stand-in"
_SUBMIT = {
    "access_control_list": [jobs.JobAccessControlRequest],
    "budget_policy_id": str,
    "email_notifications": jobs.JobEmailNotifications,
    "environments": [jobs.JobEnvironment],
    "git_source": jobs.GitSource,
    "health": jobs.JobsHealthRules,
    "idempotency_token": str,
    "notification_settings": jobs.JobNotificationSettings,
    "queue": jobs.QueueSettings,
    "run_as": jobs.JobRunAs,
    "run_name": str,
    "tasks": [jobs.SubmitTask],
    "timeout_seconds": int,
    "webhook_notifications": jobs.WebhookNotifications,
}
_POLICY = {
    "definition": str,
    "description": str,
    "libraries": [compute.Library],
    "max_clusters_per_user": int,
    "name": str,
    "policy_family_definition_overrides": str,
    "policy_family_id": str,
}
_COMPUTE = ("environment_key", "new_cluster", "existing_cluster_id")


@dataclass(frozen=True)
class Request:
    """One request that was made."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    status: int


@dataclass
class StandIn:
    """A workspace; `with StandIn(folder) as workspace` serves it on a port of this machine."""

    folder: Path
    journal: list[Request] = field(default_factory=list)
    runs: dict[int, Run] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    # Path -> what happens once, after a request was carried out and before it is answered.
    meanwhile: dict[str, Callable[[], None]] = field(default_factory=dict)
    # Path -> how often the next requests to it are refused, whatever they ask.
    closed: dict[str, int] = field(default_factory=dict)
    # Whether runs have durations and times, which nobody promises of a run that was cancelled.
    timed: bool = True

    def __post_init__(self) -> None:
        self.volumes = self.folder / "Volumes"
        (self.volumes / "main" / "lakeops" / "runs").mkdir(parents=True)
        self.runner = Runner(self.folder / "machines", self.volumes)
        workspace = self

        class Handler(_Handler):
            stand_in = workspace

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> StandIn:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for run in self.runs.values():
            run.cancel()
        self.server.shutdown()
        self.server.server_close()

    def requests(self, path: str) -> list[Request]:
        """Return the requests to a path, in their order."""
        return [r for r in self.journal if r.path == path]

    # What the endpoints do.

    def submit(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        check(body, _SUBMIT, ("tasks",))
        token = body.get("idempotency_token", "")
        if len(token) > 64:
            raise RefusedError("idempotency_token must have at most 64 characters")
        with self.lock:
            if token and token in self.tokens:
                return {"run_id": self.tokens[token]}
            run = self._accepted(body)
            if token:
                self.tokens[token] = run.run_id
            self.runs[run.run_id] = run
        self.runner.start(run)
        return {"run_id": run.run_id}

    def _accepted(self, body: dict[str, Any]) -> Run:
        if len(body["tasks"]) != 1:
            raise RefusedError("this stand-in runs one task", code="FEATURE_DISABLED")
        (task,) = body["tasks"]
        given = [name for name in _COMPUTE if name in task]
        if len(given) != 1:
            raise RefusedError(f"a task needs exactly one of {', '.join(_COMPUTE)}; it has {given}")
        kinds = [k for k in ("spark_python_task", "python_wheel_task") if k in task]
        if len(kinds) != 1:
            raise RefusedError("a task needs exactly one of spark_python_task, python_wheel_task")
        if given == ["existing_cluster_id"]:
            raise RefusedError(f"Cluster {task['existing_cluster_id']} does not exist")
        cluster = None
        if given == ["environment_key"]:
            if "libraries" in task:
                raise RefusedError("Libraries field is not supported for serverless task")
            known = {e["environment_key"] for e in body.get("environments", [])}
            if task["environment_key"] not in known:
                raise RefusedError(
                    f"environment_key {task['environment_key']} is not in environments"
                )
        else:
            cluster = self._cluster(task["new_cluster"])
        return Run(1000 + 2 * len(self.runs), body, self.host, cluster)

    def _cluster(self, cluster: dict[str, Any]) -> dict[str, Any]:
        filled = dict(cluster)
        if "node_type_id" in cluster and cluster["node_type_id"] not in policies.NODE_TYPES:
            raise RefusedError(f"Node type {cluster['node_type_id']} is not supported.")
        if "policy_id" in cluster:
            policy = self.policies.get(cluster["policy_id"])
            if policy is None:
                raise RefusedError(f"Policy {cluster['policy_id']} does not exist")
            filled = policies.enforce(policies.parse(policy["definition"]), cluster)
        if "autotermination_minutes" in filled:
            raise RefusedError("autotermination_minutes is not supported for clusters of jobs")
        for name in ("spark_version", "node_type_id"):
            if not filled.get(name):
                raise RefusedError(f"Missing required field '{name}'")
        sizes = [name for name in ("num_workers", "autoscale") if name in filled]
        if len(sizes) != 1:
            raise RefusedError("exactly one of num_workers and autoscale has to be given")
        alone = (filled.get("spark_conf") or {}).get("spark.databricks.cluster.profile")
        if filled.get("num_workers") == 0 and alone != "singleNode":
            raise RefusedError("NumWorkers could be 0 only for SingleNode clusters.")
        return filled

    def get_run(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        view = self._run(query["run_id"]).view()
        return view if self.timed else _untimed(view)

    def get_output(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        number = int(query["run_id"])
        if number in self.runs:
            raise RefusedError(
                "Retrieving the output of runs with multiple tasks is not supported. Please "
                "retrieve the output of each individual task run instead."
            )
        run = self._run(str(number - 1))
        said = {"logs": run.output, "error": run.error, "error_trace": run.trace}
        return {
            **{k: v for k, v in said.items() if v},
            "logs_truncated": False,
            "metadata": {**run.view()["tasks"][0], "run_name": "asset"},
        }

    def cancel(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        check(body, {"run_id": int}, ("run_id",))
        self._run(str(body["run_id"])).cancel()
        return {}

    def _run(self, number: str) -> Run:
        run = self.runs.get(int(number))
        if run is None:
            raise RefusedError(f"Run {number} does not exist.")
        return run

    def get_cluster(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        for run in self.runs.values():
            if run.cluster is not None and query["cluster_id"] == f"0101-{run.run_id}-job":
                return {**run.cluster, "cluster_id": query["cluster_id"], "state": "TERMINATED"}
        raise RefusedError(f"Cluster {query['cluster_id']} does not exist")

    def create_policy(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        check(body, _POLICY, ("name", "definition"))
        policies.parse(body["definition"])
        if any(p["name"] == body["name"] for p in self.policies.values()):
            raise RefusedError(f"Policy with name {body['name']!r} already exists")
        number = f"{len(self.policies) + 1:016X}"
        self.policies[number] = {**body, "policy_id": number}
        return {"policy_id": number}

    def edit_policy(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        check(body, {**_POLICY, "policy_id": str}, ("policy_id", "name", "definition"))
        policies.parse(body["definition"])
        self.get_policy(None, body)
        self.policies[body["policy_id"]] = body
        return {}

    def get_policy(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        found = self.policies.get(query["policy_id"])
        if found is None:
            raise RefusedError(f"Policy {query['policy_id']} does not exist")
        return found

    def delete_policy(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        check(body, {"policy_id": str}, ("policy_id",))
        self.get_policy(None, body)
        del self.policies[body["policy_id"]]
        return {}

    def list_policies(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        return {"policies": list(self.policies.values()), "total_count": len(self.policies)}

    def path(self, path: str) -> Path:
        if not re.fullmatch(r"/Volumes/[^/]+/[^/]+/[^/]+(/.*)?", path) or ".." in path.split("/"):
            raise RefusedError(f"Invalid path: {path}")
        parts = path.strip("/").split("/")[1:]
        if not self.volumes.joinpath(*parts[:3]).is_dir():
            message = f"Volume '{'.'.join(parts[:3])}' does not exist."
            raise RefusedError(message, code="NOT_FOUND", status=404)
        return self.volumes.joinpath(*parts)


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"
    body: Any = None

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def _routes(self) -> dict[tuple[str, str], Callable[[Any, dict[str, str]], dict[str, Any]]]:
        it = self.stand_in
        return {
            ("POST", "/api/2.2/jobs/runs/submit"): it.submit,
            ("GET", "/api/2.2/jobs/runs/get"): it.get_run,
            ("GET", "/api/2.2/jobs/runs/get-output"): it.get_output,
            ("POST", "/api/2.2/jobs/runs/cancel"): it.cancel,
            ("GET", "/api/2.1/clusters/get"): it.get_cluster,
            ("POST", "/api/2.0/policies/clusters/create"): it.create_policy,
            ("POST", "/api/2.0/policies/clusters/edit"): it.edit_policy,
            ("POST", "/api/2.0/policies/clusters/delete"): it.delete_policy,
            ("GET", "/api/2.0/policies/clusters/get"): it.get_policy,
            ("GET", "/api/2.0/policies/clusters/list"): it.list_policies,
        }

    def _authorize(self, path: str) -> None:
        if self.stand_in.closed.get(path, 0) > 0:
            self.stand_in.closed[path] -= 1
            raise RefusedError("Not now.", code="PERMISSION_DENIED", status=403)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise RefusedError("Invalid access token.", code="UNAUTHENTICATED", status=401)

    def _route(self, path: str) -> Callable[[Any, dict[str, str]], dict[str, Any]]:
        found = self._routes().get((self.command, path))
        if found is None:
            message = f"No API found for '{self.command} {path}'"
            raise RefusedError(message, code="ENDPOINT_NOT_FOUND", status=404)
        return found

    def _handle(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), dict(parse_qsl(url.query))
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, answer = 200, {}, b""
        self.body = None
        try:
            self._authorize(path)
            if path.startswith("/api/2.0/fs/"):
                status, headers, answer = self._files(path, query, raw)
            else:
                route = self._route(path)
                self.body = json.loads(raw) if raw else None
                answer = json.dumps(route(self.body, query)).encode()
                headers = {"Content-Type": "application/json"}
        except RefusedError as refused:
            status, answer = refused.status, json.dumps(refused.body).encode()
            headers = {"Content-Type": "application/json"}
        self.stand_in.meanwhile.pop(path, lambda: None)()
        self.stand_in.journal.append(Request(self.command, path, query, self.body, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _files(
        self, path: str, query: dict[str, str], raw: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        kind, _, rest = path.removeprefix("/api/2.0/fs/").partition("/")
        file = self.stand_in.path(f"/{rest}")
        if kind == "directories":
            return self._directory(file, f"/{rest}".rstrip("/"))
        if self.command == "PUT":
            if not file.parent.is_dir():
                raise RefusedError(
                    "The parent directory does not exist.", code="NOT_FOUND", status=404
                )
            if file.exists() and query.get("overwrite") != "true":
                raise RefusedError("The file exists.", code="ALREADY_EXISTS", status=409)
            file.write_bytes(raw)
            return 204, {}, b""
        if not file.is_file():
            raise RefusedError(f"The file /{rest} is not there.", code="NOT_FOUND", status=404)
        if self.command == "DELETE":
            file.unlink()
            return 204, {}, b""
        return 200, {"Content-Type": "application/octet-stream", **_times(file)}, file.read_bytes()

    def _directory(self, folder: Path, path: str) -> tuple[int, dict[str, str], bytes]:
        if self.command == "PUT":
            folder.mkdir(parents=True, exist_ok=True)
            return 204, {}, b""
        if not folder.is_dir():
            raise RefusedError(f"The directory {path} is not there.", code="NOT_FOUND", status=404)
        if self.command == "DELETE":
            if any(folder.iterdir()):
                raise RefusedError("The directory is not empty.", code="DIRECTORY_NOT_EMPTY")
            shutil.rmtree(folder)
            return 204, {}, b""
        contents = [
            {
                "path": f"{path}/{entry.name}",
                "name": entry.name,
                "is_directory": entry.is_dir(),
                **({} if entry.is_dir() else {"file_size": entry.stat().st_size}),
            }
            for entry in sorted(folder.iterdir())
        ]
        answer = json.dumps({"contents": contents}).encode()
        return 200, {"Content-Type": "application/json"}, answer


def _untimed(view: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of a run without what is said of its time."""
    kept = {k: v for k, v in view.items() if not k.endswith(("_duration", "_time"))}
    return {k: [_untimed(t) for t in v] if k == "tasks" else v for k, v in kept.items()}


def _times(file: Path) -> dict[str, str]:
    return {"Last-Modified": formatdate(file.stat().st_mtime, usegmt=True)}
