"""Cluster policies as the vendor documents them: what a definition means for a cluster.

Written from the documentation and not from the compiler of envelopes, which is tested with it.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from databricks_jobs.stand_in.validate import RefusedError

# Units of a job in an hour, of the machines that this workspace has.
NODE_TYPES = {"m5.large": 0.34, "m5.xlarge": 0.69, "m5.4xlarge": 2.74, "r5.8xlarge": 7.0}
VIRTUAL = ("cluster_type", "dbus_per_hour")
KINDS: dict[str, tuple[set[str], set[str]]] = {
    "fixed": ({"value"}, {"hidden"}),
    "forbidden": (set(), {"hidden"}),
    "allowlist": ({"values"}, {"defaultValue", "isOptional"}),
    "blocklist": ({"values"}, {"defaultValue", "isOptional"}),
    "regex": ({"pattern"}, {"defaultValue", "isOptional"}),
    "range": (set(), {"minValue", "maxValue", "defaultValue", "isOptional"}),
    "unlimited": (set(), {"defaultValue", "isOptional", "hidden"}),
}


def parse(definition: str | None) -> dict[str, dict[str, Any]]:
    """Return a definition, or refuse it."""
    try:
        found = json.loads(definition or "")
    except json.JSONDecodeError as error:
        raise RefusedError(f"Policy definition is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise RefusedError("Policy definition is no JSON object")
    for path, limitation in found.items():
        kind = limitation.get("type") if isinstance(limitation, dict) else None
        if kind not in KINDS:
            raise RefusedError(f"Policy definition: {path} has the unknown type {kind!r}")
        needed, possible = KINDS[kind]
        given = set(limitation) - {"type"}
        if not needed <= given or not given <= needed | possible:
            raise RefusedError(f"Policy definition: {path} of type {kind} has {sorted(given)}")
    return found


def enforce(definition: dict[str, dict[str, Any]], cluster: dict[str, Any]) -> dict[str, Any]:
    """Return a cluster with what the policy fills in, or refuse it and name the field."""
    filled = copy.deepcopy(cluster)
    defaults = bool(cluster.get("apply_policy_default_values"))
    for path, limitation in definition.items():
        if path in VIRTUAL:
            continue
        value = get(filled, path)
        if value is None and limitation["type"] == "fixed":
            put(filled, path, limitation["value"])
        elif value is None and defaults and "defaultValue" in limitation:
            put(filled, path, limitation["defaultValue"])
    for path, limitation in definition.items():
        value = virtual(filled, path) if path in VIRTUAL else get(filled, path)
        reason = breach(limitation, value)
        if reason:
            raise RefusedError(f"Cluster validation error: Validation failed for {path}, {reason}")
    return filled


def breach(limitation: dict[str, Any], value: Any) -> str:
    """Return why a value is not allowed; empty when it is."""
    kind = limitation["type"]
    if value is None:
        limited = kind in ("allowlist", "blocklist", "regex", "range", "fixed")
        return "the value must be present" if limited and not limitation.get("isOptional") else ""
    if kind == "forbidden":
        return "the value must not be present"
    if kind == "fixed" and value != limitation["value"]:
        return f"the value must be {limitation['value']} (is {value})"
    if kind == "allowlist" and value not in limitation["values"]:
        return f"the value must be one of {', '.join(map(str, limitation['values']))} (is {value})"
    if kind == "blocklist" and value in limitation["values"]:
        return f"the value must not be one of {limitation['values']}"
    if kind == "regex" and not re.fullmatch(limitation["pattern"], str(value)):
        return f"the value must match {limitation['pattern']} (is {value})"
    if kind == "range":
        if "maxValue" in limitation and value > limitation["maxValue"]:
            return f"the value must be at most {limitation['maxValue']} (is {value})"
        if "minValue" in limitation and value < limitation["minValue"]:
            return f"the value must be at least {limitation['minValue']} (is {value})"
    return ""


def virtual(cluster: dict[str, Any], path: str) -> Any:
    """Return an attribute that the platform computes; clusters of jobs are all there are here."""
    if path == "cluster_type":
        return "job"
    node = cluster.get("node_type_id")
    driver = cluster.get("driver_node_type_id") or node
    workers = cluster.get("num_workers") or get(cluster, "autoscale.max_workers") or 0
    return NODE_TYPES[driver] + workers * NODE_TYPES[node]


def get(cluster: dict[str, Any], path: str) -> Any:
    """Return the value at a path, None where there is none."""
    section, dot, name = path.partition(".")
    found = cluster.get(section)
    return (found or {}).get(name) if dot else found


def put(cluster: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a path."""
    section, dot, name = path.partition(".")
    if dot:
        cluster.setdefault(section, {})[name] = value
    else:
        cluster[section] = value
