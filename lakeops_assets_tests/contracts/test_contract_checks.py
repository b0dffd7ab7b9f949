"""Each rule of a contract is an asset check: with real runs in a real instance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from contracted import written

from lakeops_assets.components.products import ProductError
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.staleness import stale_assets
from lakeops_assets.contracts import results_table, standing
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import Lakehouse, TableName, open_lakehouse
from lakeops_assets.settings import Settings

YAML = """
type: lakeops_assets.components.BronzeTable
attributes:
  table: orders
  columns:
    - {name: id, type: bigint}
    - {name: amount, type: double}
    - {name: day, type: date}
    - {name: note, type: string}
---
type: lakeops_assets.components.FeatureTable
attributes: {table: totals, sql: totals.sql, primary_key: [note], refresh: by_key}
"""
TOTALS = "SELECT note, sum(amount) AS amount FROM shop.orders GROUP BY note"
ORDERS, SUMS = TableName("dev", "shop", "orders"), TableName("dev", "shop", "totals")
DAYS = [{"metric": "rowCount", "mustBeLessThan": 3, "id": "few_rows"}]


@dataclass
class Shop:
    """A product with contracts and its Dagster instance."""

    config: Settings
    instance: dg.DagsterInstance

    @property
    def folder(self) -> Path:
        return self.config.products / "shop"

    @property
    def lakehouse(self) -> Lakehouse:
        return open_lakehouse(self.config)

    def drop(self, name: str, *rows: tuple[object, ...]) -> None:
        landing = self.config.landing("shop", "orders")
        landing.mkdir(parents=True, exist_ok=True)
        lines = [",".join(map(str, row)) for row in [("id", "amount", "day", "note"), *rows]]
        (landing / name).write_text("\n".join(lines) + "\n")

    def run(self, *assets: str) -> dg.ExecuteInProcessResult:
        keys = [dg.AssetKey(["shop", name]) for name in assets or ("orders", "totals")]
        job = defs().resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance, asset_selection=keys, raise_on_error=False
        )

    def stale(self) -> list[str]:
        lakeops = LakeopsResource.from_settings(self.config)
        graph = defs().resolve_asset_graph()
        stale = stale_assets(graph, self.instance, lakeops)
        return [k.path[-1] for k in stale if k.path[0] == "shop"]

    def totals(self) -> dict[str, float]:
        rows = self.lakehouse.read(SUMS).read_all().to_pylist()
        return {r["note"]: r["amount"] for r in rows}


@pytest.fixture
def shop(config: Settings, tmp_path: Path) -> Iterator[Shop]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        made = Shop(config, instance)
        made.folder.mkdir(parents=True)
        (made.folder / "defs.yaml").write_text(YAML)
        (made.folder / "totals.sql").write_text(TOTALS)
        made.drop("0.csv", (1, 5, "2026-01-05", "a"), (2, 999, "2026-01-05", "b"))
        yield made


def verdicts(done: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {c.check_name: c for c in done.get_asset_check_evaluations()}


def test_each_rule_is_a_check_and_a_row_set_aside_only_warns(shop: Shop) -> None:
    written(shop.folder, quality=DAYS)
    done = shop.run()
    assert done.success
    found = verdicts(done)
    assert {n: c.passed for n, c in found.items()} == {
        "schema": True,
        "primary_key": True,
        "amount_range": False,
        "few_rows": True,
    }
    failed = found["amount_range"]
    assert failed.severity == dg.AssetCheckSeverity.WARN
    assert "1 row waits in the quarantine" in (failed.description or "")
    assert failed.metadata["quarantined"].value == 1
    assert "| 0:0.csv#000000001 | 999.0 |" in str(failed.metadata["samples"].value)
    assert shop.totals() == {"a": 5.0}, "what is downstream was made of the good rows"
    assert shop.stale() == []
    known = standing(shop.lakehouse, ORDERS)
    assert known is not None
    assert (known.rows, known.open_quarantine, known.holds) == (1, 1, True)
    made = shop.instance.get_latest_materialization_event(dg.AssetKey(["shop", "orders"]))
    assert made.asset_materialization.metadata["rows_quarantined"].value == 1


def test_a_rule_that_blocks_stops_what_is_downstream_in_this_run_and_later(shop: Shop) -> None:
    few = [{**DAYS[0], "mustBeLessThan": 1}]
    written(shop.folder, quality=few)
    done = shop.run()
    assert verdicts(done)["few_rows"].severity == dg.AssetCheckSeverity.ERROR
    assert not shop.lakehouse.exists(SUMS)
    later = shop.run("totals")
    assert not later.success
    [failure] = [e for e in later.all_events if e.is_step_failure]
    assert "few_rows: found 1, must be less than 1" in str(failure.step_failure_data.error)
    assert not shop.lakehouse.exists(SUMS)
    # The next version of the contract allows it; nothing has to be ingested again.
    written(shop.folder, quality=DAYS)
    assert shop.stale() == ["orders", "totals"]
    assert shop.run().success
    assert shop.totals() == {"a": 5.0}


def test_a_rule_that_warns_stops_nothing(shop: Shop) -> None:
    warned: dict[str, Any] = {**DAYS[0], "mustBeLessThan": 1, "severity": "warning"}
    written(shop.folder, quality=[warned])
    done = shop.run()
    assert done.success
    assert not verdicts(done)["few_rows"].passed
    assert shop.totals() == {"a": 5.0}


def test_what_is_known_of_the_same_rows_is_not_computed_again(shop: Shop) -> None:
    written(shop.folder)
    shop.run("orders")
    version = shop.lakehouse.version(results_table("dev"))
    done = shop.run("orders")
    assert len(verdicts(done)) == 3
    assert shop.lakehouse.version(results_table("dev")) == version
    shop.drop("1.csv", (3, 1, "2026-01-06", "c"))
    shop.run("orders")
    assert shop.lakehouse.version(results_table("dev")) == version + 1


def test_a_key_whose_row_breaks_the_contract_is_not_among_the_features(shop: Shop) -> None:
    totals = {"amount": {"logicalType": "number", "logicalTypeOptions": {"maximum": 10}}}
    path = written(shop.folder, {"note": {"primaryKey": True}, **totals})
    path.write_text(path.read_text().replace("name: orders", "name: totals"))
    path.rename(path.with_name("totals.yaml"))
    shop.run()
    assert shop.totals() == {"a": 5.0}
    quarantine = SUMS.beside("quarantine")

    def held() -> dict[str, tuple[float, str]]:
        rows = shop.lakehouse.read(quarantine).read_all().to_pylist()
        return {r["_row_id"]: (r["amount"], r["_status"]) for r in rows}

    assert held() == {'["b"]': (999.0, "open")}
    # One key becomes bad, and the other good.
    shop.drop("1.csv", (3, 7, "2026-01-06", "a"), (4, -990, "2026-01-06", "b"))
    shop.run()
    assert shop.totals() == {"b": 9.0}
    assert held() == {'["b"]': (999.0, "replayed"), '["a"]': (12.0, "open")}
    assert shop.stale() == []


def test_the_contract_is_shown_and_belongs_to_the_code_version(shop: Shop) -> None:
    def node() -> Any:
        return defs().resolve_asset_graph().get(dg.AssetKey(["shop", "orders"]))

    bare = node()
    assert bare.check_keys == set()
    written(shop.folder)
    with_contract = node()
    assert with_contract.metadata["lakeops/contract"] == "contracts/orders.yaml"
    text = str(with_contract.metadata["contract"].value)
    assert "| `amount_range` | quarantine | amount is at least 0 and at most 100 |" in text
    assert bare.code_version != with_contract.code_version


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"id": {}, "amuont": {}}, r"orders has no column amuont; did you mean amount\?"),
        ({"id": {"requierd": True}}, r"did you mean required\?"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    shop: Shop, properties: dict[str, Any], message: str
) -> None:
    path = written(shop.folder, properties)
    with pytest.raises(ProductError, match=message) as caught:
        defs()
    assert f"{path}:" in str(caught.value)
