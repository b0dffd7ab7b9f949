"""What tables and columns of a contract have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lakeops_assets.contracts.diff_quality import paired, severity_changes, severity_of
from lakeops_assets.contracts.diff_rules import Change, change

if TYPE_CHECKING:
    from open_data_contract_standard.model import Relationship, SchemaObject, SchemaProperty

    Described: TypeAlias = SchemaObject | SchemaProperty

Part = TypeVar("Part", "SchemaObject", "SchemaProperty")

# Fields for people and tools.
WORDS = (
    *("description", "businessName", "synonyms", "authoritativeDefinitions", "examples"),
    *("transformDescription", "criticalDataElement", "encryptedName", "context"),
)


def match_up(
    before: Sequence[Part], after: Sequence[Part]
) -> Iterator[tuple[Part | None, Part | None]]:
    """Return tables or columns that belong together: by id where both have one, else by name."""
    by_id = {n.id: n for n in after if n.id}
    partner = {id(o): by_id[o.id] for o in before if o.id in by_id}
    taken = {id(n) for n in partner.values()}
    by_name = {n.name: n for n in after if id(n) not in taken}
    for old in before:
        if id(old) not in partner and old.name in by_name:
            partner[id(old)] = by_name[old.name]
        yield old, partner.get(id(old))
    taken = {id(n) for n in partner.values()}
    yield from ((None, new) for new in after if id(new) not in taken)


def described_changes(path: str, before: Described, after: Described) -> Iterator[Change]:
    """Return what changed in the words for people, tags and custom properties."""
    if bool(before.deprecated) != bool(after.deprecated):
        kind = "deprecated" if after.deprecated else "description_changed"
        yield change(kind, f"{path}.deprecated", before.deprecated, after.deprecated)
    for field in WORDS:
        old, new = getattr(before, field, None), getattr(after, field, None)
        if old != new:
            yield change("description_changed", f"{path}.{field}", plain(old), plain(new))
    if before.tags != after.tags:
        yield change("tags_changed", f"{path}.tags", before.tags, after.tags)
    old_own, new_own = _custom(before), _custom(after)
    for name in dict.fromkeys((*old_own, *new_own)):
        if old_own.get(name) != new_own.get(name):
            at = f"{path}.customProperties.{name}"
            yield change("custom_property_changed", at, old_own.get(name), new_own.get(name))


def _custom(part: Described) -> dict[str | None, Any]:
    """Return custom properties but the severity, which has rules of its own."""
    found = {p.property: p.value for p in part.customProperties or []}
    return {name: value for name, value in found.items() if (name or "").lower() != "severity"}


def reference_changes(path: str, before: Described, after: Described) -> Iterator[Change]:
    """Return references to other tables that came or went; one that moved did both."""
    for name, old, new in paired(before.relationships or [], after.relationships or [], _target):
        if old is None or new is None:
            kind = "reference_added" if old is None else "reference_removed"
            target = name if old is None else None
            yield change(kind, f"{path}.relationships", name if old else None, target)
        else:
            at = f"{path}.relationships.{name}"
            yield from severity_changes(at, "column", severity_of(old), severity_of(new))


def _target(reference: Relationship) -> str:
    ends = (reference.from_, reference.to)
    named = [", ".join(e) if isinstance(e, list) else e for e in ends if e]
    return " -> ".join(named)


def stated_changes(
    stated: str, unstated: str, path: str, before: Any, after: Any
) -> Iterator[Change]:
    """Return whether something is said now that was not, or the reverse."""
    if bool(before) != bool(after):
        yield change(stated if after else unstated, path, before, after)


def plain(value: Any) -> Any:
    """Return a part of a contract as plain values."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    dump = getattr(value, "model_dump", None)
    return dump(exclude_none=True, by_alias=True) if dump else value
