"""The revert drill: a bad champion is forced in, labels arrive, the one before comes back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import dagster as dg
import numpy as np
import pytest
from command_line import environment, lakeops

from lakeops_assets import models, samples, settings
from lakeops_assets.components import training
from lakeops_assets.components.auto_revert import KpiRule, due_revert
from lakeops_assets.components.kpi_replay import kpi_rules, replay_kpi
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import TableName
from lakeops_assets.models import ModelRegistry, ModelSpec
from lakeops_assets.promotion import (
    Ledger,
    MetricGate,
    PromotionPolicy,
    carry_out,
    evaluate_gate,
    plan_promotion,
    record_results,
)

FEATURES = TableName("dev", "churn", "features")
SPEC = ModelSpec(
    name="churn.model",
    task="classification",
    label="churn",
    primary_key=("customer_id",),
    exclude=("snapshot_date",),
    positive="Yes",
    params={"n_estimators": 20},
)
ANYTHING_GOES = (MetricGate("log_loss", None, 99.0),)
OPEN = PromotionPolicy(approvals=0, author_may_approve=True)


class Churn:
    """The churn product in a state of its own, and what its daemons do."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder, self.instance = folder, instance
        self.config = settings.load(environment(folder))
        self.lakeops = LakeopsResource.from_settings(self.config)
        self.definitions = defs()
        self.repository = self.definitions.get_repository_def()

    @property
    def registry(self) -> ModelRegistry:
        return self.lakeops.registry("churn", "model")

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.lakeops.lakehouse())

    @property
    def rule(self) -> KpiRule:
        [rule] = kpi_rules(self.definitions.resolve_asset_graph(), "churn")
        return rule

    def land(self, days: int) -> None:
        samples.land(samples.sample("churn"), self.config.landing_root, batches=days)

    def run(self, *tables: str) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey(["churn", t]) for t in tables]
        return job.execute_in_process(
            instance=self.instance, asset_selection=keys, raise_on_error=False
        )

    def refresh(self) -> dg.ExecuteInProcessResult:
        """Take in what landed, as far as the KPI needs it."""
        return self.run("customers", "churn_labels", "features", "scores", "scores_kpi_windows")

    def tick(self) -> dg.RunRequest | dg.SkipReason:
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.repository,
            resources={"lakeops": self.lakeops},
        )
        found = self.definitions.resolve_sensor_def("churn_auto_revert")(context)
        assert isinstance(found, (dg.RunRequest, dg.SkipReason))
        return found

    def carry_out(self, request: dg.RunRequest) -> dict[str, Any]:
        """Run the job that the sensor asked for, and return what it says it did."""
        done = self.definitions.resolve_job_def("churn_revert").execute_in_process(
            run_config=request.run_config,
            instance=self.instance,
            tags=request.tags,
            raise_on_error=False,
        )
        assert done.success
        return dict(done.output_for_node("churn_revert_champion_on_kpi"))

    def force_in_a_bad_champion(self) -> int:
        """Promote, through gates that let anything pass, a model of labels that were shuffled."""
        lakehouse, registry = self.lakeops.lakehouse(), self.registry
        version = lakehouse.data_version(FEATURES) or 0
        frame = training.read_rows(lakehouse, SPEC, FEATURES, version)
        held_out = frame.pop(models.HELD_OUT).to_numpy(dtype=bool)
        frame["churn"] = np.random.default_rng(0).permutation(frame["churn"].to_numpy())
        test = frame[held_out]
        with registry.start_run("shuffled", {}) as run_id:
            trained = models.train(SPEC, frame[~held_out])
            labels, scores = models.labels(SPEC, test), trained.score(test)
            logged = registry.log_training(
                run_id,
                trained,
                models.evaluate(SPEC.task, labels, scores, resamples=10, seed=0),
                figures={},
                data=frame,
                table=str(FEATURES),
                location=lakehouse.location(FEATURES),
                data_version=version,
                fingerprint="shuffled",
            )
        bad = registry.register(logged.model_id, run_id, tags={})
        now = self.lakeops.now()
        evidence = training.measure(lakehouse, registry, SPEC, FEATURES, bad, ANYTHING_GOES)
        results = [evaluate_gate(gate, evidence) for gate in ANYTHING_GOES]
        record_results(lakehouse, evidence, ANYTHING_GOES, results, now=now, run_id="forced")
        self.promote(bad)
        return bad

    def promote(self, version: int) -> None:
        ledger, registry, now = self.ledger, self.registry, self.lakeops.now()
        plan = plan_promotion(ledger, registry, version, ANYTHING_GOES, OPEN, now=now)
        done = carry_out(
            ledger, registry, plan, ANYTHING_GOES, actor="drill", run_id="forced", now=now
        )
        assert done.promoted, done.reason

    def check(self) -> Any:
        key = dg.AssetCheckKey(dg.AssetKey(["churn", "scores_kpi_windows"]), "kpi")
        record = self.instance.get_latest_asset_check_evaluation_record(key)
        assert record is not None
        assert record.evaluation is not None
        return record.evaluation


@pytest.fixture
def churn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Churn]:
    """Churn after 17 days: the first week's labels are there, and version 1 is champion."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    with dg.instance_for_test() as instance:
        product = Churn(tmp_path, instance)
        product.land(17)
        done = product.run(
            *("customers", "churn_labels", "features", "model", "model_version", "champion"),
            *("scores", "scores_kpi_windows"),
        )
        assert done.success
        yield product


def test_a_bad_champion_is_reverted_once_and_stays_away(churn: Churn) -> None:
    assert churn.check().passed
    bad = churn.force_in_a_bad_champion()
    assert churn.refresh().success
    tick = churn.tick()
    assert isinstance(tick, dg.SkipReason)
    assert "it goes at 2 of 3" in str(tick.skip_message)

    churn.land(3)
    done = churn.refresh()
    assert done.success, "a run in which a KPI fails is green"
    check = churn.check()
    assert not check.passed
    assert check.metadata["version"].value == str(bad)
    assert check.metadata["decision"].value == "revert"
    requests = [churn.tick() for _ in range(3)]
    assert all(isinstance(r, dg.RunRequest) for r in requests)
    assert len({r.run_key for r in requests}) == 1, "one daemon would start one run"

    # Three daemons that know nothing of each other start one run each, all at the same time.
    start = Barrier(3)

    def daemon(request: dg.RunRequest) -> dict[str, Any]:
        start.wait()
        return churn.carry_out(request)

    with ThreadPoolExecutor(3) as threads:
        outcomes = list(threads.map(daemon, requests))
    assert [o["reverted"] for o in outcomes].count(True) == 1, outcomes
    [revert] = [e for e in churn.ledger.entries() if e.action == "revert"]
    assert (revert.version, revert.replaced) == (1, bad)
    assert "violates roc_auc at least 0.75 in 2 of its last 2 mature windows" in revert.reason
    measured = revert.evidence["measured"]
    assert [w["violates"] for w in measured["windows"]] == [True, True]
    assert all(0.4 < w["value"] < 0.6 for w in measured["windows"])
    assert churn.registry.alias("champion") == 1

    # Nobody swings back: the present champion is good, and the bad one waits for a person.
    tick = churn.tick()
    assert isinstance(tick, dg.SkipReason)
    assert "version 1 keeps roc_auc" in str(tick.skip_message)
    assert churn.run("champion", "scores", "scores_kpi_windows").success
    assert churn.registry.alias("champion") == 1
    assert churn.check().passed

    # Whoever promotes it again against the evidence is not overruled by the same evidence.
    churn.promote(bad)
    tick = churn.tick()
    assert isinstance(tick, dg.SkipReason)
    assert "was reverted on this evidence already" in str(tick.skip_message)
    churn.land(8)
    assert churn.refresh().success
    tick = churn.tick()
    assert isinstance(tick, dg.SkipReason)
    assert "is left alone until" in str(tick.skip_message), "cool-down"
    patient = replace(churn.rule, cooldown=timedelta())
    assert not isinstance(due_revert(churn.lakeops, patient), str)

    # The decision is made again from what it was made on, though labels have arrived since.
    found = replay_kpi(churn.lakeops, churn.rule)
    [made] = found.made
    assert made.reproduced
    assert made.event == revert.sequence
    [firing] = found.replay.firings
    assert firing.version == str(bad)
    assert firing.window.isoformat() == measured["window"]
    assert firing.wrong is False
    assert firing.later_rows > 300
    other = replay_kpi(churn.lakeops, churn.rule, {"at_least": 0.3})
    assert not other.declared
    assert not other.replay.firings
    assert [m.reproduced for m in other.made] == [False]

    shown = lakeops(churn.folder, "replay", "churn")
    assert shown.returncode == 0, shown.stderr
    assert "decided again" in shown.stdout
    assert "1 firings, 0 of them wrong" in shown.stdout


def test_a_run_that_was_killed_is_asked_for_again(churn: Churn) -> None:
    churn.force_in_a_bad_champion()
    churn.land(3)
    churn.refresh()
    keys = []
    for _ in range(3):
        request = churn.tick()
        assert isinstance(request, dg.RunRequest)
        keys.append(request.run_key)
        run = churn.instance.create_run_for_job(
            churn.definitions.resolve_job_def("churn_revert"),
            run_config=request.run_config,
            tags=request.tags,
            status=dg.DagsterRunStatus.STARTED,
        )
        assert run.run_id[:8] in str(churn.tick().skip_message)  # type: ignore[union-attr]
        churn.instance.report_run_failed(run, "killed")
    assert len(set(keys)) == 3
    assert "by hand" in str(churn.tick().skip_message)  # type: ignore[union-attr]
    assert churn.carry_out(request)["reverted"]


RESCORED = {"changed": 0, "none": 0, "all": 1}


@pytest.mark.parametrize("rows", RESCORED)
def test_what_a_restored_champion_scores(churn: Churn, rows: str) -> None:
    churn.force_in_a_bad_champion()
    churn.land(3)
    churn.refresh()
    rule = replace(churn.rule, rescore=rows)
    due = due_revert(churn.lakeops, rule)
    assert not isinstance(due, str)
    from lakeops_assets.promotion import carry_out_revert

    carry_out_revert(
        churn.ledger,
        churn.registry,
        due.plan,
        actor="drill",
        run_id="",
        now=churn.lakeops.now(),
    )
    lakehouse = churn.lakeops.lakehouse()
    customers = lakehouse.row_count("churn.features")

    def scored() -> int:
        where = "model_version = '1'"
        return (
            lakehouse.read("churn.scores", columns=["model_version"], where=where)
            .read_all()
            .num_rows
        )

    before = scored()
    for _ in range(2):  # the second time nothing is left to do
        assert churn.run("scores").success
    new = scored() - before
    assert new == {"changed": customers - before, "none": 0, "all": customers}[rows]
    assert 0 < customers - before < customers
