"""Which rows a champion scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from lakeops_assets.components.scoring import ScoreSpec, score
from lakeops_assets.lakehouse import Lakehouse, TableName

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = TableName("dev", "shop", "features")
SPEC = ScoreSpec(TableName("dev", "shop", "scores"), FEATURES, ("k",))


class Doubling:
    """Scores a row with twice its feature."""

    columns = ("x",)

    def prediction_fields(self) -> list[pa.Field]:
        return [pa.field("prediction", pa.float64())]

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        doubled = [2.0 * x for x in batch.column("x").to_pylist()]
        return pa.RecordBatch.from_arrays([pa.array(doubled)], names=["prediction"])


@dataclass(frozen=True)
class Versions:
    """Versions of a model that all do the same."""

    name: str = "dev.shop.model"

    def load(self, version: int) -> Doubling:
        return Doubling()


def grown(lakehouse: Lakehouse, first: int, last: int) -> None:
    rows = pa.table({"k": list(range(first, last)), "x": [float(k) for k in range(first, last)]})
    lakehouse.create(FEATURES, rows.schema)
    lakehouse.append(FEATURES, rows)


def scored(lakehouse: Lakehouse, spec: ScoreSpec, version: int) -> int:
    registry: Any = Versions()
    return score(lakehouse, registry, spec, version, now=NOW).commit.inserted


def test_a_new_champion_scores_everything(lakehouse: Lakehouse) -> None:
    grown(lakehouse, 0, 10)
    assert scored(lakehouse, SPEC, 1) == 10
    grown(lakehouse, 10, 12)
    assert scored(lakehouse, SPEC, 2) == 12
    assert scored(lakehouse, SPEC, 2) == 0


def test_without_backfill_it_scores_what_comes(lakehouse: Lakehouse) -> None:
    spec = replace(SPEC, backfill=False)
    grown(lakehouse, 0, 10)
    assert scored(lakehouse, spec, 1) == 10
    # Nothing new, so the new champion has nothing to do.
    assert scored(lakehouse, spec, 2) == 0
    grown(lakehouse, 10, 12)
    assert scored(lakehouse, spec, 2) == 2
    grown(lakehouse, 12, 15)
    assert scored(lakehouse, spec, 2) == 3
    # What its predecessor scored up to is where the next one begins.
    grown(lakehouse, 15, 16)
    assert scored(lakehouse, spec, 3) == 1
    keys = lakehouse.read(SPEC.table, columns=["k"]).read_all()["k"].to_pylist()
    assert sorted(keys) == list(range(16))
