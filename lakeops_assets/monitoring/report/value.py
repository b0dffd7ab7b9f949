"""What a report says, before it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lakeops_assets.lakehouse import TableName


@dataclass(frozen=True)
class Line:
    """A number over the windows.

    Attributes:
        name: What it is.
        values: Window -> value; None where there is none.
        estimated: Window -> value as it was estimated before labels came; empty without one.
        threshold: Value beyond which a window is marked; None without one.
        marked: Windows that are beyond it.
        note: What else a reader should know, such as what the values are.
    """

    name: str
    values: Mapping[datetime, float | None]
    estimated: Mapping[datetime, float | None] = field(default_factory=dict)
    threshold: float | None = None
    marked: frozenset[datetime] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class Distribution:
    """A column in the newest window and in the baseline.

    Attributes:
        column: Its name.
        drift: How far it is from the baseline, in words.
        strength: The same as a number of thresholds; what columns are ordered by.
        now: Quantiles of the newest window; empty for categories.
        base: Quantiles of the baseline.
        now_items: Category -> share of the newest window; empty for numbers.
        base_items: Category -> share of the baseline.
        missing: Share without a value: now and in the baseline.
    """

    column: str
    drift: str
    strength: float
    now: tuple[float, ...] = ()
    base: tuple[float, ...] = ()
    now_items: Mapping[str, float] = field(default_factory=dict)
    base_items: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Report:
    """What a monitor has to say.

    Attributes:
        table: Monitored table.
        verdict: In one sentence.
        alerts: One sentence per alert.
        windows: Starts of the windows, oldest first.
        granularity: Their length.
        rows: Rows of the newest window.
        version: Delta version of the monitored table.
        baseline: What it is compared with; empty without a baseline.
        quality: Lines of scores, quality and KPI.
        drift: A line per column, the one that drifted most first.
        distributions: One per column, in the same order.
        champions: Window -> model version that is first seen in it.
        left_out: How many older windows are not shown.
    """

    table: TableName
    verdict: str
    alerts: tuple[str, ...]
    windows: tuple[datetime, ...]
    granularity: str
    rows: int
    version: int
    baseline: str
    quality: tuple[Line, ...]
    drift: tuple[Line, ...]
    distributions: tuple[Distribution, ...]
    champions: Mapping[datetime, str]
    left_out: int
