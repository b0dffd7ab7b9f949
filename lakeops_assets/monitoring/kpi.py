"""Windows of a KPI per model version, and the rule that says when a version has to go.

A window is judged only once it is mature: its labels have had the time that they need, and enough
of them are there. A version fails when k of its last n mature windows violate the threshold and
the newest of them does. Source of the rule: Databricks' mlops-stacks, which retrains when two of
the last five windows violate and the latest one is among them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from lakeops_assets.monitoring.granularity import Granularity, instant

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class KpiSpecError(ValueError):
    """A KPI is declared in a way that cannot work."""


@dataclass(frozen=True)
class KpiSpec:
    """A KPI and when it is violated.

    Attributes:
        metric: Name of the metric.
        at_least: Smallest value that is good; exactly one of this and `at_most` is given.
        at_most: Largest value that is good.
        window: Length of a window, such as `1 day` or `1 week`.
        violations: Of the last `of` mature windows, how many must violate (k).
        of: How many mature windows are looked at (n).
        label_delay: How long after a window's end its labels are waited for.
        labelled_at_least: Share of a window's rows that must have a label, 0 to 1.
        min_rows: Labelled rows that a window must have.
        payoffs: Outcome -> what it is worth; for the metric `value`.
        decide_at: Probability from which a row is called positive; for metrics of decisions.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    window: str = "1 week"
    violations: int = 2
    of: int = 3
    label_delay: timedelta = timedelta(0)
    labelled_at_least: float = 0.8
    min_rows: int = 100
    payoffs: tuple[tuple[str, float], ...] = ()
    decide_at: float = 0.5

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise KpiSpecError(f"the KPI {self.metric} needs either at_least or at_most")
        if not 1 <= self.violations <= self.of:
            raise KpiSpecError(
                f"the KPI {self.metric} fires at {self.violations} violations of {self.of} "
                "windows: violations must be between 1 and of"
            )
        if self.label_delay < timedelta(0):
            raise KpiSpecError(f"the label delay of the KPI {self.metric} is negative")
        if not 0 < self.labelled_at_least <= 1:
            raise KpiSpecError(
                f"labelled_at_least of the KPI {self.metric} is {self.labelled_at_least}: it is a "
                "share above 0 and at most 1"
            )
        if self.min_rows < 1:
            raise KpiSpecError(f"min_rows of the KPI {self.metric} is below 1")
        if self.payoffs and self.metric != "value":
            raise KpiSpecError(f"payoffs are for the metric value, and the KPI is {self.metric}")
        Granularity.parse(self.window)

    @property
    def granularity(self) -> Granularity:
        """The length of a window."""
        return Granularity.parse(self.window)

    @property
    def threshold(self) -> str:
        """The threshold in words."""
        if self.at_least is not None:
            return f"{self.metric} at least {self.at_least:g}"
        return f"{self.metric} at most {self.at_most:g}"

    @property
    def rule(self) -> str:
        """Hash of everything that changes a window or a decision."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def violated_by(self, value: float) -> bool:
        """Return whether a value is beyond the threshold; what is no number is."""
        if not math.isfinite(value):
            return True
        if self.at_least is not None:
            return value < self.at_least
        return self.at_most is not None and value > self.at_most


@dataclass(frozen=True)
class Measurement:
    """A metric on some rows.

    Attributes:
        value: The metric; None when it is not defined on them.
        low: Lower end of its 95 % interval.
        high: Upper end.
        reason: Why it is not defined.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


class Measure(Protocol):
    """Measures labels `(n,)` and scores `(n,)`, which are finite and not empty."""

    def __call__(self, labels: np.ndarray, scores: np.ndarray) -> Measurement:
        """Return the metric with its interval."""
        ...


@dataclass(frozen=True)
class KpiWindow:
    """The KPI of one model version in one window.

    Attributes:
        model_version: Version that gave the scores.
        start: Start of the window.
        end: Its end, which is not in it.
        rows: Scored rows that count.
        labelled: Rows of those whose label is known.
        value: The metric on the labelled rows; None when it cannot be measured.
        low: Lower end of its 95 % interval.
        high: Upper end.
        violates: Whether it is mature and beyond the threshold.
        mature: Whether it may be judged.
        reason: Why it is not mature, or what was found.
        digest: Hash of the labelled rows and the metric: equal means nothing to measure anew.
    """

    model_version: str
    start: datetime
    end: datetime
    rows: int
    labelled: int
    value: float | None
    low: float | None
    high: float | None
    violates: bool
    mature: bool
    reason: str
    digest: str


@dataclass(frozen=True)
class KpiDecision:
    """What the rule says of a model version.

    Attributes:
        fires: Whether the version has to go.
        version: The version.
        reason: Why, in words.
        windows: The last mature windows, oldest first; the decision is about these.
    """

    fires: bool
    version: str
    reason: str
    windows: tuple[KpiWindow, ...]


Known = Mapping[tuple[str, datetime], KpiWindow]


def kpi_windows(
    rows: pa.Table, spec: KpiSpec, measure: Measure, *, clock: datetime, known: Known | None = None
) -> tuple[KpiWindow, ...]:
    """Return the windows as they are seen at a time, by version and start.

    What happened after the clock is not known: later rows are not there, later labels are null.
    The order of the rows does not matter.

    Args:
        rows: One row per scored row: `model_version`; `window_start`, microseconds since the
            epoch; `at`, when it was scored for; `score`; `label`, a number or null; `known_at`,
            since when the label is known.
        spec: What is measured.
        measure: Measures labels and scores.
        clock: The time.
        known: Windows measured before: those whose labelled rows are the same are not measured
            again.
    """
    found = []
    for version, micros, part in _groups(rows):
        start = instant(micros)
        seen = _seen(part, clock)
        if seen is not None:
            before = (known or {}).get((version, start))
            found.append(_window(version, start, seen, spec, measure, clock, before))
    return tuple(sorted(found, key=lambda w: (w.model_version, w.start)))


def decide(windows: Sequence[KpiWindow], spec: KpiSpec, version: str) -> KpiDecision:
    """Return what the rule says of a version: only its mature windows count."""
    mine = (w for w in windows if w.model_version == version and w.mature)
    used = tuple(sorted(mine, key=lambda w: w.start)[-spec.of :])
    if not used:
        return KpiDecision(
            fires=False,
            version=version,
            reason=f"version {version} has no mature window yet",
            windows=(),
        )
    violating = sum(w.violates for w in used)
    fires = used[-1].violates and violating >= spec.violations
    latest = f"the latest ({used[-1].start:%Y-%m-%d}): {used[-1].reason}"
    found = f"violates {spec.threshold} in {violating} of its last {len(used)} mature windows"
    if not violating:
        found = f"keeps {spec.threshold} in its last {len(used)} mature windows"
    reason = f"version {version} {found}; {latest}"
    if violating >= spec.violations and not used[-1].violates:
        reason += "; the latest does not violate it, so the version stays"
    elif 0 < violating < spec.violations:
        reason += f"; it goes at {spec.violations} of {spec.of}"
    return KpiDecision(fires=fires, version=version, reason=reason, windows=used)


@dataclass(frozen=True)
class _Seen:
    """The rows of a window that are known at a time, in an order that is theirs alone."""

    rows: int
    labels: np.ndarray
    scores: np.ndarray

    @property
    def broken(self) -> int:
        """Labelled rows whose score is no number."""
        import numpy as np

        return int((~np.isfinite(self.scores)).sum())

    def digest(self, spec: KpiSpec) -> str:
        """Return a hash of what is measured."""
        of = hashlib.sha256(f"{spec.metric} {spec.payoffs} {spec.decide_at}".encode())
        of.update(self.labels.tobytes())
        of.update(self.scores.tobytes())
        return of.hexdigest()[:16]


def _groups(rows: pa.Table) -> Iterator[tuple[str, int, pa.Table]]:
    """Return the rows of each version and window."""
    import pyarrow as pa

    numbered = rows.append_column("row", pa.array(range(rows.num_rows), pa.int64()))
    grouped = numbered.group_by(["model_version", "window_start"]).aggregate([("row", "list")])
    for group in grouped.to_pylist():
        yield group["model_version"], group["window_start"], rows.take(group["row_list"])


def _seen(part: pa.Table, clock: datetime) -> _Seen | None:
    """Return what is known of a window's rows; None before the first."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    now = pa.scalar(clock, pa.timestamp("us", "UTC"))
    there = part.filter(pc.field("at") <= now)
    if there.num_rows == 0:
        return None
    labelled = there.filter(pc.field("label").is_valid() & (pc.field("known_at") <= now))
    labels = labelled["label"].to_numpy().astype(float)
    scores = labelled["score"].fill_null(math.nan).to_numpy().astype(float)
    # A bootstrap draws rows by their place: the same rows must be in the same places.
    order = np.lexsort((scores, labels))
    return _Seen(there.num_rows, labels[order], scores[order])


def _window(
    version: str,
    start: datetime,
    seen: _Seen,
    spec: KpiSpec,
    measure: Measure,
    clock: datetime,
    before: KpiWindow | None,
) -> KpiWindow:
    end = spec.granularity.end(start)
    digest = seen.digest(spec)
    found = _measured(seen, measure, digest, before)
    waiting = _waiting(seen, spec, end, clock)
    if found.value is None and not seen.broken:
        waiting = waiting or found.reason
    violates = not waiting and spec.violated_by(math.nan if found.value is None else found.value)
    return KpiWindow(
        model_version=version,
        start=start,
        end=end,
        rows=seen.rows,
        labelled=len(seen.labels),
        value=found.value,
        low=found.low,
        high=found.high,
        violates=violates,
        mature=not waiting,
        reason=waiting or _in_words(found, spec),
        digest=digest,
    )


def _measured(seen: _Seen, measure: Measure, digest: str, before: KpiWindow | None) -> Measurement:
    if seen.broken:
        reason = f"{seen.broken} of {len(seen.scores)} scores are no numbers"
        return Measurement(None, reason=reason)
    if len(seen.labels) == 0:
        return Measurement(None, reason="no row has a label")
    if before is not None and before.digest == digest and before.value is not None:
        return Measurement(before.value, before.low, before.high)
    return measure(seen.labels, seen.scores)


def _waiting(seen: _Seen, spec: KpiSpec, end: datetime, clock: datetime) -> str:
    """Return why a window may not be judged yet; empty when it may."""
    due = end + spec.label_delay
    if due > clock:
        return f"its labels are due on {due:%Y-%m-%d %H:%M}"
    share = len(seen.labels) / seen.rows
    if share < spec.labelled_at_least:
        return (
            f"{share:.0%} of {seen.rows} rows have a label, fewer than {spec.labelled_at_least:.0%}"
        )
    if len(seen.labels) < spec.min_rows:
        return f"{len(seen.labels)} rows have a label, fewer than {spec.min_rows}"
    return ""


def _in_words(found: Measurement, spec: KpiSpec) -> str:
    if found.value is None:
        return found.reason
    interval = "" if found.low is None else f" (95 % interval {found.low:.4f} to {found.high:.4f})"
    return f"{spec.metric} is {found.value:.4f}{interval}"
