"""Profile and drift of tables, window by window, against a baseline.

Owns the sketches of a monitored table, the metric tables made of them, and which columns drifted.
No statistic reads data twice: all are computed from sketches.
"""

from lakeops_assets.monitoring.alerts import Alert, AlertRules
from lakeops_assets.monitoring.columns import Column, ColumnKind, monitored_columns
from lakeops_assets.monitoring.custom import CustomMetric
from lakeops_assets.monitoring.drift import comparisons, drift, drift_schema
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.estimate import EstimateError, estimate_errors
from lakeops_assets.monitoring.findings import DriftFinding, Thresholds
from lakeops_assets.monitoring.granularity import Granularity, GranularityError
from lakeops_assets.monitoring.merge import merge
from lakeops_assets.monitoring.monitor import MonitorResult, refresh
from lakeops_assets.monitoring.profile import profile, profile_schema
from lakeops_assets.monitoring.scan import scan
from lakeops_assets.monitoring.sketch import Group, GroupSketch, Sketch
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.state import Baseline

__all__ = [
    "Alert",
    "AlertRules",
    "Baseline",
    "Column",
    "ColumnKind",
    "CustomMetric",
    "DriftFinding",
    "EstimateError",
    "Granularity",
    "GranularityError",
    "Group",
    "GroupSketch",
    "MonitorResult",
    "MonitorSpec",
    "MonitorSpecError",
    "Sketch",
    "Thresholds",
    "comparisons",
    "drift",
    "drift_schema",
    "estimate_errors",
    "merge",
    "monitored_columns",
    "profile",
    "profile_schema",
    "refresh",
    "scan",
]
