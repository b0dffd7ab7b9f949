"""Who may do what with a product, as its YAML declares it."""

from __future__ import annotations

from dataclasses import dataclass

from lakeops_assets.catalogs.errors import GrantError
from lakeops_assets.catalogs.privileges import Kind, privilege


@dataclass(frozen=True, order=True)
class Securable:
    """An object that privileges are granted on.

    Attributes:
        kind: What it is.
        name: Its full name: `dev`, `dev.churn` or `dev.churn.scores`.
    """

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name}"


@dataclass(frozen=True)
class GrantRule:
    """What one principal may do with a product's schema, or with one object in it.

    Attributes:
        principal: Name of a group, a service principal or a user.
        privileges: What is allowed; `SELECT`, `use schema` and `USE_SCHEMA` are all understood.
        table: Table that it is about; the whole schema when this and `model` are empty.
        model: Registered model that it is about.
    """

    principal: str
    privileges: tuple[str, ...]
    table: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        if not self.principal.strip():
            raise GrantError("a grant needs a principal: a group, a service principal or a user")
        if self.table and self.model:
            raise GrantError(f"a grant is about a table or a model, not {self.table}, {self.model}")
        if not self.privileges:
            raise GrantError(
                f"the grant to {self.principal} has no privileges; leave out the grant instead: "
                "what is not declared is revoked on objects that are"
            )
        known = sorted({privilege(text, self.kind) for text in self.privileges})
        object.__setattr__(self, "privileges", tuple(known))

    @property
    def kind(self) -> Kind:
        """Kind of object that it is about."""
        if self.table:
            return "table"
        return "registered_model" if self.model else "schema"

    def securable(self, catalog: str, product: str) -> Securable:
        """Return the object that it is about, in one environment."""
        parts = (catalog, product, self.table or self.model)
        return Securable(self.kind, ".".join(part for part in parts if part))


@dataclass(frozen=True)
class GrantsSpec:
    """The grants of a product.

    Attributes:
        product: Product, which is the schema.
        rules: What is granted.
        storage: URL of the lakehouse's root as the catalog reaches it; the local folder if empty.
        register_tables: Whether the product's tables are registered, too.
    """

    product: str
    rules: tuple[GrantRule, ...]
    storage: str = ""
    register_tables: bool = True

    def __post_init__(self) -> None:
        seen: set[tuple[str, str, str]] = set()
        for rule in self.rules:
            key = (rule.principal, rule.table, rule.model)
            if key in seen:
                what = rule.table or rule.model or "the schema"
                raise GrantError(
                    f"{self.product} declares twice what {rule.principal} may do with {what}; "
                    "name all its privileges in one grant"
                )
            seen.add(key)
        object.__setattr__(self, "storage", self.storage.rstrip("/"))
