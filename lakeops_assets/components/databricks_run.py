"""The body of an asset that is made on Databricks: check, submit, follow, report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakeops_assets.components import remote_results
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.databricks import (
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

WITHIN = "within_envelope"


@dataclass
class _Account:
    """Takes down what runs of the workspace cost as they end."""

    spec: RemoteSpec
    compute: Compute
    lakeops: LakeopsResource
    costs: list[RunCost] = field(default_factory=list)

    def add(self, run: Run) -> None:
        cost = run_cost(self.spec.envelope, self.compute, run)
        if cost is not None:
            self.costs.append(cost)
            self.lakeops.meter.elsewhere(cost.seconds, cost.dbus, cost.money)


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
    )
    context.log.info("%s runs on Databricks: %s", ", ".join(assets), compute)
    account = _Account(spec, compute, lakeops)
    done = _client(client, job, account).run(
        context=context, task=job.task(), submit_args=job.arguments()
    )
    remote = remote_results.read(done.get_custom_messages())
    if remote is None:
        raise WorkspaceError(
            f"the Databricks run of {', '.join(assets)} succeeded and left no results in "
            f"{spec.volume}; its output is in the log above. Run it again"
        )
    lakeops.meter.wrote(remote.rows_written)
    for result in remote_results.results(remote):
        if isinstance(result, dg.AssetObservation):
            context.log_event(result)  # of another asset, such as a landing folder
        else:
            yield result
    for check in context.selected_asset_check_keys:
        if check.name == WITHIN:
            yield _judged(check.asset_key, spec, compute, account)


def _client(client: Any, job: Job, account: _Account) -> Any:
    try:
        from lakeops_assets.components.databricks_pipes import DatabricksJobClient
    except ImportError as error:
        raise WorkspaceError(
            f"dagster-databricks is not there ({error}); pip install 'lakeops-assets[databricks]'"
        ) from error
    return DatabricksJobClient(
        client,
        job.spec.volume,
        job.token,
        poll_interval_seconds=job.spec.poll_seconds,
        on_end=account.add,
    )


def _judged(
    key: dg.AssetKey, spec: RemoteSpec, compute: Compute, account: _Account
) -> dg.AssetCheckResult:
    """Return whether a run stayed within what it was expected to cost at most."""
    expected, limit = estimate(spec.envelope, compute), spec.envelope.money_per_run
    seconds = sum(c.seconds for c in account.costs)
    money = sum(c.money for c in account.costs)
    hours = spec.envelope.hours_per_run
    within = seconds <= hours * 3600 and (limit is None or money <= limit)
    allowed = f"{hours:g} h" + ("" if limit is None else f" and {limit:g}")
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=WITHIN,
        passed=within,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{seconds:.0f} s on {compute} cost {money:.4g}; allowed: {allowed}",
        metadata={
            "seconds": seconds,
            "dbus": sum(c.dbus for c in account.costs),
            "money": money,
            **({} if expected is None else {"money_estimated_at_most": expected.money}),
        },
    )
