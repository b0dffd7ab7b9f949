"""The shape of a job: one task that runs one asset with the wheel's entry point."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakeops_assets.databricks.compute import Compute, cluster_of
from lakeops_assets.databricks.remote import RemoteSpec

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import SubmitTask

PACKAGE = "lakeops_assets"
ENTRY_POINT = "lakeops-task"
_LONGEST_TOKEN = 64  # of the vendor's interface
_ENVIRONMENT = "default"


def idempotency_token(run_id: str, step: str, retry: int) -> str:
    """Return the token of one attempt at one step: the workspace starts one run for it, ever."""
    token = f"{run_id}-{step}-{retry}"
    if len(token) <= _LONGEST_TOKEN:
        return token
    return f"{run_id}-{hashlib.sha256(step.encode()).hexdigest()[:20]}-{retry}"


@dataclass(frozen=True)
class Job:
    """One asset as a job.

    Attributes:
        spec: What the product says about its jobs.
        compute: What it runs on.
        assets: Keys of the assets that are made together, such as `churn/features`.
        run_id: Run of Dagster that asks.
        step: Its step.
        retry: Which attempt at the step it is, from 0.
        policy_id: Policy that a cluster is checked with; empty for serverless.
        variables: Environment of the task beside what the product says, which comes first.
        state: Identifier of the state root of whoever asks; the task refuses to write to another.
        code: Asset -> code version here; the task refuses to make it with another.
    """

    spec: RemoteSpec
    compute: Compute
    assets: tuple[str, ...]
    run_id: str
    step: str
    retry: int
    policy_id: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """Token of this attempt; also the folder of its context and messages."""
        return idempotency_token(self.run_id, self.step, self.retry)

    @property
    def timeout_seconds(self) -> int:
        """Time after which the workspace ends the run; never 0, which would be no limit."""
        hours = self.compute.hours
        allowed = self.spec.envelope.hours_per_run if hours is None else hours
        return max(int(allowed * 3600), 1)

    def task(self) -> SubmitTask:
        """Return the task of `jobs/runs/submit`."""
        from databricks.sdk.service import jobs

        shape: dict[str, Any] = {
            "task_key": "asset",
            "timeout_seconds": self.timeout_seconds,
            "python_wheel_task": {
                "package_name": PACKAGE,
                "entry_point": ENTRY_POINT,
                "parameters": self.parameters(),
            },
        }
        if self.compute.serverless:
            shape["environment_key"] = _ENVIRONMENT
            return jobs.SubmitTask.from_dict(shape)
        shape["new_cluster"] = cluster_of(
            self.spec.envelope, self.compute, self.policy_id, self._tags()
        )
        shape["libraries"] = [
            {"whl": self.spec.wheel},
            *({"pypi": {"package": package}} for package in self.spec.dependencies),
        ]
        return jobs.SubmitTask.from_dict(shape)

    def arguments(self) -> dict[str, Any]:
        """Return what `jobs/runs/submit` takes beside its tasks."""
        from databricks.sdk.service import compute, jobs

        arguments: dict[str, Any] = {
            "run_name": f"lakeops {', '.join(self.assets)} {self.run_id}",
            "idempotency_token": self.token,
            "timeout_seconds": self.timeout_seconds,
        }
        if self.compute.serverless:
            environment = compute.Environment(
                environment_version=self.compute.environment_version,
                dependencies=[self.spec.wheel, *self.spec.dependencies],
            )
            arguments["environments"] = [jobs.JobEnvironment(_ENVIRONMENT, environment)]
        return arguments

    def parameters(self) -> list[str]:
        """Return the command line of the task, but for what Dagster Pipes adds."""
        found: list[str] = []
        for asset in self.assets:
            found += ["--asset", asset]
        for asset, version in sorted(self.code.items()):
            found += ["--code", f"{asset}={version}"]
        if self.state:
            found += ["--state", self.state]
        for name, value in sorted({**self.variables, **self.spec.variables}.items()):
            found += ["--set", f"{name}={value}"]
        return found

    def _tags(self) -> dict[str, str]:
        return {"lakeops_run_id": self.run_id, "lakeops_asset": " ".join(self.assets)}
