"""What our client of Pipes mends, shown on dagster-databricks' own first."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

pytest.importorskip("dagster_databricks")

from dagster._core.errors import DagsterExecutionInterruptedError
from dagster_databricks.pipes import (
    PipesDatabricksServerlessClient,
    PipesUnityCatalogVolumesMessageReader,
)
from databricks_jobs.conftest import Workspace
from databricks_jobs.tasks import PIPES, asset_of, log_of, run

from lakeops_assets.components.databricks_pipes import DatabricksJobClient

TALKING = (
    PIPES
    + """
with session as pipes:
    print("the first line")
    pipes.report_asset_materialization(metadata={"rows": 3}, data_version="v7")
print("the last line")
"""
)
FAILING = (
    PIPES
    + """
with session as pipes:
    print("the last line before")
raise RuntimeError("no such column: tenure")
"""
)
ENDLESS = (
    PIPES
    + """
with session:
    signal.pause()
"""
)
SUBMIT, GET = "/api/2.2/jobs/runs/submit", "/api/2.2/jobs/runs/get"
CANCEL, OUTPUT = "/api/2.2/jobs/runs/cancel", "/api/2.2/jobs/runs/get-output"


def theirs(workspace: Workspace) -> Any:
    reader = PipesUnityCatalogVolumesMessageReader(
        interval=0, client=workspace.client, volume_path=workspace.volume
    )
    return PipesDatabricksServerlessClient(
        workspace.client,
        workspace.volume,
        message_reader=reader,
        poll_interval_seconds=workspace.poll,
    )


def ours(workspace: Workspace, token: str = "attempt-1", **more: Any) -> Any:
    return DatabricksJobClient(
        workspace.client, workspace.volume, token, poll_interval_seconds=workspace.poll, **more
    )


def interrupted(workspace: Workspace, client: Any, script: str, path: str) -> tuple[str, set[str]]:
    """Run an asset that somebody terminates during a request; return its status and its events."""
    asset = asset_of(
        workspace,
        client,
        script,
        # What the UI's button does: it says so, and then it signals the process.
        before=lambda context: context.instance.report_run_canceling(context.run),
    )
    workspace.stand_in.meanwhile[path] = lambda: os.kill(os.getpid(), signal.SIGINT)
    with dg.DagsterInstance.ephemeral() as instance:
        with contextlib.suppress(DagsterExecutionInterruptedError):
            run(asset, instance)
        (record,) = instance.get_runs()
        found = (e.dagster_event for e in instance.all_logs(record.run_id) if e.dagster_event)
        return record.status.value, {event.event_type.value for event in found}


def test_an_interrupt_fails_the_step_and_cancels_the_job(stand_in: Workspace) -> None:
    script = stand_in.script("endless.py", ENDLESS)
    runs = stand_in.stand_in.runs
    status, events = interrupted(stand_in, theirs(stand_in), script, GET)
    # Theirs: the job was cancelled, and the step says that the asset was made.
    assert [r.result for r in runs.values()] == ["CANCELED"]
    assert {"STEP_SUCCESS", "ASSET_MATERIALIZATION"} <= events
    ended: list[Any] = []
    status, events = interrupted(stand_in, ours(stand_in, on_end=ended.append), script, GET)
    assert [r.result for r in runs.values()] == ["CANCELED", "CANCELED"]
    assert status == "CANCELED"
    assert "STEP_FAILURE" in events
    assert not {"STEP_SUCCESS", "ASSET_MATERIALIZATION"} & events
    assert [r.run_id for r in ended] == [max(runs)]  # its time is on the account
    assert not list(stand_in.stand_in.volumes.rglob("attempt-1/*/*"))


def test_an_interrupt_while_the_job_is_submitted_leaves_no_job(stand_in: Workspace) -> None:
    script = stand_in.script("endless.py", ENDLESS)
    interrupted(stand_in, theirs(stand_in), script, SUBMIT)
    (left,) = stand_in.stand_in.runs.values()
    assert not left.over  # theirs goes on, and nobody knows its number
    status, events = interrupted(stand_in, ours(stand_in), script, SUBMIT)
    assert stand_in.stand_in.runs[max(stand_in.stand_in.runs)].result == "CANCELED"
    assert (status, "STEP_FAILURE" in events) == ("CANCELED", True)


def test_the_last_line_of_the_output_is_in_the_log(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    script = workspace.script("talking.py", TALKING)
    if workspace.stand_in is not None:
        with dg.DagsterInstance.ephemeral() as instance:
            wrong = run(asset_of(workspace, theirs(workspace), script), instance)
            assert wrong.success
            printed = capfd.readouterr()
            seen = printed.out + printed.err + log_of(instance, wrong.run_id)
            assert "the last line" not in seen
    with dg.DagsterInstance.ephemeral() as instance:
        right = run(asset_of(workspace, ours(workspace), script), instance)
        assert right.success
        assert "the first line\nthe last line" in log_of(instance, right.run_id)
        (made,) = right.get_asset_materialization_events()
        assert made.materialization.metadata["rows"].value == 3
        assert made.materialization.tags["dagster/data_version"] == "v7"


def test_a_task_that_fails_says_why(workspace: Workspace) -> None:
    script = workspace.script("failing.py", FAILING)
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(asset_of(workspace, ours(workspace), script), instance)
        assert not result.success
        log = log_of(instance, result.run_id)
        assert "the last line before" in log
        assert "Traceback" in log
        (failure,) = [e for e in result.all_events if e.is_step_failure]
        message = failure.step_failure_data.error.to_string()
        said = message if workspace.explains else log
        assert "RuntimeError: no such column: tenure" in said
        assert "#job/" in message or workspace.stand_in is None


@pytest.mark.parametrize(
    ("closed", "said", "result"),
    [
        ({GET: 1}, "it was cancelled", "CANCELED"),
        ({GET: 1, CANCEL: 1}, "it may still run, so cancel it there", ""),
    ],
)
def test_a_job_that_nobody_can_follow_is_cancelled_or_named(
    stand_in: Workspace, closed: dict[str, int], said: str, result: str
) -> None:
    script = stand_in.script("endless.py", ENDLESS)
    ended: list[Any] = []
    # The token is withdrawn while the job runs.
    stand_in.stand_in.meanwhile[SUBMIT] = lambda: stand_in.stand_in.closed.update(closed)
    with dg.DagsterInstance.ephemeral() as instance:
        done = run(asset_of(stand_in, ours(stand_in, on_end=ended.append), script), instance)
        assert not done.success
        (failure,) = [e for e in done.all_events if e.is_step_failure]
    (job,) = stand_in.stand_in.runs.values()
    message = failure.step_failure_data.error.to_string()
    assert f"about the Databricks run {job.run_id}: Not now." in message
    assert said in message
    assert job.result == result
    assert [None if r is None else r.run_id for r in ended] == [job.run_id if result else None]


def test_a_result_stands_when_the_workspace_keeps_the_output_to_itself(
    stand_in: Workspace,
) -> None:
    script = stand_in.script("talking.py", TALKING)
    stand_in.stand_in.closed[OUTPUT] = 1
    ended: list[Any] = []
    with dg.DagsterInstance.ephemeral() as instance:
        done = run(asset_of(stand_in, ours(stand_in, on_end=ended.append), script), instance)
        assert done.success
        assert "does not say the output of script: Not now." in log_of(instance, done.run_id)
        assert done.get_asset_materialization_events()
    assert len(ended) == 1


# The process that is killed: it submits, and says so as the log does.
KILLED = """
import sys
import dagster as dg
from databricks.sdk import WorkspaceClient
from databricks_jobs.conftest import Workspace
from databricks_jobs.tasks import asset_of, run
from lakeops_assets.components.databricks_pipes import DatabricksJobClient

script, pipe, run_id = sys.argv[1:]
workspace = Workspace(WorkspaceClient(), "/Volumes/main/lakeops/runs")
client = DatabricksJobClient(
    workspace.client, workspace.volume, f"{run_id}-made-0", poll_interval_seconds=0.1
)
asset = asset_of(workspace, client, script, pipe, idempotency_token=f"{run_id}-made-0")
with dg.DagsterInstance.ephemeral() as instance:
    run(asset, instance, run_id)
"""
WAITING = (
    PIPES
    + """
with session as pipes:
    with open(sys.argv[1]) as pipe:  # until somebody writes
        pipes.report_asset_materialization(metadata={"said": pipe.read()})
"""
)


def test_who_comes_back_after_a_crash_finds_the_same_job(
    stand_in: Workspace, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script = stand_in.script("waiting.py", WAITING)
    run_id = "0e8f2a34-6a7e-4b0e-9d55-1d2f3c4b5a69"
    command = [sys.executable, "-c", KILLED, script, str(pipe), run_id]
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    env = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as attempt:
        assert attempt.stderr is not None
        seen = []
        for line in attempt.stderr:
            seen.append(line)
            if "state transition to RunLifeCycleState.RUNNING" in line:
                break
        assert attempt.poll() is None, "".join(seen)
        attempt.send_signal(signal.SIGKILL)
    token = f"{run_id}-made-0"
    asset = asset_of(stand_in, ours(stand_in, token), script, str(pipe), idempotency_token=token)
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(pipe)!r}, 'w').write('once')"])
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(asset, instance, run_id)
        assert result.success
        (made,) = result.get_asset_materialization_events()
        assert made.materialization.metadata["said"].value == "once"
    assert writer.wait() == 0
    submits = stand_in.stand_in.requests(SUBMIT)
    assert [r.body["idempotency_token"] for r in submits] == [token, token]
    assert len(stand_in.stand_in.runs) == 1
    assert not list(stand_in.stand_in.volumes.rglob(f"{token}/*/*"))  # and nothing is left
