"""The sensor that keeps everything downstream of the bronze tables up to date."""

import dagster as dg

from lakeops_assets.components.names import LAYER, digest
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.staleness import AssetGraph, input_versions, stale_assets

WAITING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
]
IN_PROGRESS = [*WAITING, dg.DagsterRunStatus.STARTED]
# Tag of a run that streams into a bronze table for a long time, and makes nothing else.
STREAM = "lakeops/stream"


def refresh_sensor(interval_seconds: int = 30) -> dg.SensorDefinition:
    """Return the sensor.

    It compares states, so an update that arrives while a run is under way, or while the sensor is
    off, is found at the next look. A state that was asked for once is not asked for again: a
    refresh that failed waits until something changes or a person presses the button.
    """

    @dg.sensor(
        name="refresh",
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Materializes what is not up to date: whose inputs are newer, whose definition "
        "changed or whose table is gone.",
    )
    def refresh(
        context: dg.SensorEvaluationContext, lakeops: LakeopsResource
    ) -> dg.RunRequest | dg.SkipReason:
        repository = context.repository_def
        if repository is None:
            return dg.SkipReason("the code location is not loaded")
        graph = repository.asset_graph
        stale = stale_assets(graph, context.instance, lakeops)
        wanted = refreshable(graph, stale, context.instance)
        if not wanted:
            return dg.SkipReason("everything is up to date")
        busy = context.instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))
        at_it = [r.run_id[:8] for r in busy if _selects(r, wanted)]
        if at_it:
            return dg.SkipReason(f"run {', '.join(at_it)} is at it")
        because = "; ".join(f"{k.to_user_string()}: {r}" for k, r in list(wanted.items())[:3])
        state = input_versions(graph, context.instance, wanted)
        codes = [graph.get(k).code_version for k in wanted]
        return dg.RunRequest(
            run_key=digest(lakeops.state_id(), sorted(state.items()), *wanted.items(), codes),
            asset_selection=list(wanted),
            tags={"lakeops/because": because},
        )

    return refresh


def refreshable(
    graph: AssetGraph, stale: dict[dg.AssetKey, str], instance: dg.DagsterInstance
) -> dict[dg.AssetKey, str]:
    """Return the stale assets that have something to be made from.

    Bronze tables follow their landing folder and have sensors of their own. An asset waits as long
    as anything upstream of it was never made and is not about to be.
    """
    made = {
        record.asset_entry.asset_key
        for record in instance.get_asset_records(list(graph.materializable_asset_keys))
        if record.asset_entry.last_materialization is not None
    }
    wanted: dict[dg.AssetKey, str] = {}
    for key, reason in stale.items():
        node = graph.get(key)
        if node.metadata.get(LAYER) == "bronze":
            continue
        parents = [p for p in node.parent_keys if graph.get(p).is_materializable]
        if all(p in made or p in wanted for p in parents):
            wanted[key] = reason
    return wanted


def _selects(run: dg.DagsterRun, keys: dict[dg.AssetKey, str]) -> bool:
    if STREAM in run.tags:
        return False
    return run.asset_selection is None or bool(run.asset_selection & keys.keys())
