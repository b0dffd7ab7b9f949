"""How well a version does on the held-out rows: over all, beside the champion, in slices, in money.

Which rows are held out is decided by their keys alone, so neither candidate nor champion has ever
been trained on one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from lakeops_assets import models
from lakeops_assets.components.gate_models import payoffs
from lakeops_assets.components.subject import Parts, Scored, Subject
from lakeops_assets.components.training import RESAMPLES
from lakeops_assets.lakehouse import LakehouseError
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.models import Comparison, Measured
from lakeops_assets.promotion import (
    ChampionGate,
    Gate,
    Paired,
    SliceGate,
    SliceMeasure,
    ValueGate,
)

if TYPE_CHECKING:
    import numpy as np

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Value:
    """What decisions are worth per row, at which threshold, and compared with the champion's."""

    measured: Interval
    threshold: float | None
    paired: Paired | None


@dataclass(frozen=True)
class Performance:
    """What was measured on the held-out rows; see `Evidence`."""

    rows: int = 0
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    paired: Mapping[str, Paired] = field(default_factory=dict)
    slices: Mapping[str, tuple[SliceMeasure, ...]] = field(default_factory=dict)
    value: Value | None = None


def measure_performance(subject: Subject, gates: tuple[Gate, ...], parts: Parts) -> Performance:
    """Measure everything that gates ask of the scores of a candidate."""
    ours = parts.take("performance", lambda: subject.scored_by(subject.candidate))
    if ours is None:
        return Performance()
    metrics = parts.take("performance", lambda: _metrics(subject, ours))
    if metrics is None:
        return Performance(len(ours.y))
    rival, theirs = subject.rival, None
    if rival is not None and any(_compares(g) for g in gates):
        theirs = parts.take("champion", lambda: subject.scored_by(rival))
    compare = _Comparer(subject, ours, theirs)
    paired = parts.take(
        "champion",
        lambda: {
            metric: found
            for metric in dict.fromkeys(g.metric for g in gates if isinstance(g, ChampionGate))
            if (found := compare.metric(metric)) is not None
        },
    )
    slices = {
        gate.name: found
        for gate in gates
        if isinstance(gate, SliceGate)
        and (found := parts.take(f"slices/{gate.name}", partial(_slices, compare, gate)))
    }
    value = next((g for g in gates if isinstance(g, ValueGate)), None)
    return Performance(
        rows=len(ours.y),
        metrics=metrics,
        paired=paired or {},
        slices=slices,
        value=parts.take("value", lambda: _value(compare, value)) if value else None,
    )


def _compares(gate: Gate) -> bool:
    if isinstance(gate, SliceGate | ValueGate):
        return gate.margin is not None
    return isinstance(gate, ChampionGate)


def _metrics(subject: Subject, ours: Scored) -> dict[str, Interval]:
    evaluation = models.evaluate(
        subject.spec.task, ours.y, ours.score, resamples=RESAMPLES, seed=subject.spec.seed
    )
    return {name: _interval(m) for name, m in evaluation.metrics.items()}


@dataclass(frozen=True)
class _Comparer:
    """The candidate's scores and, when there is one to compare with, the champion's."""

    subject: Subject
    ours: Scored
    theirs: Scored | None

    def metric(self, metric: str, mask: np.ndarray | None = None) -> Paired | None:
        """Return the comparison by a metric, on some of the held-out rows."""
        if self.theirs is None:
            return None
        chosen = slice(None) if mask is None else mask
        found = models.compare(
            self.subject.spec.task,
            self.ours.y[chosen],
            self.theirs.score[chosen],
            self.ours.score[chosen],
            metric,
            resamples=RESAMPLES,
            seed=self.subject.spec.seed,
        )
        return self._paired(found)

    def means(self, theirs: np.ndarray, ours: np.ndarray) -> Paired | None:
        """Return the comparison of a number per row."""
        seed = self.subject.spec.seed
        return self._paired(models.compare_means(theirs, ours, resamples=RESAMPLES, seed=seed))

    def _paired(self, found: Comparison) -> Paired | None:
        if self.subject.rival is None:
            return None
        return Paired(
            self.subject.rival,
            found.champion,
            found.challenger,
            found.difference,
            found.low,
            found.high,
        )


# Slices


def _slices(compare: _Comparer, gate: SliceGate) -> tuple[SliceMeasure, ...]:
    members = _members(compare.subject, gate)
    if any(len(mask) != len(compare.ours.y) for mask in members.values()):
        raise LakehouseError(
            f"keys of {compare.subject.features} are not unique, so that its slices cannot be told"
        )
    return tuple(_slice(compare, gate, value, mask) for value, mask in members.items())


def _slice(compare: _Comparer, gate: SliceGate, value: str, mask: np.ndarray) -> SliceMeasure:
    subject, rows = compare.subject, int(mask.sum())
    if rows < gate.min_rows:
        return SliceMeasure(value, rows, None, reason=f"{rows} rows, fewer than {gate.min_rows}")
    y, score = compare.ours.y[mask], compare.ours.score[mask]
    if subject.spec.task == "classification" and len(set(y.tolist())) < 2:
        return SliceMeasure(value, rows, None, reason="all its rows have the same label")
    found = models.measure(
        subject.spec.task, y, score, gate.metric, resamples=RESAMPLES, seed=subject.spec.seed
    )
    paired = None if gate.margin is None else compare.metric(gate.metric, mask)
    return SliceMeasure(value, rows, _interval(found), paired)


def _members(subject: Subject, gate: SliceGate) -> dict[str, np.ndarray]:
    """Return slice -> which held-out rows are in it, shape `(n,)`, in the order of the rows."""
    import numpy as np

    spec = subject.spec
    slicing = (
        f"coalesce(CAST({quote(gate.column)} AS STRING), 'null')"
        if gate.column
        else f"coalesce(({gate.where}), false)"
    )
    reader = subject.lakehouse.query(
        f"SELECT {slicing} AS slice FROM {subject.features} VERSION AS OF {subject.data_version} "
        f"WHERE {quote(spec.label)} IS NOT NULL AND {models.split_condition(spec)} "
        f"ORDER BY {', '.join(quote(k) for k in spec.primary_key)}"
    )
    found = reader.read_all()["slice"].to_pylist()
    if not gate.column:
        return {gate.title: np.array(found, dtype=bool)}
    values = np.array(found, dtype=object)
    return {value: values == value for value in sorted(set(found))}


# Money


def _value(compare: _Comparer, gate: ValueGate) -> Value:
    subject = compare.subject
    amounts = payoffs(subject.spec.task, gate)

    def worth(rows: Scored) -> tuple[np.ndarray, float | None]:
        threshold = models.choose_threshold(amounts, rows.train_y, rows.train_score, gate.threshold)
        return amounts.per_row(rows.y, rows.score, threshold), threshold

    ours, threshold = worth(compare.ours)
    mean = models.measure_mean(ours, resamples=RESAMPLES, seed=subject.spec.seed)
    paired = None
    if gate.margin is not None and compare.theirs is not None:
        paired = compare.means(worth(compare.theirs)[0], ours)
    return Value(_interval(mean), threshold, paired)


def _interval(measured: Measured) -> Interval:
    return measured.value, measured.low, measured.high
