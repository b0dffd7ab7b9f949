"""What an asset runs on: serverless, or a cluster of its own that ends with the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lakeops_assets.databricks.envelope import ENGINE, CostEnvelope
from lakeops_assets.databricks.errors import RemoteSpecError


@dataclass(frozen=True)
class Compute:
    """What one asset runs on.

    Attributes:
        serverless: Whether the workspace brings the machines.
        node_type: Type of the machines of a cluster.
        driver_node_type: Type of the driver when it is another.
        workers: Workers beside the driver; 0 for one machine that works alone.
        hours: Longest time of the run; that of the envelope when None.
        spark_version: Databricks runtime of a cluster.
        environment_version: Version of the serverless environment.
    """

    serverless: bool = False
    node_type: str = ""
    driver_node_type: str = ""
    workers: int = 0
    hours: float | None = None
    spark_version: str = "16.4.x-scala2.12"
    environment_version: str = "4"

    def __post_init__(self) -> None:
        cluster = bool(self.node_type or self.driver_node_type or self.workers)
        if self.serverless and cluster:
            raise RemoteSpecError(
                "serverless has no machines to choose; leave out node_type, driver_node_type and "
                "workers, or leave out serverless"
            )
        if not self.serverless and not self.node_type:
            raise RemoteSpecError("say what it runs on: serverless: true, or node_type: <type>")

    def __str__(self) -> str:
        if self.serverless:
            return "serverless"
        if not self.workers:
            return f"one {self.node_type}"
        return f"{self.driver_node_type or self.node_type} and {self.workers} x {self.node_type}"


def cluster_of(
    envelope: CostEnvelope, compute: Compute, policy_id: str, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return the `new_cluster` of a job, as it is submitted.

    What the policy fixes is sent too: the same cluster is what is judged before, and a policy that
    was changed by hand then refuses the job instead of changing it.

    Args:
        envelope: What it may cost.
        compute: What was chosen.
        policy_id: Policy of the workspace that it is checked with.
        tags: Tags beside those of the envelope.
    """
    section, _, name = envelope.availability[0].partition(".")
    named = {k: envelope.tag_value(v) for k, v in tags.items()}
    cluster: dict[str, Any] = {
        "policy_id": policy_id,
        "apply_policy_default_values": True,
        "spark_version": compute.spark_version,
        "node_type_id": compute.node_type,
        "num_workers": compute.workers,
        # Without it a cluster made by the API sees no volume.
        "data_security_mode": "SINGLE_USER",
        "runtime_engine": ENGINE,
        section: {name: envelope.availability[1]},
        "custom_tags": {**named, **envelope.tags},
    }
    if compute.driver_node_type:
        cluster["driver_node_type_id"] = compute.driver_node_type
    if not compute.workers:
        cluster["spark_conf"] = {
            "spark.databricks.cluster.profile": "singleNode",
            "spark.master": "local[*]",
        }
        cluster["custom_tags"]["ResourceClass"] = "SingleNode"
    return cluster
