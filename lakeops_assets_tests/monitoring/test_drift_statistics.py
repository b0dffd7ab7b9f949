from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from lakeops_assets.monitoring import statistics
from lakeops_assets.monitoring.statistics import Items

samples = st.lists(st.integers(-1000, 1000).map(lambda i: i / 8), min_size=1, max_size=300)
counts = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 500), min_size=1)


def sketch(values: object, k: int = 1000) -> np.ndarray:
    """Return quantiles as a scan keeps them: inverse of the empirical distribution."""
    ordered = np.sort(np.asarray(values, dtype=float))
    shares = (np.arange(k) + 0.5) / k
    return ordered[np.ceil(shares * len(ordered)).astype(int) - 1]


@pytest.mark.parametrize(
    ("n1", "n2", "statistic", "pvalue"),
    [
        (1344, 1192, 0.062, 0.014853915612309707),
        (1192, 941, 0.038, 0.4228041687817168),
        (523, 941, 0.049, 0.3829208808885818),
    ],
)
def test_the_pvalue_is_the_one_that_was_published(
    n1: int, n2: int, statistic: float, pvalue: float
) -> None:
    points = np.arange(1000.0)
    shifted = points + round(statistic * 1000)
    assert statistics.ks(shifted, points, n1, n2) == (statistic, pvalue)


@pytest.mark.parametrize("moved", [0, 1, 3, 7, 12, 20, 25])
def test_the_pvalue_of_many_rows_is_close_to_the_exact_one(moved: int) -> None:
    points = np.arange(1000.0)
    n = 2 * statistics.LARGE + 10
    found = statistics.ks(points + moved, points, n, n)
    assert found.statistic == moved / 1000
    assert found.pvalue == pytest.approx(scipy.stats.kstwo.sf(moved / 1000, n // 2), rel=1e-3)


@given(samples, samples)
def test_ks_is_within_its_grid_of_the_statistic_of_all_rows(a: list, b: list) -> None:
    found = statistics.ks(sketch(a), sketch(b), len(a), len(b))
    everywhere = np.array([*a, *b])
    below = [np.searchsorted(np.sort(s), everywhere, side="right") / len(s) for s in (a, b)]
    exact = np.abs(below[0] - below[1]).max()
    assert found.statistic == pytest.approx(exact, abs=0.001 + 1e-9)
    assert found.statistic * 1000 == pytest.approx(round(found.statistic * 1000))
    assert 0 <= found.pvalue <= 1


@given(samples, samples)
def test_wasserstein_is_within_the_quantiles_resolution(a: list, b: list) -> None:
    exact = scipy.stats.wasserstein_distance(a, b)
    span = max(*a, *b) - min(*a, *b)
    assert statistics.wasserstein(sketch(a), sketch(b)) == pytest.approx(
        exact, abs=span / 1000 + 1e-9
    )


def test_large_samples_agree_with_a_brute_force_psi() -> None:
    rng = np.random.default_rng(3)
    base, current = rng.normal(size=50_000), rng.normal(0.4, 1.2, size=40_000)
    edges = np.quantile(base, np.arange(1, 10) / 10)
    q = np.bincount(np.searchsorted(edges, base), minlength=10) / len(base)
    p = np.bincount(np.searchsorted(edges, current), minlength=10) / len(current)
    exact = ((p - q) * np.log(p / q)).sum()
    found = statistics.psi(sketch(current), sketch(base), len(current), len(base))
    assert found == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("moved", [-3.0, 3.0])
def test_psi_sees_a_constant_move_either_way(moved: float) -> None:
    constant = np.full(1000, 5.0)
    assert statistics.psi(constant + moved, constant, 500, 500) > 1
    assert statistics.psi(constant, constant, 500, 500) == 0


@given(samples)
def test_numbers_do_not_drift_from_themselves(values: list) -> None:
    points, n = sketch(values), len(values)
    assert statistics.ks(points, points, n, n) == (0, 1)
    assert statistics.psi(points, points, n, n) == 0
    assert statistics.wasserstein(points, points) == 0


@given(samples, samples)
def test_psi_is_finite_and_not_negative(a: list, b: list) -> None:
    found = statistics.psi(sketch(a), sketch(b), len(a), len(b))
    assert np.isfinite(found)
    assert found >= 0


@given(counts, counts)
def test_categories_agree_with_scipy(a: dict, b: dict) -> None:
    sides = [Items(c, sum(c.values())) for c in (a, b)]
    p, q = statistics.align(*sides)
    names = sorted({*a, *b})
    table = np.array([[side.get(i, 0) for i in names] for side in (a, b)])
    shares = table / table.sum(axis=1, keepdims=True)
    assert statistics.js_distance(p, q) == pytest.approx(jensenshannon(*shares, base=2), abs=1e-6)
    assert statistics.tv_distance(p, q) == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)
    assert statistics.l_infinity(p, q) == pytest.approx(np.abs(shares[0] - shares[1]).max())
    found = statistics.chi_squared(p, q, sides[0].total, sides[1].total)
    if len(names) > 1:
        expected = scipy.stats.chi2_contingency(table, correction=False)
        assert found.statistic == pytest.approx(expected.statistic, abs=1e-6)
        assert found.pvalue == pytest.approx(expected.pvalue, abs=1e-9)
    else:
        assert found == (0, 1)


@given(counts, counts, st.integers(0, 1000), st.integers(0, 1000))
def test_rare_items_never_make_a_distance_larger_than_it_is(
    a: dict, b: dict, more_a: int, more_b: int
) -> None:
    def listed(side: dict, more: int) -> tuple[Items, dict]:
        # Everything beyond the listed items is rarer than any of them.
        rare = {f"rare{i}": 1 for i in range(more)}
        return Items(side, sum(side.values()) + more), side | rare

    (left, all_a), (right, all_b) = listed(a, more_a), listed(b, more_b)
    p, q = statistics.align(left, right)
    names = sorted({*all_a, *all_b})
    exact = [np.array([s.get(i, 0) for i in names]) / sum(s.values()) for s in (all_a, all_b)]
    assert p.sum() == pytest.approx(1)
    assert q.sum() == pytest.approx(1)
    assert statistics.tv_distance(p, q) <= np.abs(exact[0] - exact[1]).sum() / 2 + 1e-9
    assert statistics.js_distance(p, q) <= jensenshannon(*exact, base=2) + 1e-6


def test_chance_thresholds_hold_for_samples_of_one_distribution() -> None:
    rng = np.random.default_rng(11)
    exceeded = {"psi": 0, "js": 0}
    for _ in range(300):
        a, b = rng.normal(size=150), rng.normal(size=400)
        found = statistics.psi(sketch(a), sketch(b), 150, 400)
        exceeded["psi"] += found > statistics.psi_by_chance(150, 400, 0.99)
        sides = [rng.multinomial(n, [0.5, 0.2, 0.2, 0.1]) for n in (150, 400)]
        items = [Items(dict(zip("abcd", map(int, s), strict=True)), int(s.sum())) for s in sides]
        distance = statistics.js_distance(*statistics.align(*items))
        exceeded["js"] += distance > statistics.js_by_chance(150, 400, 4, 0.99)
    assert exceeded["psi"] <= 12
    assert exceeded["js"] <= 12
