"""The labelled rows of a feature table as a model is trained and measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableName
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.models.split import HELD_OUT, split_condition

if TYPE_CHECKING:
    import pandas as pd

    from lakeops_assets.models.spec import ModelSpec


def read_rows(
    lakehouse: Lakehouse, spec: ModelSpec, features: TableName, version: int
) -> pd.DataFrame:
    """Return the labelled rows of a version, with a column that tells which are held out.

    They are in the order of their keys: a bootstrap draws rows by their place, and tables have no
    order of their own.

    Raises:
        LakehouseError: Label or key is not a column, or the version cannot be read.
    """
    columns = lakehouse.schema(features, version).names
    missing = [c for c in (spec.label, *spec.primary_key) if c not in columns]
    if missing:
        raise LakehouseError(
            f"{features} has no column {', '.join(missing)}, which the model needs; it has: "
            f"{', '.join(columns)}"
        )
    statement = (
        f"SELECT *, {split_condition(spec)} AS {HELD_OUT} "
        f"FROM {features} VERSION AS OF {version} WHERE {quote(spec.label)} IS NOT NULL "
        f"ORDER BY {', '.join(quote(k) for k in spec.primary_key)}"
    )
    return lakehouse.query(statement).read_all().to_pandas()
