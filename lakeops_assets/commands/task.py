"""`lakeops-task`: makes one asset on the machine that a job runs on.

The entry point of the wheel in a Databricks job. It looks the asset up by its key, makes it as it
is made anywhere else, and reports through Dagster Pipes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg


class TaskError(RuntimeError):
    """An asset could not be made here; raised, because a job fails with what is raised."""


def main() -> None:
    """Make the assets that the command line names, within a session of Dagster Pipes."""
    from dagster_pipes import (
        PipesCliArgsParamsLoader,
        PipesUnityCatalogVolumesContextLoader,
        PipesUnityCatalogVolumesMessageWriter,
        open_dagster_pipes,
    )

    assets, variables = _arguments(sys.argv[1:])
    os.environ.update(variables)
    with open_dagster_pipes(
        context_loader=PipesUnityCatalogVolumesContextLoader(),
        message_writer=PipesUnityCatalogVolumesMessageWriter(interval=5),
        params_loader=PipesCliArgsParamsLoader(),
    ) as pipes:
        pipes.report_custom_message(make(assets, pipes.run_id))


def make(assets: Sequence[str], run_id: str) -> Mapping[str, Any]:
    """Make assets in this process and return the message with what they found.

    Args:
        assets: Keys of assets that one step makes, such as `churn/features`.
        run_id: Run that asks; what is written here says so.

    Raises:
        TaskError: There is no such asset, or it failed.
    """
    import dagster as dg

    from lakeops_assets import settings
    from lakeops_assets.components import remote_results
    from lakeops_assets.components.resources import LakeopsResource
    from lakeops_assets.definitions import local_products

    settings.switch_off_telemetry()
    config = settings.load()
    keys = [dg.AssetKey.from_user_string(asset) for asset in assets]
    lakeops = LakeopsResource.from_settings(config)
    here = dg.Definitions(
        assets=[_asset(local_products(config), keys)],
        resources={"lakeops": lakeops},
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = here.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=keys, run_id=run_id, raise_on_error=False
        )
    if not result.success:
        raise TaskError(f"{', '.join(assets)} failed: {_reason(result)}")
    return remote_results.message(result.all_events, _rows_written(result))


def _arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    parser = argparse.ArgumentParser(prog="lakeops-task", allow_abbrev=False)
    parser.add_argument("--asset", action="append", required=True)
    parser.add_argument("--set", action="append", default=[])
    # What Dagster Pipes adds it reads itself.
    known, _ = parser.parse_known_args(list(arguments))
    pairs = (text.partition("=") for text in known.set)
    return known.asset, {name: value for name, _, value in pairs}


def _asset(definitions: dg.Definitions, keys: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    import dagster as dg

    made = [a for a in definitions.assets or [] if isinstance(a, dg.AssetsDefinition)]
    for asset in made:
        if set(keys) <= set(asset.keys):
            return asset
    there = sorted(key.to_user_string() for asset in made for key in asset.keys)
    raise TaskError(
        f"no step makes {', '.join(k.to_user_string() for k in keys)}; "
        f"assets here: {', '.join(there) or 'none'}"
    )


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """Return the first sentence of the deepest cause."""
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        if error is not None:
            while error.cause is not None:
                error = error.cause
            return error.message.strip().partition("\n")[0]
    return "a step failed without an error"


def _rows_written(result: dg.ExecuteInProcessResult) -> int:
    names = ("rows_inserted", "rows_updated", "rows_deleted")
    found = 0
    for event in result.get_asset_materialization_events():
        values = (event.materialization.metadata.get(name) for name in names)
        found += sum(int(v.value or 0) for v in values if v is not None)
    return found
