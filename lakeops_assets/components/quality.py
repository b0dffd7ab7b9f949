"""Contracts of the tables that a model was trained on, as gates and as evidence."""

from __future__ import annotations

from lakeops_assets.features import inputs_of
from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableName
from lakeops_assets.promotion import QualityEvidence


def trained_on(lakehouse: Lakehouse, table: TableName, features: TableName, version: int) -> int:
    """Return the version of a table that a version of the feature table was computed from.

    Raises:
        LakehouseError: The feature table did not record it.
    """
    if table == features:
        return version
    inputs = inputs_of(lakehouse, features, version)
    if str(table) not in inputs:
        there = ", ".join(inputs) or "none"
        raise LakehouseError(
            f"version {version} of {features} was not computed from {table}; its inputs: {there}"
        )
    return inputs[str(table)]


def quality_evidence(
    lakehouse: Lakehouse, table: str, features: TableName, data_version: int
) -> QualityEvidence | None:
    """Return what stands about the contract of a table that a model was trained on.

    Args:
        lakehouse: Where the tables are.
        table: `<schema>.<table>`: the feature table, or one that it is computed from.
        features: Feature table.
        data_version: Its version that the model was trained on.
    """
    name = lakehouse.name(table)
    trained_on(lakehouse, name, features, data_version)
    return None
