"""The kinds of gates, as frozen values without any way to measure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from lakeops_assets.promotion.gates.bounds import (
    GateSpecError,
    bounds,
    check_bounds,
    check_finite,
    check_margin,
    check_share,
)

# What a model must show to be ready; in the order in which a reader asks.
READINESS_ITEMS = (
    "signature",
    "sample_call",
    "deterministic",
    "clean_process",
    "dependencies",
    "size",
)


@dataclass(frozen=True)
class MetricGate:
    """A metric on the held-out rows must reach a value.

    Attributes:
        metric: Name of the metric.
        at_least: Smallest value that passes.
        at_most: Largest value that passes.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        check_bounds(self.name, self.at_least, self.at_most)

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return self.metric

    @property
    def requirement(self) -> str:
        """The gate in words."""
        return f"{self.metric} on the held-out rows is {bounds(self.at_least, self.at_most)}"


@dataclass(frozen=True)
class ChampionGate:
    """The challenger must not be worse than the champion on the same held-out rows.

    A test of non-inferiority: the lower end of the 95 % interval of the paired difference
    (challenger minus champion, positive is better) must be above minus the margin. It asks for
    proof that the challenger is good enough, so that few rows or much noise refuse it.

    Attributes:
        metric: Name of the metric that decides.
        margin: Loss that would be accepted, in units of the metric.
    """

    metric: str
    margin: float = 0.005

    def __post_init__(self) -> None:
        check_margin(self.name, self.margin)

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return f"not_worse_than_champion_{self.metric}"

    @property
    def requirement(self) -> str:
        """The gate in words."""
        return (
            f"{self.metric} is not worse than the champion's by more than {self.margin:g} on the "
            "same held-out rows (lower end of the paired 95 % interval)"
        )


@dataclass(frozen=True)
class SliceGate:
    """A metric must hold in every slice of the held-out rows, not on their average alone.

    A slice is one value of a column, or the rows that meet a condition. A slice with fewer rows
    than `min_rows`, or with labels of one class, is not measured. The gate fails when more than
    `unmeasured_at_most` of the held-out rows are in slices that were not measured.

    Attributes:
        title: Name of the slicing: the column, or a name for the condition.
        metric: Name of the metric.
        column: Column whose values are the slices; empty for a condition.
        where: Condition in Spark's dialect; empty for a column.
        at_least: Smallest value that passes, in each slice.
        at_most: Largest value that passes, in each slice.
        margin: Loss against the champion that would be accepted in each slice, proven as in
            `ChampionGate`; None when slices are not compared.
        min_rows: Held-out rows that a slice needs to be measured.
        unmeasured_at_most: Share of the held-out rows that may be in unmeasured slices. It is 0
            for a condition: a slice that was named is asked for.
    """

    title: str
    metric: str
    column: str = ""
    where: str = ""
    at_least: float | None = None
    at_most: float | None = None
    margin: float | None = None
    min_rows: int = 100
    unmeasured_at_most: float = 0.05

    def __post_init__(self) -> None:
        if bool(self.column) == bool(self.where):
            raise GateSpecError(f"gate {self.name} needs a column or a condition, and not both")
        if not re.fullmatch(r"\w+", self.title, re.ASCII):
            raise GateSpecError(
                f"slice {self.title!r} needs a name of letters, digits and underscores"
            )
        if self.margin is None:
            check_bounds(self.name, self.at_least, self.at_most, or_else=" or margin")
        else:
            check_margin(self.name, self.margin)
            check_finite(self.name, self.at_least, self.at_most)
        if self.min_rows < 2:
            raise GateSpecError(f"min_rows of gate {self.name} is {self.min_rows}: give 2 or more")
        check_share(self.name, "unmeasured_at_most", self.unmeasured_at_most)

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return f"slice_{self.title}_{self.metric}"

    @property
    def requirement(self) -> str:
        """The gate in words."""
        slices = f"each {self.column}" if self.column else f"the rows with {self.where}"
        asked = []
        if self.at_least is not None or self.at_most is not None:
            asked.append(bounds(self.at_least, self.at_most))
        if self.margin is not None:
            asked.append(f"not worse than the champion's by more than {self.margin:g}")
        return (
            f"{self.metric} for {slices} is {' and '.join(asked)}; a slice with fewer than "
            f"{self.min_rows} held-out rows is not measured"
        )


@dataclass(frozen=True)
class ValueGate:
    """What decisions by the model are worth, in money, on the held-out rows.

    Attributes:
        payoffs: Outcome -> what it is worth: a cell of the confusion matrix, or a unit of over-
            and under-prediction.
        currency: Currency of the amounts.
        per: What a row is.
        threshold: Probability from which a row counts as positive; `best` for the one with the
            highest value on the training rows; None for a regression.
        at_least: Smallest value per row that passes.
        margin: Loss per row against the champion that would be accepted, proven as in
            `ChampionGate`; None when the champion does not matter.
    """

    payoffs: tuple[tuple[str, float], ...]
    currency: str
    per: str
    threshold: float | Literal["best"] | None = 0.5
    at_least: float | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        for outcome, amount in self.payoffs:
            if not math.isfinite(amount):
                raise GateSpecError(f"{outcome} of gate value is {amount}: give an amount")
        if not any(amount for _, amount in self.payoffs):
            raise GateSpecError("all payoffs of gate value are 0: nothing would be measured")
        check_finite(self.name, self.at_least)
        if isinstance(self.threshold, float):
            check_share(self.name, "threshold", self.threshold)
        if self.margin is not None:
            check_margin(self.name, self.margin)
        elif self.at_least is None:
            raise GateSpecError("gate value needs at_least or margin, else all pass")

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return "value"

    @property
    def unit(self) -> str:
        """What the value is counted in."""
        return f"{self.currency} per {self.per}"

    @property
    def requirement(self) -> str:
        """The gate in words."""
        asked = []
        if self.at_least is not None:
            asked.append(f"at least {self.at_least:g}")
        if self.margin is not None:
            asked.append(f"not below the champion's by more than {self.margin:g}")
        by = "" if self.threshold is None else f", decided at the threshold {self.threshold}"
        return f"the value is {' and '.join(asked)} {self.unit} on the held-out rows{by}"


@dataclass(frozen=True)
class QualityGate:
    """The contract of a table that the model was trained on must stand.

    Attributes:
        table: Table, `<schema>.<table>`.
        contract_digest: The contract as it is declared now; an evaluation of another one does not
            count.
        rules: Blocking rules that need a result.
        quarantined_at_most: Share of the landed rows that may be in quarantine.
    """

    table: str
    contract_digest: str
    rules: tuple[str, ...]
    quarantined_at_most: float = 0.05

    def __post_init__(self) -> None:
        check_share(self.name, "quarantined_at_most", self.quarantined_at_most)

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return f"data_quality_{self.table.rpartition('.')[2]}"

    @property
    def requirement(self) -> str:
        """The gate in words."""
        return (
            f"every blocking rule of the contract of {self.table} was passed on the version that "
            f"the model was trained on or a later one, and at most {self.quarantined_at_most:.1%} "
            "of the landed rows are in quarantine"
        )


@dataclass(frozen=True)
class CoverageGate:
    """Enough entities must have a fresh value of a feature.

    Attributes:
        feature: The feature; empty for every feature of the model without a gate of its own.
        at_least: Smallest share of the rows with a value that is present and fresh.
        timestamp: Column that tells how old a row is; empty when age does not matter.
        within_days: Age up to which a row is fresh; None when age does not matter.
        as_of: `data` measures age from the newest row, `now` from the time of the evaluation.
        others: Features that have a gate of their own; only without `feature`.
    """

    feature: str
    at_least: float
    timestamp: str = ""
    within_days: float | None = None
    as_of: Literal["data", "now"] = "data"
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_share(self.name, "at_least", self.at_least)
        if not self.at_least:
            raise GateSpecError(f"at_least of gate {self.name} is 0: all would pass")
        if self.within_days is not None and not self.timestamp:
            raise GateSpecError(f"gate {self.name} asks for fresh rows and names no timestamp")
        if self.within_days is not None and not 0 < self.within_days < math.inf:
            raise GateSpecError(f"gate {self.name}: rows within {self.within_days} days")

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return f"coverage_{self.feature}" if self.feature else "coverage"

    @property
    def requirement(self) -> str:
        """The gate in words."""
        which = self.feature or "every other feature" if self.others else "every feature"
        which = self.feature or which
        fresh = ""
        if self.within_days is not None:
            since = "the newest row" if self.as_of == "data" else "the evaluation"
            fresh = f" that is at most {self.within_days:g} days older than {since}"
        return f"at least {self.at_least:.1%} of the rows have a value of {which}{fresh}"


@dataclass(frozen=True)
class ReadinessGate:
    """The stored model must be fit for use by someone who has nothing but its files.

    Attributes:
        size_mb_at_most: Largest size of its files, in millions of bytes.
        timeout_seconds: How long a clean process may take to load it and predict.
        items: What is asked for.
    """

    size_mb_at_most: float = 500.0
    timeout_seconds: float = 120.0
    items: tuple[str, ...] = READINESS_ITEMS

    def __post_init__(self) -> None:
        if not self.size_mb_at_most > 0 or not self.timeout_seconds > 0:
            raise GateSpecError("size and timeout of gate readiness: give more than 0")

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return "readiness"

    @property
    def requirement(self) -> str:
        """The gate in words."""
        return (
            "the model has a signature that fits the table, predicts its example, twice the same, "
            "loads in a clean process without a network, pins its dependencies, and has at most "
            f"{self.size_mb_at_most:g} MB"
        )


@dataclass(frozen=True)
class RecencyGate:
    """The feature table must not have moved on too far since the version that was trained on.

    Asked at the evaluation and again at the promotion: a verdict that waited may have become older
    than its data allow. A champion is exempt; it stays until something better passes.

    Attributes:
        days_at_most: Days of commits between the version that was trained on and the newest.
    """

    days_at_most: float

    def __post_init__(self) -> None:
        if not 0 < self.days_at_most < math.inf:
            raise GateSpecError(f"gate {self.name}: {self.days_at_most} days; give more than 0")

    @property
    def name(self) -> str:
        """Name of the gate and of its asset check."""
        return "recent_data"

    @property
    def requirement(self) -> str:
        """The gate in words."""
        return (
            f"the feature table has not moved on by more than {self.days_at_most:g} days since the "
            "version that the model was trained on"
        )


Gate: TypeAlias = (
    MetricGate
    | ChampionGate
    | SliceGate
    | ValueGate
    | QualityGate
    | CoverageGate
    | ReadinessGate
    | RecencyGate
)


def check_names(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    """Return the gates, each of which has a name of its own.

    Raises:
        GateSpecError: Two have one name: the verdict on one would count for the other.
    """
    twice = sorted(name for name, n in Counter(gate.name for gate in gates).items() if n > 1)
    if twice:
        raise GateSpecError(f"gates are declared twice: {', '.join(twice)}; join each into one")
    return gates


def gates_digest(gates: tuple[Gate, ...]) -> str:
    """Return a hash of the gates, so that a verdict on other gates does not count for these."""
    text = json.dumps([[type(g).__name__, asdict(g)] for g in gates], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
