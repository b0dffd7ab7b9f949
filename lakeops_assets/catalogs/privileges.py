"""What may be granted, on what: the privileges of Unity Catalog.

Source: Databricks' documentation, "Unity Catalog privileges and securable objects", with the names
of its interface. The open-source server spells them with spaces and knows fewer.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from lakeops_assets.catalogs.errors import GrantError

Kind: TypeAlias = Literal["catalog", "schema", "table", "volume", "registered_model"]

_EVERYWHERE = frozenset({"ALL_PRIVILEGES", "APPLY_TAG", "MANAGE"})
_TABLE = _EVERYWHERE | {"SELECT", "MODIFY"}
_VOLUME = _EVERYWHERE | {"READ_VOLUME", "WRITE_VOLUME"}
_MODEL = _EVERYWHERE | {"EXECUTE"}
# A schema and a catalog take what their objects take: it holds for all that are in them.
_SCHEMA = (_TABLE | _VOLUME | _MODEL) | {
    "USE_SCHEMA",
    "CREATE_TABLE",
    "CREATE_VOLUME",
    "CREATE_FUNCTION",
    "CREATE_MODEL",
    "CREATE_MATERIALIZED_VIEW",
    "REFRESH",
}
_CATALOG = _SCHEMA | {"USE_CATALOG", "CREATE_SCHEMA", "BROWSE"}

PRIVILEGES: dict[str, frozenset[str]] = {
    "catalog": _CATALOG,
    "schema": _SCHEMA,
    "table": _TABLE,
    "volume": _VOLUME,
    "registered_model": _MODEL,
}


def privilege(text: str, kind: Kind) -> str:
    """Return a privilege as the interface names it.

    Args:
        text: `SELECT`, `use schema` or `USE_SCHEMA`.
        kind: What it is granted on.

    Raises:
        GrantError: There is no such privilege on that kind of object.
    """
    name = "_".join(text.upper().split())
    if name not in PRIVILEGES[kind]:
        there = ", ".join(sorted(PRIVILEGES[kind]))
        raise GrantError(f"{text!r} cannot be granted on a {kind}; there are: {there}")
    return name
