"""How far the columns of a window drifted, in effect sizes that have a meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lakeops_assets.lakehouse import Lakehouse, TableAt
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring import statistics
from lakeops_assets.monitoring.drift import values
from lakeops_assets.monitoring.profile import TABLE_ROW
from lakeops_assets.monitoring.sketch import ALL_MODELS, FREQUENT_ITEMS
from lakeops_assets.monitoring.spec import MonitorSpec
from lakeops_assets.monitoring.windows import Window, named

if TYPE_CHECKING:
    import pyarrow as pa

Level: TypeAlias = Literal["moderate", "significant"]

# A window of few rows differs from anything: what chance alone exceeds once in a thousand columns
# is no finding.
CHANCE = 0.999


@dataclass(frozen=True)
class Thresholds:
    """From where on a drift is significant; from half of it on it is moderate.

    They are sizes, not p-values: with many rows every difference is significant, and nobody acts
    on most of them. With few rows a threshold is raised to what chance gives.

    Attributes:
        population_stability_index: For numbers. 0.2 is the common reading (Siddiqi, Credit Risk
            Scorecards, 2006), and Databricks'.
        js_distance: For strings and booleans: Jensen-Shannon distance, 0 to 1.
        wasserstein: For numbers: mean distance that a row has to move, in standard deviations of
            the baseline. It sees what moves within one bin of the PSI.
        percent_null: For every column: points by which the share of missing values changed.
    """

    population_stability_index: float = 0.2
    js_distance: float = 0.2
    wasserstein: float = 0.5
    percent_null: float = 10.0


@dataclass(frozen=True)
class DriftFinding:
    """A column that is unlike the baseline in a window.

    Attributes:
        column: Name of the column.
        statistic: Which effect size it is, of those that the column has the one that is largest
            for its threshold: `population_stability_index`, `js_distance`,
            `wasserstein_in_stddev` or `percent_null_delta`.
        value: Its value.
        threshold: What it had to reach for its level; larger than usual for few rows.
        level: How far it drifted.
    """

    column: str
    statistic: str
    value: float
    threshold: float
    level: Level

    @property
    def strength(self) -> tuple[bool, float]:
        """What findings are ordered by: the level, then how many times the threshold it is."""
        return self.level == "significant", abs(self.value) / self.threshold


def findings(
    profile: pa.Table, drift: pa.Table, thresholds: Thresholds
) -> dict[datetime, tuple[DriftFinding, ...]]:
    """Return the columns that drifted from the baseline in each window, the strongest first.

    Args:
        profile: Rows of the windows and of the baseline, whole table and all models: `start`,
            `log_type`, `column_name`, `count`, `num_nulls`, `num_nan`, `distinct_count`, `stddev`.
        drift: Rows of the same windows of drift type BASELINE, with `start`.
        thresholds: What is significant.
    """
    sizes: dict[tuple[datetime | None, str], dict[str, Any]] = {
        (row["start"], row["column_name"]): row for row in profile.to_pylist()
    }
    found: dict[datetime, list[DriftFinding]] = {}
    for row in drift.to_pylist():
        column, start = row["column_name"], row["start"]
        current, base = sizes.get((start, column)), sizes.get((None, column))
        there = found.setdefault(start, [])
        if column == TABLE_ROW or current is None or base is None:
            continue
        judged = [
            _judge(column, statistic, value, limit, chance)
            for statistic, value, limit, chance in _effects(row, current, base, thresholds)
        ]
        strongest = max(
            (f for f in judged if f is not None), key=lambda f: f.strength, default=None
        )
        if strongest is not None:
            there.append(strongest)
    return {
        start: tuple(sorted(there, key=lambda f: f.strength, reverse=True))
        for start, there in found.items()
    }


def read_findings(
    lakehouse: Lakehouse,
    profile: TableAt,
    drift: TableAt,
    spec: MonitorSpec,
    windows: Sequence[Window],
    thresholds: Thresholds,
) -> dict[datetime, tuple[DriftFinding, ...]]:
    """Return the findings of some windows of the metric tables."""
    whole = "slice_key IS NULL"
    if spec.model_id_col:
        whole += f" AND {quote(spec.model_id_col)} = '{ALL_MODELS}'"
    sizes = (
        "SELECT window.start AS start, log_type, column_name, count, num_nulls, num_nan, "
        f"distinct_count, stddev FROM profile WHERE {whole} "
        f"AND (log_type = 'BASELINE' OR {named(windows)})"
    )
    distances = (
        "SELECT window.start AS start, column_name, population_stability_index, js_distance, "
        "wasserstein_distance, percent_null_delta FROM drift "
        f"WHERE {whole} AND drift_type = 'BASELINE' AND ({named(windows)})"
    )
    return findings(
        lakehouse.query(sizes, {"profile": profile}).read_all(),
        lakehouse.query(distances, {"drift": drift}).read_all(),
        thresholds,
    )


def _effects(
    row: Mapping[str, Any],
    current: Mapping[str, Any],
    base: Mapping[str, Any],
    thresholds: Thresholds,
) -> list[tuple[str, float | None, float, float]]:
    """Return statistic, value, threshold and what chance gives, of each effect size."""
    rows = (current["count"], base["count"])
    found: list[tuple[str, float | None, float, float]] = []
    if rows[0] and rows[1]:
        pooled = (current["num_nulls"] + base["num_nulls"]) / sum(rows)
        chance = 100 * statistics.share_by_chance(pooled, *rows, CHANCE)
        found.append(
            ("percent_null_delta", row["percent_null_delta"], thresholds.percent_null, chance)
        )
    n = (values(dict(current)), values(dict(base)))
    if not (n[0] and n[1]):
        return found
    different = max(current["distinct_count"] or 0, base["distinct_count"] or 0)
    categories = min(different, FREQUENT_ITEMS + 1)  # one more for everything that is rare
    deviation, distance = base["stddev"], row["wasserstein_distance"]
    moved = distance / deviation if distance is not None and deviation else None
    return [
        *found,
        (
            "population_stability_index",
            row["population_stability_index"],
            thresholds.population_stability_index,
            statistics.psi_by_chance(*n, CHANCE),
        ),
        (
            "js_distance",
            row["js_distance"],
            thresholds.js_distance,
            statistics.js_by_chance(*n, categories, CHANCE),
        ),
        (
            "wasserstein_in_stddev",
            moved,
            thresholds.wasserstein,
            statistics.mean_by_chance(*n, CHANCE),
        ),
    ]


def _judge(
    column: str, statistic: str, value: float | None, significant: float, by_chance: float
) -> DriftFinding | None:
    if value is None:
        return None
    for level, threshold in (("significant", significant), ("moderate", significant / 2)):
        if abs(value) >= max(threshold, by_chance):
            return DriftFinding(
                column,
                statistic,
                value,
                max(threshold, by_chance),
                "significant" if level == "significant" else "moderate",
            )
    return None
