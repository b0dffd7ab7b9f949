"""What the jobs of a product may cost, as a value.

The envelope is enforced twice: here before anything is submitted, and by the workspace through the
cluster policy that `policy.policy_definition` compiles from the same value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from lakeops_assets.databricks.errors import EnvelopeError

Cloud: TypeAlias = Literal["aws", "azure", "gcp"]

# Attribute of a cluster that says where its machines come from, and its values without and with
# spot machines. Spot falls back: a job waits for no cheap machine.
AVAILABILITY: dict[str, tuple[str, str, str]] = {
    "aws": ("aws_attributes.availability", "ON_DEMAND", "SPOT_WITH_FALLBACK"),
    "azure": ("azure_attributes.availability", "ON_DEMAND_AZURE", "SPOT_WITH_FALLBACK_AZURE"),
    "gcp": ("gcp_attributes.availability", "ON_DEMAND_GCP", "PREEMPTIBLE_WITH_FALLBACK_GCP"),
}
# A pool brings machines of its own type, past the list of node types.
POOLS = ("instance_pool_id", "driver_instance_pool_id")
# Photon takes more DBUs of the same machine, so it is not what the table of prices is about.
ENGINE = "STANDARD"


@dataclass(frozen=True)
class NodeType:
    """What a machine of one type takes in an hour.

    Attributes:
        dbus_per_hour: Databricks units of a job on it, from the vendor's list.
        money_per_hour: Price of the machine itself, from the cloud's list; None when it is not
            known, 0 when somebody else pays for it.
    """

    dbus_per_hour: float
    money_per_hour: float | None = None


@dataclass(frozen=True)
class CostEnvelope:
    """What one run may use.

    Attributes:
        name: Name of the cluster policy in the workspace.
        dbus_per_hour: Most units that a cluster, with its driver, may take in an hour.
        node_types: Machines that may be used, with what they take.
        max_workers: Most workers of a cluster; 0 allows machines that work alone.
        hours_per_run: Longest time a run may take; the workspace ends it then.
        money_per_run: Most a run may cost; None does not limit it. It needs the prices below.
        money_per_dbu: Price of a unit of a job on a cluster; None when it is not known.
        money_per_serverless_dbu: Price of a unit of a serverless job; the same when None.
        serverless_dbus_per_hour: Units that a serverless job is taken to use in an hour, since it
            has no machines to count. None allows no serverless job: its cost would be a guess.
        spot: Whether machines are spot machines.
        cloud: Cloud of the workspace.
        tags: Tags that every cluster carries.
    """

    name: str
    dbus_per_hour: float
    node_types: Mapping[str, NodeType]
    max_workers: int
    hours_per_run: float
    money_per_run: float | None = None
    money_per_dbu: float | None = None
    money_per_serverless_dbu: float | None = None
    serverless_dbus_per_hour: float | None = None
    spot: bool = True
    cloud: Cloud = "aws"
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise EnvelopeError("an envelope needs a name: the cluster policy is called so")
        if not self.node_types:
            raise EnvelopeError(f"the envelope {self.name} allows no node type")
        if self.cloud not in AVAILABILITY:
            there = ", ".join(AVAILABILITY)
            raise EnvelopeError(f"{self.cloud!r} is no cloud of Databricks; use: {there}")
        self._check_numbers()
        missing = self._missing_prices() if self.money_per_run is not None else []
        if missing:
            raise EnvelopeError(
                f"the envelope {self.name} limits money_per_run and has no {', '.join(missing)}, "
                "so no run can be compared with it; take prices from the vendor's and the cloud's "
                "lists"
            )
        smallest = min(t.dbus_per_hour for t in self.node_types.values())
        if smallest > self.dbus_per_hour:
            raise EnvelopeError(
                f"the envelope {self.name} allows {self.dbus_per_hour:g} DBUs an hour, and the "
                f"smallest of its machines alone takes {smallest:g}"
            )

    def _check_numbers(self) -> None:
        """Refuse what no limit and no price can be; of NaN every comparison says that all is well.

        Raises:
            EnvelopeError: A number is none that can be compared with.
        """
        limits = {
            "dbus_per_hour": self.dbus_per_hour,
            "hours_per_run": self.hours_per_run,
            "money_per_run": self.money_per_run,
            "serverless_dbus_per_hour": self.serverless_dbus_per_hour,
            **{f"node_types.{n}.dbus_per_hour": t.dbus_per_hour for n, t in self._nodes()},
        }
        prices = {
            "money_per_dbu": self.money_per_dbu,
            "money_per_serverless_dbu": self.money_per_serverless_dbu,
            **{f"node_types.{n}.money_per_hour": t.money_per_hour for n, t in self._nodes()},
        }
        for name, value in limits.items():
            if value is not None and not 0 < value < float("inf"):
                raise EnvelopeError(f"{name} of the envelope {self.name} is {value}: not above 0")
        for name, value in prices.items():
            if value is not None and not 0 <= value < float("inf"):
                raise EnvelopeError(f"{name} of the envelope {self.name} is {value}: no price")
        if self.max_workers < 0:
            raise EnvelopeError(f"max_workers of the envelope {self.name} is below 0")

    def _missing_prices(self) -> list[str]:
        """Return which prices a limit of money needs and does not have.

        A unit costs something, so a price of 0 is a missing one; a machine may cost nothing, such
        as one that the vendor pays for.
        """
        missing = [] if self.money_per_dbu else ["money_per_dbu"]
        if self.serverless_dbus_per_hour is not None and self.money_per_serverless_dbu == 0:
            missing.append("money_per_serverless_dbu")
        return missing + [
            f"node_types.{name}.money_per_hour"
            for name, node in self._nodes()
            if node.money_per_hour is None
        ]

    def _nodes(self) -> list[tuple[str, NodeType]]:
        return list(self.node_types.items())

    @property
    def availability(self) -> tuple[str, str]:
        """Path and value of the attribute that says whether machines are spot machines."""
        path, on_demand, spot = AVAILABILITY[self.cloud]
        return path, spot if self.spot else on_demand

    def tag_value(self, text: str) -> str:
        """Return a text as the cloud takes it for the value of a tag."""
        return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63] if self.cloud == "gcp" else text[:255]


@dataclass(frozen=True)
class Breach:
    """One way in which something is beyond its envelope.

    Attributes:
        field: Field of the cluster or of the run, such as `node_type_id`.
        reason: What it is, and what is allowed.
    """

    field: str
    reason: str


def cluster_breaches(envelope: CostEnvelope, cluster: Mapping[str, Any]) -> list[Breach]:
    """Return how a `new_cluster` is beyond the envelope; empty when it is within.

    It is judged as it is submitted. What it leaves out the policy fills in, but the node type.
    """
    return [*_machines(envelope, cluster), *_size(envelope, cluster), *_fixed(envelope, cluster)]


def _machines(envelope: CostEnvelope, cluster: Mapping[str, Any]) -> Iterator[Breach]:
    allowed = ", ".join(sorted(envelope.node_types))
    node = cluster.get("node_type_id")
    if node not in envelope.node_types:
        what = "missing" if node is None else repr(node)
        yield Breach("node_type_id", f"is {what}; allowed: {allowed}")
    driver = cluster.get("driver_node_type_id")
    if driver is not None and driver not in envelope.node_types:
        yield Breach("driver_node_type_id", f"is {driver!r}; allowed: {allowed}")
    for pool in POOLS:
        if pool in cluster:
            yield Breach(pool, "is set; a pool may hold machines that are not allowed")


def _size(envelope: CostEnvelope, cluster: Mapping[str, Any]) -> Iterator[Breach]:
    scale = cluster.get("autoscale") or {}
    sizes = {
        "num_workers": cluster.get("num_workers"),
        "autoscale.min_workers": scale.get("min_workers"),
        "autoscale.max_workers": scale.get("max_workers"),
    }
    for path, workers in sizes.items():
        if workers is not None and not 0 <= workers <= envelope.max_workers:
            yield Breach(path, f"is {workers}; at most {envelope.max_workers} workers are allowed")
    taken = dbus_per_hour(envelope, cluster)
    if taken is not None and taken > envelope.dbus_per_hour:
        yield Breach(
            "dbus_per_hour", f"would be {taken:g}; at most {envelope.dbus_per_hour:g} are allowed"
        )


def _fixed(envelope: CostEnvelope, cluster: Mapping[str, Any]) -> Iterator[Breach]:
    section, _, name = envelope.availability[0].partition(".")
    tags = cluster.get("custom_tags") or {}
    fixed = [
        (
            envelope.availability[0],
            (cluster.get(section) or {}).get(name),
            envelope.availability[1],
        ),
        ("runtime_engine", cluster.get("runtime_engine"), ENGINE),
        *((f"custom_tags.{k}", tags.get(k), v) for k, v in envelope.tags.items()),
    ]
    for path, value, wanted in fixed:
        if value is not None and value != wanted:
            yield Breach(path, f"is {value!r}; it has to be {wanted!r}")


def machines(cluster: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the node types of a cluster at its largest, the driver's first."""
    node = cluster.get("node_type_id") or ""
    scale = cluster.get("autoscale") or {}
    workers = cluster.get("num_workers") or scale.get("max_workers") or 0
    return (cluster.get("driver_node_type_id") or node, *[node] * workers)


def dbus_per_hour(envelope: CostEnvelope, cluster: Mapping[str, Any]) -> float | None:
    """Return the units of a cluster in an hour; None when a machine of it is not in the table."""
    types = machines(cluster)
    if any(name not in envelope.node_types for name in types):
        return None
    return sum(envelope.node_types[name].dbus_per_hour for name in types)
