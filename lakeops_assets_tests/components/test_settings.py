"""Settings as Dagster's configuration and back: no part of them is lost on the way to an asset."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakeops_assets import settings
from lakeops_assets.components.resources import LakeopsResource


def test_every_setting_reaches_an_asset(tmp_path: Path) -> None:
    env = {
        "LAKEOPS_HOME": str(tmp_path / "home"),
        "LAKEOPS_LANDING": str(tmp_path / "drop"),
        "LAKEOPS_ENV": "staging",
        "LAKEOPS_DEFS": str(tmp_path / "defs"),
        "LAKEOPS_ACTOR": "tester",
        "LAKEOPS_UNITY_CATALOG": "http://127.0.0.1:8080",
        "MLFLOW_TRACKING_URI": "databricks",
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "LAKEOPS_CURRENCY": "EUR",
    }
    config = settings.load(env, tmp_path)
    again = LakeopsResource.from_settings(config).settings()
    for name in ("landing_folder", "unity_catalog", "environment", "home", "tracking_uri"):
        assert getattr(again, name) == getattr(config, name), name
    assert again.landing("shop", "orders") == tmp_path / "drop" / "shop" / "orders"


def test_files_land_below_home_unless_another_place_is_named(tmp_path: Path) -> None:
    config = settings.load({"LAKEOPS_HOME": str(tmp_path)}, tmp_path)
    assert config.landing_root == tmp_path / "landing"
    assert LakeopsResource.from_settings(config).settings().landing_folder is None


@pytest.mark.parametrize(
    ("tracking", "experiment"),
    [
        ("sqlite:///x.db", "prod.churn"),
        ("http://127.0.0.1:5000", "prod.churn"),
        ("databricks", "/Shared/lakeops/prod.churn"),
        ("databricks://profile", "/Shared/lakeops/prod.churn"),
    ],
)
def test_an_experiment_of_a_workspace_is_a_path(tracking: str, experiment: str) -> None:
    env = {"MLFLOW_TRACKING_URI": tracking, "LAKEOPS_ENV": "prod"}
    config = settings.load(env)
    assert config.experiment("churn") == experiment
    registry = LakeopsResource.from_settings(config).registry("churn", "model")
    assert (registry.experiment, registry.registered_name) == (experiment, "prod.churn.model")
