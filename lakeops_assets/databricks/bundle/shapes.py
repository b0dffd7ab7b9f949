"""What a resource may hold, from the SDK: its dataclasses, and the parameters of its methods.

A resource of a bundle is the body of the request that creates it, as YAML. So the SDK's types know
its fields, and a value has to survive the way through them. docs/decisions/012 says why they are
asked instead of the vendor's JSON schema.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

REFERENCE = re.compile(r"\$\{[^{}]*\}")


@dataclass(frozen=True)
class Finding:
    """Something in a bundle that is not as it has to be.

    Attributes:
        path: Where, such as `resources.jobs.churn.tasks[2].depends_on[0].task_key`.
        reason: What is wrong, what is there and what to do.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Shape:
    """Fields of a map.

    Attributes:
        fields: Name -> type: `str`, `list[T]`, `dict[str, T]`, an enum, a dataclass of the SDK or
            another shape.
        required: Fields that have to be there.
    """

    fields: Mapping[str, Any]
    required: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Several:
    """A list, or with `keyed` a map, of things that have one shape.

    Attributes:
        shape: Shape of each.
        keyed: Whether they have names.
    """

    shape: Any
    keyed: bool = False


@functools.cache
def resource_shapes() -> dict[str, Shape]:
    """Return the shapes of the resources that can be checked, by their kind in a bundle."""
    from databricks.sdk.service import catalog, jobs, ml, serving

    lifecycle = Shape({"prevent_destroy": bool})
    # What a bundle knows beside the body of the request.
    granted = Several(Shape(_fields(catalog.PrivilegeAssignment), frozenset(GRANT)))
    grants = {"grants": granted, "lifecycle": lifecycle}
    job = Shape(
        {
            **{k: v for k, v in _fields(jobs.JobSettings).items() if k not in _OF_THE_CLI},
            "permissions": permissions(jobs.JobPermissionLevel),
            "lifecycle": lifecycle,
        }
    )
    endpoint = _parameters(serving.ServingEndpointsAPI.create)
    volume = _parameters(catalog.VolumesAPI.create)
    experiment = _parameters(ml.ExperimentsAPI.create_experiment)
    return {
        "jobs": job,
        "schemas": _with(_parameters(catalog.SchemasAPI.create), grants),
        # The command line makes a volume managed that does not say what it is.
        "volumes": Shape({**volume.fields, **grants}, volume.required - frozenset({"volume_type"})),
        "registered_models": _with(_parameters(catalog.RegisteredModelsAPI.create), grants),
        "quality_monitors": _with(
            _parameters(catalog.QualityMonitorsAPI.create), {"lifecycle": lifecycle}
        ),
        "experiments": _with(
            experiment,
            {"permissions": permissions(ml.ExperimentPermissionLevel), "lifecycle": lifecycle},
        ),
        "model_serving_endpoints": _with(
            endpoint,
            {
                "permissions": permissions(serving.ServingEndpointPermissionLevel),
                "lifecycle": lifecycle,
            },
        ),
    }


def permissions(level: Any) -> Several:
    """Return the shape of permissions, which are no part of the request.

    Args:
        level: Enum of the levels.
    """
    who = {"user_name": str, "group_name": str, "service_principal_name": str}
    return Several(Shape({"level": level, **who}, frozenset({"level"})))


GRANT = ("principal", "privileges")
# The command line sets these itself when it deploys.
_OF_THE_CLI = ("deployment", "edit_mode", "format")


def fits(value: Any, kind: Any, path: str, *, partial: bool = False) -> Iterator[Finding]:
    """Yield what in a value is not of a type.

    Args:
        value: Parsed YAML.
        kind: Type, dataclass of the SDK, `Shape` or `Several`.
        path: Where it is.
        partial: Whether it only overrides something, so that fields may be missing.
    """
    if isinstance(kind, Several):
        yield from _several(value, kind, path, partial=partial)
    elif isinstance(kind, Shape) or dataclasses.is_dataclass(kind):
        yield from _map(value, kind, path, partial=partial)
    elif typing.get_origin(kind) in (list, dict):
        arguments = typing.get_args(kind)
        keyed = typing.get_origin(kind) is dict
        yield from _several(value, Several(arguments[-1], keyed), path, partial=partial)
    else:
        yield from _plain(value, kind, path)


def lost(value: Any, kind: Any, path: str) -> Iterator[Finding]:
    """Yield what a value loses on its way through the SDK's dataclasses and back."""
    if isinstance(kind, Several):
        items = value.items() if kind.keyed else enumerate(value)
        for name, item in items:
            place = f"{path}.{name}" if kind.keyed else f"{path}[{name}]"
            yield from lost(item, kind.shape, place)
    elif isinstance(kind, Shape):
        for name, item in value.items():
            if not _is_reference(item):
                yield from lost(item, kind.fields[name], f"{path}.{name}")
    elif typing.get_origin(kind) in (list, dict):
        keyed = typing.get_origin(kind) is dict
        yield from lost(value, Several(typing.get_args(kind)[-1], keyed), path)
    elif dataclasses.is_dataclass(kind):
        known, shape = _without_references(value), cast("Any", kind)
        yield from _differences(known, shape.from_dict(known).as_dict(), path)


def _several(value: Any, kind: Several, path: str, *, partial: bool) -> Iterator[Finding]:
    if kind.keyed:
        if not isinstance(value, dict):
            yield Finding(path, f"is {value!r}; it has to be a map")
            return
        for name, item in value.items():
            yield from fits(item, kind.shape, f"{path}.{name}", partial=partial)
        return
    if not isinstance(value, list):
        yield Finding(path, f"is {value!r}; it has to be a list")
        return
    for number, item in enumerate(value):
        yield from fits(item, kind.shape, f"{path}[{number}]", partial=partial)


def _map(value: Any, kind: Any, path: str, *, partial: bool) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield Finding(path, f"is {value!r}; it has to be a map")
        return
    shape = kind if isinstance(kind, Shape) else Shape(_fields(kind), _required(kind))
    for name, item in value.items():
        if name not in shape.fields:
            there = ", ".join(sorted(shape.fields))
            yield Finding(f"{path}.{name}", f"there is no such field; there are: {there}")
        elif item is None:
            yield Finding(f"{path}.{name}", "has no value; leave it out or give it one")
        else:
            yield from fits(item, shape.fields[name], f"{path}.{name}", partial=partial)
    if not partial:
        for name in sorted(shape.required - set(value)):
            yield Finding(f"{path}.{name}", "is missing")


def _plain(value: Any, kind: Any, path: str) -> Iterator[Finding]:
    if kind is Any or _is_reference(value):
        return
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        there = [str(member.value) for member in kind]
        if value not in there:
            yield Finding(path, f"is {value!r}; use one of: {', '.join(there)}")
        return
    accepted = (int, float) if kind is float else kind
    # True is an integer in Python, and none in YAML.
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        yield Finding(path, f"is {value!r}; it has to be {_name(kind)}")


def _name(kind: Any) -> str:
    names = {str: "text", int: "an integer", float: "a number", bool: "true or false"}
    return names.get(kind, "a map" if kind is dict else "something else")


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


@functools.cache  # resolving the hints of the SDK takes most of a check
def _fields(kind: Any) -> dict[str, Any]:
    return {
        name: _inner(hint)
        for name, hint in typing.get_type_hints(kind).items()
        if name in {field.name for field in dataclasses.fields(kind)}
    }


def _required(kind: Any) -> frozenset[str]:
    fields = dataclasses.fields(kind)
    missing = dataclasses.MISSING
    return frozenset(
        f.name for f in fields if f.default is missing and f.default_factory is missing
    )


def _parameters(method: Any) -> Shape:
    """Return the shape of the body that a method of the SDK sends."""
    hints = typing.get_type_hints(method)
    parameters = [p for n, p in inspect.signature(method).parameters.items() if n != "self"]
    return Shape(
        {p.name: _inner(hints[p.name]) for p in parameters},
        frozenset(p.name for p in parameters if p.default is inspect.Parameter.empty),
    )


def _with(shape: Shape, fields: Mapping[str, Any]) -> Shape:
    return Shape({**shape.fields, **fields}, shape.required)


def _inner(hint: Any) -> Any:
    """Return the type that an optional one is of."""
    options = [o for o in typing.get_args(hint) if o is not type(None)]
    return options[0] if typing.get_origin(hint) is typing.Union and options else hint


def _without_references(value: Any) -> Any:
    """Return a value without fields that only name another: of any type they are texts."""
    if isinstance(value, dict):
        return {k: _without_references(v) for k, v in value.items() if not _is_reference(v)}
    if isinstance(value, list):
        return [_without_references(v) for v in value]
    return value


def _differences(sent: Any, again: Any, path: str) -> Iterator[Finding]:
    if isinstance(sent, dict) and isinstance(again, dict):
        for name, value in sent.items():
            if name in again:
                yield from _differences(value, again[name], f"{path}.{name}")
            elif value not in ([], {}):  # the dataclasses leave them out, and they mean nothing
                yield Finding(f"{path}.{name}", f"the SDK does not keep {value!r}")
    elif isinstance(sent, list) and isinstance(again, list) and len(sent) == len(again):
        for number, (one, other) in enumerate(zip(sent, again, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif sent != again:
        yield Finding(path, f"is {sent!r}, and the SDK makes {again!r} of it")
