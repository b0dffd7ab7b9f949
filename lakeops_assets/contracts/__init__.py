"""Data contracts: which rows a table may hold, and what becomes of those it may not.

Owns the rules of a contract, the quarantine, and what makes a change of a contract breaking.
"""

from lakeops_assets.contracts.contract import Contract
from lakeops_assets.contracts.diff import diff, is_major
from lakeops_assets.contracts.diff_rules import Change
from lakeops_assets.contracts.evaluate import Evaluation, RuleResult, evaluate
from lakeops_assets.contracts.load import load
from lakeops_assets.contracts.quarantine import (
    Explained,
    Held,
    QuarantineError,
    discard,
    explain,
    held,
    quarantine_table,
    quarantines,
)
from lakeops_assets.contracts.replay import Replayed, replay
from lakeops_assets.contracts.results import (
    ContractNotHeldError,
    Standing,
    evaluate_or_reuse,
    record_evaluation,
    require_held,
    require_standing,
    results_table,
    standing,
)
from lakeops_assets.contracts.rules import ContractError, Rule, Severity
from lakeops_assets.contracts.screen import ContractScreen, Screened
from lakeops_assets.contracts.split import Rows, Split, split

__all__ = [
    "Change",
    "Contract",
    "ContractError",
    "ContractNotHeldError",
    "ContractScreen",
    "Evaluation",
    "Explained",
    "Held",
    "QuarantineError",
    "Replayed",
    "Rows",
    "Rule",
    "RuleResult",
    "Screened",
    "Severity",
    "Split",
    "Standing",
    "diff",
    "discard",
    "evaluate",
    "evaluate_or_reuse",
    "explain",
    "held",
    "is_major",
    "load",
    "quarantine_table",
    "quarantines",
    "record_evaluation",
    "replay",
    "require_held",
    "require_standing",
    "results_table",
    "split",
    "standing",
]
