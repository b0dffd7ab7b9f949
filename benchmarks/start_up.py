"""CPU seconds of what is waited for most often: loading the definitions and `lakeops --help`.

Usage: python benchmarks/start_up.py

`import dagster` alone is the peer: nobody who loads a code location can be faster.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

CASES = {
    "import dagster (peer)": [sys.executable, "-c", "import dagster"],
    "load lakeops_assets.definitions": [
        *(sys.executable, "-W", "ignore", "-c"),
        "from lakeops_assets.definitions import defs; defs()",
    ],
    "lakeops --help": [sys.executable, "-m", "lakeops_assets.cli", "--help"],
}
RUNS = 5


def measure(command: list[str]) -> tuple[float, float]:
    """Return CPU and wall seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime), wall


def main() -> None:
    """Print the median of several runs, taken in turn so that all see the same machine."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(RUNS + 1):
        for name, command in CASES.items():
            found[name].append(measure(command))
    peer = statistics.median(cpu for cpu, _ in found["import dagster (peer)"][1:])
    print(f"{'':34}{'CPU s':>8}{'wall s':>8}{'ratio':>8}")
    for name, runs in found.items():
        cpu = statistics.median(c for c, _ in runs[1:])
        wall = statistics.median(w for _, w in runs[1:])
        print(f"{name:34}{cpu:8.2f}{wall:8.2f}{cpu / peer:8.2f}")


if __name__ == "__main__":
    main()
