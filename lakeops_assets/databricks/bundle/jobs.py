"""The job of a product: one task per step, in the shapes that single assets are submitted in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakeops_assets.databricks.bundle.errors import BundleError
from lakeops_assets.databricks.bundle.facts import BundleFacts, Product, Step
from lakeops_assets.databricks.compute import Compute, cluster_of
from lakeops_assets.databricks.remote import RemoteSpec, breaches, require_within
from lakeops_assets.databricks.submit import ENTRY_POINT, PACKAGE

STATE = "/Volumes/${var.catalog}/lakeops/state"
LANDING = "/Volumes/${var.catalog}/lakeops/landing"
# Of a product that says nothing about its jobs; it has no envelope to take a limit from.
HOURS = 4.0
SERVERLESS = Compute(serverless=True)


@dataclass(frozen=True)
class _Where:
    """Where a step runs.

    Attributes:
        compute: What it runs on.
        key: Key of the environment or of the cluster in the job.
    """

    compute: Compute
    key: str


def job(facts: BundleFacts, product: Product) -> dict[str, Any]:
    """Return the job of a product.

    Raises:
        BundleError: An asset has nothing to run on.
        BeyondEnvelopeError: What an asset runs on is beyond the product's envelope.
    """
    places = _places(product)
    hours = HOURS if product.remote is None else product.remote.envelope.hours_per_run
    found: dict[str, Any] = {
        "name": f"lakeops {product.name} (${{var.catalog}})",
        "description": f"Makes every asset of {product.name}, each after those that it is made of.",
        "max_concurrent_runs": 1,
        "queue": {"enabled": True},
        "tags": {"lakeops_product": product.name},
    }
    if product.lands and product.remote is None:
        # What the sensors do on one machine: files that land are made into tables, and the rest
        # follows. The preset of the target `dev` pauses it.
        url = f"{LANDING}/{product.name}/"
        found["trigger"] = {
            "file_arrival": {"url": url, "wait_after_last_change_seconds": 60},
        }
    environments = list(_environments(facts, product, places.values()))
    clusters = list(_clusters(product, places.values()))
    if environments:
        found["environments"] = environments
    if clusters:
        found["job_clusters"] = clusters
    wanted = _after(product.steps)
    found["tasks"] = [
        _task(facts, product, step, places[step.name], wanted[step.name], hours)
        for step in ordered(product.steps)
    ]
    return found


def policy_variable(product: str) -> str:
    """Return the name of the variable that holds the identifier of a product's policy."""
    return f"{product}_policy_id"


def wheel(facts: BundleFacts, remote: RemoteSpec | None) -> str:
    """Return where the wheel of this package is."""
    if remote is not None:
        return remote.wheel
    return f"{STATE}/wheels/{PACKAGE}-{facts.version}-py3-none-any.whl"


def ordered(steps: Sequence[Step]) -> list[Step]:
    """Return steps so that each comes after those that it needs; else by their names.

    Raises:
        BundleError: They need each other in a circle.
    """
    left, found = {step.name: step for step in steps}, list[Step]()
    wanted = _after(steps)
    while left:
        ready = sorted(name for name in left if not wanted[name] & set(left))
        if not ready:
            raise BundleError(f"these steps need each other in a circle: {', '.join(sorted(left))}")
        found += [left.pop(name) for name in ready]
    return found


def _after(steps: Sequence[Step]) -> dict[str, set[str]]:
    made = {asset: step.name for step in steps for asset in step.assets}
    return {step.name: {made[a] for a in step.after if a in made} - {step.name} for step in steps}


def _places(product: Product) -> dict[str, _Where]:
    """Return where each step runs; equal computes are one cluster or one environment."""
    remote = product.remote
    if remote is None:
        return {step.name: _Where(SERVERLESS, "default") for step in product.steps}
    keys: dict[Compute, str] = {}
    found = {}
    for step in ordered(product.steps):
        compute = _compute(product, remote, step)
        require_within(remote, ", ".join(step.assets), compute)
        if compute not in keys:
            kind = "serverless" if compute.serverless else "cluster"
            number = sum(key.startswith(kind) for key in keys.values()) + 1
            keys[compute] = f"{kind}_{number}"
        found[step.name] = _Where(compute, keys[compute])
    return found


def _compute(product: Product, remote: RemoteSpec, step: Step) -> Compute:
    names = [asset.partition("/")[2] for asset in step.assets]
    chosen = [remote.runs_on[name] for name in names if name in remote.runs_on]
    if chosen:
        return chosen[0]
    if not breaches(remote, SERVERLESS):
        return SERVERLESS
    reasons = "; ".join(f"{b.field} {b.reason}" for b in breaches(remote, SERVERLESS))
    raise BundleError(
        f"{', '.join(step.assets)} has nothing to run on in the job of {product.name}: runs_on of "
        f"its Databricks component does not name it, and serverless is beyond the envelope "
        f"({reasons}); name it in runs_on"
    )


def _environments(
    facts: BundleFacts, product: Product, places: Collection[_Where]
) -> Iterator[dict[str, Any]]:
    remote = product.remote
    seen = {place.key: place.compute for place in places if place.compute.serverless}
    for key, compute in sorted(seen.items()):
        yield {
            "environment_key": key,
            "spec": {
                "environment_version": compute.environment_version,
                "dependencies": [
                    wheel(facts, remote),
                    *(remote.dependencies if remote is not None else ()),
                ],
            },
        }


def _clusters(product: Product, places: Collection[_Where]) -> Iterator[dict[str, Any]]:
    seen = {place.key: place.compute for place in places if not place.compute.serverless}
    for key, compute in sorted(seen.items()):
        assert product.remote is not None  # noqa: S101  # without one everything is serverless
        policy = f"${{var.{policy_variable(product.name)}}}"
        tags = {"lakeops_product": product.name}
        cluster = cluster_of(product.remote.envelope, compute, policy, tags)
        yield {"job_cluster_key": key, "new_cluster": cluster}


def _task(
    facts: BundleFacts, product: Product, step: Step, place: _Where, after: set[str], hours: float
) -> dict[str, Any]:
    limit = hours if place.compute.hours is None else place.compute.hours
    task: dict[str, Any] = {"task_key": task_key(step.name)}
    if step.description:
        task["description"] = step.description
    if after:
        task["depends_on"] = [{"task_key": task_key(name)} for name in sorted(after)]
    task["timeout_seconds"] = round(limit * 3600)
    task["python_wheel_task"] = {
        "package_name": PACKAGE,
        "entry_point": ENTRY_POINT,
        "parameters": _parameters(step.assets, _variables(product)),
    }
    if place.compute.serverless:
        task["environment_key"] = place.key
        return task
    remote = product.remote
    dependencies = remote.dependencies if remote is not None else ()
    task["job_cluster_key"] = place.key
    task["libraries"] = [
        {"whl": wheel(facts, remote)},
        *({"pypi": {"package": package}} for package in dependencies),
    ]
    return task


def task_key(name: str) -> str:
    """Return a name as the key of a task may be."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100]


def _variables(product: Product) -> Mapping[str, str]:
    environment = {
        "LAKEOPS_ENV": "${var.catalog}",
        # Who deploys is who the job runs as, unless a target says otherwise.
        "LAKEOPS_ACTOR": "${workspace.current_user.userName}",
    }
    if product.remote is not None:
        return {**environment, **product.remote.variables}
    return {
        **environment,
        "LAKEOPS_HOME": "${var.home}",
        "LAKEOPS_LANDING": LANDING,
        "MLFLOW_TRACKING_URI": "databricks",
    }


def _parameters(assets: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for asset in assets:
        found += ["--asset", asset]
    for name, value in sorted(variables.items()):
        found += ["--set", f"{name}={value}"]
    return found
