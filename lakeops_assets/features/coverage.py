"""How many entities have a fresh value of each feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lakeops_assets.features.spec import FeatureSpecError
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.statements import quote

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class CoverageSpec:
    """What counts as covered for one feature.

    A row is covered when its value is present, is a number where it should be one, and is fresh.

    Attributes:
        feature: Column.
        timestamp: Column with the day or time of the row; empty when age does not matter.
        within: Age up to which a row is fresh; None when age does not matter.
    """

    feature: str
    timestamp: str = ""
    within: timedelta | None = None

    def __post_init__(self) -> None:
        if self.within is not None and not self.timestamp:
            raise FeatureSpecError(
                f"coverage of {self.feature} asks for fresh rows and names no timestamp column"
            )


@dataclass(frozen=True)
class Coverage:
    """What was found.

    Attributes:
        rows: Entities of the table.
        shares: Feature -> share of the entities that are covered; empty without rows.
        as_of: Timestamp column -> time that age was measured from; None where it has no values.
    """

    rows: int
    shares: Mapping[str, float]
    as_of: Mapping[str, datetime | None] = field(default_factory=dict)


def measure_coverage(
    lakehouse: Lakehouse,
    table: TableName | str,
    specs: Sequence[CoverageSpec],
    *,
    version: int | None = None,
    now: datetime | None = None,
) -> Coverage:
    """Measure the coverage of features of a table in one pass over it.

    Args:
        lakehouse: Where the table is.
        table: Table with one row per entity.
        specs: One per feature.
        version: Delta version; the newest when None.
        now: Time that age is measured from. None for the newest timestamp of the table, so that
            the answer for a version is always the same.

    Raises:
        FeatureSpecError: A column does not exist, or two specs are about one feature.
    """
    schema = lakehouse.schema(table, version)
    _check(lakehouse.name(table), schema.names, specs)
    timestamps = list(dict.fromkeys(s.timestamp for s in specs if s.within is not None))
    clocks = [
        f"max(CAST({quote(name)} AS TIMESTAMP)) OVER () AS __newest_{i}"
        if now is None
        else f"CAST({_literal(now)} AS TIMESTAMP) AS __newest_{i}"
        for i, name in enumerate(timestamps)
    ]
    counts = [
        f"count_if({_covered(s, schema.field(s.feature).type, timestamps)}) AS __covered_{i}"
        for i, s in enumerate(specs)
    ]
    newest = [f"max(__newest_{i}) AS __newest_{i}" for i in range(len(timestamps))]
    of_version = "" if version is None else f" VERSION AS OF {version}"
    [found] = (
        lakehouse.query(
            f"SELECT {', '.join(['count(*) AS __rows', *newest, *counts])} "
            f"FROM (SELECT {', '.join(['*', *clocks])} FROM {lakehouse.name(table)}{of_version})"
        )
        .read_all()
        .to_pylist()
    )
    rows: int = found["__rows"]
    return Coverage(
        rows=rows,
        shares={s.feature: found[f"__covered_{i}"] / rows for i, s in enumerate(specs) if rows},
        as_of={name: _utc(found[f"__newest_{i}"]) for i, name in enumerate(timestamps)},
    )


def _check(table: TableName, columns: Sequence[str], specs: Sequence[CoverageSpec]) -> None:
    wanted = [s.feature for s in specs] + [s.timestamp for s in specs if s.timestamp]
    missing = [c for c in dict.fromkeys(wanted) if c not in columns]
    if missing:
        raise FeatureSpecError(
            f"coverage asks for the column {', '.join(missing)}, which {table} does not have; it "
            f"has: {', '.join(columns)}"
        )
    features = [s.feature for s in specs]
    twice = sorted({f for f in features if features.count(f) > 1})
    if twice:
        raise FeatureSpecError(f"coverage of {', '.join(twice)} in {table} is declared twice")


def _covered(spec: CoverageSpec, kind: Any, timestamps: Sequence[str]) -> str:
    """Return the condition that is true for a covered row; NULL counts as false."""
    import pyarrow as pa

    column = quote(spec.feature)
    conditions = [f"{column} IS NOT NULL"]
    if pa.types.is_floating(kind):
        conditions.append(f"NOT isnan({column})")
    if spec.within is not None:
        # Both ends: a row from after the clock is not fresh but wrong.
        age = (
            f"unix_micros(__newest_{timestamps.index(spec.timestamp)}) - "
            f"unix_micros(CAST({quote(spec.timestamp)} AS TIMESTAMP))"
        )
        conditions.append(f"{age} BETWEEN 0 AND {spec.within // _MICROSECOND}")
    return " AND ".join(conditions)


def _literal(now: datetime) -> str:
    return f"'{now.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}'"


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
