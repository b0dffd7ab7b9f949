"""The package works from a wheel in a clean environment, not only from a clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the files that git tracks, so that nothing left over can help."""
    source = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, tracked.split("\0")):
        if (PROJECT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((PROJECT / name).read_bytes())
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_ships_yaml_sql_and_templates(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "lakeops_assets/defs/churn/defs.yaml",
        "lakeops_assets/defs/churn/features.sql",
        "lakeops_assets/components/templates/defs.yaml.template",
        "lakeops_assets/components/templates/features.sql.template",
        "lakeops_assets/lakehouse/engines/spark_jars.txt",
        "lakeops_assets/lakehouse/engines/spark_kafka_jars.txt",
        "lakeops_assets/py.typed",
    } <= names
    assert not [n for n in names if n.startswith("lakeops_assets_tests")]


def test_the_definitions_load_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment that sees this one's dependencies, but not the clone."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    site = next((environment / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    dependencies = next(p for p in map(Path, sys.path) if (p / "dagster" / "__init__.py").is_file())
    # Appended as plain entries of the path: a .pth file there would bring the clone back.
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    script = (
        "import json, lakeops_assets\n"
        "from lakeops_assets.definitions import defs\n"
        "graph = defs().resolve_asset_graph()\n"
        "from importlib.metadata import entry_points\n"
        "[e] = entry_points(group='dagster_dg_cli.registry_modules', name='lakeops_assets')\n"
        "print(json.dumps([lakeops_assets.__file__, e.value, "
        "[k.to_user_string() for k in graph.materializable_asset_keys]]))\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LAKEOPS"))}
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-W", "ignore", "-c", script],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    file, entry_point, keys = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(environment)
    assert entry_point == "lakeops_assets.components"
    assert "churn/champion" in keys
