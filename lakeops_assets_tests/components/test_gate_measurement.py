"""What the gates of the churn product measure, on a real registry and real tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import dagster as dg
import pytest
import yaml
from command_line import environment, lakeops

from lakeops_assets import contracts, settings
from lakeops_assets.components import TabularModel, performance
from lakeops_assets.components.contract_checks import contract_beside
from lakeops_assets.components.gates import gates_check, result_metadata
from lakeops_assets.components.measurement import measure
from lakeops_assets.components.names import ModelNames
from lakeops_assets.components.quality import quality_gates
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.contracts import Contract
from lakeops_assets.lakehouse import TableName
from lakeops_assets.models import ModelRegistry
from lakeops_assets.promotion import (
    ChampionGate,
    CoverageGate,
    Entry,
    Evidence,
    Gate,
    Ledger,
    MetricGate,
    QualityGate,
    SliceGate,
    ValueGate,
    evaluate_gate,
    stored_verdict,
)

PROJECT = Path(__file__).parents[2]
NAMES = ModelNames("churn", "model")
FEATURES = TableName("dev", "churn", "features")
# After the run of the fixture, whenever that is.
NOW = datetime(2100, 1, 1, tzinfo=UTC)
AUC = MetricGate("roc_auc", at_least=0.8)


@dataclass(frozen=True)
class Place:
    """A finished churn product in this process."""

    lakeops: LakeopsResource
    model: TabularModel

    @property
    def registry(self) -> ModelRegistry:
        return self.lakeops.registry("churn", "model")

    def measure(self, *gates: Gate, held: Mapping[str, Contract] | None = None) -> Evidence:
        return measure(
            self.lakeops.lakehouse(),
            self.registry,
            self.model.model_spec("churn"),
            FEATURES,
            1,
            gates,
            held=held or {},
            now=NOW,
            run_id="run",
        )


def place(folder: Path) -> Place:
    path = PROJECT / "lakeops_assets" / "defs" / "churn" / "defs.yaml"
    [document] = [d for d in yaml.safe_load_all(path.read_text()) if "gates" in d["attributes"]]
    config = settings.load(environment(folder))
    return Place(LakeopsResource.from_settings(config), TabularModel(**document["attributes"]))


@pytest.fixture
def churn(finished: Path) -> Place:
    return place(finished)


def reasons(evidence: Evidence, gates: Sequence[Gate]) -> dict[str, str]:
    results = [evaluate_gate(gate, evidence) for gate in gates]
    return {r.gate: r.reason for r in results if not r.passed}


def test_the_champion_passes_every_gate_of_the_product(finished: Path) -> None:
    summary = json.loads((finished / "run.json").read_text())
    [version] = [o for o in summary["outcomes"] if o["asset"] == "churn/model_version"]
    model = place(finished).model
    held = {f"churn.{t}": contract(t) for t in ("features", "customers", "churn_labels")}
    gates = model.gate_specs(quality_gates(model.data_quality, held))
    assert sorted(version["passed"]) == sorted(gate.name for gate in gates)
    kinds = {type(gate).__name__ for gate in gates}
    assert kinds == {t.__name__ for t in get_args(Gate)}, "the product shows every kind of gate"


def test_the_verdict_is_on_the_version_in_the_registry(churn: Place) -> None:
    tags = churn.registry.version(1).tags
    assert tags["lakeops.gates"] == "passed"
    assert tags["lakeops.gate.readiness"] == tags["lakeops.gate.value"] == "passed"
    verdict = stored_verdict(churn.lakeops.lakehouse(), "dev.churn.model", 1, None)
    assert verdict.evaluation_id == tags["lakeops.evaluation"]
    assert verdict.model_id == churn.registry.version(1).model_id
    [value] = [r for r in verdict.results if r.gate == "value"]
    assert value.evidence["value"] > 18
    assert 0 < value.evidence["threshold"] < 0.5


def test_slices_are_the_rows_that_they_say(churn: Place) -> None:
    gate = SliceGate("contract", "brier", column="contract", at_most=0.25)
    condition = SliceGate("new", "brier", where="tenure <= 12", at_most=0.25)
    evidence = churn.measure(gate, condition)
    split = churn.lakeops.lakehouse().query(
        "SELECT contract, count(*) AS rows, count_if(tenure <= 12) AS new "
        "FROM churn.baseline WHERE split = 'test' GROUP BY contract"
    )
    rows = split.read_all().to_pylist()
    assert {s.value: s.rows for s in evidence.slices[gate.name]} == {
        r["contract"]: r["rows"] for r in rows
    }
    [new] = evidence.slices[condition.name]
    assert new.rows == sum(r["new"] for r in rows)
    # The mean of the slices, weighted by rows, is the whole.
    total = sum(s.rows * s.measured[0] for s in evidence.slices[gate.name] if s.measured)
    assert total / evidence.rows == pytest.approx(evidence.metrics["brier"][0])


def test_each_part_that_cannot_be_measured_fails_its_own_gate(churn: Place) -> None:
    gates = (
        AUC,
        SliceGate("planet", "brier", column="planet", at_most=0.25),
        SliceGate("broken", "brier", where="tenure <", at_most=0.25),
        SliceGate("empty", "brier", where="tenure < 0", at_most=0.25),
        CoverageGate("", 0.9, timestamp="no_such_day", within_days=3),
        QualityGate("churn.features", "digest", ("some_rule",)),
    )
    found = reasons(churn.measure(*gates), gates)
    assert set(found) == {gate.name for gate in gates} - {"roc_auc"}
    assert "planet" in found["slice_planet_brier"]
    assert "QueryError" in found["slice_broken_brier"]
    assert "empty (0 rows, fewer than 100)" in found["slice_empty_brier"]
    assert "FeatureSpecError: coverage asks for the column no_such_day" in found["coverage"]
    assert "no verdict" in found["data_quality_features"]


def contract(table: str) -> Contract:
    found = contract_beside(PROJECT / "lakeops_assets" / "defs" / "churn", table)
    assert found is not None
    return found


def test_the_contracts_of_all_training_tables_are_asked(copied: Path) -> None:
    churn = place(copied)
    held = {f"churn.{t}": contract(t) for t in ("features", "customers", "churn_labels")}
    gates = quality_gates(churn.model.data_quality, held)
    evidence = churn.measure(*gates, held=held)
    assert reasons(evidence, gates) == {}
    assert all(q.evaluated_version == q.data_version == 1 for q in evidence.quality.values())
    assert all(len(q.rules) == len(held[t].rules) for t, q in evidence.quality.items())

    # What happened to the table since the training is judged too.
    lakehouse = churn.lakeops.lakehouse()
    lakehouse.delete("churn.customers", "true")
    found = reasons(churn.measure(*gates, held=held), gates)
    assert "not_empty" in found["data_quality_customers"]
    # The features were not made of the scores.
    other = QualityGate("churn.scores", held["churn.features"].digest, ())
    asked = churn.measure(other, held={"churn.scores": held["churn.features"]})
    assert "was not computed from dev.churn.scores" in reasons(asked, (other,))[other.name]


def test_a_full_quarantine_refuses_the_version(copied: Path) -> None:
    churn = place(copied)
    lakehouse, held = churn.lakeops.lakehouse(), {"churn.customers": contract("customers")}
    table = lakehouse.name("churn.customers")
    sound = contracts.evaluate(lakehouse, held["churn.customers"], table, now=NOW)
    contracts.record_evaluation(lakehouse, replace(sound, open_quarantine=500), run_id="run")
    gates = quality_gates(churn.model.data_quality, held)
    found = reasons(churn.measure(*gates, held=held), gates)
    assert "500 rows (6.6%) are in quarantine" in found["data_quality_customers"]


def test_a_model_that_cannot_be_loaded_fails_what_needs_it(copied: Path) -> None:
    churn = place(copied)
    (churn.registry.files(1) / "model.pkl").write_bytes(b"no pickle")
    gates = churn.model.gate_specs()
    found = reasons(churn.measure(*gates), gates)
    assert set(found) == {gate.name for gate in gates} - {"recent_data"}
    assert "ModelError" in found["roc_auc"]
    assert "cannot be loaded" in found["roc_auc"]
    assert "sample_call" in found["readiness"]


def test_a_champion_that_cannot_be_loaded_refuses_the_challenger(copied: Path) -> None:
    churn = place(copied)
    promoted = Entry("dev.churn.model", "promote", 9, 8, "tester", "version 9 is not there", NOW)
    Ledger(churn.lakeops.lakehouse()).append(promoted)
    gates = (
        AUC,
        ChampionGate("roc_auc"),
        SliceGate("contract", "brier", column="contract", margin=0.1),
        ValueGate(churn_payoffs(churn), "EUR", "customer", 0.5, margin=2.0),
    )
    found = reasons(churn.measure(*gates), gates)
    assert set(found) == {gate.name for gate in gates} - {"roc_auc"}
    assert "not compared with champion 9: ModelError" in found["not_worse_than_champion_roc_auc"]


def churn_payoffs(churn: Place) -> tuple[tuple[str, float], ...]:
    [gate] = [g for g in churn.model.gate_specs() if isinstance(g, ValueGate)]
    return gate.payoffs


def run_check(churn: Place, gates: tuple[Gate, ...]) -> dg.ExecuteInProcessResult:
    check = gates_check(NAMES, churn.model.model_spec("churn"), FEATURES, gates, {})
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(NAMES.version)],
        asset_checks=[check],
        resources={"lakeops": churn.lakeops},
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, raise_on_error=False)


def test_a_check_that_crashes_stores_nothing_and_allows_nothing(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    churn = place(copied)
    gates = (AUC, ValueGate(churn_payoffs(churn), "EUR", "customer", "best", at_least=1.0))
    lakehouse = churn.lakeops.lakehouse()
    before = lakehouse.version("lakeops.gate_results")

    def programming_error(*args: object) -> None:
        raise TypeError("nobody expects this")

    with monkeypatch.context() as patch:
        patch.setattr(performance, "_value", programming_error)
        crashed = run_check(churn, gates)
    assert not crashed.success
    assert not crashed.get_asset_check_evaluations()
    assert lakehouse.version("lakeops.gate_results") == before
    assert not stored_verdict(lakehouse, "dev.churn.model", 1, gates).allowed

    assert run_check(churn, gates).success
    assert stored_verdict(lakehouse, "dev.churn.model", 1, gates).allowed
    tags = churn.registry.version(1).tags
    assert tags["lakeops.gate.value"] == "passed"
    assert "lakeops.gate.readiness" not in tags, "a gate that is gone leaves no tag"


def test_a_check_shows_a_table_and_numbers_that_the_ui_can_plot(copied: Path) -> None:
    churn = place(copied)
    gate = SliceGate("contract", "brier", column="contract", at_most=0.05)
    evaluations = run_check(churn, (gate,)).get_asset_check_evaluations()
    [found] = evaluations
    assert not found.passed
    assert "Month-to-month: brier is 0." in (found.description or "")
    table = found.metadata["evidence"]
    assert isinstance(table, dg.MarkdownMetadataValue)
    assert "| contract | rows | brier | verdict |" in table.md_str
    assert isinstance(found.metadata["contract=Two year"], dg.FloatMetadataValue)
    result = evaluate_gate(gate, replace(churn.measure(AUC), slices={}))
    assert result_metadata(1, result) == {"version": 1}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("metric: brier", "metric: rmse", "gates ask for rmse, and a classification has"),
        ("true_positive: 120", "over: 120", "needs an amount for true_positive"),
        ("within: 60 days", "within: two months", "'two months' is not a length of time"),
        ("name: new_customers, ", "", "the slice with tenure <= 12 needs a name"),
        ("metric: pr_auc", "metric: roc_auc", "gates are declared twice: roc_auc"),
        ("threshold: best", "threshold: middle", "threshold"),
    ],
)
def test_a_gate_that_cannot_be_declared_does_not_load(before: str, after: str, said: str) -> None:
    path = PROJECT / "lakeops_assets" / "defs" / "churn" / "defs.yaml"
    assert before in path.read_text()
    [document] = [
        d
        for d in yaml.safe_load_all(path.read_text().replace(before, after, 1))
        if "gates" in d["attributes"]
    ]
    with pytest.raises(ValueError, match=re.escape(said)):
        TabularModel(**document["attributes"]).gate_specs()


def test_a_contract_that_is_not_there_cannot_be_asked(tmp_path: Path) -> None:
    source = PROJECT / "lakeops_assets" / "defs" / "churn"
    target = tmp_path / "defs" / "other"
    target.mkdir(parents=True)
    for path in source.glob("*.*"):
        text = path.read_text().replace("churn.", "other.")
        text = text.replace("at_most: 0.02}", "at_most: 0.02, tables: [scores]}")
        (target / path.name).write_text(text)
    done = lakeops(tmp_path, "run", "other")
    assert done.returncode == 2
    assert "data_quality asks for the contract of other.scores, and there is none" in done.stderr
    assert "defs.yaml:" in done.stderr
    assert "Traceback" not in done.stderr
