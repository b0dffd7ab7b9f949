"""The open-source Unity Catalog server, over HTTP.

Source: `api/all.yaml` of the server. A client of its own, because the published one pins versions
that this project does not have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from lakeops_assets.catalogs.answers import API, grants_of, table_of
from lakeops_assets.catalogs.errors import CatalogError
from lakeops_assets.catalogs.grants import Securable
from lakeops_assets.catalogs.objects import GrantChange, Table
from lakeops_assets.lakehouse import TableName

_TIMEOUT = 30.0
# Of those that objects of a product can have; the others are for storage.
_PRIVILEGES = (
    *("USE_CATALOG", "CREATE_SCHEMA", "USE_SCHEMA", "CREATE_TABLE", "SELECT", "MODIFY"),
    *("CREATE_FUNCTION", "EXECUTE", "CREATE_VOLUME", "READ_VOLUME", "CREATE_MODEL"),
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _NotFoundError(Exception):
    """There is no such object."""


class OpenSourceCatalog:
    """A server of Unity Catalog; methods as in `Catalog`.

    Args:
        url: Address of the server, such as `http://127.0.0.1:8080`.
        token: Token that it asks for; empty where it asks for none.

    Raises:
        CatalogError: The address is none.
    """

    privileges = frozenset(_PRIVILEGES)

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CatalogError(
                f"{url!r} is no address of a Unity Catalog server; write http://<host>:<port>"
            )
        if token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise CatalogError(f"a token would go over the network to {url} as it is; use https")
        self.reads_files = parts.hostname in _LOOPBACK
        self.url = url.rstrip("/").removesuffix(API)
        self.where = f"Unity Catalog at {self.url}"
        self._token = token

    def catalogs(self) -> list[str]:
        """Return the names of the catalogs."""
        return self._names("/catalogs", "catalogs", {})

    def has_catalog(self, name: str) -> bool:
        """Return whether there is a catalog."""
        return self._get(f"/catalogs/{quote(name)}") is not None

    def create_catalog(self, name: str, comment: str) -> None:
        """Create a catalog."""
        self._send("POST", "/catalogs", {"name": name, "comment": comment})

    def schemas(self, catalog: str) -> list[str]:
        """Return the names of the schemas."""
        return self._names("/schemas", "schemas", {"catalog_name": catalog})

    def has_schema(self, catalog: str, name: str) -> bool:
        """Return whether there is a schema."""
        return self._get(f"/schemas/{quote(f'{catalog}.{name}')}") is not None

    def create_schema(self, catalog: str, name: str, comment: str) -> None:
        """Create a schema."""
        body = {"name": name, "catalog_name": catalog, "comment": comment}
        self._send("POST", "/schemas", body)

    def tables(self, catalog: str, schema: str) -> list[str]:
        """Return the names of the tables."""
        return self._names("/tables", "tables", {"catalog_name": catalog, "schema_name": schema})

    def table(self, name: TableName) -> Table | None:
        """Return a table."""
        found = self._get(f"/tables/{quote(str(name))}")
        return None if found is None else table_of(found)

    def register(self, table: Table) -> None:
        """Register a table."""
        self._send("POST", "/tables", table.body())

    def grants(self, securable: Securable) -> Mapping[str, frozenset[str]] | None:
        """Return the grants on an object.

        Who does not own the object or what it is in is shown its own grants only.
        """
        found = self._get(f"/permissions/{securable.kind}/{quote(securable.name)}")
        return None if found is None else grants_of(found)

    def change_grants(self, securable: Securable, changes: Sequence[GrantChange]) -> None:
        """Grant and revoke; the server spells privileges with blanks."""
        body = [
            {"principal": c.principal, "add": _spelt(c.add), "remove": _spelt(c.remove)}
            for c in changes
        ]
        path = f"/permissions/{securable.kind}/{quote(securable.name)}"
        self._send("PATCH", path, {"changes": body})

    def _names(self, path: str, field: str, query: Mapping[str, str]) -> list[str]:
        return sorted(item["name"] for item in self._pages(path, field, query))

    def _pages(self, path: str, field: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        asked = dict(query)
        while True:
            found = self._send("GET", f"{path}?{urlencode(asked)}" if asked else path)
            yield from found.get(field) or []
            if not found.get("next_page_token"):
                return
            asked["page_token"] = found["next_page_token"]

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            return self._request("GET", path, None)
        except _NotFoundError:
            return None

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            return self._request(method, path, body)
        except _NotFoundError as error:
            raise CatalogError(f"cannot {method} {path}: {self.where} says: {error}") from error

    def _request(self, method: str, path: str, body: Any) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = Request(  # noqa: S310  # of http and https alone, see above
            f"{self.url}{API}{path}", data=data, headers=headers, method=method
        )
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                found = json.loads(answer.read() or b"{}")
        except HTTPError as error:
            said = _said(error)
            if error.code == 404 and method == "GET":
                raise _NotFoundError(said) from error
            raise CatalogError(f"cannot {method} {path}: {self.where} says: {said}") from error
        except (URLError, TimeoutError, ConnectionError) as error:
            raise CatalogError(f"{self.where} does not answer: {error}") from error
        except ValueError as error:
            raise CatalogError(f"{self.where} answers {method} {path} with no JSON") from error
        return found if isinstance(found, dict) else {}


def _spelt(privileges: Sequence[str]) -> list[str]:
    return [privilege.replace("_", " ") for privilege in privileges]


def _said(error: HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        body = json.loads(text)
        return f"{body['error_code']}: {body['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason} {text[:200]}".strip()
