"""Who may do what with a product, as code."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets import settings
from lakeops_assets.catalogs import (
    Act,
    Catalog,
    CatalogError,
    CatalogPlan,
    DatabricksCatalog,
    Declared,
    GrantRule,
    GrantsSpec,
    OpenSourceCatalog,
    Securable,
    Table,
    apply,
    columns,
    observe,
    plan,
)
from lakeops_assets.components.lineage import graph_of
from lakeops_assets.components.names import LAYER, ON_REQUEST, STATE, TABLE_NAME, digest
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.databricks import connect
from lakeops_assets.governance import AuditEntry, record_act
from lakeops_assets.lakehouse import TableName

# Metadata of the asset: the grants, for whoever has the definitions at hand.
GRANTS = "lakeops/grants"


class GrantModel(dg.Model, dg.Resolvable):
    """What one principal may do."""

    principal: str = Field(description="Group, service principal or user.")
    privileges: list[str] = Field(
        min_length=1, description="What is allowed, such as `USE_SCHEMA` and `SELECT`."
    )
    table: str = Field(
        default="", description="Table that it is about; the whole schema when left out."
    )
    registered_model: str = Field(
        default="", description="Registered model that it is about, such as `model`."
    )

    def rule(self) -> GrantRule:
        """Return what the catalogs room needs to know."""
        return GrantRule(self.principal, tuple(self.privileges), self.table, self.registered_model)


@dg.scaffold_with(ExampleScaffolder)
class Grants(dg.Component, dg.Model, dg.Resolvable):
    """Declares who may do what with the product's schema, its tables and its models.

    `lakeops catalog plan` compares it with a Unity Catalog, on Databricks or the open-source
    server, and `lakeops catalog apply` makes it so. On an object that is declared, what is not
    declared is revoked; objects that are not declared are never touched. `lakeops bundle` writes
    the grants on schemas and models into the bundle, too.
    """

    grants: list[GrantModel] = Field(min_length=1, description="Who may do what.")
    storage: str = Field(
        default="",
        description="URL of the lakehouse's root as the catalog reaches it, such as "
        "`s3://bucket/lakehouse`; the folder on this machine when left out.",
    )
    register_tables: bool = Field(
        default=True,
        description="Whether the product's tables are registered with the catalog, as external "
        "Delta tables.",
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["governance", "databricks"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the grants as an asset, which is made on request alone."""
        product = self.product or context.path.name
        rules = tuple(grant.rule() for grant in self.grants)
        spec = GrantsSpec(product, rules, self.storage, self.register_tables)

        @dg.asset(
            key=dg.AssetKey([product, "grants"]),
            group_name=product,
            description=f"Who may do what with {product} in Unity Catalog. Materialize it to make "
            "the catalog as it is declared.",
            code_version=digest(spec),
            metadata={LAYER: "governance", ON_REQUEST: True, GRANTS: ObjectMetadataValue(spec)},
        )
        def grants(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            catalog = open_catalog(lakeops.unity_catalog)
            wanted = declared(lakeops, graph_of(context), spec)
            planned = plan(wanted, observe(catalog, wanted), catalog)
            note = audit(lakeops, planned, f"run {context.run_id}")
            apply(catalog, wanted, planned.digest, note)
            return dg.MaterializeResult(
                metadata={
                    "catalog": planned.where,
                    "plan": planned.digest,
                    "done": [str(act) for act in planned.acts],
                    "waiting": list(planned.waiting),
                    "differing": list(planned.differing),
                },
                tags={STATE: lakeops.state_id()},
            )

        return dg.Definitions(assets=[grants])


def grants_of(graph: AssetGraph) -> list[GrantsSpec]:
    """Return the grants of all products."""
    found = (graph.get(key).metadata.get(GRANTS) for key in graph.toposorted_asset_keys)
    values = (getattr(value, "instance", None) for value in found)
    return [value for value in values if isinstance(value, GrantsSpec)]


def open_catalog(server: str) -> Catalog:
    """Return the catalog that the settings name.

    Args:
        server: `databricks`, or the address of an open-source server.

    Raises:
        CatalogError: None is named, or the address is none.
        WorkspaceError: No workspace is found.
    """
    if not server:
        raise CatalogError(
            "no Unity Catalog is named: set LAKEOPS_UNITY_CATALOG to databricks, or to the address "
            "of an open-source server such as http://127.0.0.1:8080"
        )
    if server == "databricks":
        return DatabricksCatalog(connect())
    return OpenSourceCatalog(server, settings.unity_catalog_token())


def declared(lakeops: LakeopsResource, graph: AssetGraph, spec: GrantsSpec) -> Declared:
    """Return what is wanted of a product in the present environment.

    Tables are those of the product that are there already, in the order of their names.

    Args:
        lakeops: Where the tables are.
        graph: The asset graph.
        spec: The grants of the product.
    """
    catalog = lakeops.environment
    grants: dict[Securable, dict[str, frozenset[str]]] = {}
    for rule in spec.rules:
        securable = rule.securable(catalog, spec.product)
        grants.setdefault(securable, {})[rule.principal] = frozenset(rule.privileges)
    return Declared(
        catalog,
        spec.product,
        f"Tables and models of {spec.product}.",
        tuple(_tables(lakeops, graph, spec)) if spec.register_tables else (),
        grants,
    )


def audit(lakeops: LakeopsResource, planned: CatalogPlan, reason: str) -> Callable[[Act], None]:
    """Return what records an act in `<catalog>.lakeops.audit` before it is done.

    Args:
        lakeops: Where the table is.
        planned: Plan that the act is of.
        reason: Why it is done.
    """

    def record(act: Act) -> None:
        entry = AuditEntry(
            at=lakeops.now(),
            actor=lakeops.actor,
            action=f"catalog.{type(act).__name__}",
            subject=str(act.securable),
            reason=reason,
            details={"act": str(act), "catalog": planned.where, "plan": planned.digest},
        )
        record_act(lakeops.lakehouse(), entry)

    return record


def _tables(lakeops: LakeopsResource, graph: AssetGraph, spec: GrantsSpec) -> Iterator[Table]:
    lakehouse = lakeops.lakehouse()
    for key in sorted(graph.materializable_asset_keys):
        named = graph.get(key).metadata.get(TABLE_NAME)
        if named is None or graph.get(key).group_name != spec.product:
            continue
        name = TableName.parse(str(getattr(named, "value", named)))
        if not lakehouse.exists(name):
            continue
        local = Path(lakehouse.location(name)).absolute().as_uri()
        path = quote(f"{name.catalog}/{name.schema}/{name.table}")
        yield Table(
            name,
            f"{spec.storage}/{path}" if spec.storage else local,
            columns(lakehouse.schema(name)),
            graph.get(key).description or "",
        )
