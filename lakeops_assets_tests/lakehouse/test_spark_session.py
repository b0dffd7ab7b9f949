"""A session of Spark costs seconds and memory, so nothing starts one that does not need it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakeops_assets import settings
from lakeops_assets.settings import SettingsError

LOOK = """
import pyspark
from lakeops_assets import settings
from lakeops_assets.definitions import local_products
from lakeops_assets.lakehouse import open_lakehouse

config = settings.load()
assert config.engine == "spark"
definitions = local_products(config)
lakehouse = open_lakehouse(config)
assert lakehouse.engine.name == "spark"
assert lakehouse.tables() == [] and not lakehouse.exists("churn.features")
print(len(list(definitions.assets)), pyspark.SparkContext._active_spark_context)
"""


def test_products_load_and_tables_are_looked_at_without_a_session(tmp_path: Path) -> None:
    env = {**os.environ, "LAKEOPS_HOME": str(tmp_path), "LAKEOPS_ENGINE": "spark"}
    done = subprocess.run([sys.executable, "-c", LOOK], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, context = done.stdout.split()
    assert int(count) > 10
    assert context == "None"


def test_what_the_environment_says_of_spark_is_read_in_one_place(tmp_path: Path) -> None:
    env = {
        "LAKEOPS_SPARK_REMOTE": "sc://localhost:15002",
        "LAKEOPS_SPARK_MEMORY": "800m",
        "LAKEOPS_SPARK_CONF": "spark.a=1; spark.b = two=2 ;",
        "LAKEOPS_CACHE": str(tmp_path),
    }
    found = settings.spark_options(env)
    assert found.remote == "sc://localhost:15002"
    assert found.memory == "800m"
    assert found.confs == (("spark.a", "1"), ("spark.b", "two=2"))
    assert found.cache == tmp_path
    assert settings.spark_options({}) == settings.SparkOptions()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LAKEOPS_SPARK_REMOTE", "localhost:15002", "starts with sc://"),
        ("LAKEOPS_SPARK_MEMORY", "much", "such as 2g"),
        ("LAKEOPS_SPARK_CONF", "spark.a", "write key=value"),
    ],
)
def test_what_cannot_be_meant_is_refused(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings.spark_options({variable: value})
