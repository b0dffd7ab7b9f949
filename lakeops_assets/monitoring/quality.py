"""How right the predictions of an inference log are: the values of its `:table` rows.

Everything follows from a few counts and sums per group, which the engine adds up: a confusion
matrix, the ranks of the probabilities, squared and absolute errors. The definitions are those of
scikit-learn, with `zero_division=0`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lakeops_assets.lakehouse.statements import literal, quote
from lakeops_assets.monitoring.spec import MonitorSpec

if TYPE_CHECKING:
    import pyarrow as pa

Values: TypeAlias = dict[str, Any]
Confusion: TypeAlias = Mapping[tuple[str, str], int]

# A probability of zero or one would make the log loss infinite: the closest double is taken.
EPSILON = 2.220446049250313e-16
FAIRNESS = (
    "predictive_parity",
    "predictive_equality",
    "equal_opportunity",
    "statistical_parity",
)


def quality_fields(spec: MonitorSpec) -> list[pa.Field]:
    """Return the columns of the profile table that say how right the predictions are."""
    import pyarrow as pa

    if not spec.label_col:
        return []
    number = pa.float64()
    if spec.problem_type == "regression":
        return [pa.field(name, number) for name in _REGRESSION]
    by_class = pa.map_(pa.string(), number)
    averaged = pa.struct([("one_vs_all", by_class), ("macro", number), ("weighted", number)])
    cell = pa.struct([("prediction", pa.string()), ("label", pa.string()), ("count", pa.int64())])
    probabilities = [("log_loss", number), ("roc_auc_score", averaged)]
    return [
        pa.field("accuracy_score", number),
        *(pa.field(*f) for f in probabilities if spec.prediction_proba_col),
        pa.field("confusion_matrix", pa.list_(cell)),
        *(pa.field(name, averaged) for name in ("precision", "recall", "f1_score")),
        *(pa.field(name, by_class) for name in FAIRNESS if spec.slicing_exprs),
    ]


# Classification


@dataclass(frozen=True)
class Classes:
    """How predictions and labels of a table become classes.

    Attributes:
        prediction: SQL of the predicted class.
        label: SQL of the true one.
        numbers: Whether they are numbers, which are compared as such.
    """

    prediction: str
    label: str
    numbers: bool

    @classmethod
    def of(cls, spec: MonitorSpec, schema: pa.Schema) -> Classes:
        """Return them for a table: an int and a double that are equal are one class."""
        import pyarrow.types as is_

        sides = [quote(str(c)) for c in (spec.prediction_col, spec.label_col)]
        types = [schema.field(c).type for c in (spec.prediction_col, spec.label_col)]
        flags = [is_.is_boolean(t) for t in types]
        counted = [f or is_.is_integer(t) or is_.is_floating(t) or is_.is_decimal(t)
                   for f, t in zip(flags, types, strict=True)]  # fmt: skip
        if all(counted) and not all(flags):
            sides = [
                f"CAST(CAST({side} AS INT) AS DOUBLE)" if flag else f"CAST({side} AS DOUBLE)"
                for side, flag in zip(sides, flags, strict=True)
            ]
            return cls(sides[0], sides[1], numbers=True)
        texts = [f"CAST({side} AS STRING)" for side in sides]
        return cls(texts[0], texts[1], numbers=False)

    def name(self, value: Any) -> str:
        """Return a class as text: 1.0 is `1`."""
        whole = self.numbers and float(value).is_integer()
        return str(int(value)) if whole else str(value)

    def positive(self, spec: MonitorSpec) -> str:
        """Return the condition under which the label is the class of the probability."""
        text = literal(spec.positive or "")
        return f"{self.label} = " + (f"CAST({text} AS DOUBLE)" if self.numbers else text)


def confusion_values(confusion: Confusion) -> Values:
    """Return accuracy, precision, recall and F1 of a confusion matrix.

    Args:
        confusion: (predicted class, true class) -> rows; not empty.
    """
    total = sum(confusion.values())
    classes = sorted({name for cell in confusion for name in cell})
    right = {c: confusion.get((c, c), 0) for c in classes}
    predicted = {c: sum(n for (p, _), n in confusion.items() if p == c) for c in classes}
    actual = {c: sum(n for (_, t), n in confusion.items() if t == c) for c in classes}
    precision = {c: _ratio(right[c], predicted[c]) for c in classes}
    recall = {c: _ratio(right[c], actual[c]) for c in classes}
    f1 = {c: _ratio(2 * right[c], predicted[c] + actual[c]) for c in classes}
    return {
        "accuracy_score": sum(right.values()) / total,
        "confusion_matrix": [
            {"prediction": p, "label": t, "count": n} for (p, t), n in sorted(confusion.items())
        ],
        "precision": averaged(precision, actual),
        "recall": averaged(recall, actual),
        "f1_score": averaged(f1, actual),
    }


def fairness_values(group: Confusion, other: Confusion) -> Values:
    """Return how much better or worse a slice is treated than the rest, class by class.

    Each value is the slice's rate less that of the other rows, from -1 to 1; a class for which one
    side has no rate is left out. `predictive_parity` compares precision, `predictive_equality`
    false positive rates, `equal_opportunity` recall, `statistical_parity` the share of rows that
    are given the class. Source: Verma and Rubin, Fairness definitions explained, 2018.
    """
    classes = sorted({name for cell in (*group, *other) for name in cell})
    rates = [_rates(side, classes) for side in (group, other)]
    return {
        name: [
            (c, rates[0][name][c] - rates[1][name][c])
            for c in classes
            if c in rates[0][name] and c in rates[1][name]
        ]
        for name in FAIRNESS
    }


def _rates(confusion: Confusion, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    total = sum(confusion.values())
    found: dict[str, dict[str, float]] = {name: {} for name in FAIRNESS}
    for c in classes:
        right = confusion.get((c, c), 0)
        predicted = sum(n for (p, _), n in confusion.items() if p == c)
        actual = sum(n for (_, t), n in confusion.items() if t == c)
        parts = {
            "predictive_parity": (right, predicted),
            "predictive_equality": (predicted - right, total - actual),
            "equal_opportunity": (right, actual),
            "statistical_parity": (predicted, total),
        }
        for name, (part, whole) in parts.items():
            if whole:
                found[name][c] = part / whole
    return found


def averaged(by_class: Mapping[str, float], weights: Mapping[str, int]) -> Values:
    """Return a metric of each class with its plain mean and the mean weighted by true rows."""
    total = sum(weights.values())
    return {
        "one_vs_all": sorted(by_class.items()),
        "macro": sum(by_class.values()) / len(by_class),
        "weighted": sum(by_class[c] * weights[c] for c in by_class) / total if total else None,
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


# Regression

_REGRESSION = (
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_average_error",
    "mean_absolute_percentage_error",
    "r2_score",
)


def regression_values(row: Mapping[str, Any]) -> Values:
    """Return the errors of a group from its sums: `n`, `squared`, `absolute`, `relative`, `var`.

    The percentage error is a share, 0.1 for ten percent. R2 is missing below two rows; for a label
    that does not vary it is 1 where every prediction is right and 0 else.
    """
    squared, variance = row["squared"], row["var"]
    r2 = None
    if row["n"] > 1:
        r2 = 1 - squared / variance if variance > 0 else float(squared == 0)
    return {
        "mean_squared_error": squared,
        "root_mean_squared_error": squared**0.5,
        "mean_average_error": row["absolute"],
        "mean_absolute_percentage_error": row["relative"],
        "r2_score": r2,
    }


# Statements


def confusion_select(classes: Classes, grouping_keys: Mapping[str, str], condition: str) -> str:
    """Return the SELECT for the confusion matrix of each group: `predicted`, `actual`, `n`."""
    keys = "".join(f"{sql} AS {key}, " for key, sql in grouping_keys.items())
    names = "".join(f"{key}, " for key in grouping_keys)
    where = f" WHERE ({condition})" if condition else ""
    return (
        f"SELECT {names}predicted, actual, count(*) AS n FROM (SELECT {keys}"
        f"{classes.prediction} AS predicted, {classes.label} AS actual FROM source{where}) AS r "
        f"WHERE predicted IS NOT NULL AND actual IS NOT NULL GROUP BY {names}predicted, actual"
    )


def probability_select(
    classes: Classes, spec: MonitorSpec, grouping_keys: Mapping[str, str], condition: str
) -> str:
    """Return the SELECT for what probabilities are worth: `loss` and `auc` of each group.

    The area under the ROC curve is the share of pairs of a positive and a negative row in which
    the positive one has the larger probability; pairs of equal ones count half.
    """
    keys = "".join(f"{sql} AS {key}, " for key, sql in grouping_keys.items())
    names = "".join(f"{key}, " for key in grouping_keys)
    over = f"PARTITION BY {', '.join(grouping_keys)} " if grouping_keys else ""
    where = f" WHERE ({condition})" if condition else ""
    p = f"CAST({quote(str(spec.prediction_proba_col))} AS DOUBLE)"
    likely = "CASE WHEN positive = 1 THEN p ELSE 1 - p END"
    loss = f"-ln(least(greatest({likely}, {EPSILON!r}), 1 - {EPSILON!r}))"
    return (
        f"SELECT {names}sum(loss) / sum(n) AS loss, "
        "sum(positives * (below + (n - positives) / 2)) "
        "/ (sum(positives) * sum(n - positives)) AS auc FROM ("
        f"SELECT {names}n, positives, loss, coalesce(sum(n - positives) OVER ({over}ORDER BY p "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS below FROM ("
        f"SELECT {names}p, CAST(count(*) AS DOUBLE) AS n, "
        f"CAST(sum(positive) AS DOUBLE) AS positives, sum({loss}) AS loss FROM ("
        f"SELECT {keys}{p} AS p, CASE WHEN {classes.positive(spec)} THEN 1 ELSE 0 END AS positive "
        f"FROM source WHERE {classes.label} IS NOT NULL AND {p} BETWEEN 0 AND 1"
        f"{where.replace(' WHERE ', ' AND ')}) AS r GROUP BY {names}p) AS counted) AS ranked"
        + (f" GROUP BY {', '.join(grouping_keys)}" if grouping_keys else "")
    )


def regression_select(spec: MonitorSpec, grouping_keys: Mapping[str, str], condition: str) -> str:
    """Return the SELECT for the sums that `regression_values` takes."""
    keys = "".join(f"{sql} AS {key}, " for key, sql in grouping_keys.items())
    names = "".join(f"{key}, " for key in grouping_keys)
    where = f" WHERE ({condition})" if condition else ""
    p, t = (f"CAST({quote(str(c))} AS DOUBLE)" for c in (spec.prediction_col, spec.label_col))
    return (
        f"SELECT {names}count(*) AS n, avg((p - t) * (p - t)) AS squared, "
        f"avg(abs(p - t)) AS absolute, avg(abs(p - t) / greatest(abs(t), {EPSILON!r})) "
        "AS relative, var_pop(t) AS var FROM ("
        f"SELECT {keys}{p} AS p, {t} AS t FROM source{where}) AS r "
        "WHERE abs(p) < 1e140 AND abs(t) < 1e140"
        + (f" GROUP BY {', '.join(grouping_keys)}" if grouping_keys else "")
    )
