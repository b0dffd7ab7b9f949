"""Bundles that are written: what is in them, and that equal facts make equal bytes."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

pytest.importorskip("databricks.sdk")

from bundle.shop import FACTS, REMOTE, SHOP, made

from lakeops_assets import settings
from lakeops_assets.commands.bundle import write as write_products
from lakeops_assets.databricks import (
    BeyondEnvelopeError,
    Compute,
    cluster_breaches,
    policy_definition,
)
from lakeops_assets.databricks.bundle import (
    BundleError,
    BundleFacts,
    Step,
    bundle,
    check,
    load,
    render,
    write,
)

OURS = ("ACTOR", "ENV", "HOME", "LANDING")
DATA = {*(f"LAKEOPS_{name}" for name in OURS), "MLFLOW_TRACKING_URI"}


def job_of(found: Any, product: str = "shop") -> Any:
    return found.config["resources"]["jobs"][product]


def test_the_bundle_of_the_shipped_products_is_as_it_was_agreed(
    config: settings.Settings, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    """`--snapshot-update` accepts a change."""
    found = write_products([], "lakeops", tmp_path, profiles=True)
    assert found.findings == ()
    assert found.files == (str(tmp_path / "databricks.yml"),)
    assert (tmp_path / "databricks.yml").read_text() == snapshot
    again = load(tmp_path / "databricks.yml")
    assert check(again) == []
    assert set(again.config["resources"]["jobs"]) == {"churn", "flight_delay"}


def test_the_bundle_says_nothing_of_the_environment_that_it_was_written_in(
    config: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = write_products([], "lakeops", None, profiles=True).text
    monkeypatch.setenv("LAKEOPS_ENV", "prod")
    assert write_products([], "lakeops", None, profiles=True).text == here
    assert str(config.home) not in here


def test_a_product_with_everything_is_as_it_was_agreed(snapshot: SnapshotAssertion) -> None:
    found = made()
    assert check(found) == []
    assert render(found)["databricks.yml"] == snapshot


def test_equal_facts_make_equal_bytes_in_whatever_order_they_come() -> None:
    files = render(bundle(FACTS))
    shuffled = random.Random(1)
    for _ in range(5):
        fields = {}
        for name in ("steps", "models", "monitors", "grants"):
            items = list(getattr(SHOP, name))
            shuffled.shuffle(items)
            fields[name] = tuple(items)
        assert render(bundle(replace(FACTS, products=(replace(SHOP, **fields),)))) == files


def test_what_is_written_is_read_back_and_is_not_written_twice(tmp_path: Path) -> None:
    found = made()
    paths = write(found, tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in paths] == [
        "databricks.yml",
        "policies/shop-jobs.json",
    ]
    times = [p.stat().st_mtime_ns for p in paths]
    assert [p.stat().st_mtime_ns for p in write(found, tmp_path)] == times
    again = load(tmp_path / "databricks.yml")
    assert (again.config, again.policies) == (found.config, found.policies)
    body = json.loads(paths[1].read_text())
    assert json.loads(body["definition"]) == policy_definition(REMOTE.envelope)
    assert "&" not in paths[0].read_text()  # no aliases, which nobody reads
    assert yaml.safe_load(paths[0].read_text()) == found.config


def test_tasks_come_after_those_that_they_need_and_run_where_the_product_says() -> None:
    job = job_of(made())
    tasks = {task["task_key"]: task for task in job["tasks"]}
    after = {k: [d["task_key"] for d in t.get("depends_on", [])] for k, t in tasks.items()}
    assert after == {
        "orders": [],
        "totals": ["orders"],  # and not on what another product makes
        "model": ["totals"],
        "totals_monitor": ["totals"],
        "report": ["totals_monitor"],
    }
    keys = list(tasks)
    assert all(keys.index(b) < keys.index(a) for a, needed in after.items() for b in needed)
    where = {k: t.get("environment_key") or t["job_cluster_key"] for k, t in tasks.items()}
    assert where == {
        "orders": "serverless_1",  # not named, and the envelope allows it
        "totals_monitor": "serverless_1",
        "totals": "cluster_1",
        "report": "cluster_1",  # equal computes share one cluster
        "model": "cluster_2",
    }
    parameters = tasks["totals_monitor"]["python_wheel_task"]["parameters"]
    assert parameters[:4] == ["--asset", "shop/totals_a", "--asset", "shop/totals_b"]
    assert tasks["model"]["timeout_seconds"] == 3600
    assert tasks["totals"]["timeout_seconds"] == 7200
    assert tasks["model"]["libraries"][1] == {"pypi": {"package": "holidays==0.80"}}
    (environment,) = job["environments"]
    assert environment["spec"]["dependencies"] == [REMOTE.wheel, "holidays==0.80"]


def test_clusters_are_within_the_envelope_and_name_its_policy() -> None:
    found = made()
    clusters = [c["new_cluster"] for c in job_of(found)["job_clusters"]]
    assert len(clusters) == 2
    for cluster in clusters:
        assert cluster_breaches(REMOTE.envelope, cluster) == []
        assert cluster["policy_id"] == "${var.shop_policy_id}"
    variable = found.config["variables"]["shop_policy_id"]
    assert variable["lookup"] == {"cluster_policy": "shop jobs"}
    assert list(found.policies) == ["shop jobs"]


def test_nothing_beyond_the_envelope_is_written() -> None:
    large = replace(REMOTE, runs_on={"model": Compute(node_type="m5.xlarge", workers=3)})
    with pytest.raises(BeyondEnvelopeError, match=r"shop/model .* num_workers is 3"):
        made(replace(FACTS, products=(replace(SHOP, remote=large),)))
    no_serverless = replace(
        REMOTE, envelope=replace(REMOTE.envelope, serverless_dbus_per_hour=None)
    )
    with pytest.raises(BundleError, match=r"shop/orders has nothing to run on .* name it in"):
        made(replace(FACTS, products=(replace(SHOP, remote=no_serverless),)))


def test_a_circle_is_said() -> None:
    steps = (Step("a", ("shop/a",), ("shop/b",)), Step("b", ("shop/b",), ("shop/a",)))
    with pytest.raises(BundleError, match="in a circle: a, b"):
        made(BundleFacts("x", "0.1.0", (replace(SHOP, steps=steps, remote=None),)))


def test_a_product_that_says_nothing_is_serverless_on_the_catalogs_volumes() -> None:
    found = made(replace(FACTS, products=(replace(SHOP, remote=None),)))
    assert check(found) == []
    job = job_of(found)
    assert {t["environment_key"] for t in job["tasks"]} == {"default"}
    assert job["trigger"]["file_arrival"]["url"] == "/Volumes/${var.catalog}/lakeops/landing/shop/"
    given = [p for p in job["tasks"][0]["python_wheel_task"]["parameters"] if "=" in p]
    assert {text.partition("=")[0] for text in given} == DATA
    assert found.config["variables"]["home"]["default"] == "/Volumes/${var.catalog}/lakeops/state"
    assert any("nothing but its timeouts limits" in note for note in found.notes)


def test_what_a_bundle_cannot_say_is_in_its_notes() -> None:
    text = render(made())["databricks.yml"]
    assert "# shop leaves out grants on the table scores: a bundle has no tables.\n" in text
    assert "# The monitor of shop.scores leaves out baseline_where" in text


def test_a_workspace_is_never_invented() -> None:
    for profiles in (True, False):
        targets = made(replace(FACTS, profiles=profiles)).config["targets"]
        assert [t["workspace"].get("host") for t in targets.values()] == [None] * 3
        named = [t["workspace"].get("profile") for t in targets.values()]
        assert named == (["dev", "staging", "prod"] if profiles else [None] * 3)
    assert {t["variables"]["catalog"] for t in targets.values()} == {"dev", "staging", "prod"}
