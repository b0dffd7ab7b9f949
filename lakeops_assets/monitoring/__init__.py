"""Profile, drift and KPI of tables, window by window.

Owns the sketches of a monitored table, the metric tables made of them, and which columns drifted;
and the KPI of each model version once labels are known, with the rule that judges it.
"""

from lakeops_assets.monitoring.alerts import Alert, AlertRules
from lakeops_assets.monitoring.columns import Column, ColumnKind, monitored_columns
from lakeops_assets.monitoring.custom import CustomMetric
from lakeops_assets.monitoring.drift import comparisons, drift, drift_schema
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.estimate import EstimateError, estimate_errors
from lakeops_assets.monitoring.findings import DriftFinding, Thresholds
from lakeops_assets.monitoring.granularity import Granularity, GranularityError
from lakeops_assets.monitoring.judging import moved_since, profiled_windows
from lakeops_assets.monitoring.kpi import (
    KpiDecision,
    KpiSpec,
    KpiSpecError,
    KpiWindow,
    Measure,
    Measurement,
    decide,
    kpi_windows,
)
from lakeops_assets.monitoring.kpi_table import KpiSource, read_source, read_windows, write_windows
from lakeops_assets.monitoring.merge import merge
from lakeops_assets.monitoring.monitor import MonitorResult, current_alerts, refresh
from lakeops_assets.monitoring.profile import profile, profile_schema
from lakeops_assets.monitoring.replay import Firing, Replay, in_words, replay
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
    "Firing",
    "Granularity",
    "GranularityError",
    "Group",
    "GroupSketch",
    "KpiDecision",
    "KpiSource",
    "KpiSpec",
    "KpiSpecError",
    "KpiWindow",
    "Measure",
    "Measurement",
    "MonitorResult",
    "MonitorSpec",
    "MonitorSpecError",
    "Replay",
    "Sketch",
    "Thresholds",
    "comparisons",
    "current_alerts",
    "decide",
    "drift",
    "drift_schema",
    "estimate_errors",
    "in_words",
    "kpi_windows",
    "merge",
    "monitored_columns",
    "moved_since",
    "profile",
    "profile_schema",
    "profiled_windows",
    "read_source",
    "read_windows",
    "refresh",
    "replay",
    "scan",
    "write_windows",
]
