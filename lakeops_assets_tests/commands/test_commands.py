"""The command line: what it prints, what it returns, what it says when something is wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import environment, lakeops

from lakeops_assets.commands.doctor import Finding, spark_findings
from lakeops_assets.lakehouse.engines.spark_java import pinned
from lakeops_assets.settings import spark_options

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    ["run", "land", "status", "sql", "new", "doctor", "ui", "spark", "reproduce", "forget"],
)
def test_every_command_explains_itself(tmp_path: Path, command: str) -> None:
    done = lakeops(tmp_path, command, "--help")
    assert done.returncode == 0
    assert f"{command} [OPTIONS]" in done.stdout


def test_help_imports_next_to_nothing(tmp_path: Path) -> None:
    """What makes it slow is imports; its CPU seconds are in benchmarks/README.md."""
    done = lakeops(tmp_path, "--help")
    assert done.returncode == 0
    modules = json.loads((tmp_path / "modules---help.json").read_text())
    heavy = {"dagster", "mlflow", "pandas", "numpy", "duckdb", "deltalake", "pyarrow", "pydantic"}
    assert not heavy & {m.split(".")[0] for m in modules}


def test_an_unknown_product_names_those_that_exist(tmp_path: Path) -> None:
    done = lakeops(tmp_path, "run", "chrun")
    assert done.returncode == 2
    assert "products: churn" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_product_is_one_sentence(tmp_path: Path) -> None:
    lakeops(tmp_path, "new", "shop")
    path = tmp_path / "defs" / "shop" / "defs.yaml"
    path.write_text(path.read_text().replace("retrain:", "retrai:"))
    done = lakeops(tmp_path, "run", "shop")
    assert done.returncode == 2
    assert f"{path}:" in done.stderr
    assert "did you mean retrain?" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_labels_the_run_says_so_and_what_came_before_stays(tmp_path: Path) -> None:
    lakeops(tmp_path, "new", "shop")
    done = lakeops(tmp_path, "run", "shop", "--json")
    assert done.returncode == 1
    outcomes = {o["asset"]: o for o in json.loads(done.stdout)["outcomes"]}
    assert outcomes["shop/features"]["status"] == "ok"
    assert outcomes["shop/model"]["status"] == "failed"
    assert "0 rows with a label in churned" in outcomes["shop/model"]["reason"]
    assert outcomes["shop/scores"]["status"] == "skipped"


def test_land_days_one_after_the_other(tmp_path: Path) -> None:
    one = json.loads(lakeops(tmp_path, "land", "churn", "--json").stdout)
    assert (len(one["files"]), one["first_day"], one["remaining"]) == (1, "2026-01-01", 36)
    more = json.loads(lakeops(tmp_path, "land", "churn", "--batches", "3", "--json").stdout)
    assert (more["first_day"], more["last_day"]) == ("2026-01-02", "2026-01-04")
    rest = json.loads(lakeops(tmp_path, "land", "churn", "--all", "--json").stdout)
    assert rest["remaining"] == 0
    assert "landed already" in lakeops(tmp_path, "land", "churn").stdout
    done = lakeops(tmp_path, "land", "weather")
    assert done.returncode == 2
    assert "there is some for: churn" in done.stderr


def test_status_of_an_empty_state_root(tmp_path: Path) -> None:
    done = lakeops(tmp_path, "status", "--json")
    assert json.loads(done.stdout) == {
        "environment": "dev",
        "tables": [],
        "models": [],
        "waiting": [],
    }
    assert "lakeops run" in lakeops(tmp_path, "status").stdout


@pytest.mark.parametrize(
    ("statement", "because"),
    [
        ("select * from dev.churn.nothing", "nothing"),
        ("select 1 from read_csv('/etc/passwd')", "Permission Error"),
        ("select * from '/etc/passwd'", "passwd"),
        ("select 1; drop table x", "one"),
    ],
)
def test_sql_reads_tables_of_the_lakehouse_alone(
    tmp_path: Path, statement: str, because: str
) -> None:
    done = lakeops(tmp_path, "sql", statement)
    assert done.returncode == 2
    assert because in done.stderr
    assert "root:" not in done.stdout


def test_a_name_that_is_no_schema_is_refused(tmp_path: Path) -> None:
    for name in ("My Shop", "../up", "1st"):
        done = lakeops(tmp_path, "new", name)
        assert done.returncode == 2
        assert "lower-case" in done.stderr
        assert "Traceback" not in done.stderr
    assert lakeops(tmp_path, "new", "shop").returncode == 0
    again = lakeops(tmp_path, "new", "shop")
    assert again.returncode == 2
    assert "there already" in again.stderr


def test_the_doctor_of_an_empty_state_root_is_content(tmp_path: Path) -> None:
    done = lakeops(tmp_path, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert "problem" not in {f["level"] for f in json.loads(done.stdout)}


def about_spark(**variables: str) -> dict[str, Finding]:
    return {f.subject: f for f in spark_findings(spark_options(variables))}


def test_the_doctor_says_what_spark_would_run_on(tmp_path: Path) -> None:
    """A Java by name, version and source, and jars that are not there yet; nothing is fetched."""
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    java.chmod(0o755)
    variables = {"JAVA_HOME": str(java.parents[1]), "LAKEOPS_CACHE": str(tmp_path / "cache")}
    found = about_spark(**variables)
    assert found["java"].found == f"17, {java.parents[1]} (from JAVA_HOME)"
    assert found["jars"].level == "warning"
    assert "LAKEOPS_IVY_SETTINGS" in found["jars"].fix
    for jar in pinned():
        path = tmp_path / "cache" / "jars" / jar.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert about_spark(**variables)["jars"].level == "ok"


def test_the_doctor_says_whether_a_server_of_spark_answers() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"sc://127.0.0.1:{server.getsockname()[1]}"
        found = about_spark(LAKEOPS_SPARK_REMOTE=address)
        assert found["spark"].level == "problem"
        assert "lakeops spark" in found["spark"].fix
        server.listen()
        found = about_spark(LAKEOPS_SPARK_REMOTE=f"{address}/;user_id=me")
        assert (found["spark"].level, "java" in found) == ("ok", False)


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        done = lakeops(tmp_path, "spark", "--port", port)
    assert done.returncode == 2
    assert done.stderr.strip() == f"lakeops: port {port} is taken; choose another with --port"


def test_the_committed_instance_is_the_packaged_one() -> None:
    """A clone and a wheel run on the same Dagster settings, with telemetry off."""
    committed = (PROJECT / ".dagster_home" / "dagster.yaml").read_text()
    packaged = (PROJECT / "lakeops_assets" / "commands" / "dagster.yaml").read_text()
    assert committed == packaged
    assert yaml.safe_load(packaged)["telemetry"]["enabled"] is False


# Dagster's own command line


def dg(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**environment(folder), "DAGSTER_DG_CLI_TELEMETRY_ENABLED": "false", "HOME": str(folder)}
    env["PATH"] = f"{BIN}{os.pathsep}{env['PATH']}"
    return subprocess.run(
        [str(BIN / "dg"), *arguments], cwd=folder, env=env, capture_output=True, text=True
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project laid out as ours, in which a person calls `dg`."""
    package = tmp_path / "lakeops_assets"
    (package / "defs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (tmp_path / "dg.toml").write_text((PROJECT / "dg.toml").read_text())
    return tmp_path


def test_dg_lists_the_component_types(clone: Path) -> None:
    done = dg(clone, "list", "components", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        "BronzeTable",
        "FeatureTable",
        "PointInTimeFeatures",
        "TabularModel",
        "BatchScores",
        "Monitor",
    ):
        assert f"lakeops_assets.components.{name}" in done.stdout


@pytest.mark.parametrize(
    "name", ["BronzeTable", "FeatureTable", "PointInTimeFeatures", "TabularModel", "Monitor"]
)
def test_dg_scaffolds_a_commented_example(clone: Path, name: str) -> None:
    done = dg(clone, "scaffold", "defs", f"lakeops_assets.components.{name}", "shop")
    assert done.returncode == 0, done.stdout + done.stderr
    path = clone / "lakeops_assets" / "defs" / "shop" / "defs.yaml"
    written = yaml.safe_load(path.read_text())
    assert written["type"] == f"lakeops_assets.components.{name}"
    assert "#" in path.read_text()
    if name == "FeatureTable":
        assert "shop.customers" in (path.parent / "features.sql").read_text()


def test_a_run_without_a_name_leaves_out_what_waits_to_be_named(copied: Path) -> None:
    """Sample flights are landed for those who ask for them, so `make run` stays short."""
    done = lakeops(copied, "run", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {o["asset"].split("/")[0] for o in json.loads(done.stdout)["outcomes"]} == {"churn"}
    assert not (copied / "state" / "landing" / "flight_delay").exists()
