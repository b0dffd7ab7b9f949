"""What a run will cost at most, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeops_assets.databricks.compute import Compute, cluster_of
from lakeops_assets.databricks.envelope import CostEnvelope, dbus_per_hour, machines

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run


@dataclass(frozen=True)
class Estimate:
    """What a run costs if it takes all the time it may.

    Attributes:
        hours: Time it may take.
        dbus_per_hour: Units in an hour.
        dbus: Units in all.
        money: What units and machines cost.
    """

    hours: float
    dbus_per_hour: float
    dbus: float
    money: float


@dataclass(frozen=True)
class RunCost:
    """What a run cost, by the durations that the workspace reports and the envelope's prices.

    Attributes:
        seconds: Time of the task; on a cluster with the start and the end of its machines.
        dbus: Units in all.
        money: What units and machines cost.
    """

    seconds: float
    dbus: float
    money: float


def estimate(envelope: CostEnvelope, compute: Compute) -> Estimate | None:
    """Return what a run costs at most; None when the envelope has no price for what it runs on."""
    hours = envelope.hours_per_run if compute.hours is None else compute.hours
    rate = _hourly(envelope, compute)
    return None if rate is None else Estimate(hours, rate[0], rate[0] * hours, rate[1] * hours)


def run_cost(envelope: CostEnvelope, compute: Compute, run: Run) -> RunCost | None:
    """Return what a run cost; None when the envelope has no price for what it ran on.

    The invoice is the vendor's: `system.billing.usage` has it, by `usage_metadata.job_run_id`.
    """
    milliseconds = 0
    for task in run.tasks or ():
        milliseconds += task.execution_duration or 0
        if not compute.serverless:
            milliseconds += (task.setup_duration or 0) + (task.cleanup_duration or 0)
    rate, seconds = _hourly(envelope, compute), milliseconds / 1000
    if rate is None:
        return None
    return RunCost(seconds, rate[0] * seconds / 3600, rate[1] * seconds / 3600)


def _hourly(envelope: CostEnvelope, compute: Compute) -> tuple[float, float] | None:
    """Return units and money of an hour."""
    if compute.serverless:
        units, price = envelope.serverless_dbus_per_hour, envelope.money_per_serverless_dbu
        if units is None:
            return None
        return units, units * (envelope.money_per_dbu if price is None else price)
    cluster = cluster_of(envelope, compute, "", {})
    taken = dbus_per_hour(envelope, cluster)
    if taken is None:
        return None
    rent = sum(envelope.node_types[name].money_per_hour for name in machines(cluster))
    return taken, taken * envelope.money_per_dbu + rent
