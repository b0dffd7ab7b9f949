"""A bronze table with `stream`: the asset ends, the job of a continuous one stays and is kept."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from lakeops_assets import ingest
from lakeops_assets.components.products import ProductError
from lakeops_assets.components.refresh import STREAM
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.ingest.stream import checkpoint_of
from lakeops_assets.lakehouse import TableName, open_lakehouse
from lakeops_assets.settings import Settings

COLUMNS = [{"name": "id", "type": "bigint"}, {"name": "amount", "type": "double"}]
FEATURES = "SELECT id, max(amount) AS amount FROM shop.orders GROUP BY id"


class Shop:
    """A product whose orders come by a stream, and its Dagster instance."""

    def __init__(self, config: Settings, instance: dg.DagsterInstance, stream: object) -> None:
        self.config, self.instance = config, instance
        folder = config.products / "shop"
        folder.mkdir(parents=True)
        bronze = {"table": "orders", "columns": COLUMNS, "stream": stream}
        features = {"table": "features", "sql": "features.sql", "primary_key": ["id"]}
        documents = [
            {"type": "lakeops_assets.components.BronzeTable", "attributes": bronze},
            {"type": "lakeops_assets.components.FeatureTable", "attributes": features},
        ]
        (folder / "defs.yaml").write_text(yaml.safe_dump_all(documents))
        (folder / "features.sql").write_text(FEATURES)
        self.definitions = defs()

    def drop(self, name: str, *rows: str) -> Path:
        landing = self.config.landing("shop", "orders")
        landing.mkdir(parents=True, exist_ok=True)
        (landing / name).write_text("\n".join(["id,amount", *rows]) + "\n")
        return landing

    def tick(self, sensor: str) -> dg.RunRequest | dg.SkipReason:
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.definitions.get_repository_def(),
            resources={"lakeops": LakeopsResource.from_settings(self.config)},
        )
        request = self.definitions.resolve_sensor_def(sensor)(context)
        assert isinstance(request, (dg.RunRequest, dg.SkipReason))
        return request

    def run(self, job: str, **options: object) -> dg.ExecuteInProcessResult:
        found = self.definitions.resolve_job_def(job)
        return found.execute_in_process(instance=self.instance, **options)  # type: ignore[arg-type]

    def ids(self) -> list[int]:
        rows = open_lakehouse(self.config).query("SELECT id FROM shop.orders").read_all()
        return sorted(rows["id"].to_pylist())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def skipped(request: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(request, dg.SkipReason), request
    return str(request.skip_message)


def test_an_asset_takes_in_what_is_there_and_ends(
    config: Settings, instance: dg.DagsterInstance
) -> None:
    shop = Shop(config, instance, {"max_files": 1})
    shop.drop("a.csv", "1,5")
    shop.drop("b.csv", "2,6")
    assert isinstance(shop.tick("shop_orders_landing"), dg.RunRequest)
    assert shop.run("shop").success
    assert shop.ids() == [1, 2]
    assert "no new files" in skipped(shop.tick("shop_orders_landing"))
    assert "shop_orders_stream" not in shop.definitions.get_repository_def().job_names


def test_a_continuous_stream_is_a_job_whose_batches_are_materializations(
    config: Settings, instance: dg.DagsterInstance
) -> None:
    """What is downstream follows what a stream brought, and the stream is in nobody's way."""
    shop = Shop(config, instance, {"trigger": "continuous", "every": "1 second", "max_files": 1})
    shop.drop("a.csv", "1,5")
    shop.drop("b.csv", "2,6")
    request = shop.tick("shop_orders_stream")
    assert isinstance(request, dg.RunRequest)
    ops = {"shop_orders_stream": {"config": {"stop_after_seconds": 0.5}}}
    done = shop.run("shop_orders_stream", run_config={"ops": ops})
    assert done.success
    assert shop.ids() == [1, 2]
    key = dg.AssetKey(["shop", "orders"])
    [event] = done.filter_events(lambda e: e.is_step_materialization)
    metadata = event.materialization.metadata
    assert (metadata["files_ingested"].value, metadata["dagster/row_count"].value) == (2, 2)
    assert instance.get_latest_materialization_event(key) is not None
    assert STREAM in done.dagster_run.tags
    wanted = shop.tick("refresh")
    assert isinstance(wanted, dg.RunRequest)
    assert wanted.asset_selection == [dg.AssetKey(["shop", "features"])]


def test_a_stream_that_was_terminated_stays_off(
    config: Settings, instance: dg.DagsterInstance
) -> None:
    shop = Shop(config, instance, {"trigger": "continuous", "every": "1 second"})
    shop.drop("a.csv", "1,5")
    key = dg.AssetKey(["shop", "orders"])

    def terminate() -> None:
        """Do what the button in the UI does, once something has come."""
        while instance.get_latest_materialization_event(key) is None:
            time.sleep(0.1)
        instance.report_run_canceling(instance.get_runs()[0])
        os.kill(os.getpid(), signal.SIGINT)

    watching = threading.Thread(target=terminate)
    watching.start()
    done = shop.run("shop_orders_stream", raise_on_error=False)
    watching.join()
    assert not done.success
    [run] = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.CANCELED
    assert "was stopped" in skipped(shop.tick("shop_orders_stream"))
    assert shop.ids() == [1]


def test_what_keeps_a_stream_running_looks_at_the_stream(
    config: Settings, instance: dg.DagsterInstance
) -> None:
    shop = Shop(config, instance, {"trigger": "continuous"})
    landing = shop.drop("a.csv", "1,5")
    spec = ingest.IngestSpec(TableName("dev", "shop", "orders"), landing)
    lakehouse = open_lakehouse(config)
    during: list[str] = []

    def go_on() -> bool:
        during.extend(skipped(shop.tick(f"shop_orders_{n}")) for n in ("stream", "landing"))
        again = ingest.stream(lakehouse, spec, ingest.StreamSpec(), around)
        during.append(again.reason)
        return False

    around = ingest.Surroundings(
        lambda: LakeopsResource.from_settings(config).now(), config.checkpoints
    )
    ingest.stream(lakehouse, spec, ingest.StreamSpec(), around, go_on=go_on)
    assert during == [
        "the stream runs",
        "a stream takes in what arrives",
        "another process streams into it",
    ]
    assert isinstance(shop.tick("shop_orders_stream"), dg.RunRequest)
    assert checkpoint_of(spec, config.checkpoints).name.startswith("dev.shop.orders-")


@pytest.mark.parametrize(
    ("status", "because"),
    [
        (dg.DagsterRunStatus.FAILURE, "failed"),
        (dg.DagsterRunStatus.CANCELED, "was stopped"),
        (dg.DagsterRunStatus.STARTING, "about to start"),
        (dg.DagsterRunStatus.SUCCESS, ""),
    ],
)
def test_a_stream_that_somebody_has_to_look_at_is_not_started(
    config: Settings, instance: dg.DagsterInstance, status: dg.DagsterRunStatus, because: str
) -> None:
    shop = Shop(config, instance, {"trigger": "continuous"})
    job = shop.definitions.resolve_job_def("shop_orders_stream")
    instance.create_run_for_job(job, status=status)
    request = shop.tick("shop_orders_stream")
    assert because in skipped(request) if because else isinstance(request, dg.RunRequest)


def test_a_topic_is_said_in_the_graph_and_refused_by_an_engine_without(
    config: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hidden")
    options = {"sasl.password": "{{ env.SHOP_PASSWORD }}"}
    topic = {"servers": "127.0.0.1:9", "topic": "orders", "options": options}
    shop = Shop(config, instance, {"kafka": topic})
    graph = shop.definitions.resolve_asset_graph()
    [source] = graph.get(dg.AssetKey(["shop", "orders"])).parent_keys
    assert graph.get(source).kinds == {"source", "kafka"}
    shown = [graph.get(k).metadata.items() for k in graph.get_all_asset_keys()]
    # Dagster keeps the component with an asset, in this process alone.
    assert "hidden" not in str([[v for k, v in of_one if "component" not in k] for of_one in shown])
    assert isinstance(shop.tick("shop_orders_landing"), dg.RunRequest)
    resource = (shop.definitions.resources or {})["lakeops"]
    assert resource.spark_packages == ["kafka"]
    done = shop.run("shop", raise_on_error=False)
    [failed] = list(done.filter_events(lambda e: e.is_step_failure))[:1]
    assert "set LAKEOPS_ENGINE=spark" in str(failed.step_failure_data.error)


def test_a_mistake_in_the_stream_is_told_before_anything_runs(
    config: Settings, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(ProductError, match="not a length of time"):
        Shop(config, instance, {"trigger": "continuous", "every": "10 blinks"})
