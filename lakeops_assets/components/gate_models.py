"""Gates as YAML, and what the promotion room needs to know of them."""

import re
from collections.abc import Sequence
from typing import Literal

import dagster as dg
from pydantic import Field

from lakeops_assets.components.durations import days
from lakeops_assets.models import METRICS, OUTCOMES, ModelError, Payoffs
from lakeops_assets.models.spec import Task
from lakeops_assets.promotion import (
    ChampionGate,
    CoverageGate,
    Gate,
    GateSpecError,
    MetricGate,
    QualityGate,
    ReadinessGate,
    RecencyGate,
    SliceGate,
    ValueGate,
    check_names,
)


class MetricGateModel(dg.Model, dg.Resolvable):
    """A metric on the held-out rows must reach a value."""

    metric: str = Field(description="Name of the metric, such as roc_auc, log_loss or rmse.")
    at_least: float | None = Field(default=None, description="Smallest value that passes.")
    at_most: float | None = Field(default=None, description="Largest value that passes.")


class ChampionGateModel(dg.Model, dg.Resolvable):
    """The challenger must not be worse than the champion on the same held-out rows."""

    metric: str = Field(description="Name of the metric that decides.")
    margin: float = Field(
        default=0.005, description="Loss that would be accepted, in units of the metric."
    )


class SliceModel(dg.Model, dg.Resolvable):
    """A metric must hold in every slice of the held-out rows."""

    metric: str = Field(description="Name of the metric.")
    by: str = Field(default="", description="Column of the feature table; each value is a slice.")
    where: str = Field(
        default="", description="Instead of `by`: a condition in Spark's dialect that is the slice."
    )
    name: str = Field(
        default="", description="Name of the slicing; needed with `where`, else the column."
    )
    at_least: float | None = Field(
        default=None, description="Smallest value that passes, in each slice."
    )
    at_most: float | None = Field(
        default=None, description="Largest value that passes, in each slice."
    )
    margin: float | None = Field(
        default=None,
        description="Loss against the champion that would be accepted in each slice; not compared "
        "when empty.",
    )
    min_rows: int = Field(
        default=100, description="Held-out rows that a slice needs to be measured."
    )
    unmeasured_at_most: float = Field(
        default=0.05,
        description="Share of the held-out rows that may be in slices too small to be measured; "
        "none may with `where`.",
    )


class ValueModel(dg.Model, dg.Resolvable):
    """What decisions by the model are worth, in money."""

    true_positive: float | None = Field(
        default=None, description="Worth of a positive row that is treated; for classification."
    )
    false_positive: float | None = Field(
        default=None, description="Worth of another row that is treated."
    )
    false_negative: float | None = Field(
        default=None, description="Worth of a positive row that is left alone."
    )
    true_negative: float | None = Field(
        default=None, description="Worth of another row that is left alone."
    )
    over: float | None = Field(
        default=None, description="Worth of a unit predicted too much, negative; for regression."
    )
    under: float | None = Field(
        default=None, description="Worth of a unit predicted too little, negative."
    )
    currency: str = Field(default="EUR", description="Currency of the amounts.")
    per: str = Field(default="row", description="What a row is, such as customer.")
    threshold: float | Literal["best"] = Field(
        default=0.5,
        description="Probability from which a row is treated; `best` is the one with the highest "
        "value on the training rows.",
    )
    at_least: float | None = Field(default=None, description="Smallest value per row that passes.")
    margin: float | None = Field(
        default=None,
        description="Loss per row against the champion that would be accepted; not compared when "
        "empty.",
    )


class CoverageModel(dg.Model, dg.Resolvable):
    """Enough entities must have a fresh value of every feature of the model."""

    at_least: float = Field(
        description="Smallest share of the rows with a value, for every feature not listed."
    )
    features: dict[str, float] = Field(
        default_factory=dict, description="Feature -> smallest share; each is a gate of its own."
    )
    timestamp: str = Field(
        default="",
        description="Column that tells how old a row is; age does not matter when empty.",
    )
    within: str = Field(
        default="", description="Age up to which a row is fresh, such as `60 days`."
    )
    as_of: Literal["data", "now"] = Field(
        default="data",
        description="`data` measures age from the newest row, `now` from the time of evaluation.",
    )


class ReadinessModel(dg.Model, dg.Resolvable):
    """The stored model must be fit for use by someone who has nothing but its files."""

    size_mb_at_most: float = Field(
        default=500.0, description="Largest size of the files, in millions of bytes."
    )
    timeout_seconds: float = Field(
        default=120.0, description="How long a clean process may take to load it and predict."
    )


class DataQualityModel(dg.Model, dg.Resolvable):
    """The contracts of the tables that the model is trained on must stand."""

    tables: list[str] = Field(
        default_factory=list,
        description="Tables with a contract; when empty the feature table and what it is computed "
        "from, as far as they have one.",
    )
    quarantined_at_most: float = Field(
        default=0.05, description="Share of the landed rows of a table that may be in quarantine."
    )


def gate_specs(
    task: Task,
    absolute: Sequence[MetricGateModel],
    paired: Sequence[ChampionGateModel],
    *,
    slices: Sequence[SliceModel] = (),
    value: ValueModel | None = None,
    coverage: CoverageModel | None = None,
    readiness: ReadinessModel | None = None,
    data_behind_at_most: str = "",
    quality: Sequence[QualityGate] = (),
) -> tuple[Gate, ...]:
    """Return what the promotion room needs to know, in the order of the checks.

    Raises:
        ModelError: A gate is about a metric or an outcome that the task does not have.
        GateSpecError: A gate cannot be evaluated as it is declared.
        DurationError: A length of time cannot be read.
    """
    named = {g.metric for g in absolute} | {g.metric for g in paired} | {s.metric for s in slices}
    unknown = [m for m in sorted(named) if m not in METRICS[task]]
    if unknown:
        raise ModelError(
            f"gates ask for {', '.join(unknown)}, and a {task} has the metrics "
            f"{', '.join(METRICS[task])}"
        )
    gates: list[Gate] = [
        *quality,
        *(_coverage(coverage) if coverage else ()),
        *(MetricGate(g.metric, g.at_least, g.at_most) for g in absolute),
        *(ChampionGate(g.metric, g.margin) for g in paired),
        *(_slice(s) for s in slices),
    ]
    if value:
        gates.append(_value(task, value))
    if readiness:
        gates.append(ReadinessGate(readiness.size_mb_at_most, readiness.timeout_seconds))
    if data_behind_at_most:
        gates.append(RecencyGate(days(data_behind_at_most)))
    return check_names(tuple(gates))


def payoffs(task: Task, gate: ValueGate) -> Payoffs:
    """Return what the models room needs to know of a value gate."""
    return Payoffs(task, dict(gate.payoffs))


def _slice(said: SliceModel) -> SliceGate:
    if said.where and not said.name:
        raise GateSpecError(f"the slice with {said.where} needs a name")
    return SliceGate(
        title=said.name or re.sub(r"\W", "_", said.by, flags=re.ASCII),
        metric=said.metric,
        column=said.by,
        where=said.where,
        at_least=said.at_least,
        at_most=said.at_most,
        margin=said.margin,
        min_rows=said.min_rows,
        unmeasured_at_most=said.unmeasured_at_most,
    )


def _value(task: Task, said: ValueModel) -> ValueGate:
    given = {
        outcome: amount
        for outcomes in OUTCOMES.values()
        for outcome in outcomes
        if (amount := getattr(said, outcome)) is not None
    }
    Payoffs(task, given)  # raises the error that says which amounts are needed
    return ValueGate(
        payoffs=tuple((outcome, given[outcome]) for outcome in OUTCOMES[task]),
        currency=said.currency,
        per=said.per,
        threshold=said.threshold if task == "classification" else None,
        at_least=said.at_least,
        margin=said.margin,
    )


def _coverage(said: CoverageModel) -> list[CoverageGate]:
    within = days(said.within) if said.within else None
    fresh = (said.timestamp, within, said.as_of)
    return [
        CoverageGate("", said.at_least, *fresh, others=tuple(said.features)),
        *(CoverageGate(feature, share, *fresh) for feature, share in said.features.items()),
    ]
