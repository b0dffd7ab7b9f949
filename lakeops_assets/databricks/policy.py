"""An envelope as a cluster policy of the workspace: compile, plan, apply.

Source of the form: Databricks' cluster policy definition, a JSON object of attribute -> limitation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakeops_assets.databricks.envelope import ENGINE, POOLS, CostEnvelope
from lakeops_assets.databricks.errors import PolicyError
from lakeops_assets.databricks.workspace import talking

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.compute import Policy


@dataclass(frozen=True)
class Change:
    """One attribute of a policy that becomes another.

    Attributes:
        attribute: Path of the attribute, such as `node_type_id`.
        before: Limitation that is there; None when there is none.
        after: Limitation that is wanted; None when it goes.
    """

    attribute: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True)
class PolicyPlan:
    """What has to be done for the workspace to have a policy.

    Attributes:
        name: Name of the policy.
        action: `create`, `edit` or `nothing`.
        policy_id: Identifier of the policy that is there; None when there is none.
        definition: Definition that is wanted.
        changes: What becomes different, by attribute.
    """

    name: str
    action: Literal["create", "edit", "nothing"]
    policy_id: str | None
    definition: Mapping[str, Mapping[str, Any]]
    changes: tuple[Change, ...]


def policy_definition(envelope: CostEnvelope) -> dict[str, dict[str, Any]]:
    """Return the definition of the policy that allows what the envelope allows, and no more.

    It says nothing of `autotermination_minutes`: a cluster of a job ends with the job, and the
    jobs API does not support the attribute. What ends a job that hangs is its timeout.
    """
    nodes = sorted(envelope.node_types)
    workers = {"type": "range", "minValue": 0, "maxValue": envelope.max_workers, "isOptional": True}
    path, availability = envelope.availability
    return {
        "cluster_type": {"type": "fixed", "value": "job"},
        "dbus_per_hour": {"type": "range", "maxValue": envelope.dbus_per_hour},
        "node_type_id": {"type": "allowlist", "values": nodes},
        "driver_node_type_id": {"type": "allowlist", "values": nodes, "isOptional": True},
        **{pool: {"type": "forbidden", "hidden": True} for pool in POOLS},
        "num_workers": dict(workers),
        "autoscale.min_workers": dict(workers),
        "autoscale.max_workers": dict(workers),
        "runtime_engine": {"type": "fixed", "value": ENGINE, "hidden": True},
        path: {"type": "fixed", "value": availability},
        **{f"custom_tags.{k}": {"type": "fixed", "value": v} for k, v in envelope.tags.items()},
    }


def plan_policy(envelope: CostEnvelope, there: Policy | None) -> PolicyPlan:
    """Return what has to be done.

    Args:
        envelope: What is wanted.
        there: The policy of that name in the workspace.
    """
    wanted = policy_definition(envelope)
    stored = json.loads(there.definition or "{}") if there is not None else {}
    changes = tuple(
        Change(attribute, stored.get(attribute), wanted.get(attribute))
        for attribute in sorted({*stored, *wanted})
        if stored.get(attribute) != wanted.get(attribute)
    )
    if there is None:
        return PolicyPlan(envelope.name, "create", None, wanted, changes)
    action: Literal["edit", "nothing"] = "edit" if changes else "nothing"
    return PolicyPlan(envelope.name, action, there.policy_id, wanted, changes)


def stored_policy(client: WorkspaceClient, name: str) -> Policy | None:
    """Return the policy of that name; None when the workspace shows none.

    Raises:
        WorkspaceError: The workspace does not answer.
    """
    with talking("list cluster policies"):
        return next((p for p in client.cluster_policies.list() if p.name == name), None)


def apply_policy(client: WorkspaceClient, plan: PolicyPlan) -> str:
    """Do what a plan says and return the identifier of the policy.

    Raises:
        WorkspaceError: The workspace refuses.
    """
    definition = json.dumps(plan.definition)
    if plan.policy_id is None:
        with talking(f"create the cluster policy {plan.name}"):
            made = client.cluster_policies.create(name=plan.name, definition=definition)
        return str(made.policy_id)
    if plan.action == "edit":
        with talking(f"edit the cluster policy {plan.name}"):
            client.cluster_policies.edit(plan.policy_id, name=plan.name, definition=definition)
    return plan.policy_id


def policy_in_force(client: WorkspaceClient, envelope: CostEnvelope, product: str) -> str:
    """Return the identifier of the policy that enforces an envelope.

    Raises:
        PolicyError: The workspace has none, or one that allows something else.
        WorkspaceError: The workspace does not answer.
    """
    plan = plan_policy(envelope, stored_policy(client, envelope.name))
    if plan.action == "nothing" and plan.policy_id is not None:
        return plan.policy_id
    command = f"`lakeops databricks policy {product} --apply`"
    if plan.action == "create":
        raise PolicyError(
            f"the workspace has no cluster policy {envelope.name}; {command} creates it"
        )
    different = ", ".join(change.attribute for change in plan.changes)
    raise PolicyError(
        f"the cluster policy {envelope.name} of the workspace is not what the envelope says: "
        f"{different}; {command} mends it"
    )
