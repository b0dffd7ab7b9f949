"""A year of flights, day by day: ingest, features, labels, scores and monitors of each day.

Usage: python benchmarks/flight_year.py [--days 365] [--first-model 28] [--compared 30]
    [--stride 1] [--state FOLDER] [--record FILE]

Every day the files of that day land and the same functions run that the assets of the product call:
nothing is computed ahead. The model is trained after four weeks, and again on the first of each
month; training is timed apart, and with it the baseline that monitors compare with. Once a week the
tables are maintained as by the asset of maintenance. The claim: a day at the end of the year costs
no more than 1.5 times a day at its start, maintenance included. It is made in CPU seconds, which do
not depend on what else the machine does. With `--stride 14` only the days that are compared come
one by one; of those between, fourteen arrive at once. `--record` writes what each day cost, the
alerts that it raised and, at the end, what was estimated and measured per week, as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flight_product import PRODUCT, Product, declared

from lakeops_assets import monitoring, samples
from lakeops_assets.components import scoring, training
from lakeops_assets.features import refresh_features
from lakeops_assets.features.point_in_time import refresh_point_in_time
from lakeops_assets.lakehouse import TableName, maintenance
from lakeops_assets.samples.flights import FIRST_DAY

PARTS = ["ingest", "features", "labels", "scores", "monitor", "maintenance"]
BASELINE = TableName("dev", PRODUCT, "baseline")

Seconds = dict[str, list[tuple[float, float]]]


@contextmanager
def timed(seconds: Seconds, part: str) -> Iterator[None]:
    """Add the wall and CPU seconds of a block to a part of the day."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    seconds[part].append((time.perf_counter() - wall, time.process_time() - cpu))


def deliver(landed: Path, product: Product, day: str) -> None:
    """Copy the files of one day into the landing folders."""
    for path in landed.glob(f"{PRODUCT}/*/{day}.*"):
        target = product.config.landing_root / path.relative_to(landed)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def train(product: Product) -> int:
    """Train on what is labelled and return the version that scores from now on."""
    registry = product.registry()
    training.train(product.lakehouse, registry, product.model, product.training.table, tags={})
    version = training.register(registry, actor="benchmark")
    registry.set_alias("champion", version.version)
    training.write_baseline(
        product.lakehouse,
        registry,
        product.model,
        product.training.table,
        BASELINE,
        version.version,
    )
    return version.version


def one_day(
    product: Product, now: datetime, version: int | None, seconds: Seconds
) -> monitoring.MonitorResult | None:
    """Bring everything up to date with the files that have landed."""
    lakehouse = product.lakehouse
    with timed(seconds, "ingest"):
        product.ingest(now)
    with timed(seconds, "features"):
        refresh_point_in_time(lakehouse, product.features)
    with timed(seconds, "labels"):
        refresh_features(lakehouse, product.training)
    if version is None:
        return None
    [declaration] = declared("BatchScores")
    spec = scoring.ScoreSpec(
        TableName("dev", PRODUCT, declaration.table),
        product.features.table,
        product.model.primary_key,
        tuple(declaration.carry),
        backfill=declaration.backfill,
    )
    with timed(seconds, "scores"):
        scoring.score(lakehouse, product.registry(), spec, version, now=now)
        refresh_features(lakehouse, product.predictions)
    [monitor] = declared("Monitor")
    with timed(seconds, "monitor"):
        return monitoring.refresh(
            lakehouse,
            f"{PRODUCT}.{monitor.table}",
            monitor.monitor_spec(),
            now=now,
            baseline=BASELINE,
            baseline_where=monitor.baseline_where,
            rules=monitor.alerts.rules(),
        )


def maintain(product: Product, now: datetime) -> None:
    """Maintain each table, with the policy that the asset of maintenance has by default."""
    for table in product.lakehouse.tables():
        policy = maintenance.MaintenancePolicy(table)
        plan = maintenance.plan_maintenance(product.lakehouse, policy, {}, now=now)
        maintenance.carry_out(product.lakehouse, plan)


def weeks(product: Product) -> list[dict[str, Any]]:
    """Return what was estimated and measured of each week."""
    table = f"{PRODUCT}.predictions_profile_metrics"
    wanted = ("roc_auc_score", "accuracy_score", "log_loss")
    listed = ", ".join(f"{m}, estimated_{m}" for m in wanted)
    rows = product.lakehouse.query(
        f"SELECT window.start AS week, count, {listed} FROM {table} WHERE log_type = 'INPUT' "
        "AND column_name = ':table' AND slice_key IS NULL AND model_version = '*' ORDER BY week"
    )
    return rows.read_all().to_pylist()


def report(early: list[Seconds], late: list[Seconds], parts: list[str]) -> None:
    """Print CPU and wall seconds per day of some early and some late days, and their ratio."""
    print(f"| part | CPU s a day, first {len(early)} | last {len(late)} | ratio | wall s a day |")
    print("| --- | --- | --- | --- | --- |")

    def cpu(some: list[Seconds], names: list[str]) -> float:
        return sum(c for d in some for n in names for _, c in d[n]) / len(some)

    for names in [*([p] for p in parts), parts]:
        one, other = cpu(early, names), cpu(late, names)
        wall = sum(w for d in late for n in names for w, _ in d[n]) / len(late)
        name = names[0] if len(names) == 1 else "**all**"
        ratio = f"{other / one:.2f}" if one else ""
        print(f"| {name} | {one:.2f} | {other:.2f} | {ratio} | {wall:.2f} |")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--first-model", type=int, default=28, help="Days before the first model.")
    parser.add_argument("--compared", type=int, default=30, help="Days at each end.")
    parser.add_argument("--stride", type=int, default=1, help="Days that arrive at once between.")
    parser.add_argument("--state", type=Path, help="State root; a temporary one by default.")
    parser.add_argument("--record", type=Path, help="File of JSON lines, one per day.")
    arguments = parser.parse_args()

    def record(line: dict[str, Any]) -> None:
        if arguments.record:
            with arguments.record.open("a") as file:
                file.write(json.dumps(line, default=str) + "\n")

    started = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        landed = Path(folder) / "landed"
        samples.land(samples.sample(PRODUCT), landed, arguments.days)
        product = Product(arguments.state or Path(folder) / "state")
        version = None
        ends: tuple[list[Seconds], list[Seconds]] = ([], [])
        first, last = arguments.first_model, arguments.days - arguments.compared
        done = 0
        while done < arguments.days:
            early = first <= done < first + arguments.compared
            border = next(b for b in (first, last, arguments.days) if b > done)
            step = 1 if early or done >= last else min(arguments.stride, border - done)
            seconds: Seconds = defaultdict(list)
            for i in range(done, done + step):
                deliver(landed, product, (FIRST_DAY + timedelta(days=i)).isoformat())
            day = FIRST_DAY + timedelta(days=done + step - 1)
            if done == first or (done > first and step == day.day == 1):
                with timed(seconds, "training"):
                    version = train(product)
            now = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
            found = one_day(product, now, version, seconds)
            if step > 1 or done % 7 == 6:
                with timed(seconds, "maintenance"):
                    maintain(product, now)
            if early or done >= last:
                ends[not early].append(seconds)
            done += step
            spent = {part: f"{sum(c for _, c in s):.2f}" for part, s in seconds.items()}
            print(day, step, spent, flush=True)
            raised = [asdict(alert) for alert in found.alerts] if found else []
            refreshed = found.refreshed if found else 0
            record({"day": day, "cpu": spent, "windows_refreshed": refreshed, "alerts": raised})
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        print(f"{arguments.days} days: {wall:.0f} s, {cpu:.0f} CPU s with training")
        for week in weeks(product):
            record(week)
    report(*ends, PARTS)


if __name__ == "__main__":
    main()
