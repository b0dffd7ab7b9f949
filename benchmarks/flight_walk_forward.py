"""Walk-forward evaluation of the flight model: each month by a model of the months before.

Usage: python benchmarks/flight_walk_forward.py [--state FOLDER] [--first 4] [--last 12]

The whole year goes through the product: landing files, bronze, point-in-time features, labels. Each
month is scored by a model that was trained on the days before it, but for the last one, so that
every label was known. The features of a flight hold what was known two hours before it should
leave. The peer sees the schedule alone, with the same settings. Features and settings were chosen
on January to September. The 95 % intervals come from a bootstrap of whole days (300 samples),
because flights of one day are not independent.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from flight_product import PRODUCT, Product

from lakeops_assets import models, samples
from lakeops_assets.features import refresh_features
from lakeops_assets.features.point_in_time import refresh_point_in_time
from lakeops_assets.models.metrics import CLASSIFICATION

SCHEDULE = (
    "carrier", "origin", "distance", "departure_minute", "weekday", "block_minutes", "seats",
    "built", "dest_lat", "dest_lon",
)  # fmt: skip
METRICS = ("roc_auc", "pr_auc", "log_loss", "ece")
RESAMPLES = 300


def prepare(product: Product) -> Any:
    """Return the training table of the whole year."""
    samples.land(samples.sample(PRODUCT), product.config.landing_root)
    product.ingest(datetime.now(UTC))
    refresh_point_in_time(product.lakehouse, product.features)
    refresh_features(product.lakehouse, product.training)
    table = product.lakehouse.read(product.training.table)
    return table.read_all().to_pandas().sort_values("flight_id").reset_index(drop=True)


def measured(y: Any, score: Any, days: Any) -> dict[str, tuple[float, float, float]]:
    """Return each metric with its 95 % interval over whole days."""
    import numpy as np

    places, which = np.unique(days, return_inverse=True)
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(len(places), [1 / len(places)] * len(places), RESAMPLES)
    found = {}
    for name in METRICS:
        function = CLASSIFICATION[name].function
        values = [function(y, score, counts[which][None].astype(float))[0] for counts in drawn]
        low, high = np.percentile(values, [2.5, 97.5])
        found[name] = (float(function(y, score, np.ones((1, len(y))))[0]), low, high)
    return found


def cells(found: dict[str, tuple[float, float, float]]) -> str:
    """Return the metrics as cells of a table."""
    return " | ".join(f"{v:.4f} ({low:.4f} – {high:.4f})" for v, low, high in found.values())


def main() -> None:
    """Run from the command line."""
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, help="State root; a temporary one by default.")
    parser.add_argument("--first", type=int, default=4, help="First month that is scored.")
    parser.add_argument("--last", type=int, default=12, help="Last month that is scored.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        product = Product(arguments.state or Path(folder))
        started = time.process_time()
        frame = prepare(product)
    print(
        f"{len(frame)} flights that arrived; prepared in {time.process_time() - started:.0f} CPU s"
    )
    # One thread: the trees are the same, and threads that wait for each other on a shared machine
    # took five times as long.
    spec = replace(product.model, params={**product.model.params, "n_jobs": 1})
    specs = {"features": spec, "schedule only": replace(spec, features=SCHEDULE)}
    y = models.labels(product.model, frame)
    days = frame["local_date"].to_numpy()
    scores = {name: np.full(len(frame), np.nan) for name in specs}
    print(f"| month | flights | late | | {' | '.join(METRICS)} |")
    print("| --- " * (4 + len(METRICS)) + "|")
    better = 0
    for month in range(arguments.first, arguments.last + 1):
        start = date(2013, month, 1)
        end = date(2013 + month // 12, month % 12 + 1, 1)
        past = days < start - timedelta(days=1)
        now = (days >= start) & (days < end)
        aucs = {}
        for name, spec in specs.items():
            trained = models.train(spec, frame[past])
            scores[name][now] = trained.score(frame[now])
            found = measured(y[now], scores[name][now], days[now])
            aucs[name] = found["roc_auc"][0]
            print(
                f"| {start:%B} | {now.sum()} | {y[now].mean():.3f} | {name} | {cells(found)} |",
                flush=True,
            )
        better += aucs["features"] > aucs["schedule only"]
    for first, last in ((arguments.first, arguments.last), (10, 12)):
        chosen = (days >= date(2013, first, 1)) & ~np.isnan(scores["features"])
        for name in specs:
            found = measured(y[chosen], scores[name][chosen], days[chosen])
            rows = f"{chosen.sum()} | {y[chosen].mean():.3f} | {name}"
            print(f"| months {first} to {last} | {rows} | {cells(found)} |")
    print(f"better than the schedule in {better} of {arguments.last - arguments.first + 1} months")
    print(f"{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
