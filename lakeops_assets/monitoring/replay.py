"""What a rule would have done in the past, seen with what was known then."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lakeops_assets.monitoring.granularity import instant
from lakeops_assets.monitoring.kpi import (
    KpiDecision,
    KpiSpec,
    KpiWindow,
    Measure,
    decide,
    kpi_windows,
)

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Firing:
    """A time at which the rule began to fire for a version.

    Attributes:
        version: The version.
        at: When the window that decided had matured.
        window: Start of that window.
        reason: Why, in words.
        values: The metric in the windows that were looked at, oldest first.
        late_windows: Windows from the first violating one of those to the one that decided.
        late_days: Days from the end of the first violating window to the firing.
        wrong: Whether the KPI holds over all later rows of the version; None without such rows.
        later_value: The metric on them.
        later_rows: How many they are.
    """

    version: str
    at: datetime
    window: datetime
    reason: str
    values: tuple[float | None, ...]
    late_windows: int
    late_days: float
    wrong: bool | None
    later_value: float | None
    later_rows: int


@dataclass(frozen=True)
class Replay:
    """What a rule would have done.

    Attributes:
        rule: The rule in words.
        versions: Versions with rows, and how many mature windows each has in the end.
        decisions: How often it was asked: once per version and maturing of a window.
        firings: When it began to fire, oldest first. A rule that keeps firing counts once.
        windows: All windows as they are seen in the end.
    """

    rule: str
    versions: dict[str, int]
    decisions: int
    firings: tuple[Firing, ...]
    windows: tuple[KpiWindow, ...]

    @property
    def wrong(self) -> int:
        """How many firings were wrong."""
        return sum(f.wrong is True for f in self.firings)


def replay(rows: pa.Table, spec: KpiSpec, measure: Measure, *, clock: datetime) -> Replay:
    """Run a rule over history, at each moment at which a window matured.

    At each of them only the labels count that were known then. A firing is called wrong when the
    KPI holds over the version's rows of all mature windows after the one that decided, with the
    labels as they are known in the end: the version would have been good, had it been left alone.
    Where a version has no such rows nobody can tell.

    Args:
        rows: As for `kpi_windows`.
        spec: The rule.
        measure: Measures labels and scores.
        clock: The end of history.
    """
    final = kpi_windows(rows, spec, measure, clock=clock)
    firings: list[Firing] = []
    decisions = 0
    for version in dict.fromkeys(w.model_version for w in final):
        mine = _of(rows, version)
        fired = False
        for at, decision in _decisions(mine, version, spec, measure, clock):
            decisions += 1
            if decision.fires and not fired:
                firings.append(_firing(decision, at, mine, final, spec, measure, clock))
            fired = decision.fires
    return Replay(
        rule=in_words(spec),
        versions={
            v: sum(w.mature for w in final if w.model_version == v)
            for v in dict.fromkeys(w.model_version for w in final)
        },
        decisions=decisions,
        firings=tuple(sorted(firings, key=lambda f: (f.at, f.version))),
        windows=final,
    )


def in_words(spec: KpiSpec) -> str:
    """Return a rule in words."""
    return (
        f"{spec.threshold}, windows of {spec.window}: fires when {spec.violations} of the last "
        f"{spec.of} mature windows violate it and the latest does"
    )


def _decisions(
    rows: pa.Table, version: str, spec: KpiSpec, measure: Measure, clock: datetime
) -> Iterator[tuple[datetime, KpiDecision]]:
    known: dict[tuple[str, datetime], KpiWindow] = {}
    for at in _moments(rows, spec, clock):
        windows = kpi_windows(rows, spec, measure, clock=at, known=known)
        known = {(w.model_version, w.start): w for w in windows}
        yield at, decide(windows, spec, version)


def _moments(rows: pa.Table, spec: KpiSpec, clock: datetime) -> Sequence[datetime]:
    """Return the times at which windows matured: their labels were due and enough were there."""
    moments = set()
    for micros in rows["window_start"].unique().to_pylist():
        part = _where(rows, "window_start", micros)
        known = [t for t in part["known_at"].to_pylist() if t is not None and t <= clock]
        wanted = max(spec.min_rows, -(-part.num_rows * spec.labelled_at_least // 1))
        if len(known) < wanted:
            continue
        due = spec.granularity.end(instant(micros)) + spec.label_delay
        enough = heapq.nsmallest(int(wanted), known)[-1]
        if max(due, enough) <= clock:
            moments.add(max(due, enough))
    return sorted(moments)


def _firing(
    decision: KpiDecision,
    at: datetime,
    rows: pa.Table,
    final: Sequence[KpiWindow],
    spec: KpiSpec,
    measure: Measure,
    clock: datetime,
) -> Firing:
    windows = decision.windows
    first = next(i for i, w in enumerate(windows) if w.violates)
    value, count = _later(decision, rows, final, measure, clock)
    return Firing(
        version=decision.version,
        at=at,
        window=windows[-1].start,
        reason=decision.reason,
        values=tuple(w.value for w in windows),
        late_windows=len(windows) - 1 - first,
        late_days=(at - windows[first].end).total_seconds() / 86400,
        wrong=None if value is None else not spec.violated_by(value),
        later_value=value,
        later_rows=count,
    )


def _later(
    decision: KpiDecision,
    rows: pa.Table,
    final: Sequence[KpiWindow],
    measure: Measure,
    clock: datetime,
) -> tuple[float | None, int]:
    """Return the metric over all rows of the mature windows after the firing, and their number."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    fired, version = decision.windows[-1].start, decision.version
    starts = [
        (w.start - instant(0)) // timedelta(microseconds=1)
        for w in final
        if w.model_version == version and w.mature and w.start > fired
    ]
    now = pa.scalar(clock, pa.timestamp("us", "UTC"))
    later = rows.filter(
        pc.field("window_start").isin(starts)
        & pc.field("label").is_valid()
        & (pc.field("known_at") <= now)
    ).sort_by([("label", "ascending"), ("score", "ascending")])
    labels, scores = (later[c].to_numpy().astype(float) for c in ("label", "score"))
    if len(labels) == 0 or not np.isfinite(scores).all():
        return None, len(labels)
    return measure(labels, scores).value, len(labels)


def _of(rows: pa.Table, version: str) -> pa.Table:
    return _where(rows, "model_version", version)


def _where(rows: pa.Table, column: str, value: object) -> pa.Table:
    import pyarrow.compute as pc

    return rows.filter(pc.field(column) == value)
