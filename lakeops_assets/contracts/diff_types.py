"""Which types hold the values of which others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias

Order: TypeAlias = Literal["same", "widened", "narrowed", "changed"]

ALIASES = {
    "byte": "tinyint",
    "short": "smallint",
    "integer": "int",
    "long": "bigint",
    "real": "float",
    "double precision": "double",
    "numeric": "decimal",
    "dec": "decimal",
    "text": "string",
    "character varying": "varchar",
    "bool": "boolean",
    "timestamp_ltz": "timestamp",
}
INTEGER_BITS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
# Digits that every value of the type fits in, and digits that always fit in the type.
DIGITS = {8: (3, 2), 16: (5, 4), 32: (10, 9), 64: (19, 18)}
# Integers up to so many bits are exact in a floating point type.
EXACT_BITS = {"float": 16, "double": 32}
_TYPE = re.compile(r"(?P<name>[a-z_ ]+?)\s*(?:\((?P<arguments>[\d\s,]+)\))?")


@dataclass(frozen=True)
class _Type:
    """A type by its name, and its numbers: bits; precision and scale; greatest length."""

    name: str
    numbers: tuple[float, ...] = ()


def compare_physical(before: str, after: str) -> Order:
    """Return how a type of Spark SQL changed.

    A type is widened when it has values that it did not have before. It is narrowed when it only
    lost values: a type that keeps the values and rounds them is another type.
    """
    old, new = _parse(before), _parse(after)
    if old == new:
        return "same"
    if _holds(new, old):
        return "widened"
    return "narrowed" if _holds(old, new) and _scale(old) == _scale(new) else "changed"


def compare_logical(before: str, after: str) -> Order:
    """Return how a logical type of ODCS changed."""
    old, new = before.lower(), after.lower()
    if old == new:
        return "same"
    return "widened" if (old, new) == ("integer", "number") else "changed"


def _parse(text: str) -> _Type:
    written = re.sub(r"\s+", " ", text.strip().lower())
    match = _TYPE.fullmatch(written)
    if match is None:
        return _Type(written.replace(" ", ""))
    name = ALIASES.get(match["name"], match["name"])
    numbers = tuple(float(n) for n in (match["arguments"] or "").split(",") if n.strip())
    if name in INTEGER_BITS:
        return _Type("integer", (INTEGER_BITS[name],))
    if name == "decimal":
        return _Type(name, (*numbers, 0.0)[:2] if numbers else (10.0, 0.0))
    if name in ("string", "varchar"):
        return _Type("string", numbers or (inf,))
    return _Type(name, numbers)


def _holds(wide: _Type, narrow: _Type) -> bool:
    """Return whether every value of one type is exactly one of another."""
    match narrow.name, wide.name:
        case ("integer", "integer") | ("string", "string"):
            return narrow.numbers[0] <= wide.numbers[0]
        case ("integer", "decimal"):
            return DIGITS[int(narrow.numbers[0])][0] <= wide.numbers[0] - wide.numbers[1]
        case ("decimal", "integer"):
            fits = DIGITS[int(wide.numbers[0])][1]
            return narrow.numbers[1] == 0 and narrow.numbers[0] <= fits
        case ("decimal", "decimal"):
            whole = narrow.numbers[0] - narrow.numbers[1] <= wide.numbers[0] - wide.numbers[1]
            return whole and narrow.numbers[1] <= wide.numbers[1]
        case ("integer", "float" | "double"):
            return narrow.numbers[0] <= EXACT_BITS[wide.name]
        case ("float", "double"):
            return True
    return False


def _scale(kind: _Type) -> float | str:
    """Return how finely values of a type are told apart."""
    if kind.name == "decimal":
        return kind.numbers[1]
    return 0.0 if kind.name == "integer" else kind.name
