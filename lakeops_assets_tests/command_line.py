"""The command line as a process of its own, with all state below one folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path


def lakeops(
    folder: Path, *arguments: str, before: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line, and note in `modules-<command>.json` what it imported.

    Args:
        folder: Folder of all state.
        arguments: Command and its options.
        before: Python to execute first.
        variables: Further variables of the environment.
    """
    script = (
        "import atexit, json, pathlib, sys\n"
        "from lakeops_assets.cli import main\n"
        "note = pathlib.Path(f'modules-{sys.argv[1]}.json')\n"
        "atexit.register(lambda: note.write_text(json.dumps(list(sys.modules))))\n"
        f"{before}\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    env = {**environment(folder), **variables}
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=folder)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which all state is below a folder."""
    ours = {
        "LAKEOPS_HOME": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "dagster"),
        "LAKEOPS_DEFS": str(folder / "defs"),
        "LAKEOPS_ACTOR": "tester",
    }
    return {**os.environ, **ours}


def copy_of(finished: Path, folder: Path) -> Path:
    """Copy `finished`, and change the paths that MLflow stored to the copy's."""
    shutil.copytree(finished, folder)
    with sqlite3.connect(folder / "state" / "mlflow" / "mlflow.db") as store:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
        ):
            change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            store.execute(change, (str(finished), str(folder)))
    return folder
