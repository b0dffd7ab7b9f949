"""The cluster policy of a product and what its jobs may cost, from its envelope."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lakeops_assets.commands.run import UnknownProductError
from lakeops_assets.components.databricks import remote_specs
from lakeops_assets.databricks import (
    Breach,
    Estimate,
    PolicyPlan,
    RemoteSpec,
    apply_policy,
    breaches,
    connect,
    estimate,
    plan_policy,
    policy_definition,
    stored_policy,
)
from lakeops_assets.definitions import defs


@dataclass(frozen=True)
class JobEstimate:
    """What one asset's job may cost.

    Attributes:
        asset: Its key.
        runs_on: What it runs on, in words.
        estimate: What it costs at most; None when the envelope has no price for it.
        breaches: How it is beyond the envelope.
    """

    asset: str
    runs_on: str
    estimate: Estimate | None
    breaches: tuple[Breach, ...]


def definition(product: str) -> dict[str, Any]:
    """Return the definition of a product's cluster policy.

    Raises:
        UnknownProductError: The product has no jobs on Databricks.
    """
    return policy_definition(_spec(product).envelope)


def plan(product: str) -> PolicyPlan:
    """Return what has to be done for the workspace to enforce the envelope.

    Raises:
        UnknownProductError: The product has no jobs on Databricks.
        WorkspaceError: The workspace does not answer.
    """
    envelope = _spec(product).envelope
    return plan_policy(envelope, stored_policy(connect(), envelope.name))


def apply(planned: PolicyPlan) -> PolicyPlan:
    """Do what a plan says, and return the plan that is left, which does nothing.

    Raises:
        WorkspaceError: The workspace refuses.
    """
    number = apply_policy(connect(), planned)
    return replace(planned, action="nothing", policy_id=number, changes=())


def estimates(product: str) -> list[JobEstimate]:
    """Return what each job of a product may cost; no workspace is asked.

    Raises:
        UnknownProductError: The product has no jobs on Databricks.
    """
    spec = _spec(product)
    return [
        JobEstimate(
            f"{product}/{name}",
            str(compute),
            estimate(spec.envelope, compute),
            tuple(breaches(spec, compute)),
        )
        for name, compute in spec.runs_on.items()
    ]


def _spec(product: str) -> RemoteSpec:
    found = {spec.product: spec for spec in remote_specs(defs().resolve_asset_graph())}
    if product not in found:
        raise UnknownProductError(
            f"{product} has no jobs on Databricks; products that have: "
            f"{', '.join(sorted(found)) or 'none'}. The component Databricks says which assets run "
            "there"
        )
    return found[product]
