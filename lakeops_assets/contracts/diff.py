"""What changed between two versions of a contract, and what of it can hurt a consumer.

A consumer relies on what is promised: a change is breaking when data that the old contract did not
allow may come, or when a query of the old contract may fail. What cannot be judged is breaking.
The verdicts are in docs/contract-changes.md, one row per kind of change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lakeops_assets.contracts.diff_columns import column_changes
from lakeops_assets.contracts.diff_parts import (
    described_changes,
    match_up,
    plain,
    reference_changes,
)
from lakeops_assets.contracts.diff_quality import (
    paired,
    quality_changes,
    severity_changes,
    severity_of,
    sla_changes,
)
from lakeops_assets.contracts.diff_rules import Change, change

if TYPE_CHECKING:
    from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject

ACTIVE, PROMISING = "active", ("active", "deprecated")
DOCUMENTATION = (
    *("name", "tenant", "domain", "dataProduct", "description", "authoritativeDefinitions"),
    *("context", "contractCreatedTs", "apiVersion", "slaDefaultElement"),
)


def diff(
    before: OpenDataContractStandard | None, after: OpenDataContractStandard | None
) -> tuple[Change, ...]:
    """Return what changed from one version of a contract to the next, in the order of the document.

    Args:
        before: The contract that consumers know; None when there was none.
        after: The contract that is to take its place; None when it is deleted.
    """
    if before is None or after is None:
        known = before or after
        if known is None:
            return ()
        kind = "contract_added" if before is None else "contract_removed"
        return (change(kind, known.id or known.name or "", _version(before), _version(after)),)
    tables = match_up(before.schema_ or [], after.schema_ or [])
    changes = [
        *_identity_changes(before, after),
        *_terms_changes(before, after),
        *(c for old, new in tables for c in _table_changes(old, new)),
        *sla_changes(before.slaProperties or [], after.slaProperties or []),
    ]
    return (*_version_changes(before, after, changes), *changes)


def is_major(changes: Sequence[Change]) -> bool:
    """Return whether breaking changes were announced by a higher major version."""
    kinds = {c.kind for c in changes}
    return not kinds & {"major_version_missing", "version_lowered", "contract_removed"}


# The contract


def _version_changes(
    before: OpenDataContractStandard, after: OpenDataContractStandard, changes: Sequence[Change]
) -> Iterator[Change]:
    old, new = _numbers(before.version), _numbers(after.version)
    versions = ("version", before.version, after.version)
    if old and new and new < old:
        yield change("version_lowered", *versions)
    elif any(c.breaking for c in changes):
        # While the major version is 0, the minor version takes its place (semver.org, item 4).
        places = 2 if old and old[0] == 0 else 1
        raised = old is not None and new is not None and new[:places] > old[:places]
        yield change("version_changed" if raised else "major_version_missing", *versions)
    elif before.version != after.version:
        yield change("version_changed", *versions)
    elif changes:
        yield change("version_not_raised", *versions)


def _numbers(version: str | None) -> tuple[int, ...] | None:
    match = re.match(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", version or "")
    return tuple(int(n or 0) for n in match.groups()) if match else None


def _version(contract: OpenDataContractStandard | None) -> str | None:
    return contract.version if contract else None


def _identity_changes(
    before: OpenDataContractStandard, after: OpenDataContractStandard
) -> Iterator[Change]:
    if before.id != after.id:
        yield change("contract_id_changed", "id", before.id, after.id)
    if before.status != after.status:
        kind = "status_changed"
        if before.status in PROMISING and after.status not in PROMISING:
            kind = "contract_withdrawn"
        elif before.status == ACTIVE and after.status == "deprecated":
            kind = "contract_deprecated"
        yield change(kind, "status", before.status, after.status)
    for field in DOCUMENTATION:
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            yield change("description_changed", field, plain(old), plain(new))
    if before.tags != after.tags:
        yield change("tags_changed", "tags", before.tags, after.tags)
    if before.customProperties != after.customProperties:
        yield change(
            "custom_property_changed",
            "customProperties",
            plain(before.customProperties),
            plain(after.customProperties),
        )


def _terms_changes(
    before: OpenDataContractStandard, after: OpenDataContractStandard
) -> Iterator[Change]:
    for field, kind in (
        ("team", "owner_changed"),
        ("support", "support_changed"),
        ("price", "price_changed"),
    ):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            yield change(kind, field, plain(old), plain(new))
    for field, noun, words in (
        ("servers", "server", ("description", "roles", "customProperties")),
        ("roles", "role", ("description", "customProperties", "id")),
    ):
        olds, news = getattr(before, field) or [], getattr(after, field) or []
        for name, old, new in paired(olds, news, partial(_named, noun)):
            path = f"{field}.{name}"
            if old is None or new is None:
                kind = f"{noun}_added" if old is None else f"{noun}_removed"
                yield change(kind, path, plain(old), plain(new))
            elif _without(old, words) != _without(new, words):
                yield change(f"{noun}_changed", path, plain(old), plain(new))
            elif old != new:
                yield change("description_changed", path, plain(old), plain(new))


def _named(field: str, item: Any) -> str:
    return str(getattr(item, field) or item.id)


def _without(item: Any, words: Sequence[str]) -> dict[str, Any]:
    return item.model_dump(exclude=set(words), exclude_none=True)


# Tables


def _table_changes(before: SchemaObject | None, after: SchemaObject | None) -> Iterator[Change]:
    if before is None or after is None:
        path = str((before or after).name)  # type: ignore[union-attr]
        yield change("table_added" if before is None else "table_removed", path)
        return
    path = str(after.name)
    old_name, new_name = (t.physicalName or t.name for t in (before, after))
    if old_name != new_name:
        yield change("table_renamed", path, old_name, new_name)
    if before.dataGranularityDescription != after.dataGranularityDescription:
        yield change(
            "granularity_changed",
            f"{path}.dataGranularityDescription",
            before.dataGranularityDescription,
            after.dataGranularityDescription,
        )
    for field in ("physicalType", "logicalType"):  # table, view ...: all are read by name
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            yield change("description_changed", f"{path}.{field}", old, new)
    yield from described_changes(path, before, after)
    yield from severity_changes(path, "table", severity_of(before), severity_of(after))
    yield from quality_changes(path, "table", before.quality or [], after.quality or [])
    yield from reference_changes(path, before, after)
    yield from column_changes(path, before.properties or [], after.properties or [])
