"""New files become bronze rows, and everything behind them follows: with real ticks and runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
from lakeops_assets.settings import Settings

YAML = """
type: lakeops_assets.components.BronzeTable
attributes:
  table: orders
  columns:
    - {name: id, type: bigint}
    - {name: amount, type: double}
---
type: lakeops_assets.components.FeatureTable
attributes: {table: features, sql: features.sql, primary_key: [id], refresh: by_key}
---
type: lakeops_assets.components.FeatureTable
attributes: {table: totals, sql: totals.sql, primary_key: [one]}
"""
FEATURES = "SELECT id, max(amount) AS amount FROM shop.orders GROUP BY id"
TOTALS = "SELECT 1 AS one, sum(amount) AS amount FROM shop.features"


class Shop:
    """A product, its Dagster instance, and what a daemon would do with it."""

    def __init__(self, config: Settings, instance: dg.DagsterInstance) -> None:
        self.config, self.instance = config, instance
        self.folder = config.products / "shop"
        self.folder.mkdir(parents=True)
        (self.folder / "defs.yaml").write_text(YAML)
        (self.folder / "features.sql").write_text(FEATURES)
        (self.folder / "totals.sql").write_text(TOTALS)
        self.loaded: dict[tuple[str, ...], dg.Definitions] = {}
        self.keys: set[str | None] = set()

    @property
    def definitions(self) -> dg.Definitions:
        """The definitions of the files as they are now."""
        content = tuple(p.read_text() for p in sorted(self.folder.iterdir()))
        if content not in self.loaded:
            self.loaded[content] = defs()
        return self.loaded[content]

    @property
    def lakehouse(self) -> Lakehouse:
        return open_lakehouse(self.config)

    def drop(self, name: str, *rows: str) -> None:
        landing = self.config.landing("shop", "orders")
        landing.mkdir(parents=True, exist_ok=True)
        (landing / name).write_text("\n".join(["id,amount", *rows]) + "\n")

    def tick(self, sensor: str) -> dg.RunRequest | dg.SkipReason:
        """Evaluate a sensor as the daemon does: a run key that was seen starts nothing."""
        definitions = self.definitions
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=definitions.get_repository_def(),
            resources={"lakeops": LakeopsResource.from_settings(self.config)},
        )
        request = definitions.resolve_sensor_def(sensor)(context)
        assert isinstance(request, (dg.RunRequest, dg.SkipReason))
        if isinstance(request, dg.RunRequest):
            if request.run_key in self.keys:
                return dg.SkipReason("run key was seen")
            self.keys.add(request.run_key)
        return request

    def run(self, request: dg.RunRequest | dg.SkipReason) -> set[str]:
        """Carry out what a sensor asked for, and return which assets it was."""
        assert isinstance(request, dg.RunRequest), request
        job = self.definitions.resolve_implicit_global_asset_job_def()
        selection = list(request.asset_selection or [])
        done = job.execute_in_process(
            instance=self.instance, asset_selection=selection, raise_on_error=False
        )
        self.succeeded = done.success
        return {k.to_user_string() for k in selection}

    def total(self) -> float:
        return (
            self.lakehouse.query("SELECT amount FROM shop.totals").read_all()["amount"][0].as_py()
        )

    def settle(self) -> None:
        self.run(self.tick("shop_orders_landing"))
        self.run(self.tick("refresh"))


@pytest.fixture
def shop(config: Settings) -> Iterator[Shop]:
    with dg.instance_for_test() as instance:
        yield Shop(config, instance)


def test_a_file_goes_through_to_the_end(shop: Shop) -> None:
    assert "no new files" in str(shop.tick("shop_orders_landing").skip_message)  # type: ignore[union-attr]
    shop.drop("a.csv", "1,5", "2,7")
    request = shop.tick("shop_orders_landing")
    assert "a.csv" in request.tags["lakeops/because"]  # type: ignore[union-attr]
    assert shop.run(request) == {"shop/orders"}
    assert isinstance(shop.tick("shop_orders_landing"), dg.SkipReason)
    request = shop.tick("refresh")
    assert shop.run(request) == {"shop/features", "shop/totals"}
    assert shop.total() == 12
    assert "up to date" in str(shop.tick("refresh").skip_message)  # type: ignore[union-attr]

    shop.drop("b.csv", "2,9")
    shop.settle()
    assert shop.total() == 14


def test_an_unchanged_batch_changes_nothing_downstream(shop: Shop) -> None:
    shop.drop("a.csv", "1,5")
    shop.settle()
    features, totals = (shop.lakehouse.version(f"shop.{t}") for t in ("features", "totals"))
    shop.drop("b.csv", "1,4")
    shop.settle()
    assert shop.lakehouse.version("shop.features") == features
    assert shop.lakehouse.version("shop.totals") == totals
    assert isinstance(shop.tick("refresh"), dg.SkipReason)


def test_both_are_on_by_default(shop: Shop) -> None:
    sensors = {s.name: s.default_status for s in shop.definitions.get_repository_def().sensor_defs}
    running = dg.DefaultSensorStatus.RUNNING
    assert sensors["refresh"] == sensors["shop_orders_landing"] == running


def test_nothing_is_refreshed_before_there_is_something_to_read(shop: Shop) -> None:
    assert isinstance(shop.tick("refresh"), dg.SkipReason)


def test_a_refresh_is_not_asked_for_twice(shop: Shop) -> None:
    """A refresh that fails waits for a change, instead of failing every thirty seconds."""
    shop.drop("a.csv", "1,5")
    shop.run(shop.tick("shop_orders_landing"))
    (shop.folder / "features.sql").write_text(FEATURES.replace("max(amount)", "max(amout)"))
    shop.run(shop.tick("refresh"))
    assert not shop.succeeded
    assert isinstance(shop.tick("refresh"), dg.SkipReason)
    (shop.folder / "features.sql").write_text(FEATURES)
    assert shop.run(shop.tick("refresh")) == {"shop/features", "shop/totals"}
    assert shop.succeeded


def test_a_run_that_is_under_way_is_not_doubled(shop: Shop) -> None:
    shop.drop("a.csv", "1,5")
    shop.run(shop.tick("shop_orders_landing"))
    request = shop.tick("refresh")
    run = shop.instance.create_run_for_job(
        shop.definitions.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset([dg.AssetKey(["shop", "features"])]),
        status=dg.DagsterRunStatus.STARTED,
    )
    assert run.run_id[:8] in str(shop.tick("refresh").skip_message)  # type: ignore[union-attr]
    shop.instance.report_run_canceled(run)
    assert shop.run(request) == {"shop/features", "shop/totals"}


REASONS = {
    "SQL was edited": lambda shop: (shop.folder / "totals.sql").write_text(TOTALS + " "),
    "table is gone": lambda shop: shutil.rmtree(Path(shop.lakehouse.location("shop.totals"))),
    "state root was deleted": lambda shop: (shop.config.home / "state-id").unlink(),
}


@pytest.mark.parametrize("change", REASONS)
def test_every_way_to_be_stale_is_found(shop: Shop, change: str) -> None:
    shop.drop("a.csv", "1,5")
    shop.settle()
    assert isinstance(shop.tick("refresh"), dg.SkipReason)
    REASONS[change](shop)
    request = shop.tick("refresh")
    if change == "SQL was edited":
        assert isinstance(request, dg.SkipReason), "white space changes nothing"
        (shop.folder / "totals.sql").write_text(TOTALS.replace("sum", "max"))
        request = shop.tick("refresh")
    assert "shop/totals" in shop.run(request)
    assert shop.total() == 5


def test_optimizing_a_table_makes_nothing_stale(shop: Shop) -> None:
    shop.drop("a.csv", "1,5")
    shop.settle()
    shop.drop("b.csv", "2,5")
    shop.settle()
    shop.lakehouse.optimize("shop.features")
    assert isinstance(shop.tick("refresh"), dg.SkipReason)
