"""The asset graph: the products' components, and the policy that holds for all of them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import dagster as dg

import lakeops_assets.defs
from lakeops_assets import settings
from lakeops_assets.components.costs import with_costs
from lakeops_assets.components.databricks import with_databricks
from lakeops_assets.components.forget import forget_job
from lakeops_assets.components.names import ON_REQUEST
from lakeops_assets.components.products import load_products
from lakeops_assets.components.refresh import refresh_sensor
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.streaming import packages

# ComponentTree works from a wheel, where load_from_defs_folder misses a pyproject.toml; it is
# public and still marked as beta. So are checks that evaluate several gates together.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


@dg.definitions
def defs() -> dg.Definitions:
    """Load every product and add the resource, the executor, a job each and the refresh sensor."""
    settings.switch_off_telemetry()
    config = settings.load()
    products = with_costs(with_databricks(local_products(config)))
    needed = packages(spec.metadata for spec in _specs(products))
    groups = sorted({spec.group_name or "default" for spec in _specs(products)})
    return dg.Definitions.merge(
        products,
        dg.Definitions(
            resources={"lakeops": LakeopsResource.from_settings(config, needed)},
            # The steps of a run share its process: a step costs milliseconds instead of the
            # seconds in which a process of its own would import everything again.
            executor=dg.in_process_executor,
            jobs=[
                *(_product_job(group, list(_specs(products))) for group in groups),
                *(forget_job(group, list(_specs(products))) for group in groups),
            ],
            sensors=[refresh_sensor()],
        ),
    )


def local_products(config: settings.Settings) -> dg.Definitions:
    """Return what the products declare, with every asset made by this process."""
    packaged = Path(lakeops_assets.defs.__path__[0])
    products = load_products(lakeops_assets.defs, packaged, packaged.parent.parent)
    if not config.products.is_dir():
        return products
    theirs = load_products(_module(config.products), config.products, config.products.parent)
    return dg.Definitions.merge(products, _without_tree(theirs))


def _specs(definitions: dg.Definitions) -> Iterator[dg.AssetSpec]:
    for asset in definitions.assets or []:
        if isinstance(asset, dg.AssetSpec):
            yield asset
        elif isinstance(asset, dg.AssetsDefinition):
            yield from asset.specs


def _product_job(product: str, specs: Sequence[dg.AssetSpec]) -> dg.UnresolvedAssetJobDefinition:
    on_request = [spec.key for spec in specs if ON_REQUEST in spec.metadata]
    return dg.define_asset_job(
        product,
        selection=dg.AssetSelection.groups(product) - dg.AssetSelection.assets(*on_request),
        description=f"Brings everything of {product} up to date; what is already does nothing.",
    )


def _module(folder: Path) -> ModuleType:
    """Return a module for a folder of products that belongs to no package."""
    module = ModuleType("lakeops_products")
    module.__file__ = None
    module.__path__ = [str(folder)]
    sys.modules[module.__name__] = module
    return module


def _without_tree(definitions: dg.Definitions) -> dg.Definitions:
    """Return definitions that can be merged with others: of component trees there can be one."""
    return dg.Definitions(
        assets=definitions.assets,
        asset_checks=definitions.asset_checks,
        sensors=definitions.sensors,
        schedules=definitions.schedules,
        jobs=definitions.jobs,
    )
