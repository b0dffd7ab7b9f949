"""`lakeops run`: bring products up to date in this process."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources

import dagster as dg
from dagster._core.utils import make_new_run_id
from dagster._utils.error import SerializableErrorInfo

from lakeops_assets import samples
from lakeops_assets.components.names import LAYER, ROW_COUNT
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.staleness import (
    AssetGraph,
    is_kept_up_to_date,
    stale_assets,
    with_downstream,
)
from lakeops_assets.components.streaming import packages
from lakeops_assets.definitions import defs as build_definitions
from lakeops_assets.processes import is_running
from lakeops_assets.settings import Settings

PID_TAG, HOST_TAG = "lakeops/pid", "lakeops/host"


class UnknownProductError(ValueError):
    """A product was named that does not exist."""


@dataclass(frozen=True)
class AssetOutcome:
    """What happened to one asset.

    Attributes:
        asset: `<product>/<table>`.
        status: `ok`, `failed`, `skipped` (something before it failed) or `up to date`.
        rows: Rows of its table; None when it is no table.
        version: Data version, such as `delta:3` or `v2`.
        seconds: How long it took.
        passed: Names of checks that passed.
        failed: Names of checks that failed.
        reason: Why it ran, or the error.
    """

    asset: str
    status: str
    rows: int | None = None
    version: str = ""
    seconds: float = 0.0
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class RunSummary:
    """What `lakeops run` did.

    Attributes:
        outcomes: One per asset of the products, upstream first.
        run_ids: Dagster runs, one per pass.
        landed: Sample files that were landed first.
        seconds: Wall time of the whole.
        succeeded: False when an asset or a blocking check failed.
        blocked: Blocking checks that failed.
    """

    outcomes: tuple[AssetOutcome, ...]
    run_ids: tuple[str, ...]
    landed: int
    seconds: float
    succeeded: bool
    blocked: tuple[str, ...]


Report = Callable[[str, str], None]


def run(
    products: Sequence[str], settings: Settings, report: Report = lambda what, detail: None
) -> RunSummary:
    """Land the sample where nothing was landed yet, and materialize what is not up to date.

    Args:
        products: Products to run. When empty all, but for those whose sample data is landed by
            name and has not been.
        settings: Where state lives.
        report: Called with what is being worked on and a detail.

    Raises:
        UnknownProductError: A product does not exist.
    """
    started = time.monotonic()
    report("loading", "asset graph")
    definitions = build_definitions()
    graph = definitions.resolve_asset_graph()
    chosen = _choose(products, graph, settings)
    landed = _land_samples(chosen, settings)
    keys = [
        k
        for k in graph.toposorted_asset_keys
        if is_kept_up_to_date(graph, k) and graph.get(k).group_name in chosen
    ]
    # What is asked here may start the session of Spark that the assets then find.
    needed = packages(graph.get(k).metadata for k in graph.toposorted_asset_keys)
    lakeops = LakeopsResource.from_settings(settings, needed)
    outcomes: dict[dg.AssetKey, AssetOutcome] = {}
    run_ids: list[str] = []
    blocked: list[str] = []
    with open_instance(settings) as instance:
        _close_killed_runs(instance)
        # A refused challenger must not keep the champion from scoring: what stood behind the gate
        # gets a second pass, in which the champion is asked for again.
        for _ in range(2):
            reasons = _reasons(definitions, graph, instance, lakeops, keys)
            selected = [k for k in keys if k in reasons and _may_run(outcomes.get(k))]
            if not selected:
                break
            result = _execute(definitions, instance, selected, report)
            run_ids.append(result.run_id)
            outcomes.update(_outcomes(result, instance, selected, reasons))
            failed_gates = _failed_blocking_checks(result, definitions)
            blocked.extend(failed_gates)
            if not failed_gates:
                break
        for key in keys:
            if key not in outcomes:
                outcomes[key], still_blocked = _up_to_date(instance, graph, key)
                blocked.extend(still_blocked)
    in_order = tuple(outcomes[k] for k in keys)
    return RunSummary(
        outcomes=in_order,
        run_ids=tuple(run_ids),
        landed=landed,
        seconds=time.monotonic() - started,
        succeeded=not blocked and all(o.status in ("ok", "up to date") for o in in_order),
        blocked=tuple(dict.fromkeys(blocked)),
    )


def _choose(products: Sequence[str], graph: AssetGraph, settings: Settings) -> list[str]:
    there = sorted({graph.get(k).group_name or "" for k in graph.materializable_asset_keys})
    unknown = [p for p in products if p not in there]
    if unknown:
        raise UnknownProductError(
            f"there is no product {', '.join(unknown)}; products: {', '.join(there)}. "
            "`lakeops new NAME` makes one"
        )
    waiting = {s.name for s in samples.SAMPLES.values() if s.by_name and _nothing(s.name, settings)}
    return list(products) or [p for p in there if p not in waiting]


def _land_samples(products: Sequence[str], settings: Settings) -> int:
    """Land the first batches of the sample of a product whose landing folder is empty."""
    landed = 0
    for product in products:
        if product in samples.SAMPLES and _nothing(product, settings):
            sample = samples.sample(product)
            batches = sample.first_batches
            landed += len(samples.land(sample, settings.landing_root, batches).files)
    return landed


def _nothing(product: str, settings: Settings) -> bool:
    """Return whether no file of a product has landed."""
    folder = settings.landing_root / product
    return not folder.is_dir() or not any(p.is_file() for p in folder.rglob("*"))


def prepare_dagster_home(settings: Settings) -> None:
    """Make the folder of the Dagster instance, with telemetry off, where there is none."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    config = settings.dagster_home / "dagster.yaml"
    if not config.exists():
        config.write_text(resources.files(__package__).joinpath("dagster.yaml").read_text())


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance of the settings; its folder is made where it is missing."""
    prepare_dagster_home(settings)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    with dg.DagsterInstance.get() as instance:
        yield instance


def _close_killed_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs of this command whose process is gone as failed, so that none runs forever."""
    under_way = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
    here = dg.RunsFilter(statuses=under_way, tags={HOST_TAG: socket.gethostname()})
    for record in instance.get_runs(here):
        if not is_running(int(record.tags[PID_TAG])):
            instance.report_run_failed(record, "the process of the run was killed")


def _reasons(
    definitions: dg.Definitions,
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    lakeops: LakeopsResource,
    keys: Sequence[dg.AssetKey],
) -> dict[dg.AssetKey, str]:
    """Return what has to run and why; bronze tables ask their landing sensors."""
    reasons = {k: r for k, r in stale_assets(graph, instance, lakeops).items() if k in keys}
    for key in keys:
        if graph.get(key).metadata.get(LAYER) != "bronze":
            continue
        sensor = definitions.resolve_sensor_def(f"{'_'.join(key.path)}_landing")
        with dg.build_sensor_context(instance=instance, resources={"lakeops": lakeops}) as context:
            request = sensor(context)
        if isinstance(request, dg.RunRequest):
            reasons[key] = request.tags["lakeops/because"]
    for key in with_downstream(graph, reasons):
        reasons.setdefault(key, "something upstream is new")
    return reasons


def _may_run(before: AssetOutcome | None) -> bool:
    return before is None or before.status == "skipped"


def _execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    selected: Sequence[dg.AssetKey],
    report: Report,
) -> dg.ExecuteInProcessResult:
    run_id = make_new_run_id()
    job = definitions.resolve_implicit_global_asset_job_def()
    with _watched(instance, run_id, report):
        return job.execute_in_process(
            instance=instance,
            asset_selection=list(selected),
            run_id=run_id,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={PID_TAG: str(os.getpid()), HOST_TAG: socket.gethostname()},
        )


@contextmanager
def _watched(instance: dg.DagsterInstance, run_id: str, report: Report) -> Iterator[None]:
    """Report the steps of a run as they start, read from its event log."""
    over = threading.Event()

    def watch() -> None:
        seen = 0
        while not over.wait(0.2):
            starts = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
            for entry in starts[seen:]:
                report("running", (entry.step_key or "").replace("__", "/"))
            seen = len(starts)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _outcomes(
    result: dg.ExecuteInProcessResult,
    instance: dg.DagsterInstance,
    selected: Sequence[dg.AssetKey],
    reasons: dict[dg.AssetKey, str],
) -> dict[dg.AssetKey, AssetOutcome]:
    outcomes = {
        key: AssetOutcome(key.to_user_string(), "skipped", reason=reasons[key]) for key in selected
    }
    steps: dict[str, list[dg.AssetKey]] = {}
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    for entry in instance.all_logs(result.run_id, of_type=planned):
        if entry.dagster_event and entry.dagster_event.asset_key and entry.step_key:
            steps.setdefault(entry.step_key, []).append(entry.dagster_event.asset_key)
    checked: dict[str, dg.AssetKey] = {}
    planned_checks = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
    for entry in instance.all_logs(result.run_id, of_type=planned_checks):
        if entry.dagster_event and entry.step_key:
            checked[entry.step_key] = entry.dagster_event.asset_check_planned_data.asset_key
    for event in result.all_events:
        made = steps.get(event.step_key or "", [])
        if event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            seconds = event.step_success_data.duration_ms / 1000
            for key in made:
                outcomes[key] = replace(outcomes[key], status="ok", seconds=seconds)
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            # A check that could not be evaluated has failed; its asset is the one to look at.
            for key in made or [checked[event.step_key or ""]]:
                reason = _root_cause(event.step_failure_data.error)
                outcomes[key] = replace(outcomes[key], status="failed", reason=reason)
    for event in result.get_asset_materialization_events():
        materialization = event.materialization
        rows = materialization.metadata.get(ROW_COUNT)
        key = materialization.asset_key
        outcomes[key] = replace(
            outcomes[key],
            rows=rows.value if isinstance(rows, dg.IntMetadataValue) else None,
            version=(materialization.tags or {}).get("dagster/data_version", ""),
        )
    for check in result.get_asset_check_evaluations():
        before = outcomes.get(check.asset_key)
        if before and check.passed:
            outcomes[check.asset_key] = replace(before, passed=(*before.passed, check.check_name))
        elif before:
            outcomes[check.asset_key] = replace(before, failed=(*before.failed, check.check_name))
    return outcomes


def _root_cause(error: SerializableErrorInfo | None) -> str:
    """Return the first sentence of ours in a chain of causes, else the last cause."""
    message = "it ended without an error"
    while error is not None:
        message = error.message.strip()
        if message.startswith("lakeops_assets."):
            message = message.partition(": ")[2]
            break
        error = error.cause
    return message.partition("\n")[0]


def _failed_blocking_checks(
    result: dg.ExecuteInProcessResult, definitions: dg.Definitions
) -> list[str]:
    graph = definitions.resolve_asset_graph()
    return [
        f"{check.asset_key.to_user_string()}: {check.check_name}"
        for check in result.get_asset_check_evaluations()
        if not check.passed
        and graph.get(check.asset_check_key).blocking
        and check.severity == dg.AssetCheckSeverity.ERROR
    ]


def _up_to_date(
    instance: dg.DagsterInstance, graph: AssetGraph, key: dg.AssetKey
) -> tuple[AssetOutcome, list[str]]:
    """Return what is known of an asset that did not run, and its blocking checks that failed.

    A verdict stands until something changes: asking again does not make it a better one.
    """
    event = instance.get_latest_materialization_event(key)
    materialization = event.asset_materialization if event else None
    if materialization is None:
        return AssetOutcome(key.to_user_string(), "skipped", reason="never materialized"), []
    passed: list[str] = []
    failed: list[str] = []
    blocked: list[str] = []
    for check in sorted(graph.get(key).check_keys):
        record = instance.get_latest_asset_check_evaluation_record(check)
        evaluation = record.evaluation if record else None
        if not isinstance(evaluation, dg.AssetCheckEvaluation):
            continue
        (passed if evaluation.passed else failed).append(check.name)
        if not evaluation.passed and graph.get(check).blocking:
            blocked.append(f"{key.to_user_string()}: {check.name}")
    rows = materialization.metadata.get(ROW_COUNT)
    outcome = AssetOutcome(
        key.to_user_string(),
        "up to date",
        rows=rows.value if isinstance(rows, dg.IntMetadataValue) else None,
        version=(materialization.tags or {}).get("dagster/data_version", ""),
        passed=tuple(passed),
        failed=tuple(failed),
    )
    return outcome, blocked
