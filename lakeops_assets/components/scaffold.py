"""Complete, commented examples for `lakeops new` and `dg scaffold defs`."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

import dagster as dg

SQL_FILE = "features.sql"
CONTRACT_FILE = "contracts/customers.yaml"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class ProductNameError(ValueError):
    """A product cannot have that name, or one has it already."""


class ExampleScaffolder(dg.Scaffolder):
    """Writes the example of one component type, with each field explained."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write `defs.yaml`, and the SQL file where the type has one."""
        product = request.target_path.name
        document = _document(request.type_name, product)
        path = request.target_path if request.append else request.target_path / "defs.yaml"
        before = f"{path.read_text().rstrip()}\n\n---\n" if request.append else ""
        path.write_text(before + document)
        if SQL_FILE in document:
            (path.parent / SQL_FILE).write_text(_template(SQL_FILE, product))


def new_product(folder: Path, product: str) -> list[Path]:
    """Write a complete product, from landing files to monitors, and return its files.

    Args:
        folder: Folder of the products.
        product: Name of the product; lower-case letters, digits and underscores.

    Raises:
        ProductNameError: It cannot be the name of a schema, or there is a product of that name.
    """
    if not _NAME.fullmatch(product):
        raise ProductNameError(
            f"{product!r} cannot name a product: it becomes a schema, so use lower-case letters, "
            "digits and underscores, starting with a letter"
        )
    target = folder / product
    if target.exists():
        raise ProductNameError(f"{target} is there already; choose another name or edit it")
    target.mkdir(parents=True)
    written = []
    files = {"defs.yaml": "defs.yaml", SQL_FILE: SQL_FILE, "contract.yaml": CONTRACT_FILE}
    for name, where in files.items():
        path = target / where
        path.parent.mkdir(exist_ok=True)
        path.write_text(_template(name, product))
        written.append(path)
    return written


def _document(type_name: str, product: str) -> str:
    """Return an example of one component type: a part of the example product, or one of its own."""
    documents = [
        document
        for name in ("defs.yaml", "point_in_time.yaml", "databricks.yaml", "grants.yaml")
        for document in _template(name, product).split("\n---\n")
    ]
    wanted = f"type: {type_name}\n"
    return next(d.lstrip() for d in documents if wanted in d) + "\n"


def _template(name: str, product: str) -> str:
    file = resources.files("lakeops_assets.components") / "templates" / f"{name}.template"
    return Template(file.read_text()).substitute(product=product)
