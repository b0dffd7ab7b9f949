"""What the SDK's types do not know: that parts of a resource fit together, and names.

Sources: Databricks' documentation of jobs, serving endpoints and monitors, and the limits of names
in Unity Catalog.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lakeops_assets.catalogs import PRIVILEGES
from lakeops_assets.databricks.bundle.job_rules import job
from lakeops_assets.databricks.bundle.shapes import REFERENCE, Finding

if TYPE_CHECKING:
    from lakeops_assets.databricks.bundle.build import Bundle

_GRANULARITY = re.compile(r"5 minutes|30 minutes|1 hour|1 day|\d+ weeks?|1 month|1 year")
_PART = re.compile(r"[^\s./\x00-\x1f\x7f]{1,255}")
_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_SIZES = ("Small", "Medium", "Large")
_KINDS = ("snapshot", "time_series", "inference_log")
# A reference stands for a name that is not known yet.
_SOME_NAME = "x"


def endpoint(resource: Mapping[str, Any], path: str, bundle: Bundle) -> Iterator[Finding]:
    """Yield what does not fit in a serving endpoint."""
    name = _resolved(resource["name"])
    if not _ENDPOINT.fullmatch(name):
        reason = "use at most 63 letters, digits, - and _, starting with a letter or a digit"
        yield Finding(f"{path}.name", f"is {resource['name']!r}; {reason}")
    config = resource.get("config", {})
    entities = config.get("served_entities", [])
    served = [entity.get("name", "") for entity in entities]
    for number, entity in enumerate(entities):
        place = f"{path}.config.served_entities[{number}]"
        if served.count(entity.get("name", "")) > 1:
            yield Finding(f"{place}.name", f"{entity.get('name', '')!r} is there more than once")
        if "external_model" in entity:
            continue
        for field in ("entity_name", "entity_version"):
            if not entity.get(field):
                yield Finding(f"{place}.{field}", "is missing")
        size = entity.get("workload_size", _SIZES[0])
        if size not in _SIZES and not REFERENCE.fullmatch(size):
            reason = f"is {size!r}; use one of: {', '.join(_SIZES)}"
            yield Finding(f"{place}.workload_size", reason)
    yield from _traffic(config, served, path)


def _traffic(config: Mapping[str, Any], served: list[str], path: str) -> Iterator[Finding]:
    routes = config.get("traffic_config", {}).get("routes", [])
    place = f"{path}.config.traffic_config.routes"
    shares = []
    for number, route in enumerate(routes):
        target = route.get("served_model_name")
        if target not in served:
            there = ", ".join(served) or "none"
            reason = f"is {target!r}, which is not served; served are: {there}"
            yield Finding(f"{place}[{number}].served_model_name", reason)
        share = route.get("traffic_percentage")
        shares.append(share)
        if isinstance(share, int) and not 0 <= share <= 100:
            yield Finding(f"{place}[{number}].traffic_percentage", f"is {share}; from 0 to 100")
    known = [share for share in shares if isinstance(share, int)]
    if routes and len(known) == len(shares) and sum(known) != 100:
        yield Finding(place, f"traffic_percentage comes to {sum(known)} in all; it has to be 100")


def monitor(resource: Mapping[str, Any], path: str, bundle: Bundle) -> Iterator[Finding]:
    """Yield what does not fit in a quality monitor."""
    given = [kind for kind in _KINDS if kind in resource]
    if len(given) != 1:
        there = ", ".join(given) or "none"
        yield Finding(path, f"needs exactly one of {', '.join(_KINDS)}; it has: {there}")
    for kind in given:
        for number, text in enumerate(resource[kind].get("granularities", [])):
            if not _GRANULARITY.fullmatch(text) and not REFERENCE.fullmatch(text):
                reason = (
                    f"is {text!r}; use 5 minutes, 30 minutes, 1 hour, 1 day, <n> weeks, 1 month "
                    "or 1 year"
                )
                yield Finding(f"{path}.{kind}.granularities[{number}]", reason)
    yield from _parts(resource, "table_name", 3, path)
    yield from _parts(resource, "baseline_table_name", 3, path)
    yield from _parts(resource, "output_schema_name", 2, path)
    folder = resource["assets_dir"]
    if not _resolved_path(folder).startswith("/"):
        yield Finding(f"{path}.assets_dir", f"is {folder!r}; it has to be an absolute path")


def experiment(resource: Mapping[str, Any], path: str, bundle: Bundle) -> Iterator[Finding]:
    """Yield what does not fit in an experiment."""
    if not _resolved_path(resource["name"]).startswith("/"):
        reason = "it has to be an absolute path in the workspace"
        yield Finding(f"{path}.name", f"is {resource['name']!r}; {reason}")


def schema(resource: Mapping[str, Any], path: str, bundle: Bundle) -> Iterator[Finding]:
    """Yield what does not fit in a schema."""
    yield from _names(resource, path, "catalog_name", "name")
    yield from _granted(resource, "schema", path)


def volume(resource: Mapping[str, Any], path: str, bundle: Bundle) -> Iterator[Finding]:
    """Yield what does not fit in a volume."""
    yield from _names(resource, path, "catalog_name", "schema_name", "name")
    yield from _granted(resource, "volume", path)
    external = resource.get("volume_type") == "EXTERNAL"
    if external != ("storage_location" in resource):
        wanted = "is missing in an external volume" if external else "is only for external volumes"
        yield Finding(f"{path}.storage_location", wanted)


def registered_model(resource: Mapping[str, Any], path: str, bundle: Bundle) -> Iterator[Finding]:
    """Yield what does not fit in a registered model."""
    yield from _names(resource, path, "catalog_name", "schema_name", "name")
    yield from _granted(resource, "registered_model", path)


RULES: dict[str, Callable[[Mapping[str, Any], str, Bundle], Iterator[Finding]]] = {
    "jobs": job,
    "schemas": schema,
    "volumes": volume,
    "registered_models": registered_model,
    "quality_monitors": monitor,
    "experiments": experiment,
    "model_serving_endpoints": endpoint,
}


def _granted(resource: Mapping[str, Any], kind: str, path: str) -> Iterator[Finding]:
    seen: list[str] = []
    for number, grant in enumerate(resource.get("grants", [])):
        place = f"{path}.grants[{number}]"
        if grant["principal"] in seen:
            yield Finding(f"{place}.principal", f"{grant['principal']!r} is there more than once")
        seen.append(grant["principal"])
        for index, name in enumerate(grant["privileges"]):
            if name not in PRIVILEGES[kind] and not REFERENCE.fullmatch(name):
                there = ", ".join(sorted(PRIVILEGES[kind]))
                reason = f"{name} cannot be granted on a {kind}; there are: {there}"
                yield Finding(f"{place}.privileges[{index}]", reason)


def _names(resource: Mapping[str, Any], path: str, *fields: str) -> Iterator[Finding]:
    for field in fields:
        if not _PART.fullmatch(_resolved(resource[field])):
            reason = "cannot be a name in Unity Catalog: no blanks, dots or slashes, at most 255"
            yield Finding(f"{path}.{field}", f"{resource[field]!r} {reason} characters")


def _parts(resource: Mapping[str, Any], field: str, number: int, path: str) -> Iterator[Finding]:
    text = resource.get(field)
    if text is None:
        return
    parts = _resolved(text).split(".")
    # A whole reference may be a name of several parts.
    if REFERENCE.fullmatch(text) or (
        len(parts) == number and all(_PART.fullmatch(part) for part in parts)
    ):
        return
    form = ".".join(("<catalog>", "<schema>", "<table>")[:number])
    yield Finding(f"{path}.{field}", f"is {text!r}; it has to be {form}")


def _resolved(text: str) -> str:
    return REFERENCE.sub(_SOME_NAME, text)


def _resolved_path(text: str) -> str:
    return re.sub(r"^\$\{workspace\.\w+\}|^\$\{var\.[\w-]+\}", "/", text)
