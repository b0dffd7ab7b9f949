"""Many processes write to one ledger and promote one model; nothing is lost and one of them wins.

Usage: python benchmarks/ledger_drill.py [--processes 100] [--events 3] [--without-lock]

Each process records its events, and in each round tries to carry out the plan that all of them
made. Afterwards every event must be there once, the chain of hashes must hold, each promotion must
have had one winner, and the alias in a real MLflow store must be on the version that the ledger
says. `--without-lock` leaves it to Delta's compare and set alone, as between two machines.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.models import ModelRegistry, artifact_root
from lakeops_assets.models.entities import DATA_VERSION, FINGERPRINT, MODEL, USER
from lakeops_assets.promotion import (
    Entry,
    Evidence,
    Ledger,
    MetricGate,
    PromotionPolicy,
    PromotionRefusedError,
    carry_out,
    evaluate_gate,
    plan_promotion,
    record_results,
)

MODEL_NAME = "dev.drill.model"
GATES = (MetricGate("roc_auc", at_least=0.5),)
POLICY = PromotionPolicy(approvals=0)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
assert MlflowClient  # imported before processes are forked, so that they share it


def open_all(folder: Path) -> tuple[Ledger, ModelRegistry]:
    """Return ledger and registry below a folder."""
    uri = f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}"
    registry = ModelRegistry(uri, artifact_root(uri), MODEL_NAME, "dev.drill")
    return Ledger(Lakehouse(folder / "lakehouse", "dev", create_engine("duckdb"))), registry


def prepare(folder: Path, promotions: int) -> None:
    """Register versions and store a verdict on each, against the one before it."""
    ledger, registry = open_all(folder)
    for version in range(1, promotions + 1):
        tags = {MODEL: MODEL_NAME, FINGERPRINT: f"model-{version}", DATA_VERSION: "1"}
        made = registry.client.create_logged_model(registry.experiment_id, name="m", tags=tags)
        registry.client.finalize_logged_model(made.model_id, "READY")
        registry.register(made.model_id, "", {USER: "ann"})
        metrics = {"roc_auc": (0.8, 0.7, 0.9)}
        found = Evidence(
            MODEL_NAME, version, 1, 1000, metrics, version - 1 or None, model_id=made.model_id
        )
        results = [evaluate_gate(gate, found) for gate in GATES]
        record_results(ledger.lakehouse, found, GATES, results, now=NOW, run_id="drill")


@contextlib.contextmanager
def no_lock(ledger: Ledger) -> Iterator[None]:
    """Stand in for the file lock, as on machines that share no file system locks."""
    yield


def work(
    folder: str, number: int, events: int, promotions: int, lock: bool, barrier: Any, out: Any
) -> None:
    """Record events and try to promote, together with all others."""
    if not lock:
        Ledger.locked = no_lock  # type: ignore[method-assign]
    ledger, registry = open_all(Path(folder))
    actor = f"process {number}"
    for event in range(events):
        ledger.append(Entry("dev.other.model", "approve", event, None, actor, "drill", NOW))
    for version in range(1, promotions + 1):
        barrier.wait()
        plan = plan_promotion(ledger, registry, version, GATES, POLICY, now=NOW)
        barrier.wait()
        try:
            done = carry_out(ledger, registry, plan, GATES, actor=actor, run_id="drill", now=NOW)
        except PromotionRefusedError:
            continue
        if done.promoted:
            out.put((version, number))


def drill(processes: int, events: int, promotions: int, folder: Path, *, lock: bool) -> list[str]:
    """Carry out the drill and return what is wrong; empty when nothing is."""
    # In a process of its own: what has opened a table cannot be forked.
    prepared = [sys.executable, __file__, "--prepare", str(folder), "--promotions", str(promotions)]
    subprocess.run(prepared, check=True)
    context = multiprocessing.get_context("fork")
    barrier, out = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=work, args=(str(folder), n, events, promotions, lock, barrier, out))
        for n in range(processes)
    ]
    started = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - started
    winners: dict[int, list[int]] = {version: [] for version in range(1, promotions + 1)}
    while not out.empty():
        version, number = out.get()
        winners[version].append(number)
    ledger, registry = open_all(folder)
    wrong = [f"process {w.name} ended with {w.exitcode}" for w in workers if w.exitcode]
    wrong += [f"version {v} was promoted by {n}" for v, n in winners.items() if len(n) != 1]
    entries = ledger.entries()
    expected = {(f"process {n}", event) for n in range(processes) for event in range(events)}
    recorded = [(e.actor, e.version) for e in entries if e.action == "approve"]
    if sorted(recorded) != sorted(expected):
        wrong.append(f"{len(recorded)} events of {len(expected)}")
    wrong += [problem.text for problem in ledger.verify()]
    live = ledger.live(MODEL_NAME)
    if live is None or not live.version == registry.alias("champion") == promotions:
        wrong.append(f"the ledger says {live}, the alias {registry.alias('champion')}")
    rate = len(entries) / seconds
    how = "with the file lock" if lock else "on Delta's compare and set alone"
    print(
        f"{processes} processes {how}: {len(entries)} events in {seconds:.1f} s "
        f"({rate:.1f} per s), winners per promotion {[len(n) for n in winners.values()]}"
    )
    return wrong


def main() -> None:
    """Run the drill from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=100)
    parser.add_argument("--events", type=int, default=3)
    parser.add_argument("--promotions", type=int, default=3)
    parser.add_argument("--without-lock", action="store_true")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare, arguments.promotions)
        return
    with tempfile.TemporaryDirectory() as folder:
        wrong = drill(
            arguments.processes,
            arguments.events,
            arguments.promotions,
            Path(folder),
            lock=not arguments.without_lock,
        )
    print("\n".join(wrong) or "nothing lost, no chain broken, one winner each, alias as the ledger")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
