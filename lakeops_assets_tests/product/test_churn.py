"""The churn product: from landing files to a monitored champion, in one command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import environment, lakeops

from lakeops_assets import settings
from lakeops_assets.lakehouse import Lakehouse, open_lakehouse

ASSETS = {
    "churn/customers": 7043,
    "churn/churn_labels": 7043,
    "churn/features": 7043,
    "churn/model": None,
    "churn/model_version": None,
    "churn/champion": None,
    "churn/baseline": 7043,
    "churn/scores": 7043,
}


def tables(folder: Path) -> Lakehouse:
    return open_lakehouse(settings.load(environment(folder)))


def versions(folder: Path) -> dict[str, int | None]:
    """Return the version of each table but the one of costs: looking costs something, too."""
    lakehouse = tables(folder)
    return {str(t): lakehouse.version(t) for t in lakehouse.tables() if t.table != "costs"}


def test_one_command_ends_with_a_champion(finished: Path) -> None:
    summary = json.loads((finished / "run.json").read_text())
    outcomes = {o["asset"]: o for o in summary["outcomes"]}
    assert summary["succeeded"]
    assert summary["landed"] == 60
    assert {o["status"] for o in outcomes.values()} == {"ok"}
    assert {name: outcomes[name]["rows"] for name in ASSETS} == ASSETS
    assert outcomes["churn/champion"]["version"] == "v1"
    assert len(outcomes["churn/model_version"]["passed"]) == 18
    assert not [o for o in outcomes.values() if o["failed"]]


def test_neither_torch_nor_spark_nor_databricks_is_imported(finished: Path) -> None:
    """The run was made without them, and nothing got hold of a part of them."""
    modules = json.loads((finished / "modules-run.json").read_text())
    assert "lightgbm" in modules
    extras = ("torch.", "pyspark.", "dagster_databricks.", "dagster_pyspark")
    assert not [m for m in modules if m.startswith(extras)]
    assert "lakeops_assets.components.databricks_pipes" not in modules


def test_status_tells_tables_versions_aliases_metrics_and_verdicts(finished: Path) -> None:
    found = json.loads(lakeops(finished, "status", "--json").stdout)
    by_name = {t["table"]: t for t in found["tables"]}
    assert by_name["dev.churn.features"]["rows"] == 7043
    assert by_name["dev.churn.features"]["age_seconds"] > 0
    [version] = found["models"]
    assert version["model"] == "dev.churn.model"
    assert version["aliases"] == ["champion"]
    assert 0.82 < version["metrics"]["roc_auc"] < 0.88
    assert version["metrics"]["roc_auc_low"] < version["metrics"]["roc_auc"]
    assert version["gates"]["not_worse_than_champion_roc_auc"] is True
    assert set(version["gates"].values()) == {True}


def test_scores_are_probabilities_of_the_champion_for_every_customer(finished: Path) -> None:
    [row] = (
        tables(finished)
        .query(
            "SELECT count(*) AS n, count(DISTINCT customer_id) AS customers, "
            "min(prediction_proba) AS low, max(prediction_proba) AS high, "
            "count_if((prediction = 'Yes') = (prediction_proba >= 0.5)) AS agree, "
            "max(model_version) AS version FROM churn.scores"
        )
        .read_all()
        .to_pylist()
    )
    assert row["n"] == row["customers"] == row["agree"] == 7043
    assert 0 <= row["low"] < row["high"] <= 1
    assert row["version"] == "1"


def test_monitors_compare_each_week_with_the_champions_rows(finished: Path) -> None:
    drift = tables(finished).query(
        "SELECT column_name, population_stability_index AS psi FROM churn.features_drift_metrics "
        "WHERE drift_type = 'BASELINE' AND column_name = 'tenure'"
    )
    found = drift.read_all().to_pylist()
    assert len(found) >= 4
    # The customers were dealt to days by a hash: nothing has drifted.
    assert all(0 <= row["psi"] < 0.1 for row in found)


def test_a_second_run_does_nothing(copied: Path) -> None:
    before = versions(copied)
    done = lakeops(copied, "run", "churn", "--json")
    summary = json.loads(done.stdout)
    assert done.returncode == 0
    assert summary["run_ids"] == []
    assert {o["status"] for o in summary["outcomes"]} == {"up to date"}
    assert versions(copied) == before
    modules = json.loads((copied / "modules-run.json").read_text())
    assert "mlflow" not in modules
    assert "sklearn" not in modules


def test_what_dagster_remembers_is_not_what_counts(copied: Path) -> None:
    """Without its history everything is asked again and nothing is written twice."""
    shutil.rmtree(copied / "dagster")
    before = versions(copied)
    done = lakeops(copied, "run", "churn", "--json")
    assert done.returncode == 0, done.stdout
    assert {o["status"] for o in json.loads(done.stdout)["outcomes"]} == {"ok"}
    assert versions(copied) == before
    assert len(json.loads(lakeops(copied, "status", "--json").stdout)["models"]) == 1


def test_a_lost_table_is_made_again(copied: Path) -> None:
    shutil.rmtree(copied / "state" / "lakehouse" / "dev" / "churn" / "scores")
    done = lakeops(copied, "run", "churn", "--json")
    outcomes = {o["asset"]: o for o in json.loads(done.stdout)["outcomes"]}
    assert done.returncode == 0
    assert outcomes["churn/scores"]["status"] == "ok"
    assert outcomes["churn/scores"]["rows"] == 7043
    assert outcomes["churn/model"]["status"] == "up to date"


def test_a_new_batch_changes_its_own_rows_only(tmp_path: Path) -> None:
    """Bronze and features take in one day; few new labels do not train a new model."""
    lakeops(tmp_path, "land", "churn", "--batches", "36")
    assert lakeops(tmp_path, "run", "churn").returncode == 0
    landed = json.loads(lakeops(tmp_path, "land", "churn", "--json").stdout)
    assert (len(landed["files"]), landed["remaining"]) == (1, 0)
    new = len(Path(landed["files"][0]).read_text().splitlines())
    before = versions(tmp_path)
    done = lakeops(tmp_path, "run", "churn", "--json")
    assert done.returncode == 0, done.stdout
    lakehouse = tables(tmp_path)
    assert lakehouse.version("churn.customers") == before["dev.churn.customers"]
    labels = lakehouse.history("churn.churn_labels", limit=1)[0]
    assert int(labels.metrics["num_added_rows"]) == new
    features = lakehouse.history("churn.features", limit=1)[0]
    assert int(features.metrics["num_target_rows_updated"]) == new
    assert int(features.metrics["num_target_rows_inserted"]) == 0
    assert lakehouse.version("churn.features") == before["dev.churn.features"] + 1
    # A label is no feature: nobody is scored again.
    assert lakehouse.version("churn.scores") == before["dev.churn.scores"]
    outcomes = {o["asset"]: o for o in json.loads(done.stdout)["outcomes"]}
    assert outcomes["churn/champion"]["version"] == "v1"


@pytest.mark.parametrize("statement", ["SELECT 1 +", "DROP TABLE dev.churn.scores"])
def test_sql_only_reads(finished: Path, statement: str) -> None:
    done = lakeops(finished, "sql", statement)
    assert done.returncode == 2
    assert done.stderr.startswith("lakeops: ")
    assert "Traceback" not in done.stderr


def test_sql_reads_tables_as_they_are_and_as_they_were(finished: Path) -> None:
    count = "select count(*) as n from dev.churn.features"
    assert json.loads(lakeops(finished, "sql", count, "--json").stdout) == [{"n": 7043}]
    before = lakeops(finished, "sql", count, "--version", "0", "--json")
    assert json.loads(before.stdout) == [{"n": 0}]
    as_of = lakeops(finished, "sql", f"{count} VERSION AS OF 0", "--json")
    assert json.loads(as_of.stdout) == [{"n": 0}]
    shown = lakeops(finished, "sql", "select customer_id, churn from dev.churn.features limit 3")
    assert "customer_id" in shown.stdout
    assert "3 rows" in shown.stdout


def test_the_doctor_finds_nothing_to_mend(finished: Path) -> None:
    done = lakeops(finished, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert not [f for f in json.loads(done.stdout) if f["level"] == "problem"]


def test_the_doctor_names_what_is_broken(copied: Path) -> None:
    log = copied / "state" / "lakehouse" / "dev" / "churn" / "scores" / "_delta_log"
    (log / "00000000000000000001.json").write_text("{")
    (copied / "state" / "mlflow" / "mlflow.db").write_bytes(b"this is no database" * 100)
    done = lakeops(copied, "doctor", "--json", LAKEOPS_ENGINE="abacus")
    found = {f["subject"]: f for f in json.loads(done.stdout) if f["level"] == "problem"}
    assert done.returncode == 1
    assert "duckdb" in found["engine"]["found"]
    assert all(f["fix"] for f in found.values())
    done = lakeops(copied, "doctor", "--json")
    found = {f["subject"]: f for f in json.loads(done.stdout) if f["level"] == "problem"}
    assert "table dev.churn.scores" in found
    assert "MLflow store" in found
