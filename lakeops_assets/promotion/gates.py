"""What a version must show before it may become champion.

A gate is a pure function of its specification and the evidence. What is missing or not a number
fails: a gate that cannot be evaluated has not been passed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias


class GateSpecError(ValueError):
    """A gate is declared in a way that cannot be evaluated."""


@dataclass(frozen=True)
class MetricGate:
    """A metric on the held-out rows must reach a value.

    Attributes:
        metric: Name of the metric.
        at_least: Smallest value that passes.
        at_most: Largest value that passes.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise GateSpecError(f"gate {self.metric} needs at_least or at_most, else all pass")

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return self.metric

    @property
    def requirement(self) -> str:
        """The gate in words."""
        bounds = []
        if self.at_least is not None:
            bounds.append(f"at least {self.at_least:g}")
        if self.at_most is not None:
            bounds.append(f"at most {self.at_most:g}")
        return f"{self.metric} on the held-out rows is {' and '.join(bounds)}"


@dataclass(frozen=True)
class ChampionGate:
    """The challenger must not be worse than the champion on the same held-out rows.

    A test of non-inferiority: the lower end of the 95 % interval of the paired difference
    (challenger minus champion, positive is better) must be above minus the margin. It asks for
    proof that the challenger is good enough, so that few rows or much noise refuse it.

    Attributes:
        metric: Name of the metric that decides.
        margin: Loss that would be accepted, in units of the metric.
    """

    metric: str
    margin: float = 0.005

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise GateSpecError(f"the margin of gate {self.name} is {self.margin}: give 0 or more")

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return f"not_worse_than_champion_{self.metric}"

    @property
    def requirement(self) -> str:
        """The gate in words."""
        return (
            f"{self.metric} is not worse than the champion's by more than {self.margin:g} on the "
            "same held-out rows (lower end of the paired 95 % interval)"
        )


Gate: TypeAlias = MetricGate | ChampionGate


@dataclass(frozen=True)
class Paired:
    """Challenger and champion on the same rows.

    Attributes:
        champion_version: Version that the challenger was compared with.
        champion: Value of the champion.
        challenger: Value of the challenger.
        difference: How much better the challenger is.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
    """

    champion_version: int
    champion: float
    challenger: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Evidence:
    """What was measured on one version.

    Attributes:
        model: Registered name, `<catalog>.<schema>.<model>`.
        version: Version that was measured.
        data_version: Delta version of the feature table whose held-out rows were used.
        rows: Number of held-out rows.
        metrics: Metric -> (value, low, high) with a 95 % interval.
        champion_version: The champion at that time; None when there was none.
        paired: Metric -> comparison with the champion; empty without one.
    """

    model: str
    version: int
    data_version: int
    rows: int
    metrics: Mapping[str, tuple[float, float, float]]
    champion_version: int | None
    paired: Mapping[str, Paired] = field(default_factory=dict)


@dataclass(frozen=True)
class GateResult:
    """The outcome of one gate.

    Attributes:
        gate: Name of the gate.
        passed: Whether it was passed.
        reason: What was found, in words.
        evidence: The numbers behind it.
    """

    gate: str
    passed: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def evaluate_gate(gate: Gate, evidence: Evidence) -> GateResult:
    """Evaluate one gate; what cannot be evaluated is failed, with the reason."""
    if isinstance(gate, MetricGate):
        return _metric(gate, evidence)
    return _champion(gate, evidence)


def gates_digest(gates: tuple[Gate, ...]) -> str:
    """Return a hash of the gates, so that a verdict on other gates does not count for these."""
    text = json.dumps([[type(g).__name__, asdict(g)] for g in gates], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _metric(gate: MetricGate, evidence: Evidence) -> GateResult:
    measured = evidence.metrics.get(gate.metric)
    if measured is None:
        there = ", ".join(sorted(evidence.metrics)) or "none"
        return GateResult(
            gate.name, passed=False, reason=f"{gate.metric} was not measured; measured: {there}"
        )
    value, low, high = measured
    numbers = {"value": value, "low": low, "high": high, "rows": evidence.rows}
    if not math.isfinite(value):
        return GateResult(gate.name, passed=False, reason=f"{gate.metric} is {value}")
    found = f"{gate.metric} is {value:.4f} (95 % interval {low:.4f} to {high:.4f})"
    if gate.at_least is not None:
        numbers["at_least"] = gate.at_least
        if value < gate.at_least:
            reason = f"{found}, below {gate.at_least:g}"
            return GateResult(gate.name, passed=False, reason=reason, evidence=numbers)
    if gate.at_most is not None:
        numbers["at_most"] = gate.at_most
        if value > gate.at_most:
            reason = f"{found}, above {gate.at_most:g}"
            return GateResult(gate.name, passed=False, reason=reason, evidence=numbers)
    return GateResult(gate.name, passed=True, reason=found, evidence=numbers)


def _champion(gate: ChampionGate, evidence: Evidence) -> GateResult:
    if evidence.champion_version is None:
        return GateResult(
            gate.name,
            passed=True,
            reason="there is no champion yet; the other gates decide",
            evidence={"rows": evidence.rows},
        )
    if evidence.champion_version == evidence.version:
        return GateResult(
            gate.name,
            passed=True,
            reason=f"version {evidence.version} is the champion",
            evidence={"rows": evidence.rows, "champion_version": evidence.version},
        )
    paired = evidence.paired.get(gate.metric)
    if paired is None:
        return GateResult(
            gate.name,
            passed=False,
            reason=f"{gate.metric} was not compared with champion {evidence.champion_version}",
        )
    numbers = {**asdict(paired), "rows": evidence.rows, "margin": gate.margin}
    if not all(math.isfinite(v) for v in (paired.difference, paired.low, paired.high)):
        return GateResult(
            gate.name, passed=False, reason="the difference is not a number", evidence=numbers
        )
    found = (
        f"{gate.metric} is {paired.challenger:.4f}, champion {paired.champion_version} has "
        f"{paired.champion:.4f}: difference {paired.difference:+.4f} "
        f"(95 % interval {paired.low:+.4f} to {paired.high:+.4f})"
    )
    passed = paired.low >= -gate.margin
    reason = found if passed else f"{found}; a loss above {gate.margin:g} cannot be ruled out"
    return GateResult(gate.name, passed=passed, reason=reason, evidence=numbers)
