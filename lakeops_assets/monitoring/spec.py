"""What to monitor in a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring.custom import (
    BASE,
    CURRENT,
    WHOLE_TABLE,
    CustomMetric,
)
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.monitoring.granularity import Granularity, GranularityError

if TYPE_CHECKING:
    import pyarrow as pa

Kind: TypeAlias = Literal["snapshot", "time_series", "inference_log"]
ProblemType: TypeAlias = Literal["classification", "regression"]

KINDS = ("snapshot", "time_series", "inference_log")
PROBLEM_TYPES = ("classification", "regression")


@dataclass(frozen=True)
class MonitorSpec:
    """What to profile in a table, and how its rows fall into windows.

    The vocabulary is that of Databricks' quality monitors: `snapshot`, `time_series` and
    `inference_log` with their options.

    Attributes:
        kind: `snapshot` profiles all rows at each refresh; `time_series` profiles windows of a
            timestamp; `inference_log` does so for each model that made the predictions, too.
        timestamp_col: Column that puts a row into a window: a timestamp or a date.
        granularities: Lengths of the windows; each is profiled on its own. The first one is the
            one that findings are about.
        prediction_col: Column of the prediction.
        model_id_col: Column that names the model or version that predicted.
        problem_type: What kind of model it is, where that is known.
        label_col: Column of the truth; null where it is not known yet. The monitored table need
            not have it if the baseline does, which is enough to estimate.
        prediction_proba_col: Column of the predicted probability, from 0 to 1, of the class
            `positive`.
        positive: Class, as text, that the probability is of: `Yes`, `1` or `true`.
        slicing_exprs: Expressions in Spark's dialect. Each makes slices of its own: a condition
            makes `true` and `false`, a column one per value (the most frequent 100 of each window).
            A row for which the expression is null is in none of its slices.
        columns: Columns to profile; all when empty.
        exclude: Columns to leave out, such as keys and identifiers, whose drift means nothing.
            The model id is left out by itself.
        quantiles: Number of quantiles that are kept per numeric column; 1000 is the format's. The
            grid of the KS statistic is its inverse, and so is the size of the metric table.
        custom_metrics: Metrics of the owner's own, added to those of the format.
        baseline: Table to compare with, which stands for how the data should be.
        baseline_where: Condition in Spark's dialect on the rows of the baseline.
    """

    kind: Kind
    timestamp_col: str | None = None
    granularities: tuple[str, ...] = ()
    prediction_col: str | None = None
    model_id_col: str | None = None
    problem_type: ProblemType | None = None
    label_col: str | None = None
    prediction_proba_col: str | None = None
    positive: str | None = None
    slicing_exprs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    quantiles: int = 1000
    custom_metrics: tuple[CustomMetric, ...] = ()
    baseline: str | None = None
    baseline_where: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MonitorSpecError(
                f"{self.kind!r} is not a kind of monitor; use one of: {', '.join(KINDS)}"
            )
        if self.problem_type not in (None, *PROBLEM_TYPES):
            raise MonitorSpecError(
                f"{self.problem_type!r} is not a problem type; use one of: "
                f"{', '.join(PROBLEM_TYPES)}"
            )
        self._check_options()
        if not 10 <= self.quantiles <= 10_000:
            raise MonitorSpecError(
                f"{self.quantiles} quantiles cannot be kept: deciles need at least 10, and more "
                "than 10000 make the metric table larger than many tables; use 1000"
            )
        both = [c for c in self.columns if c in self.exclude]
        if both:
            raise MonitorSpecError(
                f"{', '.join(both)} is both in columns and in exclude: name it in one of them"
            )
        try:
            self.windows  # noqa: B018  each granularity is parsed, and complains if it cannot be
        except GranularityError as error:
            raise MonitorSpecError(str(error)) from error
        self._check_metrics()

    @property
    def windows(self) -> tuple[Granularity, ...]:
        """The granularities, parsed."""
        return tuple(Granularity.parse(text) for text in self.granularities)

    @property
    def estimated(self) -> bool:
        """Whether performance is estimated where labels are missing."""
        return (
            self.problem_type == "classification"
            and self.prediction_proba_col is not None
            and self.label_col is not None
        )

    @property
    def template_columns(self) -> dict[str, str]:
        """What custom metrics can name, besides their input column: name -> quoted column."""
        named = {
            "timestamp_col": self.timestamp_col,
            "prediction_col": self.prediction_col,
            "model_id_col": self.model_id_col,
            "label_col": self.label_col,
            "prediction_proba_col": self.prediction_proba_col,
        }
        return {name: quote(column) for name, column in named.items() if column is not None}

    @property
    def digest(self) -> str:
        """Hash of everything that changes what is profiled."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]

    def check(self, schema: pa.Schema, table: object, *, baseline: pa.Schema | None = None) -> None:
        """Check that a table has the columns that the spec names.

        Args:
            schema: Columns of the table.
            table: Its name, for the error.
            baseline: Columns of the baseline; None without one.

        Raises:
            MonitorSpecError: A column is missing.
        """
        named = {
            "timestamp_col": [self.timestamp_col],
            "prediction_col": [self.prediction_col],
            "model_id_col": [self.model_id_col],
            "label_col": [self.label_col],
            "prediction_proba_col": [self.prediction_proba_col],
            "columns": self.columns,
            "exclude": self.exclude,
            "custom_metrics": [
                column
                for metric in self.custom_metrics
                for column in metric.input_columns
                if column != WHOLE_TABLE
            ],
        }
        for option, names in named.items():
            known = [*schema.names]
            if option == "label_col" and baseline is not None:
                known += baseline.names
            missing = [n for n in names if n is not None and n not in known]
            if missing:
                raise MonitorSpecError(
                    f"{table} has no column {', '.join(missing)}, which {option} of its monitor "
                    f"names; it has: {', '.join(schema.names)}"
                )

    def _check_options(self) -> None:
        windowed = {"timestamp_col": self.timestamp_col, "granularities": self.granularities}
        model = {
            "prediction_col": self.prediction_col,
            "model_id_col": self.model_id_col,
        }
        optional = {
            "problem_type": self.problem_type,
            "label_col": self.label_col,
            "prediction_proba_col": self.prediction_proba_col,
            "positive": self.positive,
        }
        if self.kind == "snapshot":
            needed, foreign = {}, {**windowed, **model, **optional}
        elif self.kind == "time_series":
            needed, foreign = windowed, {**model, **optional}
        else:
            needed, foreign = {**windowed, **model}, {}
        missing = _names(needed, given=False)
        if missing:
            raise MonitorSpecError(f"a monitor of kind {self.kind} needs {', '.join(missing)}")
        extra = _names(foreign, given=True)
        if extra:
            raise MonitorSpecError(
                f"a monitor of kind {self.kind} has no {', '.join(extra)}: leave it out or choose "
                f"another kind ({', '.join(k for k in KINDS if k != self.kind)})"
            )
        if self.label_col and not self.problem_type:
            raise MonitorSpecError(
                f"label_col needs a problem_type, one of: {', '.join(PROBLEM_TYPES)}"
            )
        if self.estimated and not self.positive:
            raise MonitorSpecError(
                "prediction_proba_col needs `positive`, the class that it is the probability of, "
                "such as 'Yes', '1' or 'true', to be compared with label_col"
            )
        if self.baseline_where and not self.baseline:
            raise MonitorSpecError("baseline_where needs a baseline whose rows it chooses")

    def _check_metrics(self) -> None:
        names = [metric.name for metric in self.custom_metrics]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise MonitorSpecError(f"there is more than one custom metric {', '.join(twice)}")
        for metric in self.custom_metrics:
            columns = {**self.template_columns, "input_column": "`a`"}
            if metric.type == "drift":
                columns |= {CURRENT: CURRENT, BASE: BASE}
            metric.expression(columns)  # complains if it cannot be


def _names(options: Mapping[str, str | Sequence[str] | None], *, given: bool) -> list[str]:
    return [name for name, value in options.items() if bool(value) == given]
