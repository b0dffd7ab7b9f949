"""What an asset found, sent from the machine that made it to the one that asked.

Pipes carries metadata, data versions and checks by itself, but no tags, and tags are how a later
run tells which state root a materialization belongs to. So the events travel whole, in the form
that Dagster stores them in, as one custom message of Pipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg
from dagster._core.definitions.data_version import (
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
)
from dagster_shared.serdes import deserialize_value, serialize_value

Event: TypeAlias = dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.AssetObservation
Result: TypeAlias = "dg.MaterializeResult[Any] | dg.AssetCheckResult | dg.AssetObservation"

_FORMAT = "lakeops/events/1"


@dataclass(frozen=True)
class Remote:
    """What came back.

    Attributes:
        events: Materializations, observations and check results, in their order.
        rows_written: Rows that were inserted, updated or deleted there.
    """

    events: tuple[Event, ...]
    rows_written: int


def message(events: Iterable[dg.DagsterEvent], rows_written: int) -> dict[str, Any]:
    """Return the message that carries the events of a run of one asset."""
    kept = [event for event in map(_payload, events) if event is not None]
    return {
        "format": _FORMAT,
        "events": [serialize_value(event) for event in kept],
        "rows_written": rows_written,
    }


def read(messages: Sequence[Any]) -> Remote | None:
    """Return what the messages of a run carry; None when none of them is ours."""
    found = next(
        (m for m in messages if isinstance(m, Mapping) and m.get("format") == _FORMAT), None
    )
    if found is None:
        return None
    return Remote(tuple(map(_event, found["events"])), int(found["rows_written"]))


def results(remote: Remote) -> Iterator[Result]:
    """Return what an asset body yields for what happened elsewhere."""
    for event in remote.events:
        if isinstance(event, dg.AssetMaterialization):
            yield _materialized(event)
        elif isinstance(event, dg.AssetObservation):
            yield event
        else:
            yield dg.AssetCheckResult(
                asset_key=event.asset_key,
                check_name=event.check_name,
                passed=event.passed,
                severity=event.severity,
                description=event.description,
                metadata=event.metadata,
            )


def _event(text: str) -> Event:
    value: object = deserialize_value(text)
    if isinstance(value, dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.AssetObservation):
        return value
    raise TypeError(f"a job sent back a {type(value).__name__}, which no asset finds")


def _payload(event: dg.DagsterEvent) -> Event | None:
    if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
        return event.step_materialization_data.materialization
    if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION:
        return event.asset_observation_data.asset_observation
    if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return event.asset_check_evaluation_data
    return None


def _materialized(event: dg.AssetMaterialization) -> dg.MaterializeResult[Any]:
    tags = dict(event.tags or {})
    # A version that Dagster made up of what it remembers there means nothing here.
    version = tags.get(DATA_VERSION_TAG) if DATA_VERSION_IS_USER_PROVIDED_TAG in tags else None
    return dg.MaterializeResult(
        asset_key=event.asset_key,
        metadata=event.metadata,
        data_version=None if version is None else dg.DataVersion(version),
        tags={k: v for k, v in tags.items() if not k.startswith("dagster/")},
    )
