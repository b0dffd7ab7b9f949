"""What the interface of Unity Catalog answers, as values; the same in both implementations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lakeops_assets.catalogs.objects import Column, Table, normal_location
from lakeops_assets.lakehouse import TableName

API = "/api/2.1/unity-catalog"


def table_of(body: Mapping[str, Any]) -> Table:
    """Return a table from an answer."""
    listed = sorted(body.get("columns") or [], key=lambda c: c.get("position") or 0)
    return Table(
        TableName(body["catalog_name"], body["schema_name"], body["name"]),
        normal_location(body.get("storage_location") or ""),
        tuple(
            Column(
                name=c["name"],
                type_text=c.get("type_text") or "",
                type_name=c.get("type_name") or "",
                type_json=c.get("type_json") or "",
                nullable=c.get("nullable", True),
                comment=c.get("comment") or "",
                precision=c.get("type_precision"),
                scale=c.get("type_scale"),
            )
            for c in listed
        ),
        body.get("comment") or "",
    )


def grants_of(body: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Return principal -> privileges from an answer; privileges have underscores here."""
    found = {
        entry["principal"]: frozenset(p.replace(" ", "_") for p in entry.get("privileges") or [])
        for entry in body.get("privilege_assignments") or []
    }
    return {principal: privileges for principal, privileges in found.items() if privileges}
