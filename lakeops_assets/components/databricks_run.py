"""The body of an asset that is made on Databricks: check, submit, follow, report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError, DagsterPipesExecutionError
from dagster._utils.interrupts import capture_interrupts

from lakeops_assets.components import remote_results
from lakeops_assets.components.costs import take_down
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.databricks import (
    INSTALL,
    Compute,
    Job,
    RemoteSpec,
    RunCost,
    WorkspaceError,
    connect,
    estimate,
    policy_in_force,
    require_within,
    run_cost,
)

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run

    from lakeops_assets.components.databricks_pipes import DatabricksJobClient

WITHIN = "within_envelope"


@dataclass
class _Account:
    """Takes down what the run of the workspace cost when it ends."""

    spec: RemoteSpec
    compute: Compute
    lakeops: LakeopsResource
    cost: RunCost | None = None

    def ended(self, run: Run | None) -> None:
        cost = None if run is None else run_cost(self.spec.envelope, self.compute, run)
        if cost is not None:
            self.cost = cost
            self.lakeops.meter.elsewhere(cost.seconds, cost.dbus, cost.money or 0.0)


def run_on_databricks(
    context: dg.AssetExecutionContext,
    lakeops: LakeopsResource,
    spec: RemoteSpec,
    compute: Compute,
) -> Iterator[Any]:
    """Make the assets of a step as one job, and yield what it found.

    Raises:
        BeyondEnvelopeError: It is beyond the envelope; nothing was submitted.
        PolicyError: The workspace does not enforce the envelope; nothing was submitted.
        WorkspaceError: The workspace refuses, or the task said nothing of what it made.
    """
    keys = sorted(context.selected_asset_keys)
    assets = tuple(key.to_user_string() for key in keys)
    require_within(spec, ", ".join(assets), compute)
    job_client = _job_client()  # before anybody is asked anything
    client = connect()
    policy = "" if compute.serverless else policy_in_force(client, spec.envelope, spec.product)
    job = Job(
        spec=spec,
        compute=compute,
        assets=assets,
        run_id=context.run_id,
        step=context.get_step_execution_context().step.key,
        retry=context.retry_number,
        policy_id=policy,
        # An actor that is told twice is the one that the product names.
        variables={"LAKEOPS_ENV": lakeops.environment, "LAKEOPS_ACTOR": lakeops.actor},
        state=lakeops.state_id(),
        code=_code(context, keys),
    )
    context.log.info("%s runs on Databricks: %s", ", ".join(assets), compute)
    account = _Account(spec, compute, lakeops)
    pipes = job_client(
        client,
        spec.volume,
        job.token,
        poll_interval_seconds=spec.poll_seconds,
        on_end=account.ended,
    )
    try:
        pipes.run(context=context, task=job.task(), submit_args=job.arguments())
    except DagsterPipesExecutionError:
        # What an asset found before it failed is told as it would be told here.
        yield from _found(context, lakeops, remote_results.read(pipes.custom_messages))
        yield from _judged(context, spec, compute, account.cost)
        raise
    except DagsterExecutionInterruptedError:
        with capture_interrupts():
            take_down(lakeops, context.run_id, job.step, spec.product, keys, "failure")
        raise
    remote = remote_results.read(pipes.custom_messages)
    if remote is None:
        raise WorkspaceError(
            f"the Databricks run of {', '.join(assets)} succeeded and left no results in "
            f"{spec.volume}; its output is in the log above. Run it again"
        )
    yield from _found(context, lakeops, remote)
    yield from _judged(context, spec, compute, account.cost)


def _found(
    context: dg.AssetExecutionContext,
    lakeops: LakeopsResource,
    remote: remote_results.Remote | None,
) -> Iterator[Any]:
    if remote is None:
        return
    lakeops.meter.wrote(remote.rows_written)
    for result in remote_results.results(remote):
        if isinstance(result, dg.AssetObservation):
            context.log_event(result)  # of another asset, such as a landing folder
        else:
            yield result


def _code(context: dg.AssetExecutionContext, keys: Sequence[dg.AssetKey]) -> dict[str, str]:
    versions = context.assets_def.code_versions_by_key
    return {
        key.to_user_string(): version for key in keys if (version := versions.get(key)) is not None
    }


def _job_client() -> type[DatabricksJobClient]:
    try:
        from lakeops_assets.components.databricks_pipes import DatabricksJobClient
    except ImportError as error:
        raise WorkspaceError(f"dagster-databricks is not there ({error}); {INSTALL}") from error
    return DatabricksJobClient


def _judged(
    context: dg.AssetExecutionContext, spec: RemoteSpec, compute: Compute, cost: RunCost | None
) -> Iterator[dg.AssetCheckResult]:
    for check in context.selected_asset_check_keys:
        if check.name == WITHIN:
            yield _within(check.asset_key, spec, compute, cost)


def _within(
    key: dg.AssetKey, spec: RemoteSpec, compute: Compute, cost: RunCost | None
) -> dg.AssetCheckResult:
    """Return whether a run stayed within what it may cost; what is not known is not within."""
    limit, hours = spec.envelope.money_per_run, spec.envelope.hours_per_run
    allowed = f"{hours:g} h" + ("" if limit is None else f" and {limit:g}")
    if cost is None:
        return dg.AssetCheckResult(
            asset_key=key,
            check_name=WITHIN,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"the workspace does not say how long the run took; allowed: {allowed}",
        )
    within = cost.seconds <= hours * 3600
    if limit is not None:
        within = within and cost.money is not None and cost.money <= limit
    expected = estimate(spec.envelope, compute)
    price = "no price is known" if cost.money is None else f"cost {cost.money:.4g}"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=WITHIN,
        passed=within,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{cost.seconds:.0f} s on {compute}, {price}; allowed: {allowed}",
        metadata={
            "seconds": cost.seconds,
            "dbus": cost.dbus,
            **({} if cost.money is None else {"money": cost.money}),
            **({} if expected is None else {"dbus_estimated_at_most": expected.dbus}),
            **(
                {}
                if expected is None or expected.money is None
                else {"money_estimated_at_most": expected.money}
            ),
        },
    )
