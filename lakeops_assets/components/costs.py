"""One hook that records what every asset costs, whichever component it is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from lakeops_assets.components.rebuilt import with_assets
from lakeops_assets.lakehouse import open_lakehouse
from lakeops_assets.monitoring.costs import AssetRun, record

if TYPE_CHECKING:
    from lakeops_assets.components.resources import LakeopsResource


def with_costs(definitions: dg.Definitions) -> dg.Definitions:
    """Return definitions whose assets record what they cost in `<catalog>.lakeops.costs`."""
    return with_assets(
        definitions,
        assets=[
            _metered(asset) if isinstance(asset, dg.AssetsDefinition) else asset
            for asset in definitions.assets or []
        ],
        asset_checks=[_metered(checks) for checks in definitions.asset_checks or []],
    )


def _metered(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    if not asset.is_executable:
        return asset
    return asset.with_hooks({_hook(asset, "success"), _hook(asset, "failure")})


def _hook(asset: dg.AssetsDefinition, outcome: str) -> dg.HookDefinition:
    # Checks that are a step of their own cost their asset something.
    keys = sorted(asset.keys or {check.asset_key for check in asset.check_keys})
    product = next(iter(asset.group_names_by_key.values()), keys[0].path[0])
    decorator = dg.success_hook if outcome == "success" else dg.failure_hook

    @decorator(
        name=f"costs_of_{asset.op.name}_{outcome}",
        required_resource_keys={"lakeops"},
    )
    def costs(context: dg.HookContext) -> None:
        lakeops: LakeopsResource = context.resources.lakeops
        take_down(lakeops, context.run_id, context.step_key, product, keys, outcome)

    return costs


def take_down(
    lakeops: LakeopsResource,
    run_id: str,
    step: str,
    product: str,
    keys: Sequence[dg.AssetKey],
    outcome: str,
) -> None:
    """Record what was used since the last step ended: it is on this one's account.

    The hooks do it for every step but one that is interrupted, after which Dagster runs no hook.
    """
    run = AssetRun(
        run_id=run_id,
        step=step,
        product=product,
        assets=tuple(key.to_user_string() for key in keys),
        finished_at=lakeops.now(),
        outcome=outcome,
        usage=lakeops.meter.read(),  # so that the parts add up
    )
    settings = lakeops.settings()
    record(open_lakehouse(settings), run, settings.prices)
