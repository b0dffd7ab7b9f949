"""The whole product on Spark makes what it makes on the laptop."""

from __future__ import annotations

import json
from pathlib import Path

import engine_parity
import pytest
from command_line import lakeops

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.engines import create_engine


@pytest.fixture(scope="module")
def on_spark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("on_spark")
    quick = "spark.sql.codegen.wholeStage=false;spark.sql.codegen.factoryMode=NO_CODEGEN"
    variables = {"LAKEOPS_ENGINE": "spark", "LAKEOPS_SPARK_CONF": quick}
    done = lakeops(folder, "run", "churn", "--json", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "run.json").write_text(done.stdout)
    return folder


def test_the_whole_product_is_the_same(finished: Path, on_spark: Path) -> None:
    laptop, spark = (
        Lakehouse(folder / "state" / "lakehouse", "dev", create_engine("duckdb"))
        for folder in (finished, on_spark)
    )
    assert spark.tables() == laptop.tables()
    found = [d for t in laptop.tables() for d in engine_parity.differences(laptop, spark, t)]
    assert [d for d in found if not d.expected] == []
    # Compared at all: times of the two runs differ, and so does an estimate of distinct values.
    assert {"scored_at", "distinct_count"} <= {d.column for d in found}


def test_the_champion_has_the_same_metrics(finished: Path, on_spark: Path) -> None:
    metrics = []
    for folder in (finished, on_spark):
        [version] = json.loads(lakeops(folder, "status", "--json").stdout)["models"]
        assert version["aliases"] == ["champion"]
        metrics.append(version["metrics"])
    laptop, spark = metrics
    assert spark.keys() == laptop.keys()
    timed = [name for name in laptop if "second" in name or "latency" in name]
    for name in laptop.keys() - set(timed):
        assert spark[name] == pytest.approx(laptop[name], abs=1e-6), name


def test_it_ran_on_spark(on_spark: Path) -> None:
    from deltalake import DeltaTable

    [commit] = DeltaTable(on_spark / "state" / "lakehouse/dev/churn/features").history(1)
    assert commit["engineInfo"].startswith("Apache-Spark")
