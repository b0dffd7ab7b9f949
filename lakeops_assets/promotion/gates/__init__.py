"""What a version must show before it may become champion.

A gate is a pure function of its specification and the evidence. What is missing, could not be
measured or is not a number fails: a gate that cannot be evaluated has not been passed.
"""

from lakeops_assets.promotion.gates.bounds import GateSpecError
from lakeops_assets.promotion.gates.evaluate import GateResult, evaluate_gate
from lakeops_assets.promotion.gates.evidence import (
    CoverageEvidence,
    DataAge,
    Evidence,
    Paired,
    QualityEvidence,
    ReadinessEvidence,
    ReadinessItem,
    RuleOutcome,
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
    check_names,
    gates_digest,
)

__all__ = [
    "ChampionGate",
    "CoverageEvidence",
    "CoverageGate",
    "DataAge",
    "Evidence",
    "Gate",
    "GateResult",
    "GateSpecError",
    "MetricGate",
    "Paired",
    "QualityEvidence",
    "QualityGate",
    "ReadinessEvidence",
    "ReadinessGate",
    "ReadinessItem",
    "RecencyGate",
    "RuleOutcome",
    "SliceGate",
    "SliceMeasure",
    "ValueGate",
    "check_names",
    "evaluate_gate",
    "gates_digest",
]
