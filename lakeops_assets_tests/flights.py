"""Some days of the flights as bronze tables, and the product's definition."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from lakeops_assets.components import PointInTimeFeatures
from lakeops_assets.features.point_in_time import PointInTimeSpec
from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.samples import flights

PRODUCT = Path(flights.__file__).parents[1] / "defs" / "flight_delay" / "defs.yaml"
INSTANTS = ("known_at", "scheduled_departure", "scheduled_arrival", "observed_at")


def spec() -> PointInTimeSpec:
    """Return the features that the product declares."""
    documents = yaml.safe_load_all(PRODUCT.read_text())
    declared = next(d for d in documents if d["type"].endswith("PointInTimeFeatures"))
    component = PointInTimeFeatures(**declared["attributes"])
    return component.point_in_time_spec("flight_delay", "dev")


def tables() -> dict[str, tuple[Any, Any]]:
    """Return rows and the day each arrives, by table."""
    frames = flights.load()
    return {d.table: d.rows(frames) for d in flights.FLIGHTS.deliveries}


def arrive(
    lakehouse: Lakehouse, rows: dict[str, tuple[Any, Any]], first: date, last: date
) -> dict[str, pa.Table]:
    """Append what arrived between two days to the bronze tables."""
    import pandas as pd

    arrived = {}
    for table, (frame, days) in rows.items():
        some = frame[((days >= first) & (days <= last)).to_numpy()]
        times = {c: pd.to_datetime(some[c], utc=True) for c in INSTANTS if c in some}
        if "local_date" in some:
            times["local_date"] = pd.to_datetime(some["local_date"]).dt.date
        arrived[table] = pa.Table.from_pandas(some.assign(**times), preserve_index=False)
        name = f"flight_delay.{table}"
        lakehouse.create(name, micros(arrived[table].schema))
        lakehouse.append(name, arrived[table].cast(micros(arrived[table].schema)))
    return arrived


def micros(schema: pa.Schema) -> pa.Schema:
    """Return a schema with the instants and texts that Delta has."""
    kinds = {f.name: f.type for f in schema}
    for name, kind in kinds.items():
        if pa.types.is_timestamp(kind):
            kinds[name] = pa.timestamp("us", "UTC")
        elif pa.types.is_large_string(kind):
            kinds[name] = pa.string()
    return pa.schema(list(kinds.items()))
