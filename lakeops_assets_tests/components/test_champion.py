"""The champion of a real product: waiting, approved, promoted, reverted, moved by hand, copied."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import dagster as dg
import numpy as np
import pytest
import yaml
from command_line import copy_of, environment, lakeops
from typer.testing import CliRunner

from lakeops_assets import settings
from lakeops_assets.cli import app
from lakeops_assets.components import training
from lakeops_assets.components.champion import champion_asset
from lakeops_assets.components.crossing import CrossingError, cross, elsewhere, plan_crossing
from lakeops_assets.components.promotable import Promotable, find_promotable
from lakeops_assets.components.promotion_jobs import approve_job, revert_job
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.staleness import stale_assets
from lakeops_assets.definitions import defs
from lakeops_assets.models import ModelRegistry
from lakeops_assets.promotion import PromotionPolicy, live_champion

CHAMPION = dg.AssetKey(["churn", "champion"])
STRICT = PromotionPolicy(approvals=1)
LINK = re.compile(r"\[(?P<name>[^\]]+)\]\((?P<url>[^)]+)\)")


@dataclass
class Churn:
    """A finished churn product whose champion needs an approval."""

    folder: Path
    lakeops: LakeopsResource
    instance: dg.DagsterInstance
    promotable: Promotable

    @property
    def definitions(self) -> dg.Definitions:
        return dg.Definitions(
            assets=[champion_asset(self.promotable, "dev.churn.model")],
            jobs=[approve_job(self.promotable), revert_job(self.promotable)],
            resources={"lakeops": self.lakeops},
        )

    @property
    def registry(self) -> ModelRegistry:
        return self.promotable.registry(self.lakeops)

    def live(self) -> int | None:
        return live_champion(self.promotable.ledger(self.lakeops), self.registry).version

    def train(self) -> None:
        """Train another model and register it with its verdict, as the graph does."""
        spec = replace(self.promotable.spec, seed=1)
        lakehouse, registry = self.lakeops.lakehouse(), self.registry
        training.train(lakehouse, registry, spec, self.promotable.features, tags={})
        done = (
            defs()
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=self.instance, asset_selection=[self.promotable.names.version]
            )
        )
        assert done.success

    def materialize(self) -> dict[str, Any]:
        done = self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=[CHAMPION]
        )
        [event] = done.get_asset_materialization_events()
        shown = {k: v.value for k, v in event.materialization.metadata.items()}
        return {**shown, "data_version": (event.materialization.tags or {})["dagster/data_version"]}

    def run(self, job: str, config: dict) -> bool:
        return (
            self.definitions.resolve_job_def(job)
            .execute_in_process(instance=self.instance, run_config=config, raise_on_error=False)
            .success
        )

    def stale(self) -> str:
        graph = self.definitions.resolve_asset_graph()
        return stale_assets(graph, self.instance, self.lakeops).get(CHAMPION, "")

    def actions(self) -> list[tuple[str, int | None]]:
        return [(e.action, e.version) for e in self.promotable.ledger(self.lakeops).entries()]


@contextmanager
def opened(folder: Path) -> Iterator[Churn]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(folder).items():
            patch.setenv(name, value)
        lakeops = LakeopsResource.from_settings(settings.load())
        declared = find_promotable(defs().resolve_asset_graph(), "churn")
        with dg.instance_for_test() as instance:
            yield Churn(folder, lakeops, instance, replace(declared, policies={"dev": STRICT}))


@pytest.fixture
def churn(copied: Path) -> Iterator[Churn]:
    """With a champion, version 1."""
    with opened(copied) as churn:
        yield churn


@pytest.fixture(scope="module")
def trained(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which version 2 was trained and judged, once."""
    folder = copy_of(finished, tmp_path_factory.mktemp("challenged") / "state")
    with opened(folder) as churn:
        churn.train()
    return folder


@pytest.fixture
def challenged(trained: Path, tmp_path: Path) -> Iterator[Churn]:
    """With a challenger, version 2, that passed its gates."""
    with opened(copy_of(trained, tmp_path / "copied")) as churn:
        yield churn


def test_a_challenger_waits_is_approved_by_the_link_and_replaces_the_champion(
    challenged: Churn,
) -> None:
    shown = challenged.materialize()
    assert (shown["action"], shown["champion"], shown["data_version"]) == ("wait", 1, "v1")
    assert "not from tester, who made the version" in shown["reason"]
    assert challenged.stale() == ""
    links = dict(LINK.findall(shown["approve"]))
    assert list(links) == ["Approve version 2", "Reject version 2"]
    url = urlparse(links["Approve version 2"])
    assert url.path == "/locations/lakeops_assets/jobs/churn_approve/playground/setup"
    config = yaml.safe_load(parse_qs(url.query)["config"][0])
    said = config["ops"]["churn_approve_plan"]["config"]
    assert said["plan"].startswith(shown["plan"])

    assert not challenged.run("churn_approve", config), "nobody is named"
    said |= {"approver": "tester", "reason": "it is mine"}
    assert not challenged.run("churn_approve", config), "the author"
    said |= {"approver": "bob", "reason": "checked the slices"}
    assert challenged.run("churn_approve", config)
    assert challenged.stale() == "version 2 was approved by bob"
    assert challenged.registry.version_tags(2)["Approval_Check"] == "approved"

    shown = challenged.materialize()
    assert (shown["action"], shown["champion"], shown["replaced"]) == ("promote", 2, 1)
    assert shown["approved_by"] == "bob: checked the slices"
    assert "| approve | 2 | 1 | bob | checked the slices |" in shown["history"]
    assert challenged.stale() == ""
    assert challenged.registry.version(2).aliases == ("champion",)

    back = {"ops": {"churn_revert_champion_now": {"config": {"reason": "too many calls"}}}}
    assert challenged.run("churn_revert_champion", back)
    assert challenged.live() == 1
    assert challenged.stale() == "the champion was changed outside a run (event 4)"
    shown = challenged.materialize()
    assert (shown["action"], shown["data_version"]) == ("wait", "v1")
    assert "was reverted from" in shown["reason"]
    assert not challenged.run("churn_revert_champion", back), "there is nothing before version 1"
    decided = [("promote", 1), ("approve", 2), ("promote", 2), ("revert", 1)]
    assert challenged.actions() == decided


def test_without_a_champion_the_failure_tells_how_to_approve(churn: Churn) -> None:
    """An alias from before the ledger does not count where an approval is asked for."""
    shutil.rmtree(churn.lakeops.lakehouse().location("lakeops.promotions"))
    done = churn.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=churn.instance, asset_selection=[CHAMPION], raise_on_error=False
    )
    assert not done.success
    [failed] = done.filter_events(lambda e: e.is_step_failure)
    message = str(failed.step_failure_data.error)
    assert "has no champion: version 1 waits, 1 approval is missing" in message
    assert "lakeops approve churn --plan" in message
    assert churn.live() is None
    assert churn.registry.alias("champion") is None
    # A refused refresh is not asked for again until something is another: the approval must be.
    before = churn.stale()
    digest = churn.promotable.plan(churn.lakeops).digest
    churn.promotable.approve(churn.lakeops, digest=digest, approver="ada", reason="good enough")
    assert churn.stale() != before
    assert "approve of version 1 by ada" in churn.stale()


def test_an_alias_that_was_moved_by_hand_is_found_without_mlflow_and_put_back(
    challenged: Churn,
) -> None:
    challenged.materialize()
    challenged.registry.client.set_registered_model_alias("dev.churn.model", "champion", "2")
    assert challenged.live() == 1, "what scores asks the ledger too"
    assert challenged.stale() == "the alias champion was moved outside a run (after event 1)"
    [warning] = [
        f for f in doctor(challenged) if f["level"] == "warning" and "champion" in f["subject"]
    ]
    assert "was moved by hand to version 2; the ledger says version 1" in warning["found"]
    shown = challenged.materialize()
    assert "was moved by hand" in shown["reconciled"]
    assert challenged.registry.alias("champion") == 1
    assert challenged.stale() == ""
    assert challenged.actions() == [("promote", 1), ("restore", 1)]


def doctor(churn: Churn) -> list[dict]:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    return json.loads(done.stdout)


def test_the_doctor_finds_a_ledger_that_was_edited(churn: Churn) -> None:
    assert not [f for f in doctor(churn) if f["level"] == "problem"]
    lakehouse = churn.lakeops.lakehouse()
    location = Path(lakehouse.location("lakeops.promotions"))
    shutil.copytree(location, churn.folder / "kept")
    lakehouse.delete("lakeops.promotions", "sequence = 1")
    found = [f for f in doctor(churn) if f["level"] == "problem"]
    assert {f["subject"] for f in found} == {"ledger dev.lakeops.promotions"}
    assert any("event 1 is missing" in f["found"] for f in found)
    assert any("Delta version 2 is a DELETE" in f["found"] for f in found)
    shutil.rmtree(location)
    assert "notes its event 1" in json.dumps([f for f in doctor(churn) if f["level"] == "problem"])
    shutil.copytree(churn.folder / "kept", location)
    assert not [f for f in doctor(churn) if f["level"] == "problem"]


def test_way_past_a_gate_the_registry_is_unreachable(finished: Path, copied: Path) -> None:
    """Nothing is promoted, the tables stay as they were, and the command says so."""
    shutil.rmtree(copied / "dagster")  # so that everything is asked for again
    done = lakeops(
        copied,
        "run",
        "churn",
        "--json",
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    outcomes = {o["asset"]: o for o in json.loads(done.stdout)["outcomes"]}
    assert outcomes["churn/model"]["status"] == "failed"
    assert outcomes["churn/champion"]["status"] == "skipped"
    config = settings.load(environment(copied))
    lakeops_ = LakeopsResource.from_settings(config)
    promotable = find_promotable(defs().resolve_asset_graph(), "churn")
    registry = promotable.registry(lakeops_)
    assert live_champion(promotable.ledger(lakeops_), registry).version == 1


def test_the_command_line_plans_approves_reverts_and_looks_back(churn: Churn) -> None:
    def call(*arguments: str, code: int = 0) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert done.exit_code == code, (done.stdout, done.exception)
        return json.loads(done.stdout) if code == 0 else str(done.exception)

    plan = call("plan", "promote", "churn")
    assert (plan["action"], plan["candidate"], plan["missing"]) == ("keep", 1, 0)
    value, low, high = plan["metrics"]["roc_auc"]["candidate"]
    assert low < value < high
    refused = ["approve", "churn", "--plan", plan["digest"][:12], "--reason", "x", "--as", "bob"]
    assert "is the champion already" in call(*refused, code=1)
    assert "there are: churn.model" in call("plan", "promote", "weather", code=1)
    assert "there is no version to go back to" in call("revert", "churn", "--reason", "x", code=1)
    history = call("history", "churn")
    assert history["live"]["version"] == 1
    assert [e["action"] for e in history["entries"]] == ["promote"]
    assert call("history", "churn", "--at", "2020-03-01")["live"] is None
    assert "is not a time" in call("history", "churn", "--at", "yesterday", code=1)
    for arguments in (["plan", "promote", "churn"], ["history", "churn"]):
        shown = CliRunner().invoke(app, arguments)
        assert shown.exit_code == 0
        assert "dev.churn.model" in shown.stdout


def test_a_champion_is_copied_with_its_bytes_and_approved_there(churn: Churn) -> None:
    """To another environment in another store, and the source may go."""
    uri = f"sqlite:///{churn.folder / 'other' / 'mlflow.db'}"
    there = elsewhere(churn.lakeops, "staging", uri)
    planned = plan_crossing(churn.promotable, churn.lakeops, there)
    assert (planned.copy, planned.champion, planned.approvals) == (None, None, 1)
    done = cross(churn.promotable, churn.lakeops, there)
    assert done.copied.written
    assert done.advance.plan.action == "wait"
    assert done.advance.plan.authors == ("tester",)
    target = churn.promotable.registry(there)
    assert not cross(churn.promotable, churn.lakeops, there).copied.written
    assert [v.version for v in target.versions()] == [1]
    copied_rows = there.lakehouse().read("lakeops.gate_results").read_all().to_pylist()
    assert {r["run_id"] for r in copied_rows} == {"copied from dev.churn.model/1"}
    assert {r["model"] for r in copied_rows} == {"staging.churn.model"}

    churn.promotable.approve(
        there, digest=done.advance.plan.digest, approver="bob", reason="as agreed"
    )
    done = cross(churn.promotable, churn.lakeops, there)
    assert (done.advance.plan.action, done.advance.result.champion) == ("promote", 1)
    assert cross(churn.promotable, churn.lakeops, there).advance.plan.action == "keep"

    frame = training.read_rows(
        churn.lakeops.lakehouse(), churn.promotable.spec, churn.promotable.features, 1
    )
    before = churn.registry.load(1).score(frame)
    tags, metrics = churn.registry.version(1).tags, dict(churn.registry.version(1).metrics)
    assert dict(target.version(1).metrics) == metrics
    assert target.version_tags(1)["lakeops.copied_from"] == "dev.churn.model/1"
    assert not {"lakeops.reverted", "Approval_Check.plan"} & set(tags)
    shutil.rmtree(churn.folder / "state" / "mlflow")
    fresh = churn.promotable.registry(there)
    assert np.array_equal(fresh.load(1).score(frame), before)


def test_the_same_store_keeps_the_copy_when_the_source_is_deleted(churn: Churn) -> None:
    there = elsewhere(churn.lakeops, "staging")
    cross(churn.promotable, churn.lakeops, there)
    frame = training.read_rows(
        churn.lakeops.lakehouse(), churn.promotable.spec, churn.promotable.features, 1
    )
    before = churn.registry.load(1).score(frame)
    info = churn.registry.version(1)
    where = churn.registry.client.get_logged_model(info.model_id).artifact_location
    churn.registry.client.delete_logged_model(info.model_id)
    churn.registry.client.delete_run(info.run_id)
    shutil.rmtree(Path(urlparse(where).path))
    target = churn.promotable.registry(there)
    assert np.array_equal(target.load(1).score(frame), before)
    with pytest.raises(CrossingError, match="this is dev already"):
        elsewhere(churn.lakeops, "dev")


def test_a_copy_is_measured_against_the_champion_there(challenged: Churn) -> None:
    """Where the champion there is another than the original was compared with."""
    opened = PromotionPolicy(approvals=0)
    challenged.promotable = replace(
        challenged.promotable, policies={"dev": opened, "staging": opened}
    )
    there = elsewhere(challenged.lakeops, "staging")
    assert challenged.materialize()["champion"] == 2
    assert cross(challenged.promotable, challenged.lakeops, there).advance.result.promoted
    assert challenged.promotable.revert(challenged.lakeops, reason="slow").champion == 1
    done = cross(challenged.promotable, challenged.lakeops, there)
    assert (done.copied.source_version, done.copied.version) == (1, 2)
    verdict = done.advance.plan.verdict
    assert (verdict.champion_version, verdict.allowed) == (1, True), verdict.reasons
    paired = {r.gate: r.reason for r in verdict.results}["not_worse_than_champion_roc_auc"]
    assert "champion 1 has 0.84" in paired
    assert done.advance.result.champion == 2
