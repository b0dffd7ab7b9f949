"""Gates, their stored verdicts, and the promotion that asks for them.

Owns the decision which version of a model is champion; nothing here trains or scores.
"""

from lakeops_assets.promotion.gates import (
    ChampionGate,
    Evidence,
    Gate,
    GateResult,
    MetricGate,
    Paired,
    evaluate_gate,
    gates_digest,
)
from lakeops_assets.promotion.promote import (
    Aliases,
    PromotionPlan,
    PromotionRefusedError,
    PromotionResult,
    carry_out,
    plan_promotion,
)
from lakeops_assets.promotion.verdicts import (
    GatesNotPassedError,
    Verdict,
    gate_results_table,
    record_results,
    require_gates,
    stored_verdict,
)

__all__ = [
    "Aliases",
    "ChampionGate",
    "Evidence",
    "Gate",
    "GateResult",
    "GatesNotPassedError",
    "MetricGate",
    "Paired",
    "PromotionPlan",
    "PromotionRefusedError",
    "PromotionResult",
    "Verdict",
    "carry_out",
    "evaluate_gate",
    "gate_results_table",
    "gates_digest",
    "plan_promotion",
    "record_results",
    "require_gates",
    "stored_verdict",
]
