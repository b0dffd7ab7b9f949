"""What the SDK's types do not know of a job: its tasks, what they run on, its policies."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lakeops_assets.databricks.bundle.references import variable_of
from lakeops_assets.databricks.bundle.shapes import REFERENCE, Finding

if TYPE_CHECKING:
    from lakeops_assets.databricks.bundle.build import Bundle

_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_COMPUTE = ("environment_key", "job_cluster_key", "new_cluster", "existing_cluster_id")
# Tasks that bring code, which needs something to run on.
_CODE = ("python_wheel_task", "spark_python_task", "spark_jar_task", "spark_submit_task")


def job(resource: Mapping[str, Any], path: str, bundle: Bundle) -> Iterator[Finding]:
    """Yield what does not fit in a job."""
    tasks = resource.get("tasks", [])
    keys = [task["task_key"] for task in tasks]
    environments = _keys(resource, "environments", "environment_key")
    clusters = _keys(resource, "job_clusters", "job_cluster_key")
    for field, named in (("environments", environments), ("job_clusters", clusters)):
        for twice in sorted({key for key in named if named.count(key) > 1}):
            yield Finding(f"{path}.{field}", f"{twice!r} is there more than once")
    for number, task in enumerate(tasks):
        place = f"{path}.tasks[{number}]"
        if not _KEY.fullmatch(task["task_key"]):
            reason = "use at most 100 letters, digits, - and _"
            yield Finding(f"{place}.task_key", f"is {task['task_key']!r}; {reason}")
        if keys.count(task["task_key"]) > 1:
            yield Finding(f"{place}.task_key", f"{task['task_key']!r} is there more than once")
        yield from _task(task, environments, clusters, place)
        for index, needed in enumerate(task.get("depends_on", [])):
            if needed["task_key"] not in keys:
                reason = f"there is no task {needed['task_key']!r}; there are: {', '.join(keys)}"
                yield Finding(f"{place}.depends_on[{index}].task_key", reason)
        if "new_cluster" in task:
            yield from _cluster(task["new_cluster"], f"{place}.new_cluster", bundle)
    needs = {task["task_key"]: _keys(task, "depends_on", "task_key") for task in tasks}
    circle = [key for key in _circle(needs) if key in keys]
    if circle:
        reason = f"depends_on goes in a circle: {' -> '.join(circle)}"
        yield Finding(f"{path}.tasks[{keys.index(circle[0])}].depends_on", reason)
    for number, cluster in enumerate(resource.get("job_clusters", [])):
        place = f"{path}.job_clusters[{number}].new_cluster"
        yield from _cluster(cluster["new_cluster"], place, bundle)


def _keys(resource: Mapping[str, Any], field: str, key: str) -> list[str]:
    return [item[key] for item in resource.get(field, [])]


def _task(
    task: Mapping[str, Any], environments: list[str], clusters: list[str], path: str
) -> Iterator[Finding]:
    kinds = [name for name in task if name.endswith("_task")]
    if len(kinds) != 1:
        there = ", ".join(kinds) or "none"
        yield Finding(path, f"needs exactly one kind of task, such as python_wheel_task: {there}")
    given = [name for name in _COMPUTE if name in task]
    if any(kind in _CODE for kind in kinds) and len(given) != 1:
        there = ", ".join(given) or "none"
        reason = f"needs exactly one of {', '.join(_COMPUTE)} to run on; it has: {there}"
        yield Finding(path, reason)
    for field, known in (("environment_key", environments), ("job_cluster_key", clusters)):
        if field in task and task[field] not in known:
            reason = f"there is no {task[field]!r}; the job has: {', '.join(known) or 'none'}"
            yield Finding(f"{path}.{field}", reason)
    if "environment_key" in task and "libraries" in task:
        reason = "a serverless task takes its packages from its environment, not from libraries"
        yield Finding(f"{path}.libraries", reason)


def _cluster(cluster: Mapping[str, Any], path: str, bundle: Bundle) -> Iterator[Finding]:
    sizes = [name for name in ("num_workers", "autoscale") if name in cluster]
    if len(sizes) != 1 and not cluster.get("is_single_node"):
        yield Finding(path, "needs exactly one of num_workers and autoscale")
    profile = cluster.get("spark_conf", {}).get("spark.databricks.cluster.profile")
    alone = profile == "singleNode" or cluster.get("is_single_node")
    if cluster.get("num_workers") == 0 and not alone:
        reason = "is 0, which only a single node may have: spark.databricks.cluster.profile"
        yield Finding(f"{path}.num_workers", f"{reason} has to be singleNode")
    if "policy_id" not in cluster:
        for field in ("node_type_id", "spark_version"):
            if field not in cluster and "instance_pool_id" not in cluster:
                yield Finding(f"{path}.{field}", "is missing, and there is no policy to set it")
        return
    yield from _policy(cluster["policy_id"], f"{path}.policy_id", bundle)


def _policy(value: str, path: str, bundle: Bundle) -> Iterator[Finding]:
    """Yield why a policy is not found; an identifier that is written out is taken as it is."""
    name = variable_of(value)
    if name is None:
        if REFERENCE.search(value):
            yield Finding(path, f"is {value!r}; name a variable that looks up a cluster_policy")
        return
    variable = bundle.config.get("variables", {}).get(name)
    if variable is None or "default" in variable:
        return  # the first is told with the references, the second is written out by somebody
    looked_up = variable.get("lookup", {}).get("cluster_policy")
    if looked_up is None:
        reason = f"the variable {name} has no lookup of a cluster_policy and no default"
        yield Finding(path, reason)
    elif bundle.policies and looked_up not in bundle.policies:
        there = ", ".join(sorted(bundle.policies))
        reason = f"the policy {looked_up!r} is not beside the bundle; there are: {there}"
        yield Finding(path, reason)


def _circle(needs: Mapping[str, list[str]]) -> list[str]:
    """Return tasks that need each other in a circle; empty when there is none."""
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []
