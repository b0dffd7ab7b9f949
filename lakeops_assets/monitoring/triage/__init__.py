"""From an alert to its cause: which source moved first and most, and how it got to the alert.

Owns the lineage of columns as a value, what moved in each table upstream, and their order.
"""

from lakeops_assets.monitoring.triage.lineage import Lineage, Origin, TracedTable
from lakeops_assets.monitoring.triage.moves import Kind, Move
from lakeops_assets.monitoring.triage.triage import Suspect, Triage, triage

__all__ = ["Kind", "Lineage", "Move", "Origin", "Suspect", "TracedTable", "Triage", "triage"]
