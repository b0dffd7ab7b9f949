"""From gate and evidence to a verdict with a reason; nothing here measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lakeops_assets.promotion.gates.evidence import (
    Evidence,
    Paired,
    QualityEvidence,
    ReadinessItem,
    SliceMeasure,
)
from lakeops_assets.promotion.gates.spec import (
    ChampionGate,
    CoverageGate,
    Gate,
    MetricGate,
    QualityGate,
    ReadinessGate,
    RecencyGate,
    SliceGate,
    ValueGate,
)

# A column can have more values than anybody reads.
MOST_NAMED, MOST_ROWS = 5, 50


@dataclass(frozen=True)
class GateResult:
    """The outcome of one gate.

    Attributes:
        gate: Name of the gate.
        passed: Whether it was passed.
        reason: What was found, in words.
        evidence: The numbers behind it.
        details: Rows of a table for whoever reviews it.
    """

    gate: str
    passed: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    details: tuple[Mapping[str, Any], ...] = ()


def evaluate_gate(gate: Gate, evidence: Evidence) -> GateResult:
    """Evaluate one gate; what cannot be evaluated is failed, with the reason."""
    return _EVALUATE[type(gate)](gate, evidence)


def _metric(gate: MetricGate, evidence: Evidence) -> GateResult:
    measured = evidence.metrics.get(gate.metric)
    if measured is None:
        return _failed(gate, _not_measured(gate.metric, evidence))
    value, low, high = measured
    numbers = {"value": value, "low": low, "high": high, "rows": evidence.rows}
    numbers |= _given(at_least=gate.at_least, at_most=gate.at_most)
    found = f"{gate.metric} is {_interval(measured)}"
    problem = _out_of_bounds(value, gate.at_least, gate.at_most)
    if problem == NOT_A_NUMBER:
        return _failed(gate, f"{gate.metric} is {value}", numbers)
    reason = f"{found}, {problem}" if problem else found
    return GateResult(gate.name, not problem, reason, numbers)


def _champion(gate: ChampionGate, evidence: Evidence) -> GateResult:
    if "performance" in evidence.unmeasured:
        return _failed(gate, _not_measured(gate.metric, evidence))
    alone = _without_rival(evidence)
    if alone:
        return GateResult(gate.name, True, alone, {"rows": evidence.rows})
    numbers, found, problem = _compared(
        gate.metric, evidence.paired.get(gate.metric), gate.margin, evidence
    )
    reason = f"{found}; {problem}" if found and problem else found or problem
    return GateResult(gate.name, not problem, reason, {**numbers, "rows": evidence.rows})


def _slices(gate: SliceGate, evidence: Evidence) -> GateResult:
    part = f"slices/{gate.name}"
    slices = evidence.slices.get(gate.name)
    if slices is None:
        because = evidence.unmeasured.get(part) or evidence.unmeasured.get("performance")
        return _failed(gate, f"{gate.title} was not measured: {because or 'nobody did'}")
    judged = [(s, *_judge_slice(gate, s, evidence)) for s in slices]
    numbers = {f"{gate.title}={s.value}": s.measured[0] for s in slices if s.measured}
    details = tuple(_slice_row(gate, *found) for found in judged[:MOST_ROWS])
    total = sum(s.rows for s in slices)
    left_out_rows = sum(s.rows for s, left_out, _ in judged if left_out)
    numbers["unmeasured_share"] = left_out_rows / total if total else 1.0
    problems = [f"{s.value}: {problem}" for s, _, problem in judged if problem]
    unmeasured = [f"{s.value} ({left_out})" for s, left_out, _ in judged if left_out]
    if len(unmeasured) > MOST_NAMED:
        unmeasured[MOST_NAMED:] = [f"{len(unmeasured) - MOST_NAMED} more"]
    measured = [s.measured[0] for s, left_out, _ in judged if s.measured and not left_out]
    allowed = gate.unmeasured_at_most if gate.column else 0.0
    if not measured or numbers["unmeasured_share"] > allowed:
        there = ", ".join(unmeasured) or "there are no held-out rows"
        problems.append(
            f"{numbers['unmeasured_share']:.1%} of the held-out rows are in slices that were not "
            f"measured, {allowed:.1%} may be: {there}"
        )
    if problems:
        return _failed(gate, "; ".join(problems), numbers, details)
    reason = (
        f"{gate.metric} is {min(measured):.4f} to {max(measured):.4f} in {len(measured)} slices of "
        f"{gate.title}"
        if gate.column
        else f"{gate.metric} is {measured[0]:.4f} in {gate.title}, {total} held-out rows"
    )
    if unmeasured:
        reason += f"; not measured: {', '.join(unmeasured)}"
    return GateResult(gate.name, True, reason, numbers, details)


def _judge_slice(gate: SliceGate, found: SliceMeasure, evidence: Evidence) -> tuple[str, str]:
    """Return why a slice counts as not measured, or what is wrong with it."""
    if found.rows < gate.min_rows:
        return f"{found.rows} rows, fewer than {gate.min_rows}", ""
    if found.measured is None:
        return found.reason or "nobody measured it", ""
    problem = _out_of_bounds(found.measured[0], gate.at_least, gate.at_most)
    if problem:
        return "", f"{gate.metric} is {_interval(found.measured)}, {problem}"
    if gate.margin is None or _without_rival(evidence):
        return "", ""
    _, said, problem = _compared(gate.metric, found.paired, gate.margin, evidence)
    return "", f"{said}; {problem}" if said and problem else problem


def _slice_row(
    gate: SliceGate, found: SliceMeasure, left_out: str, problem: str
) -> Mapping[str, Any]:
    row: dict[str, Any] = {gate.title: found.value, "rows": found.rows}
    if found.measured:
        row[gate.metric] = _interval(found.measured)
    if found.paired:
        row["better than champion by"] = _difference(found.paired)
    verdict = f"not measured: {left_out}" if left_out else "failed" if problem else "passed"
    return {**row, "verdict": verdict}


def _value(gate: ValueGate, evidence: Evidence) -> GateResult:
    if evidence.value is None:
        because = evidence.unmeasured.get("value") or evidence.unmeasured.get("performance")
        return _failed(gate, f"the value was not measured: {because or 'nobody did'}")
    value, low, high = evidence.value
    numbers: dict[str, Any] = {"value": value, "low": low, "high": high, "rows": evidence.rows}
    numbers |= _given(at_least=gate.at_least, threshold=evidence.threshold)
    found = f"the value is {value:.2f} {gate.unit} (95 % interval {low:.2f} to {high:.2f})"
    if evidence.threshold is not None:
        found += f" at the threshold {evidence.threshold:.3g}"
    details = tuple({"outcome": o, gate.currency: amount} for o, amount in gate.payoffs)
    problem = _out_of_bounds(value, gate.at_least, None)
    if not problem and gate.margin is not None and not _without_rival(evidence):
        more, said, problem = _compared("the value", evidence.value_paired, gate.margin, evidence)
        numbers |= {f"champion_{k}": v for k, v in more.items()}
        found = f"{found}; {said}" if said else found
    reason = f"{found}; {problem}" if problem else found
    return GateResult(gate.name, not problem, reason, numbers, details)


def _quality(gate: QualityGate, evidence: Evidence) -> GateResult:
    found = evidence.quality.get(gate.table)
    if found is None:
        because = evidence.unmeasured.get(f"quality/{gate.table}", "it was never evaluated")
        return _failed(gate, f"the contract of {gate.table} has no verdict: {because}")
    landed = found.rows + found.quarantined
    share = found.quarantined / landed if landed else math.nan
    numbers = {
        "rows": found.rows,
        "quarantined": found.quarantined,
        "quarantined_share": share,
        "data_version": found.data_version,
        "evaluated_version": found.evaluated_version,
    }
    details = tuple(
        {"rule": r.rule, "severity": r.severity, "passed": r.passed, "found": r.reason}
        for r in found.rules
    )
    problems = _quality_problems(gate, found, share)
    if problems:
        return _failed(gate, "; ".join(problems), numbers, details)
    reason = (
        f"{len(gate.rules)} blocking rules of {gate.table} were passed on version "
        f"{found.evaluated_version}; {found.quarantined} of {landed} rows are in quarantine"
    )
    return GateResult(gate.name, True, reason, numbers, details)


def _quality_problems(gate: QualityGate, found: QualityEvidence, share: float) -> list[str]:
    problems = []
    if found.contract_digest != gate.contract_digest:
        problems.append(f"the contract of {gate.table} was changed after it was evaluated")
    if found.evaluated_version < found.data_version:
        problems.append(
            f"the rules of {gate.table} were evaluated on version {found.evaluated_version}, and "
            f"the model was trained on version {found.data_version}"
        )
    outcomes = {r.rule: r for r in found.rules}
    missing = [rule for rule in gate.rules if rule not in outcomes]
    if missing:
        problems.append(f"no result for the rule {', '.join(missing)}")
    problems += [
        f"{r.rule}: {r.reason}"
        for r in found.rules
        if not r.passed and (r.severity == "block" or r.rule in gate.rules)
    ]
    if not math.isfinite(share):
        problems.append("no rows have landed")
    elif share > gate.quarantined_at_most:
        problems.append(
            f"{found.quarantined} rows ({share:.1%}) are in quarantine, at most "
            f"{gate.quarantined_at_most:.1%} may be"
        )
    return problems


def _coverage(gate: CoverageGate, evidence: Evidence) -> GateResult:
    found = evidence.coverage.get(gate.name)
    if found is None:
        because = evidence.unmeasured.get("coverage", "nobody did")
        return _failed(gate, f"coverage was not measured: {because}")
    wanted = [gate.feature] if gate.feature else found.features
    asked = [f for f in wanted if f not in gate.others]
    numbers: dict[str, Any] = {f: found.shares[f] for f in asked if f in found.shares}
    details = tuple({"feature": f, "covered": f"{share:.2%}"} for f, share in numbers.items())
    numbers |= {"rows": found.rows, "at_least": gate.at_least}
    problems = [f"{f} was not measured" for f in asked if f not in found.shares]
    problems += [
        f"{f} has {found.shares[f]:.2%}, at least {gate.at_least:.2%} are asked for"
        for f in asked
        # Written so that what is not a number is a problem.
        if f in found.shares and not found.shares[f] >= gate.at_least
    ]
    if not found.rows:
        problems.append("the table has no rows")
    if not asked:
        problems.append("the model has no feature that it could be measured on")
    if problems:
        return _failed(gate, "; ".join(problems), numbers, details)
    lowest = min(asked, key=lambda f: found.shares[f])
    fresh = f" and are fresh at {found.as_of}" if found.as_of else ""
    reason = f"{found.shares[lowest]:.2%} of {found.rows} rows have a value of {lowest}{fresh}"
    if len(asked) > 1:
        reason += f"; the other {len(asked) - 1} features have no lower share"
    return GateResult(gate.name, True, reason, numbers, details)


def _readiness(gate: ReadinessGate, evidence: Evidence) -> GateResult:
    found = evidence.readiness
    if found is None:
        because = evidence.unmeasured.get("readiness", "nobody did")
        return _failed(gate, f"readiness was not measured: {because}")
    megabytes = found.size_bytes / 1e6
    size = ReadinessItem(
        "size",
        passed=0 < megabytes <= gate.size_mb_at_most,
        found=f"{megabytes:.2f} MB of at most {gate.size_mb_at_most:g} MB",
    )
    items = {item.name: item for item in (*found.items, size)}
    numbers = {"size_mb": megabytes, "clean_process_seconds": found.seconds}
    details = tuple({"item": i.name, "passed": i.passed, "found": i.found} for i in items.values())
    problems = [f"{name} was not asked" for name in gate.items if name not in items]
    problems += [f"{i.name}: {i.found}" for i in items.values() if not i.passed]
    if problems:
        return _failed(gate, "; ".join(problems), numbers, details)
    reason = f"ready: {', '.join(items)}"
    return GateResult(gate.name, True, reason, numbers, details)


def _recency(gate: RecencyGate, evidence: Evidence) -> GateResult:
    if evidence.champion_version == evidence.version:
        return GateResult(gate.name, True, f"version {evidence.version} is the champion")
    age = evidence.data_age
    if age is None:
        because = evidence.unmeasured.get("data_age", "nobody did")
        return _failed(gate, f"the age of the data was not measured: {because}")
    numbers = {
        "days": age.days,
        "days_at_most": gate.days_at_most,
        "data_version": evidence.data_version,
        "newest_version": age.newest_version,
    }
    found = (
        f"the model was trained on version {evidence.data_version}; the newest, "
        f"{age.newest_version}, was written {age.days:.1f} days later"
    )
    passed = 0 <= age.days <= gate.days_at_most
    reason = found if passed else f"{found}, more than {gate.days_at_most:g}; train again"
    return GateResult(gate.name, passed, reason, numbers)


_EVALUATE: Mapping[type, Callable[[Any, Evidence], GateResult]] = {
    MetricGate: _metric,
    ChampionGate: _champion,
    SliceGate: _slices,
    ValueGate: _value,
    QualityGate: _quality,
    CoverageGate: _coverage,
    ReadinessGate: _readiness,
    RecencyGate: _recency,
}

NOT_A_NUMBER = "which is not a number"


def _out_of_bounds(value: float, at_least: float | None, at_most: float | None) -> str:
    if not math.isfinite(value):
        return NOT_A_NUMBER
    if at_least is not None and value < at_least:
        return f"below {at_least:g}"
    if at_most is not None and value > at_most:
        return f"above {at_most:g}"
    return ""


def _without_rival(evidence: Evidence) -> str:
    """Return why there is no champion to compare with; empty when there is one."""
    if evidence.champion_version is None:
        return "there is no champion yet; the other gates decide"
    if evidence.champion_version == evidence.version:
        return f"version {evidence.version} is the champion"
    return ""


def _compared(
    what: str, paired: Paired | None, margin: float, evidence: Evidence
) -> tuple[dict[str, Any], str, str]:
    """Return numbers, what was found, and what is wrong with it; see `ChampionGate`."""
    if paired is None:
        because = evidence.unmeasured.get("champion", "")
        problem = f"{what} was not compared with champion {evidence.champion_version}"
        return {}, "", f"{problem}: {because}" if because else problem
    numbers = {**asdict(paired), "margin": margin}
    if paired.champion_version != evidence.champion_version:
        return numbers, "", f"{what} was compared with version {paired.champion_version}"
    if not all(math.isfinite(v) for v in (paired.difference, paired.low, paired.high)):
        return numbers, "", "the difference is not a number"
    found = (
        f"{what} is {paired.challenger:.4f}, champion {paired.champion_version} has "
        f"{paired.champion:.4f}: difference {_difference(paired)}"
    )
    if paired.low >= -margin:
        return numbers, found, ""
    return numbers, found, f"a loss above {margin:g} cannot be ruled out"


def _not_measured(metric: str, evidence: Evidence) -> str:
    because = evidence.unmeasured.get("performance")
    if because:
        return f"{metric} was not measured: {because}"
    there = ", ".join(sorted(evidence.metrics)) or "none"
    return f"{metric} was not measured; measured: {there}"


def _failed(
    gate: Gate,
    reason: str,
    numbers: Mapping[str, Any] | None = None,
    details: Sequence[Mapping[str, Any]] = (),
) -> GateResult:
    return GateResult(gate.name, False, reason, numbers or {}, tuple(details))


def _given(**numbers: float | None) -> dict[str, float]:
    return {name: number for name, number in numbers.items() if number is not None}


def _interval(measured: tuple[float, float, float]) -> str:
    value, low, high = measured
    return f"{value:.4f} (95 % interval {low:.4f} to {high:.4f})"


def _difference(paired: Paired) -> str:
    return f"{paired.difference:+.4f} (95 % interval {paired.low:+.4f} to {paired.high:+.4f})"
