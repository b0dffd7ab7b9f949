"""What a product says about its jobs, and whether a run of it is within its envelope."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lakeops_assets.databricks.compute import Compute, cluster_of
from lakeops_assets.databricks.cost import estimate
from lakeops_assets.databricks.envelope import Breach, CostEnvelope, cluster_breaches
from lakeops_assets.databricks.errors import BeyondEnvelopeError, RemoteSpecError

# Parameters of a task are shown to everybody who may see the run.
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|_KEY$")
_SECRET_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")


@dataclass(frozen=True)
class RemoteSpec:
    """The jobs of one product.

    Attributes:
        product: Product.
        volume: Volume that contexts and messages of runs are in, `/Volumes/<c>/<s>/<v>`.
        wheel: Wheel of this package, on a volume.
        variables: Environment of the tasks, among them `LAKEOPS_HOME`.
        envelope: What a run may cost.
        runs_on: Table or model -> what its job runs on.
        poll_seconds: How often the workspace is asked how a run is.
        dependencies: Further packages of the tasks, as requirements.
    """

    product: str
    volume: str
    wheel: str
    variables: Mapping[str, str]
    envelope: CostEnvelope
    runs_on: Mapping[str, Compute]
    poll_seconds: float = 5.0
    dependencies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, path in (("volume", self.volume), ("wheel", self.wheel)):
            if not re.fullmatch(r"/Volumes/[^/]+/[^/]+/[^/]+(/.+)?", path):
                raise RemoteSpecError(
                    f"{name} of {self.product} is {path!r}; it has to be on a volume: "
                    "/Volumes/<catalog>/<schema>/<volume>/..."
                )
        if not self.wheel.endswith(".whl"):
            raise RemoteSpecError(f"wheel of {self.product} is {self.wheel!r}, which is no wheel")
        secret = sorted(
            name
            for name, value in self.variables.items()
            if _SECRET.search(name.upper()) or _SECRET_IN_URL.search(value)
        )
        if secret:
            raise RemoteSpecError(
                f"variables of {self.product} hold {', '.join(secret)}: whoever sees a run sees "
                "its parameters; let the task's identity or a secret scope give access instead"
            )


def breaches(spec: RemoteSpec, compute: Compute) -> list[Breach]:
    """Return how a run is beyond the envelope; empty when it is within."""
    envelope, found = spec.envelope, []
    if compute.serverless:
        units = envelope.serverless_dbus_per_hour
        if units is None:
            reason = "is not allowed: the envelope has no serverless_dbus_per_hour to count with"
            found.append(Breach("serverless", reason))
        elif units > envelope.dbus_per_hour:
            reason = f"would be {units:g}; at most {envelope.dbus_per_hour:g} are allowed"
            found.append(Breach("dbus_per_hour", reason))
    else:
        found += cluster_breaches(envelope, cluster_of(envelope, compute, "", {}))
    hours = envelope.hours_per_run if compute.hours is None else compute.hours
    if not 0 < hours <= envelope.hours_per_run:
        found.append(
            Breach("hours", f"is {hours:g}; at most {envelope.hours_per_run:g} are allowed")
        )
    expected = estimate(envelope, compute)
    limit = envelope.money_per_run
    if expected is None and not found:
        found.append(Breach("node_types", "do not say what it takes in an hour"))
    if expected is None or limit is None:
        return found
    if expected.money is None:
        found.append(Breach("money_per_run", "is limited, and the envelope has no price for it"))
    elif expected.money > limit:
        reason = f"may come to {expected.money:.4g} in {expected.hours:g} h; at most {limit:g}"
        found.append(Breach("money_per_run", reason))
    return found


def require_within(spec: RemoteSpec, asset: str, compute: Compute) -> None:
    """Refuse a run that is beyond the envelope.

    Raises:
        BeyondEnvelopeError: It is; names each field.
    """
    found = breaches(spec, compute)
    if found:
        what = "; ".join(f"{b.field} {b.reason}" for b in found)
        raise BeyondEnvelopeError(
            f"{asset} was not submitted to Databricks: it is beyond the envelope "
            f"{spec.envelope.name}: {what}",
            [b.field for b in found],
        )
