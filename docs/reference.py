"""Writes docs/yaml.md, the reference of the component types, from their fields' descriptions.

And the table in docs/engines.md from the engines' capabilities. Usage: python docs/reference.py. A
test fails when the committed pages are not what this writes.
"""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lakeops_assets import components
from lakeops_assets.lakehouse.engines import ENGINES, create_engine
from lakeops_assets.lakehouse.engines.protocol import Capabilities

PAGE = Path(__file__).parent / "yaml.md"
ENGINES_PAGE = Path(__file__).parent / "engines.md"
START, END = "<!-- capabilities -->\n", "<!-- end of capabilities -->"
ORDER = (
    *("BronzeTable", "FeatureTable", "PointInTimeFeatures", "TabularModel"),
    *("BatchScores", "Monitor", "KpiMonitor", "Maintenance", "Budget", "Databricks", "Grants"),
)
HEAD = """# Component types

Every document of a product's `defs.yaml` is one component: `type` is one of the headings below with
`lakeops_assets.components.` before it, `attributes` holds its fields. The same descriptions are in
`dg list components`, in `lakeops new` and in the Dagster UI. This page is written by
`python docs/reference.py`.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(_section(name) for name in ORDER)])


def engines_page() -> str:
    """Return the page about engines with the table as the engines declare it."""
    before, _, rest = ENGINES_PAGE.read_text().partition(START)
    return f"{before}{START}\n{_capabilities()}\n{END}{rest.partition(END)[2]}"


def _capabilities() -> str:
    engines = [create_engine(name) for name in ENGINES]
    described = re.findall(r"^        (\w+): (.+)$", Capabilities.__doc__ or "", re.MULTILINE)
    lines = [f"| | {' | '.join(e.name for e in engines)} |", "| --- |" + " --- |" * len(engines)]
    for name, description in described:
        cells = [getattr(e.capabilities, name) for e in engines]
        said = ["yes" if c.available else f"no: {c.reason}" for c in cells]
        lines.append(f"| {description} | {' | '.join(said)} |")
    return "\n".join(lines) + "\n"


def _section(name: str) -> str:
    component = getattr(components, name)
    doc = re.sub(r"\s*\n\s*", " ", (component.__doc__ or "").strip()).strip()
    tables = [_table(component.model_fields), *_nested(component.model_fields)]
    return f"## {name}\n\n{doc}\n\n" + "\n".join(tables)


def _nested(fields: dict[str, Any], within: str = "") -> list[str]:
    """Return a table for each model that fields hold, and for those that they hold."""
    tables = []
    for model in dict.fromkeys(m for f in fields.values() for m in _models(f.annotation)):
        user = next(n for n, f in fields.items() if model in _models(f.annotation))
        several = get_origin(fields[user].annotation) is list
        title = f"Each of `{within}{user}`" if several else f"`{within}{user}`"
        tables.append(f"{title}:\n\n{_table(model.model_fields)}")
        tables += _nested(model.model_fields, f"{within}{user}.")
    return tables


def _table(fields: dict[str, Any]) -> str:
    lines = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in sorted(fields.items(), key=lambda item: not item[1].is_required()):
        description = (field.description or "").replace("|", "\\|")
        lines.append(
            f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {description} |"
        )
    return "\n".join(lines) + "\n"


def _default(field: Any) -> str:
    if field.is_required():
        return "**required**"
    value = field.default if field.default is not PydanticUndefined else field.default_factory()
    if isinstance(value, BaseModel):
        return "its defaults"
    return "" if value in (None, "", [], {}) else f"`{value}`"


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " \\| ".join(f"`{a}`" for a in get_args(annotation))
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(_type(a) for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is list:
        inner = _type(get_args(annotation)[0])
        return "list of maps" if inner == "map" else f"list of {inner}"
    if get_origin(annotation) is dict:
        return "map"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "map"
    names = {str: "text", int: "integer", float: "number", bool: "boolean"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _models(annotation: Any) -> list[type[BaseModel]]:
    found = [m for a in get_args(annotation) for m in _models(a)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found.append(annotation)
    return found


if __name__ == "__main__":
    PAGE.write_text(page())
    ENGINES_PAGE.write_text(engines_page())
