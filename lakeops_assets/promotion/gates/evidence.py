"""What was measured on a version, as frozen values without any gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paired:
    """Challenger and champion on the same rows.

    Attributes:
        champion_version: Version that the challenger was compared with.
        champion: Value of the champion.
        challenger: Value of the challenger.
        difference: How much better the challenger is.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
    """

    champion_version: int
    champion: float
    challenger: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class SliceMeasure:
    """One metric in one slice of the held-out rows.

    Attributes:
        value: Value of the column, or the condition.
        rows: Held-out rows in the slice.
        measured: Value with its 95 % interval; None when it was not measured.
        paired: Comparison with the champion; None when there was none.
        reason: Why it was not measured; empty when it was.
    """

    value: str
    rows: int
    measured: tuple[float, float, float] | None
    paired: Paired | None = None
    reason: str = ""


@dataclass(frozen=True)
class RuleOutcome:
    """One rule of a contract on one version of a table.

    Attributes:
        rule: Identifier of the rule.
        severity: `block`, `quarantine` or `warn`.
        passed: Whether it held.
        reason: What was found.
    """

    rule: str
    severity: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class QualityEvidence:
    """What stands about the contract of a table.

    Attributes:
        table: Table, `<schema>.<table>`.
        data_version: Delta version that the model's rows came from.
        evaluated_version: Delta version that the rules were evaluated on.
        contract_digest: Contract that was evaluated.
        rows: Rows of the table then.
        quarantined: Rows that are in quarantine.
        rules: One outcome per rule.
    """

    table: str
    data_version: int
    evaluated_version: int
    contract_digest: str
    rows: int
    quarantined: int
    rules: tuple[RuleOutcome, ...]


@dataclass(frozen=True)
class CoverageEvidence:
    """How many entities have a fresh value of each feature.

    Attributes:
        rows: Entities of the feature table.
        as_of: Time that age was measured from, in words; empty where age does not matter.
        features: Features that the model needs.
        shares: Feature -> share of the entities with a fresh value.
    """

    rows: int
    as_of: str
    features: tuple[str, ...]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class ReadinessItem:
    """One thing that a stored model must show.

    Attributes:
        name: What was asked.
        passed: Whether it was so.
        found: What was found, in words.
    """

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class ReadinessEvidence:
    """What a stored model showed.

    Attributes:
        items: One per thing that was asked.
        size_bytes: Size of its files.
        seconds: How long the clean process took.
    """

    items: tuple[ReadinessItem, ...]
    size_bytes: int
    seconds: float


@dataclass(frozen=True)
class DataAge:
    """How far a table moved on since a version.

    Attributes:
        newest_version: Newest Delta version that changed rows.
        days: Days between the commits of the two.
    """

    newest_version: int
    days: float


@dataclass(frozen=True)
class Evidence:
    """What was measured on one version.

    A part that could not be measured is absent, and `unmeasured` says why.

    Attributes:
        model: Registered name.
        version: Version that was measured.
        data_version: Delta version of the feature table whose held-out rows were used; the one
            that the version was trained on.
        rows: Number of held-out rows.
        metrics: Metric -> (value, low, high) with a 95 % interval.
        champion_version: The champion at that time; None when there was none.
        paired: Metric -> comparison with the champion; empty without one.
        model_id: MLflow's id of the model behind the version.
        table: Feature table.
        slices: Name of a slice gate -> its slices.
        value: What decisions are worth per row, with a 95 % interval.
        value_paired: Its comparison with the champion.
        threshold: Threshold that the value was decided at.
        quality: Table -> what stands about its contract.
        coverage: Name of a coverage gate -> what was found for it.
        readiness: What the stored model showed.
        data_age: How far the feature table moved on.
        unmeasured: Part -> why it could not be measured. Parts are `performance`, `slices/<gate>`,
            `value`, `quality/<table>`, `coverage`, `readiness` and `data_age`.
    """

    model: str
    version: int
    data_version: int
    rows: int
    metrics: Mapping[str, tuple[float, float, float]]
    champion_version: int | None
    paired: Mapping[str, Paired] = field(default_factory=dict)
    model_id: str = ""
    table: str = ""
    slices: Mapping[str, tuple[SliceMeasure, ...]] = field(default_factory=dict)
    value: tuple[float, float, float] | None = None
    value_paired: Paired | None = None
    threshold: float | None = None
    quality: Mapping[str, QualityEvidence] = field(default_factory=dict)
    coverage: Mapping[str, CoverageEvidence] = field(default_factory=dict)
    readiness: ReadinessEvidence | None = None
    data_age: DataAge | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
