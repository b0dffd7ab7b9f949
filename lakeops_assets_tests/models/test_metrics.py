"""Metrics against scikit-learn, against plain loops, and their intervals."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from lakeops_assets.models import ModelError, compare, evaluate
from lakeops_assets.models.metrics import CLASSIFICATION, METRICS, REGRESSION

ONCE = {
    "roc_auc": sk.roc_auc_score,
    "pr_auc": sk.average_precision_score,
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
    "rmse": lambda y, s: sk.mean_squared_error(y, s) ** 0.5,
    "mae": sk.mean_absolute_error,
    "r2": sk.r2_score,
}


@st.composite
def samples(draw: st.DrawFn, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with many ties, and how often each row was drawn."""
    n = draw(st.integers(4, 40))
    scores = np.array(draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))) / 10
    counts = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    counts[:2] = np.maximum(counts[:2], 1)
    if task == "classification":
        y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), dtype=float)
    else:
        y = np.array(draw(st.lists(st.integers(-50, 50), min_size=n, max_size=n))) / 10
    y[0], y[1] = 0.0, 1.0
    return y, scores, counts


@settings(deadline=None, max_examples=60)
@given(data=st.data(), name=st.sampled_from(sorted(ONCE)))
def test_equal_to_scikit_learn_also_on_resampled_rows(data: st.DataObject, name: str) -> None:
    task = "classification" if name in CLASSIFICATION else "regression"
    y, score, counts = data.draw(samples(task))
    ours = METRICS[task][name].function(y, score, np.stack([np.ones(len(y)), counts]))
    repeated = np.repeat(y, counts.astype(int)), np.repeat(score, counts.astype(int))
    assert ours == pytest.approx([ONCE[name](y, score), ONCE[name](*repeated)], abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(sample=samples("classification"))
def test_top_shares_equal_a_plain_loop(sample: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    y, score, _ = sample

    def hits(share: float) -> float:
        """Expected positives among the best share when ties are broken at random."""
        left, found = share * len(y), 0.0
        for value in sorted(set(score), reverse=True):
            rows = y[score == value]
            taken = min(left, len(rows))
            found += taken * rows.mean()
            left -= taken
        return found

    one = np.ones((1, len(y)))
    wanted = {
        "precision_at_10_percent": hits(0.1) / (0.1 * len(y)),
        "recall_at_20_percent": hits(0.2) / y.sum(),
        "lift_at_10_percent": hits(0.1) / (0.1 * len(y)) / y.mean(),
    }
    found = {name: CLASSIFICATION[name].function(y, score, one)[0] for name in wanted}
    assert found == pytest.approx(wanted)


def test_calibration_error_equals_a_plain_loop() -> None:
    generator = np.random.default_rng(1)
    score = generator.random(1000)
    y = (generator.random(1000) < score**2).astype(float)
    bins = np.array_split(np.argsort(score), 10)
    wanted = sum(len(b) / 1000 * abs(score[b].mean() - y[b].mean()) for b in bins)
    assert CLASSIFICATION["ece"].function(y, score, np.ones((1, 1000)))[0] == pytest.approx(wanted)


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    score = generator.random(rows)
    return (generator.random(rows) < score).astype(float), score


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_intervals_hold_the_value_and_shrink(task: str) -> None:
    small = evaluate(task, *drawn(200), resamples=400, seed=0)
    large = evaluate(task, *drawn(20_000), resamples=400, seed=0)
    for name, measured in large.metrics.items():
        if name != "ece":  # bounded by zero and so biased upwards on any resampled rows
            assert measured.low < measured.value < measured.high, name
        few = small.metrics[name]
        assert measured.high - measured.low < few.high - few.low, name


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """The true area under the curve is 5/6 when P(y=1|s) = s and s is uniform."""
    hits = 0
    for seed in range(100):
        found = evaluate("classification", *drawn(400, seed), resamples=200, seed=seed)
        hits += found.metrics["roc_auc"].low <= 5 / 6 <= found.metrics["roc_auc"].high
    assert 88 <= hits <= 100


def test_a_seed_decides_everything() -> None:
    one = evaluate("classification", *drawn(300), resamples=50, seed=1)
    assert one == evaluate("classification", *drawn(300), resamples=50, seed=1)
    assert one != evaluate("classification", *drawn(300), resamples=50, seed=2)


@pytest.mark.parametrize(
    ("task", "y", "score", "because"),
    [
        ("classification", [], [], "no held-out rows"),
        ("classification", [1, 1], [0.5, 0.6], "the same label"),
        ("classification", [0, 1], [0.5, float("nan")], "1 scores or labels are not numbers"),
        ("regression", [1.0, 2.0], [1.0], "shape"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    task: str, y: list[float], score: list[float], because: str
) -> None:
    with pytest.raises(ModelError, match=because):
        evaluate(task, np.array(y), np.array(score), resamples=10, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "metric"),
    [(t, m) for t, group in METRICS.items() for m in group],
)
def test_a_model_is_as_good_as_itself(task: str, metric: str) -> None:
    y, score = drawn(300)
    same = compare(task, y, score, score.copy(), metric, resamples=50, seed=0)  # type: ignore[arg-type]
    assert (same.difference, same.low, same.high, same.probability) == (0, 0, 0, 0)


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "brier"])
def test_a_better_challenger_is_seen_in_either_direction(metric: str) -> None:
    y, score = drawn(3000)
    noisy = np.clip(score + np.random.default_rng(3).normal(0, 0.2, 3000), 0.01, 0.99)
    better = compare("classification", y, noisy, score, metric, resamples=200, seed=0)
    assert 0 < better.low < better.difference < better.high
    worse = compare("classification", y, score, noisy, metric, resamples=200, seed=0)
    assert worse.high < 0
    assert worse.difference == pytest.approx(-better.difference)


def test_a_paired_interval_is_narrower_than_two_unpaired_ones() -> None:
    y, score = drawn(2000)
    other = np.clip(score + np.random.default_rng(3).normal(0, 0.05, 2000), 0.01, 0.99)
    paired = compare("classification", y, other, score, "roc_auc", resamples=300, seed=0)
    alone = evaluate("classification", y, score, resamples=300, seed=0).metrics["roc_auc"]
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_an_unknown_metric_names_those_that_exist() -> None:
    with pytest.raises(ModelError, match="there are: rmse, mae, r2"):
        compare("regression", *(np.ones(3),) * 3, "auc", resamples=1, seed=0)  # type: ignore[misc]
    assert set(REGRESSION) == {"rmse", "mae", "r2"}


def test_memory_does_not_grow_with_the_number_of_resamples() -> None:
    script = (
        "import resource, numpy as np\n"
        "from lakeops_assets.models import evaluate\n"
        "g = np.random.default_rng(0); s = g.random(1_000_000)\n"
        "y = (g.random(1_000_000) < s).astype(float)\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "evaluate('regression', y, s, resamples=4, seed=0); few = peak()\n"
        "evaluate('regression', y, s, resamples=40, seed=0); print(peak() / few)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.2
