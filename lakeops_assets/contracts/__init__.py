"""Data contracts: which rows a table may hold, and what becomes of those it may not.

Owns the rules of a contract, the quarantine, and what makes a change of a contract breaking.
"""

from lakeops_assets.contracts.diff import diff as diff
from lakeops_assets.contracts.diff import is_major as is_major
from lakeops_assets.contracts.diff_rules import Change as Change
