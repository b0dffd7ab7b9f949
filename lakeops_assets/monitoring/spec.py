"""What to monitor in a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from lakeops_assets.monitoring.granularity import Granularity, GranularityError

if TYPE_CHECKING:
    import pyarrow as pa

Kind: TypeAlias = Literal["snapshot", "time_series", "inference_log"]
ProblemType: TypeAlias = Literal["classification", "regression"]

KINDS = ("snapshot", "time_series", "inference_log")
PROBLEM_TYPES = ("classification", "regression")


class MonitorSpecError(ValueError):
    """A monitor is declared in a way that cannot work."""


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
        label_col: Column of the truth, where it is known.
        prediction_proba_col: Column of the predicted probability.
        slicing_exprs: Expressions in Spark's dialect. Each makes slices of its own: a condition
            makes `true` and `false`, a column one per value (the most frequent 100 of each window).
            A row for which the expression is null is in none of its slices.
        columns: Columns to profile; all when empty.
        exclude: Columns to leave out, such as keys and identifiers, whose drift means nothing.
            The model id is left out by itself.
        quantiles: Number of quantiles that are kept per numeric column; 1000 is the format's. The
            grid of the KS statistic is its inverse, and so is the size of the metric table.
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
    slicing_exprs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    quantiles: int = 1000
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

    @property
    def windows(self) -> tuple[Granularity, ...]:
        """The granularities, parsed."""
        return tuple(Granularity.parse(text) for text in self.granularities)

    @property
    def digest(self) -> str:
        """Hash of everything that changes what is profiled."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]

    def check(self, schema: pa.Schema, table: object) -> None:
        """Check that a table has the columns that the spec names.

        Args:
            schema: Columns of the table.
            table: Its name, for the error.

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
        }
        for option, names in named.items():
            missing = [n for n in names if n is not None and n not in schema.names]
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
        if self.baseline_where and not self.baseline:
            raise MonitorSpecError("baseline_where needs a baseline whose rows it chooses")


def _names(options: Mapping[str, str | Sequence[str] | None], *, given: bool) -> list[str]:
    return [name for name, value in options.items() if bool(value) == given]
