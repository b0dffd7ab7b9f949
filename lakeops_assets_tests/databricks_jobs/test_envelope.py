"""What an envelope allows, and that its cluster policy allows the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from databricks_jobs.stand_in import policies
from databricks_jobs.stand_in.validate import RefusedError
from hypothesis import given
from hypothesis import strategies as st

from lakeops_assets.databricks import (
    BeyondEnvelopeError,
    Compute,
    CostEnvelope,
    EnvelopeError,
    Job,
    NodeType,
    RemoteSpec,
    RemoteSpecError,
    cluster_breaches,
    cluster_of,
    estimate,
    idempotency_token,
    policy_definition,
    refusal,
    require_within,
    run_cost,
)
from lakeops_assets.databricks.errors import PolicyBreachError

NODES = {name: NodeType(units, 0.2) for name, units in policies.NODE_TYPES.items()}
ENVELOPE = CostEnvelope(
    name="shop jobs",
    dbus_per_hour=3.0,
    node_types={name: NODES[name] for name in ("m5.large", "m5.xlarge")},
    max_workers=4,
    hours_per_run=2,
    money_per_run=1.0,
    money_per_dbu=0.15,
    serverless_dbus_per_hour=2.0,
    tags={"team": "shop"},
)
SPEC = RemoteSpec(
    product="shop",
    volume="/Volumes/main/lakeops/runs",
    wheel="/Volumes/main/lakeops/wheels/lakeops_assets-0.1.0-py3-none-any.whl",
    variables={"LAKEOPS_HOME": "/Volumes/main/lakeops/state"},
    envelope=ENVELOPE,
    runs_on={},
)


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


nodes = st.sampled_from(sorted(policies.NODE_TYPES))
sizes = st.one_of(
    st.fixed_dictionaries({"num_workers": st.integers(0, 8)}),
    st.fixed_dictionaries(
        {
            "autoscale": st.fixed_dictionaries(
                {"min_workers": st.integers(0, 8), "max_workers": st.integers(0, 8)}
            )
        }
    ),
)
parts = maybe(
    driver_node_type_id=nodes,
    instance_pool_id=st.just("pool-1"),
    driver_instance_pool_id=st.just("pool-1"),
    runtime_engine=st.sampled_from(["STANDARD", "PHOTON"]),
    aws_attributes=maybe(availability=st.sampled_from(["SPOT_WITH_FALLBACK", "ON_DEMAND", "SPOT"])),
    custom_tags=maybe(team=st.sampled_from(["shop", "other"]), free=st.text(max_size=3)),
    spark_version=st.just("16.4.x-scala2.12"),
    spark_conf=st.just({"spark.sql.shuffle.partitions": "8"}),
)
envelopes = st.builds(
    CostEnvelope,
    name=st.just("any"),
    dbus_per_hour=st.sampled_from([0.34, 0.69, 1.03, 2.74, 3.0, 12.0]),
    node_types=st.sets(nodes, min_size=1).map(lambda names: {n: NODES[n] for n in names} | {
        "m5.large": NODES["m5.large"]}),
    max_workers=st.integers(0, 6),
    hours_per_run=st.just(1.0),
    spot=st.booleans(),
    tags=st.sampled_from([{}, {"team": "shop"}]),
)  # fmt: skip


@given(envelopes, nodes, sizes, parts)
def test_the_policy_accepts_exactly_the_clusters_that_the_envelope_allows(
    envelope: CostEnvelope, node: str, size: dict[str, Any], rest: dict[str, Any]
) -> None:
    cluster = {"node_type_id": node, **size, **rest}
    beyond = cluster_breaches(envelope, cluster)
    try:
        filled = policies.enforce(policies.parse(_json(envelope)), cluster)
    except RefusedError as refused:
        error = refusal("submit", str(refused))
        assert isinstance(error, PolicyBreachError)
        fields = {b.field for b in beyond}
        # Here nothing is known of the units of a machine that is not allowed anyway.
        unpriced = error.field == "dbus_per_hour" and fields & {
            "node_type_id",
            "driver_node_type_id",
        }
        assert error.field in fields or unpriced
    else:
        assert beyond == []
        assert filled.get("custom_tags", {}).items() >= envelope.tags.items()


def _json(envelope: CostEnvelope) -> str:
    return json.dumps(policy_definition(envelope))


@given(envelopes, nodes, st.integers(0, 8), st.none() | nodes)
def test_a_cluster_that_is_submitted_is_one_that_the_policy_lets_pass_or_that_is_refused_here(
    envelope: CostEnvelope, node: str, workers: int, driver: str | None
) -> None:
    compute = Compute(node_type=node, workers=workers, driver_node_type=driver or "")
    cluster = cluster_of(envelope, compute, "P", {"lakeops_asset": "shop/features"})
    if cluster_breaches(envelope, cluster):
        with pytest.raises(RefusedError):
            policies.enforce(policy_definition(envelope), cluster)
    else:
        filled = policies.enforce(policy_definition(envelope), cluster)
        # What was judged is what runs: the policy adds nothing and changes nothing.
        assert filled == cluster


def test_the_definition_is_as_the_vendor_documents_it() -> None:
    assert policy_definition(ENVELOPE) == {
        "cluster_type": {"type": "fixed", "value": "job"},
        "dbus_per_hour": {"type": "range", "maxValue": 3.0},
        "node_type_id": {"type": "allowlist", "values": ["m5.large", "m5.xlarge"]},
        "driver_node_type_id": {
            "type": "allowlist",
            "values": ["m5.large", "m5.xlarge"],
            "isOptional": True,
        },
        "instance_pool_id": {"type": "forbidden", "hidden": True},
        "driver_instance_pool_id": {"type": "forbidden", "hidden": True},
        **{
            path: {"type": "range", "minValue": 0, "maxValue": 4, "isOptional": True}
            for path in ("num_workers", "autoscale.min_workers", "autoscale.max_workers")
        },
        "runtime_engine": {"type": "fixed", "value": "STANDARD", "hidden": True},
        "aws_attributes.availability": {"type": "fixed", "value": "SPOT_WITH_FALLBACK"},
        "custom_tags.team": {"type": "fixed", "value": "shop"},
    }
    azure = policy_definition(replace(ENVELOPE, cloud="azure", spot=False))
    assert azure["azure_attributes.availability"]["value"] == "ON_DEMAND_AZURE"


@pytest.mark.parametrize(
    ("compute", "envelope", "fields"),
    [
        (Compute(node_type="r5.8xlarge"), ENVELOPE, ("node_type_id",)),
        (Compute(node_type="m5.large", workers=5, hours=0.5), ENVELOPE, ("num_workers",)),
        (Compute(node_type="m5.xlarge", workers=4), ENVELOPE, ("dbus_per_hour", "money_per_run")),
        (Compute(node_type="m5.large", hours=3), ENVELOPE, ("hours",)),
        (Compute(node_type="m5.large", driver_node_type="x"), ENVELOPE, ("driver_node_type_id",)),
        (Compute(serverless=True), replace(ENVELOPE, money_per_run=0.5), ("money_per_run",)),
        (
            Compute(serverless=True),
            replace(ENVELOPE, serverless_dbus_per_hour=None),
            ("serverless",),
        ),
    ],
)
def test_what_is_beyond_is_refused_with_the_field_named(
    compute: Compute, envelope: CostEnvelope, fields: tuple[str, ...]
) -> None:
    with pytest.raises(BeyondEnvelopeError) as refused:
        require_within(replace(SPEC, envelope=envelope), "shop/features", compute)
    assert refused.value.fields == fields
    assert all(field in str(refused.value) for field in fields)
    assert "was not submitted" in str(refused.value)


def test_what_is_within_passes_and_has_an_estimate() -> None:
    compute = Compute(node_type="m5.large", workers=2, hours=0.5)
    require_within(SPEC, "shop/features", compute)
    expected = estimate(ENVELOPE, compute)
    assert expected is not None
    assert (expected.hours, expected.dbus_per_hour) == (0.5, pytest.approx(1.02))
    # 0.5 h x (1.02 DBU x 0.15 + 3 machines x 0.20)
    assert expected.money == pytest.approx(0.5 * (1.02 * 0.15 + 0.6))
    assert estimate(ENVELOPE, Compute(node_type="r5.8xlarge")) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node_types": {}}, "allows no node type"),
        ({"dbus_per_hour": 0.1}, "smallest of its machines alone takes 0.34"),
        ({"money_per_dbu": 0.0}, "no money_per_dbu"),
        ({"cloud": "moon"}, "no cloud of Databricks; use: aws, azure, gcp"),
        ({"hours_per_run": float("nan")}, "not above 0"),
        ({"money_per_run": float("nan")}, "money_per_run of the envelope shop jobs is nan"),
        ({"money_per_dbu": float("nan")}, "money_per_dbu of the envelope shop jobs is nan"),
        ({"money_per_dbu": None}, "no money_per_dbu"),
        ({"money_per_serverless_dbu": 0.0}, "no money_per_serverless_dbu"),
        (
            {"node_types": {"m5.large": NodeType(0.34)}},
            "no node_types.m5.large.money_per_hour",
        ),
    ],
)
def test_an_envelope_that_contradicts_itself_is_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(EnvelopeError, match=message):
        replace(ENVELOPE, **change)


def test_without_prices_a_run_has_units_and_no_money() -> None:
    sdk = pytest.importorskip("databricks.sdk.service.jobs")
    unpriced = replace(ENVELOPE, money_per_run=None, money_per_dbu=None)
    for compute in (Compute(serverless=True), Compute(node_type="m5.large")):
        require_within(replace(SPEC, envelope=unpriced), "shop/features", compute)
        expected = estimate(unpriced, compute)
        assert expected is not None
        assert expected.money is None
        run = sdk.Run(tasks=[sdk.RunTask(task_key="t", execution_duration=1_800_000)])
        cost = run_cost(unpriced, compute, run)
        assert cost is not None
        assert cost.dbus == pytest.approx(expected.dbus_per_hour / 2)
        assert cost.money is None


@pytest.mark.parametrize(
    ("run", "serverless", "cluster"),
    [
        # What the tasks say comes first; machines start and end on a cluster's account.
        (
            {
                "tasks": [
                    {
                        "task_key": "t",
                        "setup_duration": 2000,
                        "execution_duration": 5000,
                        "cleanup_duration": 1000,
                    }
                ],
                "run_duration": 99_000,
            },
            5,
            8,
        ),
        # A run that was cancelled may say no more than when it began and ended.
        (
            {"tasks": [{"task_key": "t", "start_time": 1000, "end_time": 4000}]},
            3,
            3,
        ),
        ({"tasks": [{"task_key": "t"}], "run_duration": 7000}, 7, 7),
        ({"start_time": 1000, "end_time": 3000}, 2, 2),
        ({"start_time": 1000, "tasks": [{"task_key": "t", "execution_duration": 0}]}, None, None),
    ],
)
def test_the_time_of_a_run_is_what_the_workspace_says_or_unknown(
    run: dict[str, Any], serverless: float | None, cluster: float | None
) -> None:
    sdk = pytest.importorskip("databricks.sdk.service.jobs")
    found = sdk.Run.from_dict(run)
    for compute, seconds in (
        (Compute(serverless=True), serverless),
        (Compute(node_type="m5.large"), cluster),
    ):
        cost = run_cost(ENVELOPE, compute, found)
        assert (None if cost is None else cost.seconds) == seconds


def test_the_workspace_always_has_a_time_after_which_it_ends_the_run() -> None:
    envelope = replace(ENVELOPE, hours_per_run=0.0001)
    job = Job(replace(SPEC, envelope=envelope), Compute(serverless=True), ("a/b",), "r", "s", 0)
    assert job.timeout_seconds == 1  # 0 is no limit at all


def test_a_product_hands_no_secret_to_a_job_and_keeps_its_files_on_a_volume() -> None:
    with pytest.raises(RemoteSpecError, match="hold MLFLOW_TRACKING_TOKEN"):
        replace(SPEC, variables={"MLFLOW_TRACKING_TOKEN": "x"})
    with pytest.raises(RemoteSpecError, match="hold MLFLOW_TRACKING_URI"):
        replace(SPEC, variables={"MLFLOW_TRACKING_URI": "postgresql://me:word@db/mlflow"})
    replace(SPEC, variables={"MLFLOW_TRACKING_URI": "https://mlflow.example:5000/a@b"})
    with pytest.raises(RemoteSpecError, match="on a volume: /Volumes/"):
        replace(SPEC, volume="/dbfs/tmp")
    with pytest.raises(RemoteSpecError, match="serverless has no machines"):
        Compute(serverless=True, workers=2)
    with pytest.raises(RemoteSpecError, match="say what it runs on"):
        Compute()


def test_a_token_names_the_attempt_and_fits() -> None:
    run = "0" * 36
    assert idempotency_token(run, "shop__features", 1) == f"{run}-shop__features-1"
    long = [idempotency_token(run, f"{'x' * 60}{n}", n) for n in (0, 1)]
    assert len(set(long)) == 2
    assert max(map(len, long)) <= 64
