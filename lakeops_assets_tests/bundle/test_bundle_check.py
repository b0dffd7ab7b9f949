"""The check of bundles: each mistake is refused, and the message says where it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("databricks.sdk")

from bundle.shop import changed, made, maps

from lakeops_assets.databricks.bundle import Bundle, check

GOOD = made()
JOB = "resources/jobs/shop"
TASKS = f"{JOB}/tasks"
SERVING = "resources/model_serving_endpoints/shop_model"
ENTITY = f"{SERVING}/config/served_entities/0"
ROUTES = f"{SERVING}/config/traffic_config/routes"
LOG = "resources/quality_monitors/shop_scores"
SNAPSHOT = "resources/quality_monitors/shop_totals"
SCHEMA = "resources/schemas/shop"
ROUTE = {"served_model_name": "champion", "traffic_percentage": 60}
CLUSTER = f"{JOB}/job_clusters/0/new_cluster"

# Name -> path, value, where the finding is, what it says.
MUTATIONS: dict[str, tuple[str, Any, str, str]] = {
    # Fields and types, from the SDK.
    "unknown field of a task": (f"{TASKS}/0/task_kye", "x", "tasks[0].task_kye", "no such field"),
    "unknown field of a cluster": (f"{CLUSTER}/nodes", 2, "new_cluster.nodes", "no such field"),
    "unknown field of a schema": (f"{SCHEMA}/schema_name", "x", "shop.schema_name", "no such"),
    "unknown field of a grant": (f"{SCHEMA}/grants/0/to", "x", "grants[0].to", "no such field"),
    "unknown field of an endpoint": (f"{SERVING}/model", "x", "shop_model.model", "no such"),
    "unknown kind of resource": ("resources/modles", {}, "resources.modles", "no such field"),
    "unknown part of a bundle": ("target", {}, "target", "no such field"),
    "unknown field of a target": ("targets/dev/host", "x", "targets.dev.host", "no such field"),
    "a text for a number": (f"{TASKS}/0/timeout_seconds", "60", "timeout_seconds", "an integer"),
    "true for a number": (f"{JOB}/max_concurrent_runs", True, "max_concurrent_runs", "an integer"),
    "a number for a text": (f"{SCHEMA}/comment", 3, "shop.comment", "has to be text"),
    "a number for a tag": (f"{JOB}/tags/lakeops_product", 3, "tags.lakeops_product", "be text"),
    "a text for true": (f"{JOB}/queue/enabled", "yes", "queue.enabled", "true or false"),
    "a map for a list": (f"{JOB}/tasks", {}, "shop.tasks", "has to be a list"),
    "a list for a map": (f"{TASKS}/0/python_wheel_task", [], "python_wheel_task", "be a map"),
    "no value": (f"{SCHEMA}/comment", None, "shop.comment", "has no value"),
    "unknown privilege": (f"{SCHEMA}/grants/0/privileges", ["READ"], "privileges[0]", "use one"),
    "unknown problem": (f"{LOG}/inference_log/problem_type", "x", "problem_type", "use one of"),
    "unknown kind of volume": ("resources/volumes/state/volume_type", "x", "volume_type", "MANAG"),
    "unknown engine": (f"{CLUSTER}/runtime_engine", "FAST", "runtime_engine", "use one of"),
    # What has to be there.
    "no name of the bundle": ("bundle/name", ..., "bundle.name", "is missing"),
    "no catalog": (f"{SCHEMA}/catalog_name", ..., "shop.catalog_name", "is missing"),
    "no table of a monitor": (f"{LOG}/table_name", ..., "shop_scores.table_name", "is missing"),
    "no entry point": (f"{TASKS}/0/python_wheel_task/entry_point", ..., "entry_point", "missing"),
    "no timestamp": (f"{LOG}/inference_log/timestamp_col", ..., "timestamp_col", "is missing"),
    "no folder of a monitor": (f"{LOG}/assets_dir", ..., "shop_scores.assets_dir", "is missing"),
    "no version": (f"{ENTITY}/entity_version", ..., "[0].entity_version", "is missing"),
    "no root of production": ("targets/prod/workspace/root_path", ..., "root_path", "is missing"),
    # Jobs.
    "a task that is not there": (
        f"{TASKS}/2/depends_on/0/task_key",
        "totlas",
        "tasks[2].depends_on[0].task_key",
        "there is no task 'totlas'; there are: orders, totals",
    ),
    "tasks in a circle": (
        f"{TASKS}/0/depends_on",
        [{"task_key": "report"}],
        "depends_on",
        "goes in a circle: ",
    ),
    "a task that needs itself": (
        f"{TASKS}/0/depends_on",
        [{"task_key": "orders"}],
        "tasks[0].depends_on",
        "orders -> orders",
    ),
    "two tasks of one key": (f"{TASKS}/1/task_key", "orders", "tasks[1].task_key", "more than"),
    "a key that cannot be": (f"{TASKS}/4/task_key", "a b", "tasks[4].task_key", "letters, digits"),
    "an environment that is not there": (
        f"{TASKS}/0/environment_key",
        "default",
        "tasks[0].environment_key",
        "no 'default'; the job has: serverless_1",
    ),
    "a cluster that is not there": (
        f"{TASKS}/1/job_cluster_key",
        "cluster_9",
        "tasks[1].job_cluster_key",
        "the job has: cluster_1, cluster_2",
    ),
    "nothing to run on": (f"{TASKS}/0/environment_key", ..., "tasks[0]", "needs exactly one of"),
    "two things to run on": (f"{TASKS}/0/job_cluster_key", "cluster_1", "tasks[0]", "exactly one"),
    "no kind of task": (f"{TASKS}/0/python_wheel_task", ..., "tasks[0]", "exactly one kind"),
    "libraries without a cluster": (f"{TASKS}/0/libraries", [], "tasks[0].libraries", "serverless"),
    "two sizes": (f"{CLUSTER}/autoscale", {"min_workers": 1}, "new_cluster", "num_workers and"),
    "a node that is not alone": (f"{CLUSTER}/spark_conf", {}, "num_workers", "has to be singleNo"),
    "a policy of another name": (
        "variables/shop_policy_id/lookup/cluster_policy",
        "shop job",
        "new_cluster.policy_id",
        "the policy 'shop job' is not beside the bundle; there are: shop jobs",
    ),
    "a policy that nobody looks up": (
        "variables/shop_policy_id",
        {"description": "x"},
        "new_cluster.policy_id",
        "has no lookup of a cluster_policy",
    ),
    "a policy from elsewhere": (
        f"{CLUSTER}/policy_id",
        "${resources.jobs.shop.id}",
        "new_cluster.policy_id",
        "name a variable that looks up",
    ),
    "neither node type nor policy": (f"{CLUSTER}/policy_id", ..., "", ""),
    # Serving.
    "shares that are not 100": (f"{ROUTES}/0/traffic_percentage", 90, "routes", "comes to 90 in"),
    "a share below 0": (f"{ROUTES}/0/traffic_percentage", -1, "traffic_percentage", "from 0 to"),
    "two shares that are not 100": (ROUTES, [ROUTE, ROUTE], "routes", "comes to 120 in all"),
    "a route to nobody": (f"{ROUTES}/0/served_model_name", "x", "served_model_name", "not served"),
    "a size that is not there": (f"{ENTITY}/workload_size", "Huge", "workload_size", "Small, Medi"),
    "a name that is too long": (f"{SERVING}/name", "x" * 64, "shop_model.name", "at most 63"),
    # Monitors.
    "two kinds of monitor": (f"{SNAPSHOT}/time_series", ..., "", ""),
    "a window that is not there": (
        f"{LOG}/inference_log/granularities/0",
        "2 days",
        "inference_log.granularities[0]",
        "is '2 days'; use 5 minutes",
    ),
    "no kind of monitor": (f"{SNAPSHOT}/snapshot", ..., "shop_totals", "it has: none"),
    "a table of two parts": (f"{LOG}/table_name", "shop.scores", "table_name", "<catalog>.<schem"),
    "a baseline of one part": (f"{LOG}/baseline_table_name", "b", "baseline_table_name", "be <cat"),
    "an output of three parts": (f"{LOG}/output_schema_name", "a.b.c", "output_schema", "<schema>"),
    "a relative folder": (f"{LOG}/assets_dir", "monitors", "assets_dir", "absolute path"),
    # Names and grants.
    "a schema with a dot": (f"{SCHEMA}/name", "a.b", "schemas.shop.name", "cannot be a name"),
    "an experiment without a path": ("resources/experiments/shop/name", "x", "name", "absolute"),
    "a privilege of something else": (
        f"{SCHEMA}/grants/0/privileges",
        ["USE_CATALOG"],
        "grants[0].privileges[0]",
        "USE_CATALOG cannot be granted on a schema",
    ),
    "a principal twice": (
        f"{SCHEMA}/grants",
        [{"principal": "a", "privileges": ["SELECT"]}] * 2,
        "grants[1].principal",
        "more than once",
    ),
    "an external volume without a place": (
        "resources/volumes/state/volume_type",
        "EXTERNAL",
        "state.storage_location",
        "is missing in an external volume",
    ),
    # References, variables and targets.
    "a variable that is not there": (
        f"{SCHEMA}/catalog_name",
        "${var.katalog}",
        "schemas.shop.catalog_name",
        "there is no variable katalog; there are: catalog,",
    ),
    "a resource that is not there": (
        f"{ENTITY}/entity_name",
        "${resources.registered_models.shop.id}",
        "served_entities[0].entity_name",
        "there is no registered model shop",
    ),
    "a field that is not there": (
        f"{ENTITY}/entity_name",
        "${resources.registered_models.shop_model.idd}",
        "served_entities[0].entity_name",
        "there is no field of registered_models idd",
    ),
    "a reference to nothing": (f"{JOB}/name", "${vars.catalog}", "jobs.shop.name", "starts with"),
    "no reference": (f"{JOB}/name", "${var.}", "jobs.shop.name", "is no reference"),
    "a variable of a target": ("targets/dev/variables/x", "y", "dev.variables.x", "no such varia"),
    "an unknown mode": ("targets/prod/mode", "prod", "targets.prod.mode", "development, product"),
    "two defaults": ("targets/prod/default", True, "targets", "more than one is the default"),
    "a host of a variable": (
        "targets/prod/workspace/host",
        "https://${var.catalog}",
        "targets.prod.workspace.host",
        "cannot be a reference",
    ),
    "an unknown kind in a target": ("targets/prod/resources", {"job": {}}, "resources.job", "kind"),
    "an unknown field in a target": (
        "targets/prod/resources",
        {"jobs": {"shop": {"timeout": 1}}},
        "targets.prod.resources.jobs.shop.timeout",
        "no such field",
    ),
}
for _odd in ("neither node type nor policy", "two kinds of monitor"):
    del MUTATIONS[_odd]


def test_there_are_many_mistakes() -> None:
    assert check(GOOD) == []
    assert len(MUTATIONS) >= 60


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_is_refused_and_named(mistake: str) -> None:
    path, value, where, said = MUTATIONS[mistake]
    findings = check(changed(GOOD, path, value))
    assert findings
    assert any(where in f.path and said in f.reason for f in findings), list(map(str, findings))


def test_two_kinds_of_monitor_in_one() -> None:
    windows = {"timestamp_col": "day", "granularities": ["1 day"]}
    (finding,) = check(changed(GOOD, f"{SNAPSHOT}/time_series", windows))
    assert str(finding) == (
        "resources.quality_monitors.shop_totals: needs exactly one of snapshot, time_series, "
        "inference_log; it has: snapshot, time_series"
    )


def test_a_cluster_without_a_policy_says_its_machine() -> None:
    without = changed(GOOD, f"{CLUSTER}/policy_id", ...)
    assert check(without) == []  # it names its machine
    (finding,) = check(changed(without, f"{CLUSTER}/node_type_id", ...))
    assert finding.path.endswith("job_clusters[0].new_cluster.node_type_id")


def test_references_may_stand_for_values_of_any_type() -> None:
    for path in (
        f"{TASKS}/0/timeout_seconds",
        f"{CLUSTER}/num_workers",
        f"{JOB}/queue/enabled",
        f"{CLUSTER}/runtime_engine",
        f"{ROUTES}/0/traffic_percentage",
    ):
        assert check(changed(GOOD, path, "${var.catalog}")) == [], path
    (finding,) = check(changed(GOOD, f"{CLUSTER}/num_workers", "x${var.catalog}"))
    assert "has to be an integer" in finding.reason


# Maps whose names are free: a new name in them means something.
FREE = {"tags", "custom_tags", "spark_conf", "spark_env_vars", "properties"}


@settings(deadline=None)
@given(st.data())
def test_an_unknown_name_anywhere_is_refused(data: st.DataObject) -> None:
    places = [
        (path, found) for path, found in maps(GOOD.config) if path.rpartition("/")[2] not in FREE
    ]
    path, _ = data.draw(st.sampled_from(places))
    name = data.draw(st.from_regex(r"[a-z_]{3,12}_zz", fullmatch=True))
    value = data.draw(st.sampled_from(["x", 1, True, None, [], [1], {"x": 1}]))
    findings = check(changed(GOOD, f"{path}/{name}" if path else name, value))
    assert any(name in f.path for f in findings), (path, value, list(map(str, findings)))


@settings(deadline=None)
@given(st.data())
def test_a_value_of_another_type_is_refused(data: st.DataObject) -> None:
    """Whatever is no map, no list and no text may not become one."""
    leaves = [
        (f"{path}/{name}", value)
        for path, found in maps(GOOD.config)
        for name, value in found.items()
        if isinstance(value, (int, bool)) and "resources" in path
    ]
    path, value = data.draw(st.sampled_from(leaves))
    other = data.draw(st.sampled_from([{}, [], {"x": 1}, 1.5, "1"]))
    findings = check(changed(GOOD, path, other))
    assert any(f.path.endswith(path.rpartition("/")[2]) for f in findings), (path, value, other)


def test_kinds_that_nothing_here_knows_are_named_and_not_refused() -> None:
    from lakeops_assets.databricks.bundle import unchecked

    found = changed(GOOD, "resources/pipelines", {"x": {"anything": 1}})
    assert (check(found), unchecked(found)) == ([], ("pipelines",))
    assert unchecked(Bundle({}, {})) == ()
