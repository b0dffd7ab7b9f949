"""What changed in quality rules and service levels, and for the better or the worse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from lakeops_assets.contracts.diff_rules import Change, change

if TYPE_CHECKING:
    from open_data_contract_standard.model import DataQuality, ServiceLevelAgreementProperty

Item = TypeVar("Item")

# Severity of a rule that says none, or `error`: rows that break a rule about rows are set aside, a
# table that breaks one as a whole holds up what is behind it, and one that is late is only said.
DEFAULT_SEVERITY = {"column": "quarantine", "table": "block", "level": "warn"}
SEVERITIES = {
    **dict.fromkeys(("info", "information", "low", "warn", "warning", "minor", "medium"), 1),
    **dict.fromkeys(("quarantine",), 2),
    **dict.fromkeys(("block", "high", "major", "critical", "blocker"), 3),
}
# What decides whether data passes, besides the values of the operators and arguments.
MEANING = ("type", "unit", "query", "engine", "implementation", "customProperties")
SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
    **dict.fromkeys(("mo", "month", "months"), 2_629_746),
    **dict.fromkeys(("y", "yr", "year", "years"), 31_556_952),
}
LESS_IS_BETTER = {
    *("latency", "ly", "freshness", "fr", "frequency", "fy", "errorrate", "er"),
    *("timetodetect", "td", "timetonotify", "tn", "timetorepair", "tr"),
}
MORE_IS_BETTER = {"retention", "re", "availability", "av", "throughput", "th"}
# Announcing the end of something takes a promise back; putting it off gives more.
ENDS = {"endofsupport", "es", "endoflife", "el"}

# Bounds of an interval, each with whether the bound itself is left out.
Interval: TypeAlias = tuple[float, bool, float, bool]
# What a violation is about.
About: TypeAlias = Literal["column", "table", "level"]
Tightness: TypeAlias = Literal["same", "tightened", "weakened", "changed"]


# Quality rules


def quality_changes(
    path: str,
    about: About,
    before: Sequence[DataQuality],
    after: Sequence[DataQuality],
) -> Iterator[Change]:
    """Return what changed in the rules of a table or column.

    Rules are known by their id, else by their name, else by what they measure.
    """
    for name, old, new in paired(before, after, _rule_key):
        at = f"{path}.quality.{name}"
        if old is None or new is None:
            kind = "quality_rule_added" if old is None else "quality_rule_removed"
            yield change(kind, at, _requirement(old), _requirement(new))
            continue
        tightness = _tightness(old, new)
        if tightness != "same":
            yield change(f"quality_rule_{tightness}", at, _requirement(old), _requirement(new))
        elif _said(old) != _said(new):
            yield change("description_changed", at, old.description, new.description)
        yield from severity_changes(
            at, "column" if _about_rows(old) else about, old.severity, new.severity
        )


def severity_changes(path: str, about: About, before: Any, after: Any) -> Iterator[Change]:
    """Return whether the consequences of a violation changed.

    Args:
        path: What the severity belongs to.
        about: What a violation is about, which decides the severity where none is said.
        before: One severity, or one per kind of rule; None when none is said.
        after: The same in the new contract.
    """
    by_kind = [s for s in (before, after) if isinstance(s, dict)]
    if by_kind:
        # The empty kind stands for all that a mapping does not name.
        for kind in dict.fromkeys([*(k for said in by_kind for k in said), ""]):
            old, new = (s.get(kind) if isinstance(s, dict) else s for s in (before, after))
            yield from severity_changes(f"{path}.{kind}".rstrip("."), about, old, new)
        return
    old, new = (_severity(said, about) for said in (before, after))
    if old == new:
        return
    ranks = SEVERITIES.get(old), SEVERITIES.get(new)
    at = f"{path}.severity"
    if ranks[0] is None or ranks[1] is None:
        yield change("severity_changed", at, before, after)
    elif ranks[0] != ranks[1]:
        kind = "severity_raised" if ranks[0] < ranks[1] else "severity_lowered"
        yield change(kind, at, before, after)


def _severity(said: Any, about: About) -> str:
    words = str(said or "error").lower()
    return DEFAULT_SEVERITY[about] if words == "error" else words


def severity_of(part: Any) -> Any:
    """Return the severity that a custom property of a part gives; None when none does."""
    for custom in part.customProperties or []:
        if (custom.property or "").lower() == "severity":
            return custom.value
    return None


def _about_rows(rule: DataQuality) -> bool:
    return any(p.property == "scope" and p.value == "row" for p in rule.customProperties or [])


def _rule_key(rule: DataQuality) -> str:
    measured = rule.metric or rule.rule or rule.query or rule.implementation or rule.description
    return rule.id or rule.name or str(measured)


def _tightness(before: DataQuality, after: DataQuality) -> Tightness:
    if any(getattr(before, f) != getattr(after, f) for f in MEANING):
        return "changed"
    if (before.metric or before.rule) != (after.metric or after.rule):
        return "changed"
    found = {_arguments(before.arguments or {}, after.arguments or {})}
    if _operators(before) != _operators(after):
        found.add(_interval_tightness(before, after))
    found.discard("same")
    if not found:
        return "same"
    return found.pop() if len(found) == 1 else "changed"


def _interval_tightness(before: DataQuality, after: DataQuality) -> Tightness:
    old, new = _allowed(before), _allowed(after)
    if old is None or new is None:
        return "changed"
    if _within(new, old):
        return "same" if _within(old, new) else "tightened"
    return "weakened" if _within(old, new) else "changed"


def _arguments(before: Mapping[str, Any], after: Mapping[str, Any]) -> Tightness:
    """Return how the arguments of a metric changed: fewer valid or more missing values is tight."""
    if before == after:
        return "same"
    differ = {k for k in {*before, *after} if before.get(k) != after.get(k)}
    if differ == {"validValues"}:
        old, new = _values(before, "validValues"), _values(after, "validValues")
        return "tightened" if new < old else "weakened" if old < new else "changed"
    if differ == {"missingValues"}:
        old, new = _values(before, "missingValues"), _values(after, "missingValues")
        return "tightened" if old < new else "weakened" if new < old else "changed"
    return "changed"


def _values(arguments: Mapping[str, Any], name: str) -> set[str]:
    return {repr(v) for v in arguments.get(name) or ()}


def _operators(rule: DataQuality) -> dict[str, Any]:
    named = type(rule).model_fields
    found = {f: getattr(rule, f) for f in named if f.startswith(("mustBe", "mustNotBe"))}
    return {name: value for name, value in found.items() if value is not None}


def _allowed(rule: DataQuality) -> list[Interval] | None:
    """Return the values that a rule allows its metric; None when they are no numbers."""
    allowed: list[Interval] = [(-inf, True, inf, True)]
    for name, value in _operators(rule).items():
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
            return None
        low, high = float(numbers[0]), float(numbers[-1])
        cut: dict[str, list[Interval]] = {
            "mustBe": [(low, False, low, False)],
            "mustNotBe": [(-inf, True, low, True), (low, True, inf, True)],
            "mustBeGreaterThan": [(low, True, inf, True)],
            "mustBeGreaterOrEqualTo": [(low, False, inf, True)],
            "mustBeLessThan": [(-inf, True, low, True)],
            "mustBeLessOrEqualTo": [(-inf, True, low, False)],
            "mustBeBetween": [(low, False, high, False)],
            "mustNotBeBetween": [(-inf, True, low, True), (high, True, inf, True)],
        }
        allowed = [both for a in allowed for b in cut[name] if (both := _overlap(a, b))]
    return allowed


def _overlap(a: Interval, b: Interval) -> Interval | None:
    low, low_open = max((a[0], a[1]), (b[0], b[1]))
    high, closed = min((a[2], not a[3]), (b[2], not b[3]))
    if low > high or (low == high and (low_open or not closed)):
        return None
    return low, low_open, high, not closed


def _within(inner: Sequence[Interval], outer: Sequence[Interval]) -> bool:
    return all(any(_overlap(i, o) == i for o in outer) for i in inner)


def _requirement(rule: DataQuality | None) -> str | None:
    """Return a rule in a few words."""
    if rule is None:
        return None
    measured = rule.metric or rule.rule or rule.query or rule.implementation or rule.description
    words = [str(measured), *(f"{k} {v}" for k, v in (rule.arguments or {}).items())]
    words += [f"{name} {value}" for name, value in _operators(rule).items()]
    return " ".join([*words, *([rule.unit] if rule.unit else [])])


def _said(rule: DataQuality) -> list[Any]:
    deciding = {*MEANING, *_operators(rule), "id", "severity", "metric", "rule", "arguments"}
    return [value for field, value in rule if field not in deciding]


# Service levels


def sla_changes(
    before: Sequence[ServiceLevelAgreementProperty], after: Sequence[ServiceLevelAgreementProperty]
) -> Iterator[Change]:
    """Return what changed in the service levels; an element may have levels of its own."""
    for name, old, new in paired(before, after, _sla_key):
        path = f"slaProperties.{name}"
        ends = (old or new).property.lower() in ENDS  # type: ignore[union-attr]
        if old is None:
            yield change("sla_loosened" if ends else "sla_added", path, None, _level(new))
            continue
        if new is None:
            yield change("sla_tightened" if ends else "sla_removed", path, _level(old), None)
            continue
        if _level(old) != _level(new):
            kind = _better(old, new)
            if kind:
                yield change(kind, path, _level(old), _level(new))
        severity = list(severity_changes(path, "level", severity_of(old), severity_of(new)))
        yield from severity
        if old != new and _level(old) == _level(new) and not severity:
            yield change("description_changed", path, old.description, new.description)


def _sla_key(level: ServiceLevelAgreementProperty) -> str:
    about = [p for p in (level.property, level.element, level.driver) if p]
    return ".".join(about)


def _level(level: ServiceLevelAgreementProperty | None) -> str | None:
    if level is None:
        return None
    values = [v for v in (level.value, level.valueExt) if v is not None]
    return " ".join([" to ".join(map(str, values)), level.unit or ""]).strip()


def _better(
    before: ServiceLevelAgreementProperty, after: ServiceLevelAgreementProperty
) -> str | None:
    """Return the kind of a change of a level; None when it is the same in another unit."""
    name = (before.property or "").lower()
    if before.valueExt != after.valueExt or name not in LESS_IS_BETTER | MORE_IS_BETTER | ENDS:
        return "sla_changed"
    if name in ENDS and before.unit == after.unit:
        later = str(after.value) > str(before.value)  # ISO 8601
        return "sla_tightened" if later else "sla_loosened"
    old, new = _measure(before), _measure(after)
    if old is None or new is None or (old[1] != new[1]):
        return "sla_changed"
    if old[0] == new[0]:
        return None
    return "sla_tightened" if (new[0] < old[0]) == (name in LESS_IS_BETTER) else "sla_loosened"


def _measure(level: ServiceLevelAgreementProperty) -> tuple[float, str] | None:
    """Return a level as a number and its unit, times in seconds; None when it is no number."""
    try:
        value = float(level.value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    unit = (level.unit or "").lower()
    return (value * SECONDS[unit], "seconds") if unit in SECONDS else (value, unit)


def paired(
    before: Sequence[Item], after: Sequence[Item], key: Callable[[Item], str]
) -> Iterator[tuple[str, Item | None, Item | None]]:
    """Return items of two lists that have the same key, in the order of the first.

    Of several items with one key, the first belongs to the first, the second to the second.
    """
    old, new = _by_key(before, key), _by_key(after, key)
    for name in dict.fromkeys((*old, *new)):
        yield name, old.get(name), new.get(name)


def _by_key(items: Sequence[Item], key: Callable[[Item], str]) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for item in items:
        name = key(item)
        number = 1 + sum(k == name or k.startswith(f"{name}#") for k in found)
        found[name if number == 1 else f"{name}#{number}"] = item
    return found
