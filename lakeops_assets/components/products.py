"""Loads folders of products, and says in a sentence what is wrong with one that cannot load."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from types import ModuleType

import dagster as dg
import pydantic
import yaml
from dagster.components.core.component_tree import ComponentTreeException

from lakeops_assets import components

# "Error while building definitions for shop[2]:" names the third document of shop's file.
_PLACE = re.compile(r"(?:component|definitions for) (?P<folder>[^\s\[]+?)(?:\[(?P<number>\d+)\])?:")
_TYPE = re.compile(r"Module `lakeops_assets.components` has no attribute `(?P<name>\w+)`")
_FIELD = re.compile(r"`?attributes\.(?P<field>.+?) at (?P<place>.+?:\d+)`?")


class ProductError(ValueError):
    """The YAML or SQL of a product cannot be loaded."""


def load_products(module: ModuleType, folder: Path, project: Path) -> dg.Definitions:
    """Return the definitions of the products in a folder.

    Args:
        module: Module of the folder.
        folder: One sub-folder per product, each with a `defs.yaml`.
        project: Folder that paths are shown from.

    Raises:
        ProductError: A product cannot be loaded; names file and line, and what would be right.
    """
    try:
        return dg.ComponentTree.from_module(module, project_root=project).build_defs()
    except (ComponentTreeException, dg.DagsterError, yaml.YAMLError) as error:
        raise ProductError(explain(error, folder)) from error


def explain(error: BaseException, folder: Path) -> str:
    """Return where and why the products of a folder cannot be loaded."""
    place = ""
    cause: BaseException = error
    while not _is_ours(cause):
        place = place or _place(cause, folder)
        deeper = cause.__cause__ or cause.__context__
        if deeper is None:
            break
        cause = deeper
    if isinstance(cause, pydantic.ValidationError):
        return "\n".join(_field(found, cause.title, place) for found in cause.errors())
    message = str(cause).strip()
    symbol = _TYPE.search(message)
    if symbol:
        place = _first_line_with(symbol["name"], folder)
        message = f"there is no component type {symbol['name']}; {_close(symbol['name'], _types())}"
    return f"{place}: {message}" if place else message


def _types() -> list[str]:
    found = vars(components).items()
    return sorted(n for n, v in found if isinstance(v, type) and issubclass(v, dg.Component))


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.startswith("lakeops_assets")


def _field(found: object, title: str, document: str) -> str:
    """Return one error of a field, with what may have been meant."""
    details = found if isinstance(found, dict) else {}
    match = _FIELD.search(str(details["loc"][0]))
    path = match["field"] if match else ".".join(map(str, details["loc"]))
    where = match["place"] if match else _line_of_field(str(details["loc"][0]), document)
    # Dagster validates against a model that it derives from the component.
    component = title if title in _types() else title.removesuffix("Model")
    if details["type"] == "missing":
        return f"{where}: {component} needs the field {path}"
    if details["type"] != "extra_forbidden":
        return f"{where}: {path} of {component} is {details['input']!r}: {details['msg']}"
    fields = getattr(getattr(components, component, None), "model_fields", {})
    advice = _close(path, list(fields)) if "." not in path else ""
    return f"{where}: {component} has no field {path}" + (f"; {advice}" if advice else "")


def _close(name: str, there: list[str]) -> str:
    """Return what may have been meant, and everything that exists."""
    close = difflib.get_close_matches(name, there, 1)
    return (f"did you mean {close[0]}? " if close else "") + f"There are: {', '.join(there)}"


def _line_of_field(field: str, document: str) -> str:
    """Return where a field of a document is; the document where it is not found."""
    path, _, start = document.rpartition(":")
    lines = Path(path).read_text().splitlines() if path else []
    for number, line in enumerate(lines, 1):
        if number >= int(start) and line.strip().startswith(f"{field}:"):
            return f"{path}:{number}"
    return document


def _first_line_with(text: str, folder: Path) -> str:
    for path in sorted(folder.rglob("defs.yaml")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if text in line:
                return f"{path}:{number}"
    return ""


def _place(error: BaseException, folder: Path) -> str:
    """Return file and line of the document that an error is about; empty when it is unknown."""
    match = _PLACE.search(str(error))
    if not match:
        return ""
    path = folder / match["folder"] / "defs.yaml"
    if not path.is_file():
        return ""
    documents = [d for d in yaml.compose_all(path.read_text()) if d is not None]
    number = int(match["number"] or 0)
    line = documents[number].start_mark.line + 1 if number < len(documents) else 1
    return f"{path}:{line}"
