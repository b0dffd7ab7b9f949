"""What a catalog lacks of what is declared: look, plan, and do exactly that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

from lakeops_assets.catalogs.errors import CatalogChangedError, CatalogError, GrantError
from lakeops_assets.catalogs.grants import Securable
from lakeops_assets.catalogs.objects import GrantChange, Table, normal_location
from lakeops_assets.catalogs.protocol import Catalog
from lakeops_assets.lakehouse import TableName

Grants: TypeAlias = Mapping[Securable, Mapping[str, frozenset[str]]]


@dataclass(frozen=True)
class Declared:
    """What is wanted of one product in one environment.

    Attributes:
        catalog: Catalog, which is the environment.
        schema: Schema, which is the product.
        comment: What the product is.
        tables: Tables to register.
        grants: Object -> principal -> privileges. What is not named on an object is revoked there;
            an object that is not named is not looked at.
    """

    catalog: str
    schema: str
    comment: str = ""
    tables: tuple[Table, ...] = ()
    grants: Grants = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """What is there of it.

    Attributes:
        catalog: Whether there is the catalog.
        schema: Whether there is the schema.
        tables: Table -> what is registered under its name; None for nothing.
        grants: Object -> principal -> privileges; None where there is no such object.
    """

    catalog: bool
    schema: bool
    tables: Mapping[TableName, Table | None]
    grants: Mapping[Securable, Mapping[str, frozenset[str]] | None]


@dataclass(frozen=True)
class CreateCatalog:
    """The catalog is created."""

    securable: Securable
    comment: str

    def __str__(self) -> str:
        return f"create {self.securable}"


@dataclass(frozen=True)
class CreateSchema:
    """The schema is created."""

    securable: Securable
    comment: str

    def __str__(self) -> str:
        return f"create {self.securable}"


@dataclass(frozen=True)
class RegisterTable:
    """A table is registered."""

    securable: Securable
    table: Table

    def __str__(self) -> str:
        columns = len(self.table.columns)
        return f"register {self.securable} with {columns} columns at {self.table.location}"


@dataclass(frozen=True)
class ChangeGrants:
    """The privileges of one principal on one object change."""

    securable: Securable
    change: GrantChange

    def __str__(self) -> str:
        parts = []
        if self.change.add:
            parts.append(f"grant {', '.join(self.change.add)} to {self.change.principal}")
        if self.change.remove:
            parts.append(f"revoke {', '.join(self.change.remove)} from {self.change.principal}")
        return f"{' and '.join(parts)} on {self.securable}"


Act: TypeAlias = CreateCatalog | CreateSchema | RegisterTable | ChangeGrants


@dataclass(frozen=True)
class CatalogPlan:
    """What has to be done, in its order.

    Attributes:
        where: Catalog that it is about.
        acts: What has to be done.
        waiting: What is declared and cannot be done yet, with the reason.
        differing: What is there and is not as declared, and is left as it is.
        state: Hash of what was seen.
    """

    where: str
    acts: tuple[Act, ...]
    waiting: tuple[str, ...]
    differing: tuple[str, ...]
    state: str

    @property
    def digest(self) -> str:
        """Hash of the plan and of what it was made from; `apply` asks for it."""
        said = [self.where, [asdict(act) for act in self.acts], self.state]
        return _hash(said)[:16]


def observe(catalog: Catalog, declared: Declared) -> Observed:
    """Look at what is declared, and at nothing else.

    Raises:
        CatalogError: The catalog does not answer.
    """
    there = catalog.has_catalog(declared.catalog)
    schema = there and catalog.has_schema(declared.catalog, declared.schema)
    tables = {t.name: catalog.table(t.name) if schema else None for t in declared.tables}
    exists = {Securable("catalog", declared.catalog): there}
    grants = {
        securable: catalog.grants(securable) if exists.get(securable, schema) else None
        for securable in declared.grants
    }
    return Observed(there, schema, tables, grants)


def plan(declared: Declared, observed: Observed, catalog: Catalog) -> CatalogPlan:
    """Return what has to be done; asks the catalog nothing.

    Args:
        declared: What is wanted.
        observed: What is there.
        catalog: Where; of it only what it can do is looked at.

    Raises:
        CatalogError: The catalog could not read the tables.
        GrantError: The catalog does not know a privilege.
    """
    _require_known(declared, catalog)
    acts: list[Act] = []
    top = Securable("catalog", declared.catalog)
    schema = Securable("schema", f"{declared.catalog}.{declared.schema}")
    if not observed.catalog:
        acts.append(CreateCatalog(top, f"Environment {declared.catalog}."))
    if not observed.schema:
        acts.append(CreateSchema(schema, declared.comment))
    tables = [t for t in declared.tables if observed.tables[t.name] is None]
    _require_readable(tables, catalog)
    acts += [
        RegisterTable(Securable("table", str(t.name)), t)
        for t in sorted(tables, key=lambda t: t.name)
    ]
    coming = {act.securable for act in acts}
    waiting = []
    for securable, wanted in sorted(declared.grants.items()):
        there = observed.grants[securable]
        if there is None and securable not in coming:
            waiting.append(f"grants on {securable}: it is not in the catalog yet")
            continue
        acts += [ChangeGrants(securable, change) for change in _changes(wanted, there or {})]
    return CatalogPlan(
        catalog.where,
        tuple(acts),
        tuple(waiting),
        tuple(_differing(declared, observed)),
        _state(observed),
    )


def apply(
    catalog: Catalog, declared: Declared, digest: str, record: Callable[[Act], None]
) -> CatalogPlan:
    """Carry out a plan, if it is still the plan, and return it.

    Args:
        catalog: Where.
        declared: What is wanted.
        digest: Digest of the plan that somebody looked at.
        record: Called before each act.

    Raises:
        CatalogChangedError: What is there or what is declared is not what the plan was made from;
            nothing was done.
        CatalogError: The catalog refuses, or did not keep what it accepted.
    """
    now = plan(declared, observe(catalog, declared), catalog)
    if now.digest != digest:
        raise CatalogChangedError(
            f"nothing was done: the plan {digest} is not the plan any more, which is {now.digest}; "
            f"{catalog.where} or what is declared has changed. Look at the plan again"
        )
    for act in now.acts:
        record(act)
        _carry_out(catalog, act, declared)
    left = plan(declared, observe(catalog, declared), catalog)
    if left.acts:
        raise CatalogError(
            f"{catalog.where} accepted everything and did not keep it: {left.acts[0]}. A server "
            "that does not check who may do what keeps no grants (server.authorization=enable)"
        )
    return now


def _carry_out(catalog: Catalog, act: Act, declared: Declared) -> None:
    match act:
        case CreateCatalog():
            catalog.create_catalog(declared.catalog, act.comment)
        case CreateSchema():
            catalog.create_schema(declared.catalog, declared.schema, act.comment)
        case RegisterTable():
            catalog.register(act.table)
        case ChangeGrants():
            catalog.change_grants(act.securable, [act.change])


def _changes(
    wanted: Mapping[str, frozenset[str]], there: Mapping[str, frozenset[str]]
) -> Iterator[GrantChange]:
    for principal in sorted({*wanted, *there}):
        want, have = wanted.get(principal, frozenset()), there.get(principal, frozenset())
        if want != have:
            yield GrantChange(principal, tuple(sorted(want - have)), tuple(sorted(have - want)))


def _require_known(declared: Declared, catalog: Catalog) -> None:
    for securable, by_principal in sorted(declared.grants.items()):
        unknown = sorted(set().union(*by_principal.values()) - catalog.privileges)
        if unknown:
            raise GrantError(
                f"{catalog.where} has no privilege {', '.join(unknown)}, which is declared on "
                f"{securable}; it has: {', '.join(sorted(catalog.privileges))}"
            )


def _require_readable(tables: list[Table], catalog: Catalog) -> None:
    local = [t for t in tables if t.location.startswith("file:")]
    if local and not catalog.reads_files:
        raise CatalogError(
            f"{catalog.where} cannot read {local[0].location} of {local[0].name}: say in `storage` "
            "of the component Grants where it reaches the lakehouse, such as "
            "s3://bucket/lakehouse, or register_tables: false"
        )


def _differing(declared: Declared, observed: Observed) -> Iterator[str]:
    for table in sorted(declared.tables, key=lambda t: t.name):
        there = observed.tables[table.name]
        if there is None:
            continue
        if normal_location(there.location) != normal_location(table.location):
            yield f"table {table.name} is registered at {there.location}, not {table.location}"
        have = {c.name: c.type_text.lower() for c in there.columns}
        want = {c.name: c.type_text.lower() for c in table.columns}
        other = sorted(name for name in {*have, *want} if have.get(name) != want.get(name))
        if other:
            yield f"table {table.name} is registered with other columns: {', '.join(other)}"


def _state(observed: Observed) -> str:
    tables = {str(k): v and asdict(v) for k, v in observed.tables.items()}
    grants = {
        str(k): None if v is None else {principal: sorted(p) for principal, p in v.items()}
        for k, v in observed.grants.items()
    }
    return _hash([observed.catalog, observed.schema, tables, grants])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
