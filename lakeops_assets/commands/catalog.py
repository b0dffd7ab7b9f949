"""What a Unity Catalog lacks of what a product declares, and making it so."""

from __future__ import annotations

from lakeops_assets import catalogs
from lakeops_assets.commands.run import UnknownProductError
from lakeops_assets.components.grants import audit, declared, grants_of, open_catalog
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.settings import Settings


def plan(product: str, settings: Settings) -> catalogs.CatalogPlan:
    """Return what has to be done; changes nothing.

    Raises:
        CatalogError: No catalog is named, or it does not answer.
        UnknownProductError: The product declares no grants.
    """
    catalog, wanted, _ = _opened(product, settings)
    return catalogs.plan(wanted, catalogs.observe(catalog, wanted), catalog)


def apply(product: str, digest: str, reason: str, settings: Settings) -> catalogs.CatalogPlan:
    """Carry out a plan that somebody has looked at, and return it.

    Args:
        product: Product.
        digest: Digest of the plan.
        reason: Why; recorded with each act.
        settings: Where the tables and the catalog are.

    Raises:
        CatalogChangedError: It is not the plan any more; nothing was done.
        CatalogError: The catalog refuses.
        UnknownProductError: The product declares no grants.
    """
    catalog, wanted, lakeops = _opened(product, settings)
    planned = catalogs.plan(wanted, catalogs.observe(catalog, wanted), catalog)
    return catalogs.apply(catalog, wanted, digest, audit(lakeops, planned, reason))


def _opened(
    product: str, settings: Settings
) -> tuple[catalogs.Catalog, catalogs.Declared, LakeopsResource]:
    graph = defs().resolve_asset_graph()
    specs = {spec.product: spec for spec in grants_of(graph)}
    if product not in specs:
        raise UnknownProductError(
            f"{product} declares no grants; products that do: "
            f"{', '.join(sorted(specs)) or 'none'}. The component Grants declares them"
        )
    lakeops = LakeopsResource.from_settings(settings)
    catalog = open_catalog(settings.unity_catalog)
    return catalog, declared(lakeops, graph, specs[product]), lakeops
