"""Gates and their stored verdicts, plans and approvals, the ledger, and reverts.

Owns the decision which version of a model is champion; nothing here trains or scores.
"""

from lakeops_assets.promotion.approval import (
    APPROVAL_TAG,
    APPROVER_TAG,
    ApprovalRefusedError,
    approve,
    record_expired,
    record_registry_approval,
    registry_approver,
)
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
    DECISIONS,
    Entry,
    Ledger,
    LedgerBrokenError,
    LedgerEntry,
    LedgerMovedError,
    LiveVersion,
    Problem,
    ledger_table,
)
from lakeops_assets.promotion.plan import (
    MetricPair,
    PromotionPlan,
    Standing,
    plan_promotion,
)
from lakeops_assets.promotion.policy import PolicyError, PromotionPolicy, policy_of
from lakeops_assets.promotion.promote import (
    Advance,
    PromotionRefusedError,
    PromotionResult,
    advance,
    carry_out,
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
    RevertRefusedError,
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
    "APPROVAL_TAG",
    "APPROVER_TAG",
    "DECISIONS",
    "Advance",
    "ApprovalRefusedError",
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
    "MetricPair",
    "Paired",
    "PolicyError",
    "Problem",
    "PromotionPlan",
    "PromotionPolicy",
    "PromotionRefusedError",
    "PromotionResult",
    "Registry",
    "RevertPlan",
    "RevertRefusedError",
    "RevertResult",
    "Standing",
    "Verdict",
    "advance",
    "anchors",
    "approve",
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
    "record_expired",
    "record_registry_approval",
    "record_results",
    "registry_approver",
    "require_gates",
    "stored_verdict",
]
