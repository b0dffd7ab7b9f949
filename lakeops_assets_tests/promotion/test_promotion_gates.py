"""Gates fail closed, their verdicts are stored, and whoever exposes a model asks for them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.promotion import (
    ChampionGate,
    Evidence,
    GatesNotPassedError,
    MetricGate,
    Paired,
    RecencyGate,
    data_age,
    evaluate_gate,
    evaluation_id,
    record_results,
    require_gates,
    stored_verdict,
    version_tags,
)
from lakeops_assets.promotion.gates import GateSpecError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "dev.churn.model"
AUC = MetricGate("roc_auc", at_least=0.8)
PAIRED = ChampionGate("roc_auc", margin=0.01)
GATES = (AUC, PAIRED)


def evidence(version: int = 1, champion: int | None = None, auc: float = 0.85) -> Evidence:
    paired = {}
    if champion is not None:
        paired = {"roc_auc": Paired(champion, 0.84, auc, auc - 0.84, auc - 0.845, auc - 0.835)}
    metrics = {"roc_auc": (auc, auc - 0.02, auc + 0.02)}
    return Evidence(MODEL, version, 4, 1400, metrics, champion, paired)


def judge(
    lakehouse: Lakehouse, found: Evidence, gates: tuple = GATES, after: timedelta = timedelta()
) -> None:
    results = [evaluate_gate(gate, found) for gate in gates]
    record_results(lakehouse, found, gates, results, now=NOW + after, run_id="run")


@given(value=st.floats(allow_nan=True, allow_infinity=True), bound=st.floats(0, 1))
def test_a_metric_gate_passes_only_what_reaches_it(value: float, bound: float) -> None:
    found = replace(evidence(), metrics={"roc_auc": (value, value, value)})
    least = evaluate_gate(MetricGate("roc_auc", at_least=bound), found)
    most = evaluate_gate(MetricGate("roc_auc", at_most=bound), found)
    assert least.passed == (math.isfinite(value) and value >= bound)
    assert most.passed == (math.isfinite(value) and value <= bound)


def test_what_was_not_measured_fails() -> None:
    result = evaluate_gate(MetricGate("brier", at_most=1.0), evidence())
    assert not result.passed
    assert result.reason == "brier was not measured; measured: roc_auc"
    assert not evaluate_gate(ChampionGate("brier"), evidence(2, champion=1)).passed


@pytest.mark.parametrize(
    ("low", "passed"), [(-0.009, True), (-0.01, True), (-0.011, False), (math.nan, False)]
)
def test_a_loss_that_cannot_be_ruled_out_fails(low: float, passed: bool) -> None:
    paired = {"roc_auc": Paired(1, 0.84, 0.85, 0.01, low, 0.03)}
    found = replace(evidence(2, champion=1), paired=paired)
    assert evaluate_gate(PAIRED, found).passed is passed


def test_the_absent_champion_is_a_value() -> None:
    result = evaluate_gate(PAIRED, evidence())
    assert result.passed
    assert "no champion yet" in result.reason


def test_a_gate_that_passes_everything_cannot_be_declared() -> None:
    with pytest.raises(GateSpecError, match="needs at_least or at_most"):
        MetricGate("roc_auc")
    with pytest.raises(GateSpecError, match="give 0 or more"):
        ChampionGate("roc_auc", margin=math.nan)


def test_a_version_without_a_verdict_is_refused(lakehouse: Lakehouse) -> None:
    with pytest.raises(GatesNotPassedError, match="never evaluated"):
        require_gates(lakehouse, MODEL, 1, GATES)
    with pytest.raises(GatesNotPassedError, match="no gates are declared"):
        require_gates(lakehouse, MODEL, 1, ())


def test_the_verdict_is_for_exactly_that_version(lakehouse: Lakehouse) -> None:
    judge(lakehouse, evidence(1))
    assert require_gates(lakehouse, MODEL, 1, GATES).allowed
    assert not stored_verdict(lakehouse, MODEL, 2, GATES).allowed
    assert not stored_verdict(lakehouse, "dev.churn.other", 1, GATES).allowed


def test_an_evaluation_is_stored_once(lakehouse: Lakehouse) -> None:
    judge(lakehouse, evidence(1))
    version = lakehouse.version("lakeops.gate_results")
    judge(lakehouse, evidence(1), after=timedelta(days=1))
    assert lakehouse.version("lakeops.gate_results") == version
    assert lakehouse.row_count("lakeops.gate_results") == 2


def test_a_missing_or_failed_gate_refuses(lakehouse: Lakehouse) -> None:
    judge(lakehouse, evidence(1), gates=(AUC,))
    assert stored_verdict(lakehouse, MODEL, 1, GATES).reasons == (
        f"gate {PAIRED.name} has no result",
        "the gates were changed after the evaluation; evaluate the version again",
    )
    judge(lakehouse, evidence(2, auc=0.5))
    assert "gate roc_auc failed: roc_auc is 0.5000" in str(
        stored_verdict(lakehouse, MODEL, 2, GATES).reasons
    )


def test_gates_that_were_changed_do_not_count(lakehouse: Lakehouse) -> None:
    judge(lakehouse, evidence(1))
    stricter = (MetricGate("roc_auc", at_least=0.9), PAIRED)
    with pytest.raises(GatesNotPassedError, match="changed after the evaluation"):
        require_gates(lakehouse, MODEL, 1, stricter)
    judge(lakehouse, evidence(1), gates=stricter, after=timedelta(hours=1))
    assert not stored_verdict(lakehouse, MODEL, 1, stricter).allowed


def test_whoever_uses_a_champion_asks_for_the_gates_it_had_to_pass(lakehouse: Lakehouse) -> None:
    judge(lakehouse, evidence(1), gates=(AUC,))
    assert require_gates(lakehouse, MODEL, 1, None).allowed
    judge(lakehouse, evidence(2, auc=0.5), gates=(AUC,))
    for version in (2, 3):
        with pytest.raises(GatesNotPassedError):
            require_gates(lakehouse, MODEL, version, None)


def test_the_newest_evaluation_decides_whatever_was_found_before(lakehouse: Lakehouse) -> None:
    """What could not be measured once can be later, and a pass does not outlive a failure."""
    hours = iter(range(10))

    def found(*, sound: bool) -> bool:
        measured = evidence(1) if sound else replace(evidence(1), metrics={})
        judge(lakehouse, measured, after=timedelta(hours=next(hours)))
        return stored_verdict(lakehouse, MODEL, 1, GATES).allowed

    assert [found(sound=s) for s in (False, True, False, False, True)] == [
        *(False, True, False, False, True)
    ]
    assert lakehouse.row_count("lakeops.gate_results") == 4


def test_a_verdict_on_another_model_of_the_same_number_does_not_count(lakehouse: Lakehouse) -> None:
    """The registry gives a number again when the version that had it was deleted."""
    judge(lakehouse, replace(evidence(1), model_id="m-deleted"))
    assert require_gates(lakehouse, MODEL, 1, GATES, model_id="m-deleted").model_id == "m-deleted"
    for gates in (GATES, None):
        with pytest.raises(GatesNotPassedError, match="of another model, m-deleted"):
            require_gates(lakehouse, MODEL, 1, gates, model_id="m-new")


def test_a_verdict_that_became_older_than_its_data_allow_is_refused(lakehouse: Lakehouse) -> None:
    import pyarrow as pa

    rows = pa.table({"n": [1]})
    lakehouse.create("churn.features", rows.schema)
    lakehouse.append("churn.features", rows)
    trained = lakehouse.version("churn.features")
    gates = (AUC, RecencyGate(days_at_most=1 / 86_400_000_000))
    age = data_age(lakehouse, "churn.features", trained)
    assert (age.newest_version, age.days) == (trained, 0.0)
    measured = replace(evidence(1), table="churn.features", data_version=trained, data_age=age)
    judge(lakehouse, measured, gates=gates)
    assert require_gates(lakehouse, MODEL, 1, gates).data_version == trained
    lakehouse.append("churn.features", rows)
    with pytest.raises(GatesNotPassedError, match="by now the model was trained on version 1"):
        require_gates(lakehouse, MODEL, 1, gates)
    # Whoever uses a champion goes on, and a champion that is evaluated anew stays sound.
    assert require_gates(lakehouse, MODEL, 1, None).allowed
    judge(lakehouse, replace(measured, champion_version=1), gates=gates, after=timedelta(hours=1))
    assert require_gates(lakehouse, MODEL, 1, gates).allowed


def test_data_whose_history_is_gone_have_no_age(lakehouse: Lakehouse) -> None:
    import pyarrow as pa

    lakehouse.create("churn.features", pa.schema([("n", pa.int64())]))
    assert data_age(lakehouse, "churn.features", 7) is None


def test_a_verdict_keeps_its_table_and_becomes_tags(lakehouse: Lakehouse) -> None:
    results = [evaluate_gate(AUC, evidence(auc=0.5)), evaluate_gate(PAIRED, evidence())]
    results[1] = replace(results[1], details=({"slice": "a", "rows": 3},))
    record_results(lakehouse, evidence(), GATES, results, now=NOW, run_id="run")
    verdict = stored_verdict(lakehouse, MODEL, 1, GATES)
    stored = {r.gate: r for r in verdict.results}
    assert stored == {r.gate: r for r in results}
    tags = version_tags(verdict.results, verdict.evaluation_id)
    assert tags["lakeops.gates"] == "failed"
    assert tags["lakeops.gate.roc_auc"].startswith("failed: roc_auc is 0.5000")
    assert tags[f"lakeops.gate.{PAIRED.name}"] == "passed"
    assert tags["lakeops.evaluation"] == evaluation_id(evidence(), GATES, results)
    assert version_tags((), "")["lakeops.gates"] == "failed"
