"""Kill `lakeops run churn` again and again, then compare with a run that nobody disturbed.

Usage: python benchmarks/kill_drill.py [--kills 20] [--seed 0]

Each kill is SIGKILL to the whole process group at a random moment. The run is started again until
it ends by itself. Afterwards every table must have the version, the rows and the keys of the
undisturbed run, and the registry the same versions, aliases and metrics.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Columns that hold when or in which process something was written, and nothing about the data.
INCIDENTAL = {"_ingested_at", "scored_at", "evaluated_at", "seen_at", "run_id", "modified_at"}
# A hash of the ledger is one of the time, too.
INCIDENTAL |= {"at", "hash", "previous_hash"}
# MLflow draws the ids of models, and an evaluation or a plan is known by what it is about.
INCIDENTAL |= {"model_id", "evaluation_id", "plan_digest", "clean_process_seconds"}
LAKEOPS = [sys.executable, "-m", "lakeops_assets.cli"]


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which all state is below `home`."""
    return {
        **os.environ,
        "LAKEOPS_HOME": str(home / "state"),
        "DAGSTER_HOME": str(home / "dagster"),
        "LAKEOPS_DEFS": str(home / "defs"),
    }


def fingerprint(home: Path) -> dict[str, object]:
    """Return what must be equal: versions, rows and content of tables, and model versions."""
    from lakeops_assets import settings
    from lakeops_assets.commands.status import status
    from lakeops_assets.lakehouse import open_lakehouse

    config = settings.load(environment(home))
    lakehouse = open_lakehouse(config)
    found: dict[str, object] = {}
    for table in lakehouse.tables():
        if table.table == "costs":
            continue  # what was killed had its cost
        columns = [c for c in lakehouse.schema(table).names if c not in INCIDENTAL]
        rows = lakehouse.read(table, columns=columns).read_all().to_pylist()
        for row in rows:
            if "evidence" in row:
                row["evidence"] = json.loads(row["evidence"])
        lines = sorted(json.dumps(_rounded(row), sort_keys=True, default=str) for row in rows)
        content = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        found[str(table)] = (lakehouse.version(table), len(rows), content)
    from datetime import UTC, datetime

    for version in status(["churn"], config, datetime.now(UTC)).models:
        metrics = {k: round(v, 9) for k, v in sorted(version.metrics.items())}
        found[f"{version.model} v{version.version}"] = (version.aliases, metrics, version.gates)
    return found


def _rounded(value: object) -> object:
    """Return a value without the digits that depend on the order in which threads add up."""
    if isinstance(value, float):
        return float(f"{round(value, 9):.8g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items() if k not in INCIDENTAL}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


def run_to_end(home: Path) -> float:
    """Run without disturbance and return the seconds it took."""
    started = time.monotonic()
    done = subprocess.run(
        [*LAKEOPS, "run", "churn", "--json"],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"lakeops run ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return time.monotonic() - started


def run_and_kill(home: Path, after: float) -> bool:
    """Start a run and kill it after some seconds; return whether it was still under way."""
    process = subprocess.Popen(
        [*LAKEOPS, "run", "churn"],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def drill(kills: int, seed: int, folder: Path) -> list[str]:
    """Carry out the drill and return the differences; empty when there are none."""
    chance = random.Random(seed)
    seconds = run_to_end(folder / "calm")
    print(f"undisturbed run: {seconds:.1f} s")
    expected = fingerprint(folder / "calm")
    done, attempt, differences = 0, 0, []
    while done < kills:
        # A new state root each time a run got through: kills hit every stage of a cold run.
        home = folder / f"disturbed-{attempt}"
        attempt += 1
        while done < kills:
            after = chance.uniform(0.3, seconds)
            if not run_and_kill(home, after):
                break
            done += 1
            print(f"kill {done} after {after:.1f} s in {home.name}")
        run_to_end(home)
        found = fingerprint(home)
        differences += [
            f"{home.name}: {name}: {found.get(name)} instead of {expected.get(name)}"
            for name in sorted(expected.keys() | found.keys())
            if found.get(name) != expected.get(name)
        ]
    return differences


def main() -> None:
    """Run the drill from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        differences = drill(arguments.kills, arguments.seed, Path(folder))
    print("\n".join(differences) or f"no difference after {arguments.kills} kills")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
