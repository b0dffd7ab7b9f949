"""Every kind of gate: what passes it, and that nothing gets past it unmeasured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeops_assets.promotion import (
    ChampionGate,
    CoverageEvidence,
    CoverageGate,
    DataAge,
    Evidence,
    Gate,
    GateSpecError,
    MetricGate,
    Paired,
    QualityEvidence,
    QualityGate,
    ReadinessEvidence,
    ReadinessGate,
    ReadinessItem,
    RecencyGate,
    RuleOutcome,
    SliceGate,
    SliceMeasure,
    ValueGate,
    check_names,
    evaluate_gate,
    gates_digest,
)
from lakeops_assets.promotion.gates.spec import READINESS_ITEMS

SLICES = SliceGate("contract", "roc_auc", column="contract", at_least=0.7, margin=0.05)
NEW = SliceGate("new", "roc_auc", where="tenure < 3", at_least=0.7)
VALUE = ValueGate((("over", -1.0), ("under", -2.0)), "EUR", "house", None, -5.0, 0.5)
QUALITY = QualityGate("churn.features", "c1", ("key_unique", "rows"), quarantined_at_most=0.05)
COVERAGE = CoverageGate("", 0.9, others=("charges",))
CHARGES = CoverageGate("charges", 0.5)
READY = ReadinessGate(size_mb_at_most=1.0)
RECENT = RecencyGate(30.0)
GATES: tuple[Gate, ...] = (
    MetricGate("roc_auc", at_least=0.8),
    ChampionGate("roc_auc", margin=0.01),
    *(SLICES, NEW, VALUE, QUALITY, COVERAGE, CHARGES, READY, RECENT),
)
BETTER = Paired(1, 0.8, 0.85, 0.05, 0.01, 0.09)
WORSE = Paired(1, 0.85, 0.8, -0.05, -0.09, -0.01)

SOUND = Evidence(
    model="dev.churn.model",
    version=2,
    data_version=4,
    rows=1000,
    metrics={"roc_auc": (0.85, 0.83, 0.87)},
    champion_version=1,
    paired={"roc_auc": BETTER},
    model_id="m-2",
    table="dev.churn.features",
    slices={
        SLICES.name: (
            SliceMeasure("one year", 400, (0.8, 0.7, 0.9), BETTER),
            SliceMeasure("two years", 600, (0.75, 0.7, 0.8), BETTER),
        ),
        NEW.name: (SliceMeasure("new", 150, (0.72, 0.6, 0.8)),),
    },
    value=(-3.0, -4.0, -2.0),
    value_paired=BETTER,
    quality={
        "churn.features": QualityEvidence(
            *("churn.features", 4, 4, "c1", 990, 10),
            (
                RuleOutcome("key_unique", "block", True, "unique"),
                RuleOutcome("rows", "block", True, "990 rows"),
                RuleOutcome("tenure_range", "quarantine", False, "10 rows outside"),
            ),
        )
    },
    coverage={
        COVERAGE.name: CoverageEvidence(
            1000, "", ("tenure", "charges"), {"tenure": 1.0, "charges": 0.6}
        ),
        CHARGES.name: CoverageEvidence(
            1000, "", ("tenure", "charges"), {"tenure": 1.0, "charges": 0.6}
        ),
    },
    readiness=ReadinessEvidence(
        tuple(ReadinessItem(i, True, "so") for i in READINESS_ITEMS if i != "size"), 500_000, 2.0
    ),
    data_age=DataAge(6, 3.0),
)


def with_slices(gate: SliceGate, *found: SliceMeasure, champion: int | None = 1) -> Evidence:
    return replace(SOUND, slices={gate.name: found}, champion_version=champion)


def with_quality(**changes: object) -> Evidence:
    changed = replace(SOUND.quality["churn.features"], **changes)
    return replace(SOUND, quality={"churn.features": changed})


@pytest.mark.parametrize("gate", GATES, ids=lambda g: g.name)
def test_sound_evidence_passes(gate: Gate) -> None:
    assert evaluate_gate(gate, SOUND).passed
    assert evaluate_gate(gate, SOUND).reason


@pytest.mark.parametrize("gate", GATES, ids=lambda g: g.name)
def test_what_nobody_measured_fails_and_says_so(gate: Gate) -> None:
    nothing = Evidence("dev.churn.model", 2, 4, 0, {}, champion_version=1)
    result = evaluate_gate(gate, nothing)
    assert not result.passed
    assert "not" in result.reason or "never" in result.reason


PARTS = {
    "performance": (GATES[0], GATES[1], SLICES, NEW, VALUE),
    "champion": (GATES[1],),
    f"slices/{SLICES.name}": (SLICES,),
    "value": (VALUE,),
    "quality/churn.features": (QUALITY,),
    "coverage": (COVERAGE, CHARGES),
    "readiness": (READY,),
    "data_age": (RECENT,),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_raised_fails_its_gates_with_the_exception(part: str) -> None:
    raised = Evidence("m", 2, 4, 0, {}, 1, unmeasured={part: "OSError: the disk is gone"})
    for gate in PARTS[part]:
        result = evaluate_gate(gate, raised)
        assert not result.passed
        assert "OSError: the disk is gone" in result.reason


def test_unmeasured_performance_fails_the_comparison_even_without_a_champion() -> None:
    raised = Evidence("m", 2, 4, 0, {}, None, unmeasured={"performance": "ModelError: broken"})
    assert not evaluate_gate(GATES[1], raised).passed


@pytest.mark.parametrize("gate", GATES, ids=lambda g: g.name)
def test_a_changed_gate_is_another_gate(gate: Gate) -> None:
    others = tuple(g for g in GATES if g is not gate)
    assert gates_digest(others) != gates_digest(GATES)
    assert gates_digest((*others, gate)) == gates_digest((*others, replace(gate)))


def test_two_gates_of_one_name_cannot_be_declared() -> None:
    with pytest.raises(GateSpecError, match="declared twice: roc_auc"):
        check_names((MetricGate("roc_auc", at_least=0.8), MetricGate("roc_auc", at_least=0.1)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MetricGate("roc_auc", at_least=math.nan),
        lambda: MetricGate("roc_auc", at_most=math.inf),
        lambda: SliceGate("a", "roc_auc", column="a"),
        lambda: SliceGate("a", "roc_auc", column="a", where="b", at_least=0.5),
        lambda: SliceGate("a b", "roc_auc", column="a b", at_least=0.5),
        lambda: SliceGate("a", "roc_auc", column="a", at_least=0.5, min_rows=1),
        lambda: SliceGate("a", "roc_auc", column="a", at_least=0.5, unmeasured_at_most=1.5),
        lambda: ValueGate((("over", 0.0), ("under", 0.0)), "EUR", "row", None, at_least=0),
        lambda: ValueGate((("over", math.nan), ("under", 1.0)), "EUR", "row", None, at_least=0),
        lambda: ValueGate((("over", -1.0), ("under", -1.0)), "EUR", "row", None),
        lambda: CoverageGate("a", 0.0),
        lambda: CoverageGate("a", 0.5, within_days=3),
        lambda: CoverageGate("a", math.nan),
        lambda: QualityGate("a.b", "c", (), quarantined_at_most=math.nan),
        lambda: ReadinessGate(size_mb_at_most=math.nan),
        lambda: RecencyGate(math.nan),
    ],
)
def test_a_gate_that_cannot_refuse_cannot_be_declared(make: object) -> None:
    with pytest.raises(GateSpecError):
        make()


# Slices


def test_one_bad_slice_fails_a_good_average() -> None:
    found = with_slices(
        SLICES,
        SliceMeasure("one year", 900, (0.9, 0.8, 0.95), BETTER),
        SliceMeasure("two years", 100, (0.69, 0.5, 0.8), BETTER),
    )
    result = evaluate_gate(SLICES, found)
    assert not result.passed
    assert result.reason.startswith("two years: roc_auc is 0.6900")
    assert [row["verdict"] for row in result.details] == ["passed", "failed"]


def test_a_slice_that_may_be_worse_than_the_champions_fails() -> None:
    found = with_slices(SLICES, SliceMeasure("one year", 900, (0.9, 0.8, 0.95), WORSE))
    assert "a loss above 0.05 cannot be ruled out" in evaluate_gate(SLICES, found).reason
    missing = with_slices(SLICES, SliceMeasure("one year", 900, (0.9, 0.8, 0.95)))
    assert "not compared with champion 1" in evaluate_gate(SLICES, missing).reason
    first = with_slices(SLICES, SliceMeasure("one year", 900, (0.9, 0.8, 1.0)), champion=None)
    assert evaluate_gate(SLICES, first).passed


@pytest.mark.parametrize(("small", "passed"), [(50, True), (51, False)])
def test_few_rows_are_reported_and_fail_when_they_are_many(small: int, passed: bool) -> None:
    found = with_slices(
        SLICES,
        SliceMeasure("one year", 1000 - small, (0.8, 0.7, 0.9), BETTER),
        # It would pass if it were believed.
        SliceMeasure("two years", small, (0.99, 0.98, 1.0), BETTER),
    )
    result = evaluate_gate(SLICES, found)
    assert result.passed is passed
    assert f"two years ({small} rows, fewer than 100)" in result.reason


@pytest.mark.parametrize("rows", [0, 99])
def test_an_empty_or_small_slice_that_was_named_fails(rows: int) -> None:
    found = with_slices(NEW, SliceMeasure("new", rows, (0.9, 0.8, 1.0)))
    assert not evaluate_gate(NEW, found).passed
    assert not evaluate_gate(NEW, with_slices(NEW)).passed


def test_a_slice_with_one_class_and_one_that_is_not_a_number_fail() -> None:
    one_class = SliceMeasure("new", 200, None, reason="all its rows have the same label")
    assert "same label" in evaluate_gate(NEW, with_slices(NEW, one_class)).reason
    for gate in (SLICES, NEW):
        found = with_slices(gate, SliceMeasure("a", 200, (math.nan, 0.0, 0.0), BETTER))
        assert not evaluate_gate(gate, found).passed


# Money


@given(value=st.floats(allow_nan=True, allow_infinity=True))
def test_the_value_must_reach_its_bound(value: float) -> None:
    result = evaluate_gate(VALUE, replace(SOUND, value=(value, value, value)))
    assert result.passed == (math.isfinite(value) and value >= -5)


def test_a_value_that_may_be_below_the_champions_fails() -> None:
    much = replace(WORSE, low=-0.6)
    assert not evaluate_gate(VALUE, replace(SOUND, value_paired=much)).passed
    assert not evaluate_gate(VALUE, replace(SOUND, value_paired=None)).passed
    assert evaluate_gate(VALUE, replace(SOUND, value_paired=None, champion_version=None)).passed


# Data quality


def test_rules_evaluated_before_the_training_data_do_not_count() -> None:
    assert evaluate_gate(QUALITY, with_quality(evaluated_version=5)).passed
    result = evaluate_gate(QUALITY, with_quality(evaluated_version=3))
    assert not result.passed
    assert "on version 3, and the model was trained on version 4" in result.reason


def test_a_missing_or_broken_blocking_rule_fails() -> None:
    rules = SOUND.quality["churn.features"].rules
    missing = evaluate_gate(QUALITY, with_quality(rules=rules[1:]))
    assert "no result for the rule key_unique" in missing.reason
    broken = (RuleOutcome("key_unique", "block", False, "2 keys twice"), *rules[1:])
    assert "key_unique: 2 keys twice" in evaluate_gate(QUALITY, with_quality(rules=broken)).reason
    # A rule that blocks by now is not passed because it only warned when it was evaluated.
    milder = (RuleOutcome("key_unique", "warn", False, "2 keys twice"), *rules[1:])
    assert not evaluate_gate(QUALITY, with_quality(rules=milder)).passed


def test_a_contract_that_was_changed_and_a_full_quarantine_fail() -> None:
    assert "was changed" in evaluate_gate(QUALITY, with_quality(contract_digest="c0")).reason
    full = evaluate_gate(QUALITY, with_quality(quarantined=100))
    assert "100 rows (9.2%) are in quarantine" in full.reason
    empty = evaluate_gate(QUALITY, with_quality(rows=0, quarantined=0))
    assert "no rows have landed" in empty.reason


# Coverage


def test_every_feature_of_the_model_must_be_covered() -> None:
    def found(**shares: float) -> Evidence:
        covered = CoverageEvidence(1000, "", ("tenure", "charges"), shares)
        return replace(SOUND, coverage={g.name: covered for g in (COVERAGE, CHARGES)})

    assert "tenure was not measured" in evaluate_gate(COVERAGE, found(charges=1.0)).reason
    assert not evaluate_gate(COVERAGE, found(tenure=math.nan, charges=1.0)).passed
    low = evaluate_gate(COVERAGE, found(tenure=0.89, charges=1.0))
    assert low.reason == "tenure has 89.00%, at least 90.00% are asked for"
    # A feature with a gate of its own is measured there.
    assert evaluate_gate(COVERAGE, found(tenure=1.0)).passed
    assert not evaluate_gate(CHARGES, found(tenure=1.0)).passed
    assert not evaluate_gate(CHARGES, found(tenure=1.0, charges=0.4)).passed


# Readiness


@pytest.mark.parametrize("item", [i for i in READINESS_ITEMS if i != "size"])
def test_one_item_that_failed_or_was_not_asked_fails(item: str) -> None:
    assert SOUND.readiness is not None
    items = SOUND.readiness.items
    rest = tuple(i for i in items if i.name != item)
    unasked = replace(SOUND, readiness=replace(SOUND.readiness, items=rest))
    assert evaluate_gate(READY, unasked).reason == f"{item} was not asked"
    failed = (*rest, ReadinessItem(item, False, "it broke"))
    broken = replace(SOUND, readiness=replace(SOUND.readiness, items=failed))
    assert evaluate_gate(READY, broken).reason == f"{item}: it broke"


@pytest.mark.parametrize(("size", "passed"), [(1, True), (1_000_000, True), (1_000_001, False)])
def test_a_model_that_is_too_large_fails(size: int, passed: bool) -> None:
    assert SOUND.readiness is not None
    found = replace(SOUND, readiness=replace(SOUND.readiness, size_bytes=size))
    assert evaluate_gate(READY, found).passed is passed


# Recent data


@pytest.mark.parametrize(
    ("days", "passed"), [(0.0, True), (30.0, True), (30.1, False), (math.nan, False)]
)
def test_data_that_moved_on_too_far_fails(days: float, passed: bool) -> None:
    assert evaluate_gate(RECENT, replace(SOUND, data_age=DataAge(6, days))).passed is passed


def test_a_champion_may_be_of_any_age() -> None:
    champion = replace(SOUND, version=1, data_age=DataAge(6, 900.0))
    assert evaluate_gate(RECENT, champion).passed
