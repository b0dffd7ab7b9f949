"""Runs one asset as a Databricks job: dagster-databricks' client, with its faults mended.

* After an interrupt the client cancels the job and then returns, so that the step *succeeds* and an
  asset that was never made counts as made; an interrupt while the job is submitted leaves the job
  running. Here the step fails and the job is cancelled, whenever the interrupt comes.
* With output sent along with the messages, the end of it is lost: the reader stops at the message
  that the task is over, and what was written last comes after. Here output is asked for when the
  task has ended, and the last line of a failure is in the log of the step.
* Contexts and messages are in folders with random names, so that whoever comes back after a crash
  finds the job again and not what it said. Here the folder is named after the attempt.

docs/decisions/011 says why this is a subclass. Imported only while a job is run.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError, DagsterPipesExecutionError
from dagster._core.pipes.client import PipesClientCompletedInvocation
from dagster._core.pipes.utils import open_pipes_session
from dagster._utils.interrupts import capture_interrupts, pop_captured_interrupt
from dagster_databricks.pipes import (
    PipesDatabricksServerlessClient,
    PipesUnityCatalogVolumesContextInjector,
    PipesUnityCatalogVolumesMessageReader,
    delete_volume_directory_recursive,
)
from dagster_pipes import PipesBlobStoreMessageWriter, PipesContextData, PipesParams
from databricks.sdk.errors import DatabricksError
from databricks.sdk.service import jobs

from lakeops_assets.databricks import refusal

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

# Of an output that is longer, the end is what tells why it failed.
_MOST_OUTPUT = 20_000


class DatabricksJobClient(PipesDatabricksServerlessClient):
    """Runs a task of one asset, serverless or on a cluster of its own, and follows it to its end.

    Args:
        client: Client of the workspace.
        volume_path: Volume that the context and the messages are in.
        token: Name of this attempt; the same for whoever continues it after a crash.
        poll_interval_seconds: How often the workspace is asked.
        on_end: Called with the run of the workspace when it has ended, however it ended.
    """

    def __init__(
        self,
        client: WorkspaceClient,
        volume_path: str,
        token: str,
        *,
        poll_interval_seconds: float = 5,
        on_end: Callable[[jobs.Run], None] = lambda run: None,
    ) -> None:
        folder = f"{volume_path}/lakeops-runs/{token}"
        super().__init__(
            client,
            volume_path,
            context_injector=_ContextInFolder(client=client, volume_path=folder),
            message_reader=_MessagesInFolder(
                client=client,
                volume_path=folder,
                interval=poll_interval_seconds,
                include_stdio_in_messages=False,
            ),
            poll_interval_seconds=poll_interval_seconds,
        )
        self._on_end = on_end

    def run(  # type: ignore[override]  # as narrow as that of the class above
        self,
        *,
        context: dg.AssetExecutionContext,
        task: jobs.SubmitTask,
        submit_args: Mapping[str, Any] | None = None,
        extras: dict[str, Any] | None = None,
    ) -> PipesClientCompletedInvocation:
        """Submit the task, and return when it has succeeded.

        Raises:
            DagsterExecutionInterruptedError: The run was interrupted; the job was cancelled.
            DagsterPipesExecutionError: The task failed.
            PolicyBreachError: The policy of the workspace refuses the cluster.
            WorkspaceError: The workspace refuses something else.
        """
        arguments = submit_args or {}
        with open_pipes_session(
            context=context,
            extras=extras,
            context_injector=self.context_injector,
            message_reader=self.message_reader,
        ) as session:
            shape = self._enrich_submit_task_dict(context, session, task.as_dict())
            # Tags of a task exist in no request; the run's name and the cluster's tags say it.
            shape.pop("tags", None)
            with _uninterrupted() as interrupt:
                run_id = self._submit(jobs.SubmitTask.from_dict(shape), arguments)
            self._follow(context, run_id, interrupted=interrupt.came)
        return PipesClientCompletedInvocation(
            session, metadata=self._extract_dagster_metadata(run_id)
        )

    def _submit(self, task: jobs.SubmitTask, arguments: Mapping[str, Any]) -> int:
        try:
            return self.client.jobs.submit(tasks=[task], **arguments).bind()["run_id"]
        except DatabricksError as error:
            name = arguments.get("run_name", "a job")
            raise refusal(f"run {name!r} on Databricks", str(error)) from error

    def _follow(self, context: Any, run_id: int, *, interrupted: bool) -> None:
        try:
            if interrupted:
                raise DagsterExecutionInterruptedError  # noqa: TRY301  # as if it came now
            self._poll_til_success(context, run_id)
        except DagsterExecutionInterruptedError:
            context.log.warning("interrupted: cancelling the Databricks run %s", run_id)
            with _uninterrupted():
                self.client.jobs.cancel_run(run_id)
            self._poll_til_terminating(run_id)
            self._ended(context, run_id)
            raise
        except DagsterPipesExecutionError as error:
            self._ended(context, run_id)
            raise self._explained(error, run_id) from error
        self._ended(context, run_id)

    def _ended(self, context: Any, run_id: int) -> None:
        """Log what the task wrote, and tell what it took."""
        run = self.client.jobs.get_run(run_id)
        for task in run.tasks or ():
            if task.run_id is None:
                continue
            output = self.client.jobs.get_run_output(task.run_id)
            if output.logs:
                text = output.logs[-_MOST_OUTPUT:].rstrip()
                context.log.info("output of the Databricks run %s:\n%s", run_id, text)
            if output.error_trace:
                context.log.error("%s", output.error_trace[-_MOST_OUTPUT:].rstrip())
            if output.error:
                context.log.error("%s", output.error)
        self._on_end(run)

    def _explained(self, error: DagsterPipesExecutionError, run_id: int) -> Exception:
        """Return the failure with what the task itself says; a policy's refusal with its field."""
        run = self.client.jobs.get_run(run_id)
        state = run.state.state_message if run.state else None
        if state and "Validation failed for" in state:
            return refusal(f"run {run.run_name!r} on Databricks", state)
        said = [
            self.client.jobs.get_run_output(task.run_id).error
            for task in run.tasks or ()
            if task.run_id is not None
        ]
        reason = "; ".join(filter(None, said)) or state or str(error)
        return DagsterPipesExecutionError(
            f"the Databricks run {run_id} failed: {reason}; see {run.run_page_url}"
        )


@dataclass
class _Interrupt:
    """Whether an interrupt came meanwhile."""

    came: bool = False


@contextmanager
def _uninterrupted() -> Iterator[_Interrupt]:
    """Hold interrupts back: a request that is cut off may have started or ended a job."""
    interrupt = _Interrupt()
    with capture_interrupts():
        yield interrupt
        interrupt.came = pop_captured_interrupt()


class _ContextInFolder(PipesUnityCatalogVolumesContextInjector):
    @contextmanager
    def inject_context(self, context: PipesContextData) -> Iterator[PipesParams]:
        with _folder(self, f"{self.volume_path}/context") as folder:
            contents = io.BytesIO(json.dumps(context).encode())
            self.files_client.upload(f"{folder}/context.json", contents, overwrite=True)
            yield {"path": f"{folder}/context.json"}


class _MessagesInFolder(PipesUnityCatalogVolumesMessageReader):
    @contextmanager
    def get_params(self) -> Iterator[PipesParams]:
        with _folder(self, f"{self.volume_path}/messages") as folder:
            yield {
                "path": folder,
                PipesBlobStoreMessageWriter.INCLUDE_STDIO_IN_MESSAGES_KEY: False,
            }


@contextmanager
def _folder(owner: _ContextInFolder | _MessagesInFolder, path: str) -> Iterator[str]:
    """Make a folder that is deleted in the end, and stays when this process is killed."""
    owner.files_client.create_directory(path)
    try:
        yield path
    finally:
        delete_volume_directory_recursive(owner.files_client, path)
