"""The revert drill: a bad champion is forced in, labels arrive, the one before comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from command_line import copy_of, environment, lakeops

from lakeops_assets import models, samples, settings
from lakeops_assets.commands.run import prepare_dagster_home
from lakeops_assets.components import training
from lakeops_assets.components.auto_revert import KpiRule, due_revert
from lakeops_assets.components.kpi_monitor import refresh_windows
from lakeops_assets.components.kpi_replay import kpi_rules, replay_kpi
from lakeops_assets.components.measurement import measure
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import TableName
from lakeops_assets.models import ModelRegistry, ModelSpec
from lakeops_assets.promotion import (
    Ledger,
    MetricGate,
    PromotionPolicy,
    approve,
    carry_out,
    carry_out_revert,
    evaluate_gate,
    plan_promotion,
    record_results,
)

BAD = 2
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


# One daemon: it ticks the sensor, says so, and runs the job when it is told to.
DAEMON = """
import json, sys
import dagster as dg
from test_auto_revert import Churn
with dg.DagsterInstance.get() as instance:
    churn = Churn(instance)
    request = churn.tick()
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(churn.carry_out(request)), flush=True)
"""


class Churn:
    """The churn product in a state of its own, and what its daemons do."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.config = settings.load()
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
        self.judge(bad)
        self.promote(bad)
        return bad

    def judge(self, version: int) -> None:
        """Let a version through gates that let anything pass."""
        lakehouse, now = self.lakeops.lakehouse(), self.lakeops.now()
        evidence = measure(
            lakehouse,
            self.registry,
            SPEC,
            FEATURES,
            version,
            ANYTHING_GOES,
            held={},
            now=now,
            run_id="forced",
        )
        results = [evaluate_gate(gate, evidence) for gate in ANYTHING_GOES]
        record_results(lakehouse, evidence, ANYTHING_GOES, results, now=now, run_id="forced")

    def promote(self, version: int) -> None:
        ledger, registry, now = self.ledger, self.registry, self.lakeops.now()
        plan = plan_promotion(ledger, registry, version, ANYTHING_GOES, OPEN, now=now)
        if plan.action == "wait":
            approve(
                ledger,
                registry,
                plan,
                digest=plan.digest,
                approver="drill",
                reason="I know better",
                now=now,
            )
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


@contextmanager
def opened(folder: Path) -> Iterator[Churn]:
    """Open the product of a folder, as a process would whose environment names it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(folder).items():
            patch.setenv(name, value)
        prepare_dagster_home(settings.load())
        with dg.DagsterInstance.get() as instance:
            yield Churn(instance)


@pytest.fixture(scope="module")
def misled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Churn after 17 days, when the labels of the first window are there.

    Version 1 is as good as any, and version 2, which was promoted after it, knows nothing.
    """
    folder = tmp_path_factory.mktemp("misled")
    with opened(folder) as churn:
        churn.land(17)
        assert churn.run("customers", "churn_labels", "features", "model").success
        good = training.register(churn.registry, "drill").version
        # The product's own gates want more rows than there are by then.
        churn.judge(good)
        churn.promote(good)
        assert churn.run("scores", "scores_kpi_windows").success
        assert churn.check().passed
        assert churn.force_in_a_bad_champion() == BAD
        assert churn.refresh().success
    return folder


@pytest.fixture
def churn(misled: Path, tmp_path: Path) -> Iterator[Churn]:
    """A copy of `misled`."""
    with opened(copy_of(misled, tmp_path / "churn")) as product:
        yield product


def race(folder: Path, daemons: int) -> list[dict[str, Any]]:
    """Let daemons that are processes of their own run the same job at the same time."""
    tests = [str(p) for p in Path(__file__).parents[:2]]
    path = os.pathsep.join([*tests, os.environ.get("PYTHONPATH", "")])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", DAEMON],
            env={**environment(folder), "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(daemons)
    ]
    for daemon in started:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
    for daemon in started:
        assert daemon.stdin is not None
        daemon.stdin.write("\n")
        daemon.stdin.flush()
    return [json.loads(daemon.communicate(timeout=120)[0]) for daemon in started]


def test_a_bad_champion_is_reverted_once_and_stays_away(churn: Churn, tmp_path: Path) -> None:
    tick = churn.tick()
    assert isinstance(tick, dg.SkipReason)
    assert "it goes at 2 of 3" in str(tick.skip_message)

    churn.land(3)
    done = churn.refresh()
    assert done.success, "a run in which a KPI fails is green"
    check = churn.check()
    assert not check.passed
    assert check.metadata["version"].value == str(BAD)
    assert check.metadata["decision"].value == "revert"
    requests = [churn.tick() for _ in range(3)]
    assert all(isinstance(r, dg.RunRequest) for r in requests)
    assert len({r.run_key for r in requests}) == 1, "one daemon would start one run"

    # Three daemons that know nothing of each other start one run each, all at the same time.
    outcomes = race(tmp_path / "churn", 3)
    assert [o["reverted"] for o in outcomes].count(True) == 1, outcomes
    [revert] = [e for e in churn.ledger.entries() if e.action == "revert"]
    assert (revert.version, revert.replaced) == (1, BAD)
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
    churn.promote(BAD)
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
    assert firing.version == str(BAD)
    assert firing.window.isoformat() == measured["window"]
    assert firing.wrong is False
    assert firing.later_rows > 300
    other = replay_kpi(churn.lakeops, churn.rule, {"at_least": 0.3})
    assert not other.declared
    assert not other.replay.firings
    assert [m.reproduced for m in other.made] == [False]

    shown = lakeops(tmp_path / "churn", "replay", "churn")
    assert shown.returncode == 0, shown.stderr
    assert "decided again" in shown.stdout
    assert "1 firings, 0 of them wrong" in shown.stdout


def test_a_run_that_was_killed_is_asked_for_again(churn: Churn) -> None:
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


@pytest.mark.parametrize("rows", ["changed", "none", "all"])
def test_what_a_restored_champion_scores(churn: Churn, rows: str) -> None:
    churn.land(1)
    churn.refresh()
    lakehouse = churn.lakeops.lakehouse()

    def scored() -> int:
        where = "model_version = '1'"
        return lakehouse.read("churn.scores", where=where).read_all().num_rows

    before, customers = scored(), lakehouse.row_count("churn.features")
    assert 0 < before < customers
    # One window is enough evidence for this rule.
    impatient = replace(churn.rule.spec, violations=1, of=1)
    rule = replace(churn.rule, spec=impatient, rescore=rows)
    refresh_windows(churn.lakeops, rule)
    due = due_revert(churn.lakeops, rule)
    assert not isinstance(due, str), due
    now = churn.lakeops.now()
    plan, ledger, registry = due.plan, churn.ledger, churn.registry
    assert carry_out_revert(ledger, registry, plan, actor="drill", run_id="", now=now).reverted
    for _ in range(2):  # the second time nothing is left to do
        assert churn.run("scores").success
    new = scored() - before
    assert new == {"changed": customers - before, "none": 0, "all": customers}[rows]
    churn.land(1)
    assert churn.refresh().success
    assert scored() - before - new == lakehouse.row_count("churn.features") - customers
