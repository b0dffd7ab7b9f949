"""The stand-in refuses what a workspace would; a test that it lets pass would prove little."""

from __future__ import annotations

import json
from typing import Any

import pytest

sdk = pytest.importorskip("databricks.sdk")

SERVERLESS: dict[str, Any] = {
    "environments": [{"environment_key": "e", "spec": {"environment_version": "4"}}],
    "tasks": [
        {
            "task_key": "t",
            "environment_key": "e",
            "spark_python_task": {"python_file": "/Volumes/main/lakeops/runs/x.py"},
        }
    ],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    body = json.loads(json.dumps(SERVERLESS))
    *parents, last = path.split(".")
    target = body
    for name in parents:
        target = target[int(name) if name.isdigit() else name]
    target[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("tags", {"a": "b"}, "unknown field 'tags'"),
        ("tasks.0.tags", {"a": "b"}, r"unknown field tasks\[0\].tags"),
        ("tasks.0.spark_python_task.file", "x", r"unknown field tasks\[0\].spark_python_task.file"),
        ("tasks.0.timeout_seconds", "60", r"tasks\[0\].timeout_seconds is '60', which is no int"),
        ("tasks.0.spark_python_task.parameters", [1], r"parameters\[0\] is 1, which is no str"),
        ("environments.0.spec.version", "4", r"unknown field environments\[0\].spec.version"),
        ("idempotency_token", "x" * 65, "at most 64 characters"),
        ("tasks.0.environment_key", "f", "environment_key f is not in environments"),
        ("tasks.0.libraries", [{"whl": "x"}], "not supported for serverless"),
        (
            "tasks.0.new_cluster",
            {"num_workers": 1},
            "exactly one of environment_key, new_cluster, existing_cluster_id",
        ),
        ("tasks", [], "Missing required field: tasks"),
    ],
)
def test_a_body_that_the_sdk_does_not_know_is_refused_with_the_field_named(
    stand_in: Any, path: str, value: Any, said: str
) -> None:
    with pytest.raises(sdk.errors.DatabricksError, match=said):
        stand_in.client.api_client.do(
            "POST", "/api/2.2/jobs/runs/submit", body=changed(path, value)
        )
    assert not stand_in.stand_in.runs


def test_nobody_is_served_without_a_token_or_under_an_unknown_path(stand_in: Any) -> None:
    stranger = sdk.WorkspaceClient(host=stand_in.stand_in.host, token="wrong")
    with pytest.raises(sdk.errors.Unauthenticated):
        stranger.jobs.get_run(1)
    with pytest.raises(sdk.errors.NotFound, match="No API found"):
        stand_in.client.api_client.do("GET", "/api/2.0/jobs/runs/get", query={"run_id": 1})
    with pytest.raises(sdk.errors.ResourceDoesNotExist, match="Run 7 does not exist"):
        stand_in.client.jobs.get_run(7)


def test_a_cluster_needs_its_policy(stand_in: Any) -> None:
    from databricks.sdk.service import compute, jobs

    client = stand_in.client
    definition = {
        "node_type_id": {"type": "allowlist", "values": ["m5.large"]},
        "num_workers": {"type": "range", "maxValue": 2},
        "custom_tags.team": {"type": "regex", "pattern": "shop.*"},
        "spark_version": {"type": "unlimited", "defaultValue": "16.4.x-scala2.12"},
    }
    made = client.cluster_policies.create(name="p", definition=json.dumps(definition))

    def submit(**cluster: Any) -> Any:
        fields = {"policy_id": made.policy_id, "apply_policy_default_values": True, **cluster}
        task = jobs.SubmitTask(
            task_key="t",
            new_cluster=compute.ClusterSpec.from_dict(fields),
            spark_python_task=jobs.SparkPythonTask("/Volumes/main/lakeops/runs/x.py"),
        )
        return client.jobs.submit(tasks=[task]).bind()["run_id"]

    good = {"node_type_id": "m5.large", "num_workers": 2, "custom_tags": {"team": "shop-1"}}
    for wrong, field in (
        ({"node_type_id": "m5.xlarge"}, "node_type_id"),
        ({"num_workers": 3}, "num_workers"),
        ({"num_workers": None}, "num_workers"),
        ({"custom_tags": {"team": "x"}}, "custom_tags.team"),
    ):
        with pytest.raises(
            sdk.errors.InvalidParameterValue, match=f"Validation failed for {field}"
        ):
            submit(**{k: v for k, v in {**good, **wrong}.items() if v is not None})
    run = client.jobs.get_run(submit(**good))
    cluster = client.clusters.get(run.tasks[0].cluster_instance.cluster_id)
    assert cluster.spark_version == "16.4.x-scala2.12"
    with pytest.raises(sdk.errors.InvalidParameterValue, match="unknown type 'most'"):
        client.cluster_policies.edit(made.policy_id, name="p", definition='{"a": {"type": "most"}}')
