"""A YAML file whose every value knows its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from lakeops_assets.contracts.rules import ContractError

if TYPE_CHECKING:
    import yaml
    from open_data_contract_standard.model import OpenDataContractStandard
    from pydantic import BaseModel

Place: TypeAlias = "tuple[str | int, ...]"


class Document:
    """A contract file: its value, its lines, and the official model of it.

    Args:
        path: The file.

    Raises:
        ContractError: It is missing, no YAML, or not what ODCS says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _node(self) -> yaml.Node:
        import yaml

        if not self.path.is_file():
            there = sorted(p.name for p in self.path.parent.glob("*.yaml"))
            raise ContractError(
                f"there is no contract {self.path}; files there: {', '.join(there) or 'none'}"
            )
        try:
            node = yaml.compose(self.path.read_text(), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line = mark.line + 1 if mark else 1
            raise ContractError(f"{self.path}:{line}: not YAML: {error.problem}") from error
        if not isinstance(node, yaml.MappingNode):
            raise ContractError(
                f"{self.path}:1: a contract is a mapping: version, kind, schema ..."
            )
        return node

    @cached_property
    def model(self) -> OpenDataContractStandard:
        """The contract as the official model reads it."""
        import yaml
        from open_data_contract_standard.model import OpenDataContractStandard
        from pydantic import ValidationError

        node = self._node
        value = yaml.SafeLoader("").construct_document(node)
        for place, model in _unknown(value, OpenDataContractStandard, ()):
            known = sorted(f.alias or n for n, f in model.model_fields.items())
            raise self.error(
                place, f"{model.__name__} has no field {place[-1]}; {close(str(place[-1]), known)}"
            )
        try:
            return OpenDataContractStandard(**value)
        except ValidationError as error:
            first = error.errors()[0]
            place = tuple(p for p in first["loc"] if isinstance(p, int) or not p[:1].isupper())
            raise self.error(
                place, f"{'.'.join(map(str, place))} is {first['input']!r}: {first['msg']}"
            ) from error

    def line(self, place: Place) -> int:
        """Return the line of a value; that of the nearest one above it where it is not there."""
        import yaml

        node, line = self._node, 1
        for part in place:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                if part >= len(node.value):
                    break
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def error(self, place: Place, what: str) -> ContractError:
        """Return an error about a value."""
        return ContractError(f"{self.path}:{self.line(place)}: {what}")


def close(name: str, there: Iterable[str]) -> str:
    """Return what may have been meant, and everything that exists."""
    known = list(there)
    found = difflib.get_close_matches(name, known, 1)
    return (f"did you mean {found[0]}? " if found else "") + f"There are: {', '.join(known)}"


def _unknown(
    value: Any, model: type[BaseModel], place: Place
) -> Iterator[tuple[Place, type[BaseModel]]]:
    """Find the fields that the model does not have: nested ones it would drop in silence."""
    if not isinstance(value, dict):
        return
    fields = {f.alias or n: f for n, f in model.model_fields.items()}
    for key, inner in value.items():
        if key not in fields:
            yield (*place, key), model
            continue
        nested = _model_in(fields[key].annotation)
        if nested is None:
            continue
        items = list(enumerate(inner)) if isinstance(inner, list) else [(None, inner)]
        for index, item in items:
            where = (*place, key) if index is None else (*place, key, index)
            yield from _unknown(item, nested, where)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field; None when it has none, or a choice of several."""
    found = set(_models_in(annotation))
    return found.pop() if len(found) == 1 else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
