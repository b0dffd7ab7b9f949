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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError, DagsterPipesExecutionError
from dagster._core.pipes.client import PipesClientCompletedInvocation
from dagster._core.pipes.context import PipesSession
from dagster._core.pipes.utils import open_pipes_session
from dagster._utils.interrupts import capture_interrupts, pop_captured_interrupt
from dagster_databricks.pipes import (
    PipesDatabricksServerlessClient,
    PipesUnityCatalogVolumesContextInjector,
    PipesUnityCatalogVolumesMessageReader,
    delete_volume_directory_recursive,
)
from dagster_pipes import (
    PipesBlobStoreMessageWriter,
    PipesContextData,
    PipesExtras,
    PipesParams,
)
from databricks.sdk.errors import DatabricksError
from databricks.sdk.service import jobs

from lakeops_assets.databricks import WorkspaceError, refusal, talking

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

_Context: TypeAlias = "dg.OpExecutionContext | dg.AssetExecutionContext"
_T = TypeVar("_T")

# Of an output that is longer, the end is what tells why it failed.
_MOST_OUTPUT = 20_000


class DatabricksJobClient(PipesDatabricksServerlessClient):
    """Runs a task of one asset, serverless or on a cluster of its own, and follows it to its end.

    Args:
        client: Client of the workspace.
        volume_path: Volume that the context and the messages are in.
        token: Name of this attempt; the same for whoever continues it after a crash.
        poll_interval_seconds: How often the workspace is asked.
        on_end: Called once with the run of the workspace when it has ended, however it ended; with
            None when the workspace does not say how it is.

    Attributes:
        custom_messages: What the task of the last run said, also one that failed.
    """

    def __init__(
        self,
        client: WorkspaceClient,
        volume_path: str,
        token: str,
        *,
        poll_interval_seconds: float = 5,
        on_end: Callable[[jobs.Run | None], None] = lambda run: None,
    ) -> None:
        folder = f"{volume_path}/lakeops-runs/{token}"
        self._injector = _ContextInFolder(client=client, volume_path=folder)
        self._reader = _MessagesInFolder(
            client=client,
            volume_path=folder,
            interval=poll_interval_seconds,
            include_stdio_in_messages=False,
        )
        super().__init__(
            client,
            volume_path,
            context_injector=self._injector,
            message_reader=self._reader,
            poll_interval_seconds=poll_interval_seconds,
        )
        self._on_end = on_end
        self._errors: list[str] = []  # what tasks of the run said
        self.custom_messages: Sequence[Any] = ()

    def run(  # type: ignore[override]  # takes what its parent takes, which narrows its own
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        extras: PipesExtras | None = None,
        task: jobs.SubmitTask,
        submit_args: Mapping[str, Any] | None = None,
    ) -> PipesClientCompletedInvocation:
        """Submit the task, and return when it has succeeded.

        Raises:
            DagsterExecutionInterruptedError: The run was interrupted; the job was cancelled.
            DagsterPipesExecutionError: The task failed.
            PolicyBreachError: The policy of the workspace refuses the cluster.
            WorkspaceError: The workspace refuses something else, or does not answer any more.
        """
        arguments = submit_args or {}
        with (
            self._heard() as heard,
            open_pipes_session(
                context=context,
                extras=extras,
                context_injector=self._injector,
                message_reader=self._reader,
            ) as session,
        ):
            heard.append(session)
            shape = self._enrich_submit_task_dict(context, session, task.as_dict())
            # Tags of a task exist in no request; the run's name and the cluster's tags say it.
            shape.pop("tags", None)
            with _uninterrupted() as interrupt:
                run_id = self._submit(jobs.SubmitTask.from_dict(shape), arguments)
            self._follow(context, run_id, interrupted=interrupt.came)
        return PipesClientCompletedInvocation(
            session, metadata=self._extract_dagster_metadata(run_id)
        )

    @contextmanager
    def _heard(self) -> Iterator[list[PipesSession]]:
        """Keep the messages of a session that is over, whose last ones come when it is closed."""
        sessions: list[PipesSession] = []
        try:
            yield sessions
        finally:
            self.custom_messages = [m for s in sessions for m in s.get_custom_messages()]

    def _submit(self, task: jobs.SubmitTask, arguments: Mapping[str, Any]) -> int:
        with talking(f"run {arguments.get('run_name', 'a job')!r} on Databricks"):
            return self.client.jobs.submit(tasks=[task], **arguments).bind()["run_id"]

    def _follow(self, context: _Context, run_id: int, *, interrupted: bool) -> None:
        try:
            if interrupted:
                raise DagsterExecutionInterruptedError  # noqa: TRY301  # as if it came now
            self._poll_til_success(context, run_id)
        except DagsterExecutionInterruptedError:
            context.log.warning("interrupted: cancelling the Databricks run %s", run_id)
            self._cancelled(context, run_id)
            raise
        except DagsterPipesExecutionError as error:
            run = self._ended(context, run_id)
            raise self._explained(error, run_id, run) from error
        except (DatabricksError, OSError) as error:
            # A retry would be another job beside one that nobody follows.
            gone = self._cancelled(context, run_id)
            what = "it was cancelled" if gone else "it may still run, so cancel it there"
            raise WorkspaceError(
                f"the workspace stopped answering about the Databricks run {run_id}: {error}; "
                f"{what} before you run the step again"
            ) from error
        self._ended(context, run_id)

    def _cancelled(self, context: _Context, run_id: int) -> bool:
        """Cancel a run and take down what it cost; return whether the workspace did it."""
        try:
            with _uninterrupted():
                self.client.jobs.cancel_run(run_id)
            self._poll_til_terminating(run_id)
        except (DatabricksError, OSError) as error:
            context.log.error("the Databricks run %s is not cancelled: %s", run_id, error)  # noqa: TRY400
            self._on_end(None)
            return False
        except DagsterExecutionInterruptedError:
            self._on_end(None)  # a second time: whoever asks does not want to wait
            raise
        with _uninterrupted():
            self._ended(context, run_id)
        return True

    def _ended(self, context: _Context, run_id: int) -> jobs.Run | None:
        """Tell what a run took, log what it wrote, and return it; None when nobody says."""
        run = self._known(context, "what the run is", lambda: self.client.jobs.get_run(run_id))
        self._on_end(run)
        for output in self._outputs(context, run):
            if output.logs:
                text = output.logs[-_MOST_OUTPUT:].rstrip()
                context.log.info("output of the Databricks run %s:\n%s", run_id, text)
            if output.error_trace:
                context.log.error("%s", output.error_trace[-_MOST_OUTPUT:].rstrip())
            if output.error:
                context.log.error("%s", output.error)
                self._errors.append(output.error)
        return run

    def _outputs(self, context: _Context, run: jobs.Run | None) -> Iterator[jobs.RunOutput]:
        for task in (run.tasks if run is not None else None) or ():
            number = task.run_id
            if number is not None:
                output = self._known(
                    context,
                    f"the output of {task.task_key}",
                    partial(self.client.jobs.get_run_output, number),
                )
                if output is not None:
                    yield output

    def _known(self, context: _Context, what: str, ask: Callable[[], _T]) -> _T | None:
        """Return what the workspace says of a run that is over, whose result stands without it."""
        try:
            return ask()
        except (DatabricksError, OSError) as error:
            context.log.warning("the workspace does not say %s: %s", what, error)
            return None

    def _explained(
        self, error: DagsterPipesExecutionError, run_id: int, run: jobs.Run | None
    ) -> Exception:
        """Return the failure with what the task itself says; a policy's refusal with its field."""
        if run is None:
            return DagsterPipesExecutionError(f"the Databricks run {run_id} failed: {error}")
        state = run.state.state_message if run.state else None
        if state and "Validation failed for" in state:
            return refusal(f"run {run.run_name!r} on Databricks", state)
        reason = "; ".join(self._errors) or state or str(error)
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
