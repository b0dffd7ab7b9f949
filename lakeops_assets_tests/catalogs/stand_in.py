"""A strict stand-in for the interface of Unity Catalog, in the two ways that it is spoken.

Written from the SDK's methods and from the open-source server's `api/all.yaml` and its services,
and not from the client that is tested with it. It is no proof that a real one takes the same.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

API = "/api/2.1/unity-catalog"
TOKEN = "dapi-catalog"
_NAME = re.compile(r"[^\s./\x00-\x1f\x7f]{1,255}")
_COLUMN = {
    *("name", "type_text", "type_json", "type_name", "type_precision", "type_scale"),
    *("type_interval_type", "position", "comment", "nullable", "partition_index"),
}
_FIELD = {"name", "type", "nullable", "metadata"}
_TABLE = {
    *("name", "catalog_name", "schema_name", "table_type", "data_source_format", "columns"),
    *("storage_location", "comment", "properties"),
}
_TYPES = {
    *("BOOLEAN", "BYTE", "SHORT", "INT", "LONG", "FLOAT", "DOUBLE", "DATE", "TIMESTAMP"),
    *("TIMESTAMP_NTZ", "STRING", "BINARY", "DECIMAL", "ARRAY", "STRUCT", "MAP"),
}


class RefusedError(Exception):
    """A request that a catalog would refuse."""

    def __init__(self, message: str, code: str = "INVALID_PARAMETER_VALUE", status: int = 400):
        super().__init__(message)
        self.status = status
        self.body = {"error_code": code, "message": message}


@dataclass(frozen=True)
class Dialect:
    """How one of the two speaks.

    Attributes:
        securables: Type in a path -> kind of object.
        privileges: Privileges that there are.
        page: Most items of a page.
        users: Principals that there are; None when any is taken.
        local: Whether `file:` locations are read.
    """

    securables: dict[str, str]
    privileges: frozenset[str]
    page: int = 2
    users: frozenset[str] | None = None
    local: bool = False


def databricks() -> Dialect:
    """Return how a workspace speaks; its privileges are those of the SDK."""
    from databricks.sdk.service.catalog import Privilege

    names = {"CATALOG": "catalog", "SCHEMA": "schema", "TABLE": "table", "FUNCTION": "model"}
    return Dialect(names, frozenset(p.value for p in Privilege))


OPEN_SOURCE = Dialect(
    {"catalog": "catalog", "schema": "schema", "table": "table", "registered_model": "model"},
    frozenset(
        {
            *("CREATE CATALOG", "USE CATALOG", "CREATE SCHEMA", "USE SCHEMA", "CREATE TABLE"),
            *("SELECT", "MODIFY", "CREATE FUNCTION", "EXECUTE", "CREATE VOLUME", "READ VOLUME"),
            *("CREATE MODEL", "CREATE EXTERNAL LOCATION", "READ FILES", "WRITE FILES"),
            *("CREATE EXTERNAL TABLE", "CREATE EXTERNAL VOLUME", "CREATE MANAGED STORAGE"),
            "CREATE STORAGE CREDENTIAL",
        }
    ),
    users=frozenset({"ann@example.org", "bob@example.org", "analysts"}),
    local=True,
)


@dataclass
class Catalogs:
    """A catalog server; `with Catalogs(dialect) as server` serves it on a port of this machine."""

    dialect: Dialect
    objects: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {"catalog": {}, "schema": {}, "table": {}, "model": {}}
    )
    granted: dict[tuple[str, str], dict[str, set[str]]] = field(default_factory=dict)
    journal: list[tuple[str, str, Any, int]] = field(default_factory=list)
    keeps: bool = True  # whether grants are kept; an open-source server without checks keeps none
    token: str = TOKEN
    meanwhile: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        served = self

        class Handler(_Handler):
            server_state = served

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Catalogs:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def writes(self) -> list[tuple[str, str, Any]]:
        """Requests that were carried out and are no reads."""
        return [(m, p, b) for m, p, b, s in self.journal if m != "GET" and s == 200]

    def grant(self, kind: str, name: str, principal: str, *privileges: str) -> None:
        """Grant as somebody else would."""
        self.granted.setdefault((kind, name), {}).setdefault(principal, set()).update(privileges)

    def authorize(self, header: str | None) -> None:
        """Refuse who has no token."""
        if self.token and header != f"Bearer {self.token}":
            raise RefusedError("Invalid access token.", "UNAUTHENTICATED", 401)

    # What the endpoints do.

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any]:
        parts = path.removeprefix(API).strip("/").split("/")
        match (method, parts):
            case ("GET", [("catalogs" | "schemas" | "tables") as many]):
                return self._list(many, query)
            case ("POST", [("catalogs" | "schemas" | "tables") as many]):
                return self._create(many.removesuffix("s"), body)
            case ("GET", [("catalogs" | "schemas" | "tables") as many, name]):
                return self._get(many.removesuffix("s"), name)
            case ("GET", ["permissions", kind, name]):
                return self._permissions(self._securable(kind), name, query)
            case ("PATCH", ["permissions", kind, name]):
                return self._update(self._securable(kind), name, body)
        raise RefusedError(f"No API found for '{method} {path}'", "ENDPOINT_NOT_FOUND", 404)

    def _securable(self, kind: str) -> str:
        if kind not in self.dialect.securables:
            raise RefusedError(f"Unknown securable type {kind}")
        return self.dialect.securables[kind]

    def _get(self, kind: str, name: str) -> dict[str, Any]:
        found = self.objects[kind].get(name)
        if found is None:
            code = f"{kind.upper()}_DOES_NOT_EXIST"
            raise RefusedError(f"{kind.title()} '{name}' does not exist.", code, 404)
        return found

    def _list(self, many: str, query: dict[str, str]) -> dict[str, Any]:
        scope = {"catalogs": (), "schemas": ("catalog_name",)}
        wanted = scope.get(many, ("catalog_name", "schema_name"))
        missing = [name for name in wanted if name not in query]
        if missing:
            raise RefusedError(f"missing parameter {missing[0]}")
        parent = ".".join(query[name] for name in wanted)
        if parent:
            self._get("catalog" if many == "schemas" else "schema", parent)
        items = [
            body
            for name, body in sorted(self.objects[many.removesuffix("s")].items(), reverse=True)
            if name.rpartition(".")[0] == parent
        ]
        start = int(query.get("page_token") or 0)
        end = start + self.dialect.page
        more = {"next_page_token": str(end)} if end < len(items) else {}
        return {many: items[start:end], **more}

    def _create(self, kind: str, body: Any) -> dict[str, Any]:
        fields = {
            "catalog": {"name", "comment", "properties", "storage_root", "options"},
            "schema": {"name", "catalog_name", "comment", "properties", "storage_root"},
            "table": _TABLE,
        }[kind]
        required = {
            "catalog": ("name",),
            "schema": ("name", "catalog_name"),
            "table": ("name", "catalog_name", "schema_name", "table_type", "columns"),
        }[kind]
        _known(body, fields, required, kind)
        if not _NAME.fullmatch(body["name"]):
            raise RefusedError(f"Name {body['name']!r} is not valid", "INVALID_ARGUMENT")
        parents = [body[name] for name in ("catalog_name", "schema_name") if name in body]
        if parents:
            self._get("schema" if len(parents) == 2 else "catalog", ".".join(parents))
        full = ".".join([*parents, body["name"]])
        if full in self.objects[kind]:
            raise RefusedError(f"{kind} {full} already exists", f"{kind.upper()}_ALREADY_EXISTS")
        if kind == "table":
            self._external(body)
        self.objects[kind][full] = {**body, "full_name": full, "owner": "ann@example.org"}
        return self.objects[kind][full]

    def _external(self, body: dict[str, Any]) -> None:
        location = body.get("storage_location") or ""
        if body["table_type"] != "EXTERNAL" or body.get("data_source_format") != "DELTA":
            raise RefusedError("this stand-in registers external Delta tables")
        if not re.match(
            r"(s3|abfss|gs)://[^/]+/." + ("|file:///." if self.dialect.local else ""), location
        ):
            raise RefusedError(f"Invalid storage location {location!r}")
        for name, other in self.objects["table"].items():
            if other["storage_location"].rstrip("/") == location.rstrip("/"):
                raise RefusedError(f"Location overlaps with the table {name}", "LOCATION_OVERLAP")
        for number, column in enumerate(body["columns"]):
            needed = ("name", "type_text", "type_name", "type_json", "position")
            _known(column, _COLUMN, needed, f"columns[{number}]")
            field_ = json.loads(column["type_json"])
            _known(field_, _FIELD, tuple(sorted(_FIELD)), f"columns[{number}].type_json")
            if field_["name"] != column["name"] or column["position"] != number:
                raise RefusedError(f"columns[{number}] contradicts itself")
            if column["type_name"] not in _TYPES:
                raise RefusedError(f"columns[{number}].type_name is {column['type_name']}")
            if (column["type_name"] == "DECIMAL") != ("type_precision" in column):
                raise RefusedError(f"columns[{number}] is a decimal with no digits")

    def _exists(self, kind: str, name: str) -> None:
        if name not in self.objects[kind]:
            code = f"{kind.upper()}_DOES_NOT_EXIST"
            raise RefusedError(f"{kind} '{name}' does not exist.", code, 404)

    def _permissions(self, kind: str, name: str, query: dict[str, str]) -> dict[str, Any]:
        self._exists(kind, name)
        there = sorted(self.granted.get((kind, name), {}).items())
        entries = [{"principal": who, "privileges": sorted(what)} for who, what in there if what]
        if self.dialect.local:  # the open-source server has no pages here
            return {"privilege_assignments": entries}
        start = int(query.get("page_token") or 0)
        end = start + self.dialect.page
        more = {"next_page_token": str(end)} if end < len(entries) else {}
        return {"privilege_assignments": entries[start:end], **more}

    def _update(self, kind: str, name: str, body: Any) -> dict[str, Any]:
        self._exists(kind, name)
        _known(body, {"changes"}, ("changes",), "body")
        needed = ("principal", "add", "remove") if self.dialect.local else ("principal",)
        for number, change in enumerate(body["changes"]):
            _known(change, {"principal", "add", "remove"}, needed, f"changes[{number}]")
            for privilege in [*change.get("add", []), *change.get("remove", [])]:
                if privilege not in self.dialect.privileges:
                    raise RefusedError(f"Privilege {privilege} is not known", "INVALID_ARGUMENT")
            users = self.dialect.users
            if users is not None and change["principal"] not in users:
                message = f"User not found: {change['principal']}"
                raise RefusedError(message, "NOT_FOUND", 404)
        for change in body["changes"] if self.keeps else []:
            there = self.granted.setdefault((kind, name), {}).setdefault(change["principal"], set())
            there |= set(change.get("add", []))
            there -= set(change.get("remove", []))
        return self._permissions(kind, name, {})


def _known(body: Any, fields: set[str], required: tuple[str, ...], what: str) -> None:
    if not isinstance(body, dict):
        raise RefusedError(f"{what} is no object", "MALFORMED_REQUEST")
    unknown = sorted(set(body) - fields)
    if unknown:
        raise RefusedError(f"unknown field {what}.{unknown[0]}", "MALFORMED_REQUEST")
    missing = [name for name in required if name not in body]
    if missing:
        raise RefusedError(f"missing field {what}.{missing[0]}", "MALFORMED_REQUEST")


class _Handler(BaseHTTPRequestHandler):
    server_state: Catalogs
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), dict(parse_qsl(url.query))
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        state, status = self.server_state, 200
        try:
            state.authorize(self.headers.get("Authorization"))
            answer = state.answer(self.command, path, query, body)
        except RefusedError as refused:
            status, answer = refused.status, refused.body
        state.journal.append((self.command, path.removeprefix(API), body, status))
        state.meanwhile.pop((self.command, path.removeprefix(API)), lambda: None)()
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = _handle  # noqa: N815
