"""The lineage of a monitored table, as the graph declares it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph

from lakeops_assets.components.names import TABLE_NAME
from lakeops_assets.features import FeatureSpec
from lakeops_assets.features.lineage import Origins, point_in_time_origins, sql_origins
from lakeops_assets.features.point_in_time import PointInTimeSpec
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.monitoring.triage import Lineage, Origin, TracedTable
from lakeops_assets.monitoring.triage.partitions import PROVENANCE

# Metadata of an asset: what its columns are made of, for whoever walks upstream.
TRACED = "lakeops/traced"
INGESTED_AT = "_ingested_at"


@dataclass(frozen=True)
class ScoredTable:
    """A table of scores: each prediction is made of all features.

    Attributes:
        features: Table that is scored.
        carry: Columns that are repeated from it.
        primary_key: Columns that identify a row.
        model_name: Name of the model within its product.
    """

    features: TableName
    carry: tuple[str, ...]
    primary_key: tuple[str, ...]
    model_name: str = "model"


def graph_of(context: dg.AssetExecutionContext) -> AssetGraph:
    """Return the graph of the job of a running asset, also when only a part of it runs.

    A run that `lakeops` starts has no repository to ask.
    """
    job = context.job_def
    selected = job.asset_selection_data
    return (selected.parent_job_def if selected else job).asset_layer.asset_graph


def lineage_of(
    graph: AssetGraph, lakehouse: Lakehouse, table: TableName, *, ignored: Sequence[str] = ()
) -> Lineage:
    """Return a table with everything that it is made of, as the graph declares it.

    Tables that are not there yet are left out.

    Args:
        graph: The graph.
        lakehouse: Where the tables are.
        table: Table to start from.
        ignored: Columns of it that say nothing when they move, such as labels that are late.
    """
    named = _tables(graph)
    key = next(k for k, name in named.items() if name == table)
    wanted = {key, *_ancestors(graph, key)}
    order = [k for k in graph.toposorted_asset_keys if k in wanted and k in named]
    declared = {named[k]: traced for k in order if (traced := _declared(graph, k)) is not None}
    times = _known_times(lakehouse, declared)
    tables = []
    for name in (named[k] for k in order):
        if not lakehouse.exists(name):
            continue
        definition = declared.get(name)
        columns = lakehouse.schema(name).names
        origins = _origins(lakehouse, definition, columns)
        tables.append(
            TracedTable(
                name,
                times.get(name) or _time(lakehouse, name),
                {c: _resolved(lakehouse, found) for c, found in origins.items()},
                (*_keys(definition), *(ignored if name == table else ())),
            )
        )
    return Lineage(tuple(tables))


def scored_before(graph: AssetGraph, table: TableName) -> ScoredTable | None:
    """Return the table of scores that a table is or is made of; None without one."""
    named = _tables(graph)
    key = next(k for k, name in named.items() if name == table)
    wanted = {key, *_ancestors(graph, key)}
    for k in reversed(graph.toposorted_asset_keys):
        if k in wanted and isinstance(found := _declared(graph, k), ScoredTable):
            return found
    return None


def _tables(graph: AssetGraph) -> dict[dg.AssetKey, TableName]:
    found = {}
    for key in graph.materializable_asset_keys:
        name = graph.get(key).metadata.get(TABLE_NAME)
        if name is not None:
            found[key] = TableName.parse(str(getattr(name, "value", name)))
    return found


def _ancestors(graph: AssetGraph, key: dg.AssetKey) -> set[dg.AssetKey]:
    found: set[dg.AssetKey] = set()
    left = [key]
    while left:
        for parent in graph.get(left.pop()).parent_keys:
            if parent not in found:
                found.add(parent)
                left.append(parent)
    return found


def _declared(graph: AssetGraph, key: dg.AssetKey) -> Any:
    return getattr(graph.get(key).metadata.get(TRACED), "instance", None)


def _origins(lakehouse: Lakehouse, definition: Any, columns: Sequence[str]) -> Origins:
    if isinstance(definition, PointInTimeSpec):
        return point_in_time_origins(definition)
    if isinstance(definition, FeatureSpec):
        inputs = [n for n in definition.inputs if lakehouse.exists(lakehouse.name(n))]
        return sql_origins(definition, {n: lakehouse.schema(n).names for n in inputs})
    if isinstance(definition, ScoredTable):
        features = str(definition.features)
        every = tuple((features, c) for c in lakehouse.schema(definition.features).names)
        repeated = {*definition.carry, *definition.primary_key}
        own = {c: ((features, c), (features, None)) for c in columns if c in repeated}
        return {c: own.get(c, (*every, (features, None))) for c in columns}
    return {}


def _resolved(
    lakehouse: Lakehouse, origins: Sequence[tuple[str, str | None]]
) -> tuple[Origin, ...]:
    return tuple(Origin(lakehouse.name(table), column) for table, column in origins)


def _keys(definition: Any) -> tuple[str, ...]:
    key = tuple(getattr(definition, "primary_key", ()))
    if isinstance(definition, ScoredTable):
        return (*key, "model_version", "features_version", "scored_at")
    return key


def _known_times(lakehouse: Lakehouse, declared: Mapping[TableName, Any]) -> dict[TableName, str]:
    """Return the times that definitions say: of rows, and from when events are known."""
    found: dict[TableName, str] = {}
    for table, definition in declared.items():
        if isinstance(definition, PointInTimeSpec):
            found[table] = definition.timestamp
            for events in definition.events:
                found.setdefault(lakehouse.name(events.table), events.known_at)
            found.setdefault(lakehouse.name(definition.rows), definition.timestamp)
    return found


def _time(lakehouse: Lakehouse, table: TableName) -> str | None:
    """Return the first time of a table; when its rows were ingested where they have none."""
    import pyarrow.types as is_

    schema = lakehouse.schema(table)
    times = [f.name for f in schema if is_.is_timestamp(f.type) or is_.is_date(f.type)]
    own = [name for name in times if not name.startswith(PROVENANCE)]
    return next(iter(own), INGESTED_AT if INGESTED_AT in schema.names else None)
