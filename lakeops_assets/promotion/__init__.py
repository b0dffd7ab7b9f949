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
from lakeops_assets.promotion.ledger import (
    Entry,
    Ledger,
    LedgerBrokenError,
    LedgerEntry,
    LedgerMovedError,
    LiveVersion,
    Problem,
    ledger_table,
)
from lakeops_assets.promotion.policy import PolicyError, PromotionPolicy, policy_of
from lakeops_assets.promotion.promote import (
    Aliases,
    PromotionPlan,
    PromotionRefusedError,
    PromotionResult,
    carry_out,
    plan_promotion,
)
from lakeops_assets.promotion.reconcile import (
    Difference,
    Live,
    compare,
    live_champion,
    reconcile,
)
from lakeops_assets.promotion.registry import Registry, anchors
from lakeops_assets.promotion.revert import (
    RevertPlan,
    RevertResult,
    carry_out_revert,
    plan_revert,
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
    "Difference",
    "Entry",
    "Evidence",
    "Gate",
    "GateResult",
    "GatesNotPassedError",
    "Ledger",
    "LedgerBrokenError",
    "LedgerEntry",
    "LedgerMovedError",
    "Live",
    "LiveVersion",
    "MetricGate",
    "Paired",
    "PolicyError",
    "Problem",
    "PromotionPlan",
    "PromotionPolicy",
    "PromotionRefusedError",
    "PromotionResult",
    "Registry",
    "RevertPlan",
    "RevertResult",
    "Verdict",
    "anchors",
    "carry_out",
    "carry_out_revert",
    "compare",
    "evaluate_gate",
    "gate_results_table",
    "gates_digest",
    "ledger_table",
    "live_champion",
    "plan_promotion",
    "plan_revert",
    "policy_of",
    "reconcile",
    "record_results",
    "require_gates",
    "stored_verdict",
]
