"""What holds across tables and models: retention, deletion and audit.

Owns the table of acts that somebody may have to answer for; else it plans over the lakehouse and
says what it kept and why.
"""

from lakeops_assets.governance.audit import (
    AuditEntry,
    audit_table,
    read_salt,
    record_act,
    subject_hash,
)
from lakeops_assets.governance.forget import (
    MARK,
    ForgetPlan,
    ForgetResult,
    Kept,
    Proof,
    TablePlan,
    carry_out,
    holders,
    plan_forget,
    prove,
)
from lakeops_assets.governance.keys import ForgetKeyError, Key
from lakeops_assets.governance.search import Hit, search

__all__ = [
    "MARK",
    "AuditEntry",
    "ForgetKeyError",
    "ForgetPlan",
    "ForgetResult",
    "Hit",
    "Kept",
    "Key",
    "Proof",
    "TablePlan",
    "audit_table",
    "carry_out",
    "holders",
    "plan_forget",
    "prove",
    "read_salt",
    "record_act",
    "search",
    "subject_hash",
]
