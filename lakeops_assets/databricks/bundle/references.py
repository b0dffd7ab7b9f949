"""References of a bundle, `${var.x}` and `${resources.kind.key.field}`: each leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lakeops_assets.databricks.bundle.shapes import REFERENCE, Finding, resource_shapes

_PATH = re.compile(r"[A-Za-z]\w*(?:[-_]?\w+)*(?:\.\w[\w-]*(?:\[\d+\])*)*")
_PREFIXES = ("bundle", "workspace", "var", "variables", "resources", "artifacts", "environments")
_BUNDLE = ("name", "target", "environment", "mode", "git", "uuid")
_WORKSPACE = (
    "current_user",
    "host",
    "profile",
    "root_path",
    "file_path",
    "artifact_path",
    "resource_path",
    "state_path",
)
# What a workspace knows of a resource once it is there.
_KNOWN_LATER = ("id", "url", "full_name", "volume_path", "modified_status")


def references(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each reference in a value with the place that it is at."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from references(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from references(item, f"{path}[{number}]")
    elif isinstance(value, str):
        for found in REFERENCE.findall(value):
            yield path, found[2:-1]


def unresolved(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield references that lead nowhere."""
    for path, reference in references(config):
        reason = _wrong(reference, config)
        if reason:
            yield Finding(path, f"${{{reference}}} {reason}")


def variable_of(value: Any) -> str | None:
    """Return the name of the variable that a value is; None when it is something else."""
    found = re.fullmatch(r"\$\{var\.([\w-]+)\}", value) if isinstance(value, str) else None
    return found[1] if found else None


def _wrong(reference: str, config: Mapping[str, Any]) -> str:
    """Return why a reference leads nowhere; empty when it leads somewhere."""
    if not _PATH.fullmatch(reference):
        return "is no reference; write ${var.name} or ${resources.kind.key.field}"
    prefix, *parts = re.split(r"\.", re.sub(r"\[\d+\]", "", reference))
    if prefix not in _PREFIXES:
        return f"starts with {prefix}; references start with one of: {', '.join(_PREFIXES)}"
    if not parts:
        return f"names nothing of {prefix}"
    if prefix in ("var", "variables"):
        return _missing(parts[0], config.get("variables"), "variable")
    if prefix == "bundle":
        return _missing(parts[0], dict.fromkeys(_BUNDLE), "field of the bundle")
    if prefix == "workspace":
        return _missing(parts[0], dict.fromkeys(_WORKSPACE), "field of the workspace")
    if prefix == "artifacts":
        return _missing(parts[0], config.get("artifacts"), "artifact")
    return _resource(parts, config) if prefix == "resources" else ""


def _resource(parts: list[str], config: Mapping[str, Any]) -> str:
    if len(parts) < 3:
        return "has to name kind, key and field: ${resources.jobs.churn.id}"
    kind, key, field = parts[:3]
    resources = config.get("resources")
    resources = resources if isinstance(resources, dict) else {}
    reason = _missing(kind, resources, "kind of resources") or _missing(
        key, resources[kind], kind.removesuffix("s").replace("_", " ")
    )
    shape = resource_shapes().get(kind)
    if reason or shape is None:
        return reason
    fields = {**shape.fields, **dict.fromkeys(_KNOWN_LATER)}
    return _missing(field, fields, f"field of {kind}")


def _missing(name: str, there: Any, what: str) -> str:
    names = sorted(map(str, there)) if isinstance(there, dict) else []
    if name in names:
        return ""
    return f"leads nowhere: there is no {what} {name}; there are: {', '.join(names) or 'none'}"
