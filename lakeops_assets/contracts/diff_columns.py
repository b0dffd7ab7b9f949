"""What changed in the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lakeops_assets.contracts.diff_parts import (
    described_changes,
    match_up,
    reference_changes,
    stated_changes,
)
from lakeops_assets.contracts.diff_quality import (
    quality_changes,
    severity_changes,
    severity_of,
)
from lakeops_assets.contracts.diff_rules import Change, change
from lakeops_assets.contracts.diff_types import Order, compare_logical, compare_physical

if TYPE_CHECKING:
    from open_data_contract_standard.model import SchemaProperty

# Least and greatest -> kind of the change when one of them moves.
BOUNDS = {
    ("minimum", "maximum"): "range",
    ("minLength", "maxLength"): "length",
    ("minItems", "maxItems"): "length",
    ("minProperties", "maxProperties"): "length",
}
EXCLUSIVE = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
BOUNDED = {*EXCLUSIVE.values(), *(name for pair in BOUNDS for name in pair)}


def column_changes(
    path: str, before: Sequence[SchemaProperty], after: Sequence[SchemaProperty]
) -> Iterator[Change]:
    """Return what changed in the columns of a table, or in the fields of a column."""
    for old, new in match_up(before, after):
        if old is not None and new is not None:
            yield from _column_changes(f"{path}.{new.name}", old, new)
        elif new is not None:
            kind = "required_column_added" if new.required else "column_added"
            yield change(kind, f"{path}.{new.name}", None, _type(new))
        elif old is not None:
            yield change("column_removed", f"{path}.{old.name}", _type(old), None)
    yield from _primary_key_changes(path, before, after)


def _column_changes(path: str, before: SchemaProperty, after: SchemaProperty) -> Iterator[Change]:
    old_name, new_name = (c.physicalName or c.name for c in (before, after))
    if old_name != new_name:
        yield change("column_renamed", path, old_name, new_name)
    yield from _type_changes(path, before, after)
    for field in ("required", "unique"):
        had, has = bool(getattr(before, field)), bool(getattr(after, field))
        if had != has:
            yield change(f"{field}_{'added' if has else 'removed'}", f"{path}.{field}", had, has)
    yield from _enum_changes(f"{path}.enum", before, after)
    yield from _option_changes(
        f"{path}.logicalTypeOptions",
        before.logicalTypeOptions or {},
        after.logicalTypeOptions or {},
    )
    for fields, kind in (
        (("classification",), "classification_changed"),
        (("semanticType",), "semantic_type_changed"),
        (("partitioned", "partitionKeyPosition"), "partitioning_changed"),
        (("primaryKeyPosition",), "description_changed"),
        (("transformSourceObjects", "transformLogic"), "lineage_changed"),
    ):
        for field in fields:
            old, new = getattr(before, field), getattr(after, field)
            if old != new:
                yield change(kind, f"{path}.{field}", old, new)
    yield from described_changes(path, before, after)
    yield from severity_changes(path, "column", severity_of(before), severity_of(after))
    yield from quality_changes(path, "column", before.quality or [], after.quality or [])
    yield from reference_changes(path, before, after)
    yield from column_changes(path, before.properties or [], after.properties or [])
    yield from _part_changes(f"{path}[]", before.items, after.items)
    for part in ("key", "value"):
        yield from _part_changes(
            f"{path}.map.{part}",
            getattr(before.map, part, None),
            getattr(after.map, part, None),
        )


def _part_changes(
    path: str, before: SchemaProperty | None, after: SchemaProperty | None
) -> Iterator[Change]:
    """Return what changed in the items of an array, or in keys or values of a map."""
    if before is not None and after is not None:
        named = {"name": None, "physicalName": None}
        yield from _column_changes(
            path, before.model_copy(update=named), after.model_copy(update=named)
        )
    elif before is not None or after is not None:
        kind = "type_stated" if before is None else "type_unstated"
        yield change(kind, path, _type(before), _type(after))


# Types and what values may be


def _type(column: SchemaProperty | None) -> str | None:
    return (column.physicalType or column.logicalType) if column else None


def _type_changes(path: str, before: SchemaProperty, after: SchemaProperty) -> Iterator[Change]:
    physical: Order = "same"
    if before.physicalType and after.physicalType:
        physical = compare_physical(before.physicalType, after.physicalType)
    else:
        yield from stated_changes(
            "type_stated",
            "type_unstated",
            f"{path}.physicalType",
            before.physicalType,
            after.physicalType,
        )
    if physical != "same":
        yield change(
            f"type_{physical}", f"{path}.physicalType", before.physicalType, after.physicalType
        )
        return
    at = f"{path}.logicalType"
    if before.logicalType and after.logicalType:
        logical = compare_logical(before.logicalType, after.logicalType)
        if logical != "same":
            yield change(f"type_{logical}", at, before.logicalType, after.logicalType)
    else:
        yield from stated_changes(
            "type_stated", "type_unstated", at, before.logicalType, after.logicalType
        )


def _enum_changes(path: str, before: SchemaProperty, after: SchemaProperty) -> Iterator[Change]:
    old = [v.value for v in before.enum or []]
    new = [v.value for v in after.enum or []]
    if bool(old) != bool(new):
        yield change("enum_stated" if new else "enum_unstated", path, old or None, new or None)
        return
    for value in new:
        if value not in old:
            yield change("enum_value_added", path, None, value)
    for value in old:
        if value not in new:
            yield change("enum_value_removed", path, value, None)


def _option_changes(path: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    for pair, noun in BOUNDS.items():
        for option in pair:
            yield from _bound_changes(f"{path}.{option}", option, noun, before, after)
    for option in dict.fromkeys((*before, *after)):
        old, new = before.get(option), after.get(option)
        if old == new or option in BOUNDED:
            continue
        kind = "pattern" if option == "pattern" else "type_option"
        verb = "added" if old is None else "removed" if new is None else "changed"
        yield change(f"{kind}_{verb}", f"{path}.{option}", old, new)


def _bound_changes(
    path: str, option: str, noun: str, before: dict[str, Any], after: dict[str, Any]
) -> Iterator[Change]:
    """Return how a bound moved; one that cannot be compared with the other is wider."""
    old, new = _bound(option, before), _bound(option, after)
    if old == new:
        return
    narrowed = old is None
    if old is not None and new is not None and _comparable(old[0], new[0]):
        # Of two equal bounds, the one that leaves the bound itself out is narrower.
        upper = option.startswith("max")
        tightest = min(old, new, key=lambda b: (b[0], not b[1])) if upper else max(old, new)
        narrowed = tightest == new
    yield change(f"{noun}_{'narrowed' if narrowed else 'widened'}", path, _said(old), _said(new))


def _bound(option: str, options: dict[str, Any]) -> tuple[Any, bool] | None:
    """Return a bound and whether it is left out; ODCS 3.0 says so with a flag, 3.1 by a value."""
    limit, exclusive = options.get(option), options.get(EXCLUSIVE.get(option, ""))
    if isinstance(exclusive, bool) or exclusive is None:
        return None if limit is None else (limit, bool(exclusive))
    if limit is None:
        return exclusive, True
    stricter = exclusive <= limit if option.startswith("max") else exclusive >= limit
    return (exclusive, True) if stricter else (limit, False)


def _comparable(a: Any, b: Any) -> bool:
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    return numbers or type(a) is type(b)


def _said(bound: tuple[Any, bool] | None) -> Any:
    if bound is None:
        return None
    return f"{bound[0]}, exclusive" if bound[1] else bound[0]


def _primary_key_changes(
    path: str, before: Sequence[SchemaProperty], after: Sequence[SchemaProperty]
) -> Iterator[Change]:
    renamed = {id(o): n.name for o, n in match_up(before, after) if o is not None and n is not None}
    old = {renamed.get(id(c), c.name) for c in before if c.primaryKey}
    new = {c.name for c in after if c.primaryKey}
    if old == new:
        return
    kind = "added" if not old else "removed" if not new else "changed"
    named = [sorted(map(str, key)) or None for key in (old, new)]
    yield change(f"primary_key_{kind}", f"{path}.primaryKey", *named)
