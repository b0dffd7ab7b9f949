"""`lakeops maintain`: the plan for a product's tables, and its execution in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import dagster as dg

from lakeops_assets.commands.run import UnknownProductError, open_instance
from lakeops_assets.components.maintenance import (
    MaintenanceSpec,
    carry_out,
    maintenance_key,
    maintenance_metadata,
    maintenance_specs,
)
from lakeops_assets.components.names import STATE
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import (
    LakehouseError,
    Locks,
    MaintenancePlan,
    MaintenanceResult,
    TableName,
)
from lakeops_assets.lakehouse.maintenance import drop_versions
from lakeops_assets.settings import Settings


@dataclass(frozen=True)
class ProductMaintenance:
    """The maintenance of one product.

    Attributes:
        product: Name of the product.
        plans: What would be done to each table.
        results: What was done; empty when it was only planned.
    """

    product: str
    plans: tuple[MaintenancePlan, ...]
    results: tuple[MaintenanceResult, ...] = ()


@dataclass(frozen=True)
class Dropped:
    """Versions of a table that can be read no more.

    Attributes:
        table: Full name of the table.
        up_to: Newest version of those.
        files_removed: Files that were deleted.
    """

    table: str
    up_to: int
    files_removed: int


def plan(products: Sequence[str], settings: Settings) -> list[ProductMaintenance]:
    """Return what maintenance would do.

    Raises:
        UnknownProductError: A product has no maintenance.
    """
    lakeops = LakeopsResource.from_settings(settings)
    lakehouse, now = lakeops.lakehouse(), lakeops.now()
    return [
        ProductMaintenance(spec.product, tuple(spec.plan(lakehouse, spec.locks(lakeops), now=now)))
        for spec in _chosen(products)
    ]


def maintain(planned: Sequence[ProductMaintenance], settings: Settings) -> list[ProductMaintenance]:
    """Carry out plans, and leave the same record in Dagster as a run of the asset would."""
    lakeops = LakeopsResource.from_settings(settings)
    lakehouse = lakeops.lakehouse()
    done = []
    with open_instance(settings) as instance:
        for product in planned:
            results = carry_out(lakehouse, product.plans)
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    maintenance_key(product.product),
                    metadata=maintenance_metadata(results),
                    tags={STATE: lakeops.state_id()},
                )
            )
            done.append(replace(product, results=tuple(results)))
    return done


def drop(wanted: str, settings: Settings) -> Dropped:
    """Delete what only versions of a table up to one need, such as `churn.features@3`.

    Raises:
        LakehouseError: It is not of that form, there is no such table, or a model needs a version
            (a `LockedVersionError`).
    """
    lakeops = LakeopsResource.from_settings(settings)
    name, _, version = wanted.rpartition("@")
    if not name or not version.isdigit():
        raise LakehouseError(
            f"{wanted!r} does not name versions; write <schema>.<table>@<version>, such as "
            "churn.features@3"
        )
    lakehouse = lakeops.lakehouse()
    table = lakehouse.name(name)
    done = drop_versions(lakehouse, table, int(version), _locks_of(table, lakeops))
    return Dropped(str(table), int(version), done.files_removed)


def _locks_of(table: TableName, lakeops: LakeopsResource) -> Locks:
    """Return the locks as the policy of the table's product says; all models where none does."""
    from lakeops_assets import models

    specs = maintenance_specs(defs().resolve_asset_graph())
    keep: models.Keep = next((s.keep_models for s in specs if s.product == table.schema), "all")
    return models.needed_versions(lakeops.tracking_uri, table.catalog, keep=keep)


def _chosen(products: Sequence[str]) -> list[MaintenanceSpec]:
    there = maintenance_specs(defs().resolve_asset_graph())
    named = {spec.product for spec in there}
    unknown = [p for p in products if p not in named]
    if unknown:
        raise UnknownProductError(
            f"{', '.join(unknown)} has no maintenance; products that have: "
            f"{', '.join(sorted(named)) or 'none'}. Add a component of the type Maintenance to its "
            "defs.yaml"
        )
    return [spec for spec in there if not products or spec.product in products]
