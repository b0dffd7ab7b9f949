"""Which assets are not up to date, judged by states and not by events.

An asset is stale when it was never made, when its code changed, when something it read has another
data version now than the one it recorded, when its table is not the one it recorded, or when one of
its blocking checks was not evaluated on it. A champion is stale too when a person approved or
reverted, or moved its alias. Nothing is
lost when a sensor was off, a code location was reloaded or a run was killed: the next look finds
the same difference. `lakeops run` and the refresh sensor ask the same question here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    get_input_data_version_tag,
)

from lakeops_assets.components.names import LAYER, LEDGER, ON_REQUEST, STATE, TABLE_NAME
from lakeops_assets.components.promotable import PROMOTABLE, Promotable
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.lakehouse import TableName


def stale_assets(
    graph: AssetGraph, instance: dg.DagsterInstance, lakeops: LakeopsResource
) -> dict[dg.AssetKey, str]:
    """Return the assets that are not up to date and why, upstream first.

    What is downstream of a stale asset is stale too. An asset that runs on request only is never.
    """
    keys = [k for k in graph.toposorted_asset_keys if is_kept_up_to_date(graph, k)]
    tags = _materialization_tags(instance, keys)
    stale: dict[dg.AssetKey, str] = {}
    for key in keys:
        reason = (
            _own_reason(graph, key, tags, lakeops)
            or _check_reason(graph, key, instance)
            or _upstream_reason(graph, key, stale)
        )
        if reason:
            stale[key] = reason
    return stale


def is_kept_up_to_date(graph: AssetGraph, key: dg.AssetKey) -> bool:
    """Return whether an asset is made when it is stale, and not on request only."""
    node = graph.get(key)
    return node.is_materializable and ON_REQUEST not in node.metadata


def with_downstream(graph: AssetGraph, keys: Iterable[dg.AssetKey]) -> set[dg.AssetKey]:
    """Return assets and everything that depends on them."""
    found: set[dg.AssetKey] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key not in found and graph.get(key).is_materializable:
            found.add(key)
            waiting.extend(graph.get(key).child_keys)
    return found


def input_versions(
    graph: AssetGraph, instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]
) -> dict[str, str]:
    """Return the present data versions of what some assets read; names the state for a run key."""
    parents = sorted({p for k in keys for p in graph.get(k).parent_keys})
    tags = _materialization_tags(instance, parents)
    return {p.to_user_string(): tags.get(p, {}).get(DATA_VERSION_TAG, "") for p in parents}


def _materialization_tags(
    instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]
) -> dict[dg.AssetKey, Mapping[str, str]]:
    tags: dict[dg.AssetKey, Mapping[str, str]] = {}
    for record in instance.get_asset_records(list(keys)):
        entry = record.asset_entry.last_materialization
        materialization = entry.asset_materialization if entry else None
        if materialization is not None:
            tags[record.asset_entry.asset_key] = materialization.tags or {}
    return tags


def _own_reason(
    graph: AssetGraph,
    key: dg.AssetKey,
    tags: Mapping[dg.AssetKey, Mapping[str, str]],
    lakeops: LakeopsResource,
) -> str:
    node = graph.get(key)
    recorded = tags.get(key)
    if recorded is None:
        return "never materialized" + _first_champion_reason(node.metadata, lakeops)
    if recorded.get(STATE) != lakeops.state_id():
        return "materialized in another state root"
    if node.code_version and recorded.get(CODE_VERSION_TAG) != node.code_version:
        return "its definition changed"
    for parent in sorted(node.parent_keys):
        if not graph.get(parent).is_materializable:
            continue  # landing files are looked at by the table that ingests them
        now = tags.get(parent, {}).get(DATA_VERSION_TAG)
        if now != recorded.get(get_input_data_version_tag(parent)):
            return f"{parent.to_user_string()} is newer"
    return _table_reason(node.metadata, recorded, lakeops) or _champion_reason(
        node.metadata, recorded, lakeops
    )


def _table_reason(
    metadata: Mapping[str, object], recorded: Mapping[str, str], lakeops: LakeopsResource
) -> str:
    if metadata.get(LAYER) not in ("bronze", "silver", "gold"):
        return ""
    table = TableName.parse(str(_plain(metadata[TABLE_NAME])))
    version = lakeops.lakehouse().data_version(table)
    if recorded.get(DATA_VERSION_TAG) == f"delta:{version}":
        return ""
    return "its table is missing" if version is None else "its table was written outside a run"


def _first_champion_reason(metadata: Mapping[str, object], lakeops: LakeopsResource) -> str:
    """What people decided about a first champion, so that it is asked for again after each time."""
    promotable = getattr(metadata.get(PROMOTABLE), "instance", None)
    if not isinstance(promotable, Promotable):
        return ""
    latest = promotable.latest(lakeops)
    return f"; {latest}" if latest else ""


def _champion_reason(
    metadata: Mapping[str, object], recorded: Mapping[str, str], lakeops: LakeopsResource
) -> str:
    """What people decided, or did by hand, since the champion was last looked at."""
    promotable = getattr(metadata.get(PROMOTABLE), "instance", None)
    if not isinstance(promotable, Promotable):
        return ""
    seen = int(recorded.get(LEDGER, "0"))
    if promotable.ledger(lakeops).head() != seen:  # from the log; rows are read when there are new
        news = promotable.news(lakeops, seen)
        if news:
            return news
    return promotable.by_hand(lakeops, recorded.get(DATA_VERSION_TAG, ""))


def _check_reason(graph: AssetGraph, key: dg.AssetKey, instance: dg.DagsterInstance) -> str:
    """A run that ended between an asset and its gates leaves no verdict; it has to be made up."""
    made = instance.get_latest_materialization_event(key)
    run_id = made.run_id if made else ""
    for check in sorted(graph.get(key).check_keys):
        if not graph.get(check).blocking:
            continue
        record = instance.get_latest_asset_check_evaluation_record(check)
        # Planned and never evaluated: the record of a run that was killed has no target.
        target = getattr(record.evaluation, "target_materialization_data", None) if record else None
        if target is None or target.run_id != run_id:
            return f"its check {check.name} was not evaluated"
    return ""


def _upstream_reason(graph: AssetGraph, key: dg.AssetKey, stale: Mapping[dg.AssetKey, str]) -> str:
    parents = [p for p in sorted(graph.get(key).parent_keys) if p in stale]
    return f"{parents[0].to_user_string()} is not up to date" if parents else ""


def _plain(value: object) -> object:
    return value.value if isinstance(value, dg.MetadataValue) else value
