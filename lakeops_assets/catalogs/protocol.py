"""What a catalog can be asked, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from lakeops_assets.catalogs.grants import Securable
from lakeops_assets.catalogs.objects import GrantChange, Table
from lakeops_assets.lakehouse import TableName


class Catalog(Protocol):
    """A Unity Catalog.

    Every method raises `CatalogError` when the catalog cannot be reached or refuses.

    Attributes:
        where: Which one it is, in words.
        privileges: Privileges that it knows.
        reads_files: Whether it reads `file:` locations, because it is on this machine.
    """

    where: str
    privileges: frozenset[str]
    reads_files: bool

    def catalogs(self) -> list[str]:
        """Return the names of the catalogs that can be seen, sorted."""
        ...

    def has_catalog(self, name: str) -> bool:
        """Return whether there is a catalog of that name."""
        ...

    def create_catalog(self, name: str, comment: str) -> None:
        """Create a catalog."""
        ...

    def schemas(self, catalog: str) -> list[str]:
        """Return the names of the schemas of a catalog, sorted."""
        ...

    def has_schema(self, catalog: str, name: str) -> bool:
        """Return whether there is a schema of that name."""
        ...

    def create_schema(self, catalog: str, name: str, comment: str) -> None:
        """Create a schema."""
        ...

    def tables(self, catalog: str, schema: str) -> list[str]:
        """Return the names of the tables of a schema, sorted."""
        ...

    def table(self, name: TableName) -> Table | None:
        """Return a table; None when there is none of that name."""
        ...

    def register(self, table: Table) -> None:
        """Register an external Delta table."""
        ...

    def grants(self, securable: Securable) -> Mapping[str, frozenset[str]] | None:
        """Return principal -> privileges granted on an object itself; None without the object."""
        ...

    def change_grants(self, securable: Securable, changes: Sequence[GrantChange]) -> None:
        """Grant and revoke privileges on an object."""
        ...
