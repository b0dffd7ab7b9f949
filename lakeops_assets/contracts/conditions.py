"""Conditions of one column in Spark's dialect; a null is no value and meets each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from lakeops_assets.contracts.rules import Condition
from lakeops_assets.lakehouse.statements import literal

# The greatest finite double: above it are infinity and NaN, which SQL takes for the greatest value.
_FINITE = "1.7976931348623157E308"
_SYMBOLS = {
    "minimum": (">=", "at least"),
    "exclusiveMinimum": (">", "more than"),
    "maximum": ("<=", "at most"),
    "exclusiveMaximum": ("<", "less than"),
}
# Java's regular expressions have these and RE2, which DuckDB uses, does not.
_NOT_EVERYWHERE = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]")


def constant(value: Any, logical_type: str = "") -> str:
    """Return a value as SQL.

    Raises:
        ValueError: It is not a value of that type.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    text = value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    if logical_type == "date":
        return f"DATE '{date.fromisoformat(text[:10]).isoformat()}'"
    if logical_type == "timestamp":
        return f"TIMESTAMP '{datetime.fromisoformat(text).isoformat(sep=' ')}'"
    if logical_type in ("number", "integer"):
        raise ValueError(f"{value!r} is not a number")
    return literal(text)


def one_of(name: str, values: Sequence[Any]) -> Condition:
    """Return the condition that a column has one of some values."""
    listed = ", ".join(constant(v) for v in values)
    return Condition(f"{name} IS NULL OR {name} IN ({listed})")


def value_range(name: str, ends: Mapping[str, Any], logical_type: str) -> tuple[str, Condition]:
    """Return the condition that a value is in a range, in words and as SQL."""
    words, parts = [], []
    for option, value in ends.items():
        symbol, word = _SYMBOLS[option]
        words.append(f"{word} {value}")
        parts.append(f"{name} {symbol} {constant(value, logical_type)}")
    upper = {"maximum", "exclusiveMaximum"} & set(ends)
    if logical_type == "number" and not upper:
        parts.append(f"{name} <= {_FINITE}")
    return f"is {' and '.join(words)}", Condition(f"{name} IS NULL OR ({' AND '.join(parts)})")


def length(name: str, ends: Mapping[str, Any], logical_type: str) -> tuple[str, Condition]:
    """Return the condition that a text has so many characters, in words and as SQL."""
    words, parts = [], []
    for option, symbol, word in (("minLength", ">=", "at least"), ("maxLength", "<=", "at most")):
        if option in ends:
            words.append(f"{word} {int(ends[option])}")
            parts.append(f"length({name}) {symbol} {int(ends[option])}")
    condition = Condition(f"{name} IS NULL OR ({' AND '.join(parts)})")
    return f"has {' and '.join(words)} characters", condition


def matches(name: str, option: Mapping[str, Any], logical_type: str) -> tuple[str, Condition]:
    """Return the condition that a regular expression is found in a text, in words and as SQL."""
    pattern = str(option["pattern"])
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is not one: {error}") from error
    if _NOT_EVERYWHERE.search(pattern):
        raise ValueError(
            f"the pattern {pattern!r} looks around or back, which not every engine can do"
        )
    return f"matches {pattern}", Condition(f"{name} IS NULL OR {name} RLIKE {literal(pattern)}")
