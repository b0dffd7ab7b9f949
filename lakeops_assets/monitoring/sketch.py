"""What is kept of a column: small, and enough for every drift statistic.

A sketch replaces the rows it was made of. Two of them are compared without reading data again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lakeops_assets.monitoring.columns import Column

# Values of a categorical column that are kept with their counts.
FREQUENT_ITEMS = 100
# Model id that stands for all models together.
ALL_MODELS = "*"


@dataclass(frozen=True)
class Group:
    """Which rows of a table a sketch was made of.

    Attributes:
        granularity: Length of the window; None for a baseline and for a snapshot.
        start: Start of the window in UTC; None for a baseline.
        end: End of the window, exclusive; equal to `start` for a snapshot.
        slice_key: Slicing expression; None for all rows.
        slice_value: Value of the expression, as text.
        model_id: Model that predicted, `*` for all of them; None where there are no models.
    """

    granularity: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    slice_key: str | None = None
    slice_value: str | None = None
    model_id: str | None = None


@dataclass(frozen=True)
class Sketch:
    """Summary of one column over the rows of a group.

    What a kind of column does not have is None. Numbers that are not finite, or too large for
    their variance to be (1e140), are counted in `nan` and in no other statistic. Moments are in the
    column's unit; those of dates and timestamps are epoch seconds; lengths are in characters.

    Attributes:
        column: The column.
        count: Rows, including those without a value.
        nulls: Rows without a value.
        nan: Numbers that are not finite.
        zeros: Numbers equal to zero.
        distinct: Different values, exact for strings and estimated for numbers.
        avg: Mean.
        stddev: Sample standard deviation; None below two values.
        min: Smallest value.
        max: Largest value.
        median: Value with at least half of the values at or below it.
        quantiles: k values, of which each stands for 1/k of the rows: value i (from 0) is the
            smallest with at least a share of (i + 1/2) / k at or below it. An empirical
            distribution that is rebuilt from them is wrong by at most 1/(2k) anywhere.
        items: The most frequent values with their counts, most frequent first.
        min_length: Length of the shortest text.
        max_length: Length of the longest text.
        avg_length: Mean length.
        custom: Custom aggregates of the column: name -> value.
    """

    column: Column
    count: int
    nulls: int
    nan: int | None = None
    zeros: int | None = None
    distinct: int | None = None
    avg: float | None = None
    stddev: float | None = None
    min: float | None = None
    max: float | None = None
    median: float | None = None
    quantiles: Sequence[float] | None = None
    items: tuple[tuple[str, int], ...] | None = None
    min_length: float | None = None
    max_length: float | None = None
    avg_length: float | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)

    @property
    def present(self) -> int:
        """Values that the statistics were made of."""
        return self.count - self.nulls - (self.nan or 0)


@dataclass(frozen=True)
class GroupSketch:
    """Sketches of all columns over the rows of one group.

    Attributes:
        group: Which rows.
        count: How many they are.
        columns: One sketch per column.
        metrics: What is said of the whole: quality, estimates and custom aggregates, by name.
    """

    group: Group
    count: int
    columns: tuple[Sketch, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def non_null_columns(self) -> list[str]:
        """Names of the columns that have a value in some row."""
        return [s.column.name for s in self.columns if s.nulls < s.count]
