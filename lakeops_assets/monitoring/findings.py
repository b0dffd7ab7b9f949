"""The columns that drifted most: what to look at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lakeops_assets.lakehouse import Lakehouse, TableAt
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring import statistics
from lakeops_assets.monitoring.drift import values
from lakeops_assets.monitoring.profile import TABLE_ROW
from lakeops_assets.monitoring.sketch import ALL_MODELS, FREQUENT_ITEMS
from lakeops_assets.monitoring.spec import MonitorSpec

if TYPE_CHECKING:
    import pyarrow as pa

Level: TypeAlias = Literal["moderate", "significant"]

# Databricks' reading of the PSI. The Jensen-Shannon distance (base 2) has no reading that is as
# common; NannyML alerts from 0.1.
MODERATE = 0.1
SIGNIFICANT = 0.2
# A window of few rows differs from anything: what chance alone exceeds once in a thousand columns
# is no finding.
CHANCE = 0.999


@dataclass(frozen=True)
class DriftFinding:
    """A column whose newest window is unlike the baseline.

    Attributes:
        column: Name of the column.
        statistic: Column of the drift table: `population_stability_index` for numbers,
            `js_distance` for strings and booleans.
        value: Its value.
        threshold: What it had to reach for its level; larger than usual for few rows.
        level: How far it drifted.
    """

    column: str
    statistic: str
    value: float
    threshold: float
    level: Level


def findings(profile: pa.Table, drift: pa.Table) -> tuple[DriftFinding, ...]:
    """Return the columns that drifted, the largest effect first.

    Effect sizes decide, not p-values: with many rows every difference is significant. With few
    rows the threshold is raised to what chance gives.

    Args:
        profile: Rows of the newest window and of the baseline, whole table and all models:
            `log_type`, `column_name`, `count`, `num_nulls`, `num_nan`, `distinct_count`.
        drift: Rows of the same window of drift type BASELINE.
    """
    sizes: dict[str, dict[str, dict[str, Any]]] = {"INPUT": {}, "BASELINE": {}}
    for row in profile.to_pylist():
        if row["column_name"] != TABLE_ROW:
            sizes[row["log_type"]][row["column_name"]] = row
    found = []
    for row in drift.to_pylist():
        column = row["column_name"]
        current, base = sizes["INPUT"].get(column), sizes["BASELINE"].get(column)
        if current is None or base is None or not (values(current) and values(base)):
            continue
        n = (values(current), values(base))
        different = max(current["distinct_count"] or 0, base["distinct_count"] or 0)
        categories = min(different, FREQUENT_ITEMS + 1)  # one more for everything that is rare
        chance = {
            "population_stability_index": statistics.psi_by_chance(*n, CHANCE),
            "js_distance": statistics.js_by_chance(*n, categories, CHANCE),
        }
        for statistic, by_chance in chance.items():
            finding = _judge(column, statistic, row[statistic], by_chance)
            if finding is not None:
                found.append(finding)
    return tuple(sorted(found, key=lambda f: (-f.value, f.column)))


def newest_findings(
    profile: TableAt, drift: TableAt, spec: MonitorSpec, lakehouse: Lakehouse
) -> tuple[DriftFinding, ...]:
    """Return the findings of the newest window of the spec's first granularity.

    Args:
        profile: Profile table.
        drift: Drift table made of it.
        spec: What was monitored.
        lakehouse: What reads them.
    """
    whole = "slice_key IS NULL"
    if spec.model_id_col:
        whole += f" AND {quote(spec.model_id_col)} = '{ALL_MODELS}'"
    first = f"granularity = '{spec.granularities[0]}'" if spec.granularities else "true"
    newest = f"SELECT max(window.start) FROM profile WHERE log_type = 'INPUT' AND {first}"
    current = f"{first} AND window.start = ({newest})"
    sizes = (
        "SELECT log_type, column_name, count, num_nulls, num_nan, distinct_count FROM profile "
        f"WHERE {whole} AND (log_type = 'BASELINE' OR ({current}))"
    )
    distances = (
        "SELECT column_name, population_stability_index, js_distance FROM drift "
        f"WHERE {whole} AND drift_type = 'BASELINE' AND {current}"
    )
    inputs = {"profile": profile, "drift": drift}
    return findings(
        lakehouse.query(sizes, inputs).read_all(), lakehouse.query(distances, inputs).read_all()
    )


def _judge(
    column: str, statistic: str, value: float | None, by_chance: float
) -> DriftFinding | None:
    if value is None:
        return None
    if value >= max(SIGNIFICANT, by_chance):
        return DriftFinding(column, statistic, value, max(SIGNIFICANT, by_chance), "significant")
    if value >= max(MODERATE, by_chance):
        return DriftFinding(column, statistic, value, max(MODERATE, by_chance), "moderate")
    return None
