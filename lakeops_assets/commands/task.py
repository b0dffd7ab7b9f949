"""`lakeops-task`: makes one asset on the machine that a job runs on.

The entry point of the wheel in a Databricks job. It looks the asset up by its key, makes it as it
is made anywhere else, and reports through Dagster Pipes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

    from lakeops_assets.components.resources import LakeopsResource


class TaskError(RuntimeError):
    """An asset could not be made here; raised, because a job fails with what is raised."""


@dataclass(frozen=True)
class Asked:
    """What a job is asked to make.

    Attributes:
        assets: Keys of assets that one step makes, such as `churn/features`.
        state: State root that whoever asks has; empty when any will do.
        code: Asset -> code version that whoever asks has.
        variables: Environment.
    """

    assets: tuple[str, ...]
    state: str = ""
    code: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What became of it.

    Attributes:
        message: What was found, for whoever asked; also by an asset that failed afterwards.
        failure: Why it failed; empty when it did not.
    """

    message: Mapping[str, Any]
    failure: str


def main() -> None:
    """Make the assets that the command line names, within a session of Dagster Pipes.

    A job of a bundle is started by nobody who listens. There the checks of the assets run here too,
    since nobody else runs them, and what was found is printed.
    """
    from dagster_pipes import (
        PipesCliArgsParamsLoader,
        PipesUnityCatalogVolumesContextLoader,
        PipesUnityCatalogVolumesMessageWriter,
        open_dagster_pipes,
    )

    asked = _arguments(sys.argv[1:])
    os.environ.update(asked.variables)
    if not PipesCliArgsParamsLoader().is_dagster_pipes_process():
        made = make(asked, str(uuid.uuid4()), checks=True)
        print(json.dumps(made.message, indent=2))  # noqa: T201
        _require_made(asked, made)
        return
    with open_dagster_pipes(
        context_loader=PipesUnityCatalogVolumesContextLoader(),
        message_writer=PipesUnityCatalogVolumesMessageWriter(interval=5),
        params_loader=PipesCliArgsParamsLoader(),
    ) as pipes:
        made = make(asked, pipes.run_id)
        pipes.report_custom_message(made.message)
        _require_made(asked, made)


def make(asked: Asked, run_id: str, *, checks: bool = False) -> Made:
    """Make assets in this process.

    Args:
        asked: Assets that one step makes, and what has to be so here.
        run_id: Run that asks; what is written here says so.
        checks: Whether checks that are steps of their own, such as contracts and gates, run too.
            One that blocks and fails makes the whole fail.

    Raises:
        TaskError: There is no such asset, it is another one here, or nothing can be written.
            Nothing was.
    """
    import dagster as dg

    from lakeops_assets import settings
    from lakeops_assets.components import remote_results
    from lakeops_assets.components.resources import LakeopsResource
    from lakeops_assets.definitions import local_products

    settings.switch_off_telemetry()
    config = settings.load()
    keys = [dg.AssetKey.from_user_string(asset) for asset in asked.assets]
    lakeops = LakeopsResource.from_settings(config)
    products = local_products(config)
    found = _asset(products, keys)
    _require_links(lakeops)
    _require_same(asked, found, lakeops)
    here = dg.Definitions(
        assets=[found],
        asset_checks=_checks(products, keys) if checks else [],
        resources={"lakeops": lakeops},
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = here.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=keys, run_id=run_id, raise_on_error=False
        )
    message = remote_results.message(result.all_events, _rows_written(result))
    return Made(message, "" if result.success else _reason(result))


def _require_made(asked: Asked, made: Made) -> None:
    if made.failure:
        raise TaskError(f"{', '.join(asked.assets)} failed: {made.failure}")


def _arguments(arguments: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="lakeops-task", allow_abbrev=False)
    parser.add_argument("--asset", action="append", required=True)
    parser.add_argument("--code", action="append", default=[])
    parser.add_argument("--state", default="")
    parser.add_argument("--set", action="append", default=[])
    # What Dagster Pipes adds it reads itself.
    known, _ = parser.parse_known_args(list(arguments))
    return Asked(tuple(known.asset), known.state, _pairs(known.code), _pairs(known.set))


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = (text.partition("=") for text in texts)
    return {name: value for name, _, value in pairs}


def _require_links(lakeops: LakeopsResource) -> None:
    """Refuse a state root that delta-rs cannot commit to: each entry of a log is a hard link.

    Volumes of Unity Catalog are reported not to have them. Said before the work and not after it.
    """
    home = Path(lakeops.home)
    if lakeops.engine != "duckdb" or not home.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=home, prefix=".links-") as folder:
        file = Path(folder, "file")
        file.touch()
        try:
            Path(folder, "link").hardlink_to(file)
        except OSError as error:
            raise TaskError(
                f"LAKEOPS_HOME is {home} here, a file system without hard links ({error}), and "
                "delta-rs commits with them. Set `home` to one that has them; docs/databricks.md "
                "says which"
            ) from error


def _require_same(asked: Asked, asset: dg.AssetsDefinition, lakeops: LakeopsResource) -> None:
    """Refuse to make what would be something else than was asked for."""
    state = lakeops.state_id()
    if asked.state and state != asked.state:
        raise TaskError(
            f"LAKEOPS_HOME is {lakeops.home} here, which is the state {state}; whoever asks has "
            f"{asked.state}. Set `home` and LAKEOPS_ENV of the component Databricks so that both "
            "see the same state root"
        )
    here = {key.to_user_string(): version for key, version in asset.code_versions_by_key.items()}
    other = sorted(name for name, version in asked.code.items() if here.get(name) != version)
    if other:
        raise TaskError(
            f"{', '.join(other)} is declared in another way here: the wheel or the folder "
            "LAKEOPS_DEFS is older or newer than those of whoever asks. Build and upload both again"
        )


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


def _checks(definitions: dg.Definitions, keys: Sequence[dg.AssetKey]) -> list[dg.AssetsDefinition]:
    """Return the checks of assets that are steps of their own."""
    import dagster as dg

    # Merged definitions hold checks as what they are a kind of.
    found = [c for c in definitions.asset_checks or [] if isinstance(c, dg.AssetsDefinition)]
    return [c for c in found if {key.asset_key for key in c.check_keys} <= set(keys)]


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
    import dagster as dg

    names = ("rows_inserted", "rows_updated", "rows_deleted")
    found = 0
    for event in result.get_asset_materialization_events():
        values = (event.materialization.metadata.get(name) for name in names)
        found += sum(v.value or 0 for v in values if isinstance(v, dg.IntMetadataValue))
    return found
