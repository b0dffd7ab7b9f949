"""Unity Catalog of a Databricks workspace, through the vendor's SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lakeops_assets.catalogs.answers import API, grants_of, table_of
from lakeops_assets.catalogs.errors import CatalogError
from lakeops_assets.catalogs.grants import Securable
from lakeops_assets.catalogs.objects import GrantChange, Table
from lakeops_assets.catalogs.privileges import PRIVILEGES
from lakeops_assets.lakehouse import TableName

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

# The interface takes a registered model for a function.
_TYPES = {"registered_model": "FUNCTION"}


class DatabricksCatalog:
    """The catalog of a workspace; methods as in `Catalog`.

    Args:
        client: Client of the workspace.
    """

    privileges = PRIVILEGES["catalog"]
    reads_files = False

    def __init__(self, client: WorkspaceClient) -> None:
        self.client = client
        self.where = f"Databricks at {client.config.host}"

    def catalogs(self) -> list[str]:
        """Return the names of the catalogs."""
        with self._asked("list catalogs"):
            return sorted(c.name for c in self.client.catalogs.list() if c.name)

    def has_catalog(self, name: str) -> bool:
        """Return whether there is a catalog."""
        return self._found(f"look up the catalog {name}", lambda: self.client.catalogs.get(name))

    def create_catalog(self, name: str, comment: str) -> None:
        """Create a catalog."""
        with self._asked(f"create the catalog {name}"):
            self.client.catalogs.create(name, comment=comment)

    def schemas(self, catalog: str) -> list[str]:
        """Return the names of the schemas."""
        with self._asked(f"list the schemas of {catalog}"):
            return sorted(s.name for s in self.client.schemas.list(catalog) if s.name)

    def has_schema(self, catalog: str, name: str) -> bool:
        """Return whether there is a schema."""
        full = f"{catalog}.{name}"
        return self._found(f"look up the schema {full}", lambda: self.client.schemas.get(full))

    def create_schema(self, catalog: str, name: str, comment: str) -> None:
        """Create a schema."""
        with self._asked(f"create the schema {catalog}.{name}"):
            self.client.schemas.create(name, catalog, comment=comment)

    def tables(self, catalog: str, schema: str) -> list[str]:
        """Return the names of the tables."""
        with self._asked(f"list the tables of {catalog}.{schema}"):
            return sorted(t.name for t in self.client.tables.list(catalog, schema) if t.name)

    def table(self, name: TableName) -> Table | None:
        """Return a table."""
        from databricks.sdk.errors import NotFound

        with self._asked(f"look up the table {name}"):
            try:
                return table_of(self.client.tables.get(str(name)).as_dict())
            except NotFound:
                return None

    def register(self, table: Table) -> None:
        """Register a table; the SDK has no method for it."""
        with self._asked(f"register the table {table.name}"):
            self.client.api_client.do("POST", f"{API}/tables", body=table.body())

    def grants(self, securable: Securable) -> Mapping[str, frozenset[str]] | None:
        """Return the grants on an object.

        Read as they are: the SDK's class leaves out privileges that are newer than it, and what is
        not seen would never be revoked.
        """
        from databricks.sdk.errors import NotFound

        found: dict[str, frozenset[str]] = {}
        query: dict[str, Any] = {}
        with self._asked(f"read the grants on the {securable}"):
            while True:
                try:
                    body: Any = self.client.api_client.do("GET", _path(securable), query=query)
                except NotFound:
                    return None
                found |= grants_of(body)
                if not body.get("next_page_token"):
                    return found
                query = {"page_token": body["next_page_token"]}

    def change_grants(self, securable: Securable, changes: Sequence[GrantChange]) -> None:
        """Grant and revoke."""
        body = [{"principal": c.principal, "add": [*c.add], "remove": [*c.remove]} for c in changes]
        with self._asked(f"change the grants on the {securable}"):
            self.client.api_client.do("PATCH", _path(securable), body={"changes": body})

    def _found(self, doing: str, get: Any) -> bool:
        from databricks.sdk.errors import NotFound

        with self._asked(doing):
            try:
                get()
            except NotFound:
                return False
        return True

    @contextmanager
    def _asked(self, doing: str) -> Iterator[None]:
        from databricks.sdk.errors import DatabricksError

        try:
            yield
        except DatabricksError as error:
            raise CatalogError(f"cannot {doing}: {self.where} says: {error}") from error
        except OSError as error:
            raise CatalogError(f"cannot {doing}: {self.where} does not answer: {error}") from error


def _path(securable: Securable) -> str:
    kind = _TYPES.get(securable.kind, securable.kind.upper())
    return f"{API}/permissions/{kind}/{securable.name}"
