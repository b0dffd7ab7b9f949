"""Assets whose body is a script on Databricks, for tests of the client alone."""

from collections.abc import Callable
from typing import Any

import dagster as dg
from databricks_jobs.conftest import Workspace

# What every script begins with; Pipes writes what it has when the session closes.
PIPES = """
import os, signal, sys
from dagster_pipes import (
    PipesCliArgsParamsLoader, PipesUnityCatalogVolumesContextLoader,
    PipesUnityCatalogVolumesMessageWriter, open_dagster_pipes,
)
session = open_dagster_pipes(
    context_loader=PipesUnityCatalogVolumesContextLoader(),
    message_writer=PipesUnityCatalogVolumesMessageWriter(),
    params_loader=PipesCliArgsParamsLoader(),
)
"""


def shape(workspace: Workspace, script: str, *parameters: str) -> tuple[Any, dict[str, Any]]:
    """Return the task and the arguments of a serverless job that runs a script."""
    from databricks.sdk.service import compute, jobs

    task = jobs.SubmitTask(
        task_key="script",
        environment_key="default",
        spark_python_task=jobs.SparkPythonTask(script, parameters=list(parameters)),
    )
    environment = compute.Environment(environment_version="4", dependencies=["dagster-pipes"])
    return task, {"environments": [jobs.JobEnvironment("default", environment)]}


def asset_of(
    workspace: Workspace,
    client: Any,
    script: str,
    *parameters: str,
    before: Callable[[dg.AssetExecutionContext], None] = lambda context: None,
    **more: Any,
) -> Any:
    """Return an asset `made` that runs a script with a client of Pipes."""

    @dg.asset(name="made")
    def made(context: dg.AssetExecutionContext) -> Any:
        before(context)
        task, arguments = shape(workspace, script, *parameters)
        done = client.run(context=context, task=task, submit_args={**arguments, **more})
        return done.get_results()

    return made


def run(asset: Any, instance: dg.DagsterInstance, run_id: str | None = None) -> Any:
    """Run an asset in this process and return the result; it does not raise."""
    job = dg.Definitions(assets=[asset]).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, run_id=run_id, raise_on_error=False)


def log_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return what the log of a run says."""
    return "\n".join(entry.user_message for entry in instance.all_logs(run_id))
