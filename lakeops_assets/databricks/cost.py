"""What a run will cost at most, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeops_assets.databricks.compute import Compute, cluster_of
from lakeops_assets.databricks.envelope import CostEnvelope, dbus_per_hour, machines

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run, RunTask


@dataclass(frozen=True)
class Estimate:
    """What a run costs if it takes all the time it may.

    Attributes:
        hours: Time it may take.
        dbus_per_hour: Units in an hour.
        dbus: Units in all.
        money: What units and machines cost; None when the envelope lacks a price.
    """

    hours: float
    dbus_per_hour: float
    dbus: float
    money: float | None


@dataclass(frozen=True)
class RunCost:
    """What a run cost, by the durations that the workspace reports and the envelope's prices.

    Attributes:
        seconds: Time of the task; on a cluster with the start and the end of its machines.
        dbus: Units in all.
        money: What units and machines cost; None when the envelope lacks a price.
    """

    seconds: float
    dbus: float
    money: float | None


def estimate(envelope: CostEnvelope, compute: Compute) -> Estimate | None:
    """Return what a run costs at most; None when nothing is known of what it runs on."""
    hours = envelope.hours_per_run if compute.hours is None else compute.hours
    units = _units(envelope, compute)
    if units is None:
        return None
    price = _price(envelope, compute, units)
    return Estimate(hours, units, units * hours, None if price is None else price * hours)


def run_cost(envelope: CostEnvelope, compute: Compute, run: Run) -> RunCost | None:
    """Return what a run cost; None when the workspace says no time, or nothing is known of it.

    The invoice is the vendor's: `system.billing.usage` has it, by `usage_metadata.job_run_id`.
    """
    seconds, units = run_seconds(compute, run), _units(envelope, compute)
    if seconds is None or units is None:
        return None
    hours = seconds / 3600
    price = _price(envelope, compute, units)
    return RunCost(seconds, units * hours, None if price is None else price * hours)


def run_seconds(compute: Compute, run: Run) -> float | None:
    """Return the time that machines had for a run; None when the workspace does not say.

    Durations of the tasks come first. A run that was cancelled may have none of them, and then it
    is the time from its start to its end.
    """
    parts = [_milliseconds(compute, task) for task in run.tasks or ()]
    known = [part for part in parts if part]
    if known:
        return sum(known) / 1000
    if run.run_duration:
        return run.run_duration / 1000
    if run.start_time and run.end_time and run.end_time > run.start_time:
        return (run.end_time - run.start_time) / 1000
    return None


def _milliseconds(compute: Compute, task: RunTask) -> int:
    taken = task.execution_duration or 0
    if not compute.serverless:
        taken += (task.setup_duration or 0) + (task.cleanup_duration or 0)
    if not taken and task.start_time and task.end_time:
        taken = max(task.end_time - task.start_time, 0)
    return taken


def _units(envelope: CostEnvelope, compute: Compute) -> float | None:
    """Return the units of an hour."""
    if compute.serverless:
        return envelope.serverless_dbus_per_hour
    return dbus_per_hour(envelope, cluster_of(envelope, compute, "", {}))


def _price(envelope: CostEnvelope, compute: Compute, units: float) -> float | None:
    """Return the money of an hour."""
    if compute.serverless:
        per_unit = envelope.money_per_serverless_dbu
        per_unit = envelope.money_per_dbu if per_unit is None else per_unit
        return None if per_unit is None else units * per_unit
    types = machines(cluster_of(envelope, compute, "", {}))
    rents = [envelope.node_types[name].money_per_hour for name in types]
    known = [rent for rent in rents if rent is not None]
    if envelope.money_per_dbu is None or len(known) < len(rents):
        return None
    return units * envelope.money_per_dbu + sum(known)
