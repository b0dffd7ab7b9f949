"""Bodies of requests, compared with the SDK's own dataclasses."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any


class RefusedError(Exception):
    """A request that the vendor would refuse."""

    def __init__(
        self, message: str, *, code: str = "INVALID_PARAMETER_VALUE", status: int = 400
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error_code": code, "message": message}


# The SDK has no class for a whole body; the parameters of its methods say what there is.
def check(body: Any, fields: dict[str, Any], required: tuple[str, ...] = ()) -> None:
    """Refuse fields that do not exist, and values that do not survive a round trip.

    Args:
        body: Parsed JSON.
        fields: Field -> a type, or a dataclass of the SDK, or a list of one of them.
        required: Fields that have to be there.
    """
    if not isinstance(body, dict):
        raise RefusedError("the body is no JSON object", code="MALFORMED_REQUEST")
    for name in body:
        if name not in fields:
            raise RefusedError(f"unknown field {name!r}", code="MALFORMED_REQUEST")
    for name in required:
        if body.get(name) in (None, "", []):
            raise RefusedError(f"Missing required field: {name}")
    for name, value in body.items():
        kind = fields[name]
        if isinstance(kind, list):
            if not isinstance(value, list):
                raise RefusedError(f"{name} is no list", code="MALFORMED_REQUEST")
            for number, item in enumerate(value):
                _one(item, kind[0], f"{name}[{number}]")
        else:
            _one(value, kind, name)


def _one(value: Any, kind: Any, path: str) -> None:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise RefusedError(f"{path} is no object", code="MALFORMED_REQUEST")
        again = kind.from_dict(value).as_dict()
        for wrong in _differences(value, again, path):
            raise RefusedError(wrong, code="MALFORMED_REQUEST")
        for wrong in _types(value, kind, path):
            raise RefusedError(wrong, code="MALFORMED_REQUEST")
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RefusedError(
            f"{path} is {value!r}, which is no {kind.__name__}", code="MALFORMED_REQUEST"
        )


def _differences(sent: Any, again: Any, path: str) -> Iterator[str]:
    """Yield what a round trip through the SDK's dataclass loses."""
    if isinstance(sent, dict) and isinstance(again, dict):
        for name, value in sent.items():
            if name not in again:
                # Empty lists and objects are left out by the dataclasses, and mean nothing.
                if value not in ([], {}, None):
                    yield f"unknown field {path}.{name}"
            else:
                yield from _differences(value, again[name], f"{path}.{name}")
    elif isinstance(sent, list) and isinstance(again, list) and len(sent) == len(again):
        for number, (one, other) in enumerate(zip(sent, again, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif sent != again:
        yield f"{path} is {sent!r} and would be read as {again!r}"


def _types(value: Any, kind: Any, path: str) -> Iterator[str]:
    """Yield plain values of another type than the dataclass declares: it does not convert them."""
    hints = typing.get_type_hints(kind)
    for name, item in value.items():
        hint = hints.get(name, Any)
        options = [o for o in typing.get_args(hint) if o is not type(None)] or [hint]
        inner = options[0]
        where = f"{path}.{name}"
        if inner in (str, int, float, bool):
            fits = isinstance(item, (int, float) if inner is float else inner)
            if not fits or (inner is not bool and isinstance(item, bool)):
                yield f"{where} is {item!r}, which is no {inner.__name__}"
        elif dataclasses.is_dataclass(inner) and isinstance(item, dict):
            yield from _types(item, inner, where)
        elif typing.get_origin(inner) is list and isinstance(item, list):
            (element,) = typing.get_args(inner)
            for number, one in enumerate(item):
                if dataclasses.is_dataclass(element) and isinstance(one, dict):
                    yield from _types(one, element, f"{where}[{number}]")
                elif element is str and not isinstance(one, str):
                    yield f"{where}[{number}] is {one!r}, which is no str"
        elif typing.get_origin(inner) is dict and isinstance(item, dict):
            for key, one in item.items():
                if not isinstance(one, str):
                    yield f"{where}.{key} is {one!r}, which is no str"
