"""Alerts: what somebody should look at, once per cause.

A monitor of 20 columns, 5 slices and 3 granularities makes thousands of numbers a day, and who is
told of each mutes them all. Four rules make few of them:

1. Effect sizes decide, not p-values; see `Thresholds`.
2. Only the whole table, all models and the first granularity alert. Slices and other granularities
   are there to find out why.
3. A column alerts when its newest window is significant, and with it at least k of the last n: one
   odd day is no alert, and one that is over is none either.
4. Columns of one cause are one alert; see `causes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.monitoring.causes import Rows, grouped
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.findings import DriftFinding, Thresholds
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.state import Baseline
from lakeops_assets.monitoring.windows import Window, within


@dataclass(frozen=True)
class AlertRules:
    """When a drift is an alert.

    Attributes:
        thresholds: What is significant in one window.
        windows: How many of the newest windows are looked at: n.
        at_least: In how many of them, the newest among them, a column must have drifted: k.
        same_cause: Association from which on two columns have one cause; see `causes`.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)
    windows: int = 3
    at_least: int = 2
    same_cause: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.at_least <= self.windows:
            raise MonitorSpecError(
                f"at_least {self.at_least} of {self.windows} windows cannot be: write a number "
                "from 1 to windows"
            )
        if not 0 < self.same_cause <= 1:
            raise MonitorSpecError(
                f"same_cause is {self.same_cause}; it is an association above 0 and at most 1"
            )


@dataclass(frozen=True)
class Alert:
    """One cause of drift.

    Attributes:
        cause: Column that drifted most.
        findings: Its finding in the newest window, and those of the columns that drifted with it.
        drifted: In how many of the windows that were looked at the cause is significant.
        windows: How many were looked at.
        start: Start of the newest of them, which it is about.
    """

    cause: str
    findings: tuple[DriftFinding, ...]
    drifted: int
    windows: int
    start: datetime

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, the one that drifted most first."""
        return tuple(f.column for f in self.findings)

    def __str__(self) -> str:
        first, *others = self.findings
        text = f"{first.column}: {first.statistic} {first.value:.3g}, significant from "
        text += f"{first.threshold:.3g} on, in {self.drifted} of {self.windows} windows"
        return text + (f", and with it {', '.join(f.column for f in others)}" if others else "")


def alerts(
    lakehouse: Lakehouse,
    table: TableName,
    version: int,
    baseline: Baseline,
    spec: MonitorSpec,
    rules: AlertRules,
    windows: Sequence[Window],
    found: dict[datetime, tuple[DriftFinding, ...]],
) -> tuple[Alert, ...]:
    """Return the alerts of the newest window, the strongest first.

    Args:
        lakehouse: Where the tables are.
        table: Monitored table; read only if more than one column alerts, and only those columns.
        version: Its Delta version.
        baseline: What it was compared with.
        spec: What was monitored.
        rules: When a drift is an alert.
        windows: The newest windows, newest first.
        found: Findings of these windows by their start.
    """
    significant = {
        w.start: {f.column: f for f in found.get(w.start, ()) if f.level == "significant"}
        for w in windows
    }
    if not windows:
        return ()
    newest = significant[windows[0].start]
    drifted = {column: sum(column in there for there in significant.values()) for column in newest}
    alerting = [f for f in newest.values() if drifted[f.column] >= rules.at_least]
    condition = None
    if windows[0].granularity is not None:
        condition = within(spec, windows[:1], windows[0].granularity)
    sides = (
        Rows(lakehouse.at(table, version), condition),
        Rows(lakehouse.at(baseline.table, baseline.version), baseline.where),
    )
    alerting.sort(key=lambda f: f.strength, reverse=True)
    groups = grouped(lakehouse, sides, alerting, rules.same_cause)
    start = windows[0].start
    return tuple(Alert(g[0].column, g, drifted[g[0].column], len(windows), start) for g in groups)
