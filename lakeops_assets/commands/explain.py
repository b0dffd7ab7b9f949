"""`lakeops explain`: the source rows that a feature row has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lakeops_assets.components.names import asset_key
from lakeops_assets.components.point_in_time_features import POINT_IN_TIME
from lakeops_assets.definitions import defs as build_definitions
from lakeops_assets.features.point_in_time import (
    Explanation,
    PointInTimeError,
    PointInTimeSpec,
    decode,
    explain,
)
from lakeops_assets.lakehouse import open_lakehouse
from lakeops_assets.settings import Settings


def explained(table: str, key: Sequence[str], settings: Settings) -> Explanation:
    """Return a row of a table of point-in-time features and what it was made from.

    Args:
        table: The table, `<product>.<table>`; the table `features` when it says a product alone.
        key: `column=value` of each column of the primary key.
        settings: Where the tables are.

    Raises:
        PointInTimeError: There is no such table or row.
    """
    return explain(open_lakehouse(settings), _spec(table), _parsed(key))


def _spec(table: str) -> PointInTimeSpec:
    graph = build_definitions().resolve_asset_graph()
    there = {
        k: graph.get(k).metadata[POINT_IN_TIME]
        for k in graph.materializable_asset_keys
        if POINT_IN_TIME in graph.get(k).metadata
    }
    wanted = asset_key("features" if "." not in table else table, table)
    if wanted not in there:
        names = ", ".join(sorted(".".join(k.path) for k in there)) or "none"
        raise PointInTimeError(
            f"{'.'.join(wanted.path)} is no table of point-in-time features; there are: {names}"
        )
    plain = getattr(there[wanted], "value", there[wanted])
    return decode(plain)


def _parsed(key: Sequence[str]) -> Mapping[str, str]:
    parts = [k.partition("=") for k in key]
    if any(not sign for _, sign, _ in parts):
        raise PointInTimeError(f"write a key as column=value, not {' '.join(key)}")
    return {column: value for column, _, value in parts}
