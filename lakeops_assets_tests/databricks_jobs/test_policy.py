"""A cluster policy is planned, applied and found again as it was wanted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("databricks.sdk")

from databricks_jobs.conftest import Workspace
from databricks_jobs.test_envelope import ENVELOPE

from lakeops_assets.databricks import (
    CostEnvelope,
    PolicyError,
    apply_policy,
    plan_policy,
    policy_in_force,
    stored_policy,
)


@pytest.fixture
def envelope(workspace: Workspace) -> Iterator[CostEnvelope]:
    """An envelope whose name nobody else has; a real workspace is left as it was."""
    found = replace(ENVELOPE, name=f"lakeops test {uuid.uuid4()}")
    yield found
    there = stored_policy(workspace.client, found.name)
    if there is not None:
        workspace.client.cluster_policies.delete(there.policy_id)
        assert stored_policy(workspace.client, found.name) is None


def test_a_policy_is_found_again_as_it_was_wanted(
    workspace: Workspace, envelope: CostEnvelope
) -> None:
    client = workspace.client
    with pytest.raises(PolicyError, match="`lakeops databricks policy shop --apply` creates it"):
        policy_in_force(client, envelope, "shop")
    made = apply_policy(client, plan_policy(envelope, stored_policy(client, envelope.name)))
    assert policy_in_force(client, envelope, "shop") == made
    assert plan_policy(envelope, stored_policy(client, envelope.name)).changes == ()

    wider = replace(envelope, max_workers=6, spot=False)
    with pytest.raises(PolicyError, match=r"says: autoscale\.max_workers, .*aws_attributes"):
        policy_in_force(client, wider, "shop")
    planned = plan_policy(wider, stored_policy(client, envelope.name))
    assert planned.action == "edit"
    assert {c.attribute for c in planned.changes} == {
        "num_workers",
        "autoscale.min_workers",
        "autoscale.max_workers",
        "aws_attributes.availability",
    }
    assert apply_policy(client, planned) == made
    assert policy_in_force(client, wider, "shop") == made
