"""Distances between two summaries of a column.

Numbers are compared by their quantiles: k values of which each stands for 1/k of the rows.
Categories are compared by their most frequent items. Every function is symmetric unless it says
otherwise, and zero for two equal summaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]

# Bins of the PSI.
BINS = 10
# Size from which the KS distribution is taken from its limit: the exact one adds up as many terms.
LARGE = 20_000


class Significance(NamedTuple):
    """Result of a significance test."""

    statistic: float
    pvalue: float


@dataclass(frozen=True)
class Items:
    """Frequent items of a column.

    Attributes:
        counts: Value -> rows; the most frequent values, perhaps not all.
        total: Rows that have a value.
    """

    counts: Mapping[str, int]
    total: int


# Numbers


def ks(current: Numbers, base: Numbers, n_current: int, n_base: int) -> Significance:
    """Return the two-sample Kolmogorov-Smirnov test of two sets of quantiles.

    The statistic is the largest difference of the two empirical distributions of the quantiles, a
    multiple of 1/k and within 1/k of the one of all rows. The p-value is that of the two-sided
    test of one sample of size n1 n2 / (n1 + n2), rounded: `scipy.stats.kstwo.sf`, which
    reproduces the values that Databricks' drift tables hold. Above a size of 20000 it is taken
    from Kolmogorov's limit with Vrbik's correction, which agrees to 0.1 % where it is above 1e-6
    and does not take seconds. With millions of rows the grid alone makes a p-value of zero: judge
    by effect sizes. Source: Vrbik, Small-sample corrections to Kolmogorov-Smirnov test
    statistic, 2018.

    Args:
        current: k quantiles, ascending.
        base: As many quantiles of what it is compared with.
        n_current: Numbers that `current` was made of.
        n_base: Numbers that `base` was made of.
    """
    import numpy as np

    k = len(current)
    values = np.concatenate([current, base])
    below_current = np.searchsorted(current, values, side="right")
    below_base = np.searchsorted(base, values, side="right")
    statistic = float(np.abs(below_current - below_base).max() / k)
    size = max(1, round(n_current * n_base / (n_current + n_base)))
    return Significance(statistic, _ks_pvalue(statistic, size))


def _ks_pvalue(statistic: float, size: int) -> float:
    from math import sqrt

    from scipy.special import kolmogorov
    from scipy.stats import kstwo  # type: ignore[attr-defined]  # made at run time

    if size <= LARGE:
        return float(kstwo.sf(statistic, size))
    z = statistic * sqrt(size)
    return float(kolmogorov(z + 1 / (6 * sqrt(size)) + (z - 1) / (4 * size)))


def wasserstein(current: Numbers, base: Numbers) -> float:
    """Return the mean distance that a row has to move, in the column's unit.

    The first Wasserstein distance: the mean of |Q1(p) - Q2(p)| over the quantiles.
    """
    import numpy as np

    return float(np.abs(current - base).mean())


def psi(current: Numbers, base: Numbers, n_current: int, n_base: int) -> float:
    """Return the population stability index: the sum of (p - q) ln(p / q) over bins.

    Bins are cut at the deciles of the base; not symmetric for that reason. A decile that repeats
    is a value that many rows share, and gets a bin of its own, so that a constant that moves is
    seen whichever way it goes. A share of zero would make the index infinite: it is raised to
    half of the smallest share that can be told from zero, 1 / min(n, k). Bins that are empty on
    both sides are left out.

    Below 0.1 there is no drift to speak of, below 0.2 it is moderate, from there on significant.
    Source: Siddiqi, Credit Risk Scorecards, 2006; Databricks reads it the same way.
    """
    import numpy as np

    deciles = base[(np.arange(1, BINS) * len(base)) // BINS]
    cuts, times = np.unique(deciles, return_counts=True)
    p = _binned(current, cuts, cuts[times > 1])
    q = _binned(base, cuts, cuts[times > 1])
    used = (p > 0) | (q > 0)
    p = np.maximum(p[used], 0.5 / min(n_current, len(current)))
    q = np.maximum(q[used], 0.5 / min(n_base, len(base)))
    return float(((p - q) * np.log(p / q)).sum())


def _binned(values: Numbers, cuts: Numbers, shared: Numbers) -> Numbers:
    """Return the shares at or below each cut and above the one before; also of shared values."""
    import numpy as np

    below = np.searchsorted(values, cuts, side="right")
    before = np.searchsorted(values, shared, side="left")
    # Counts from the left grow with the edges, so sorting them is sorting the edges.
    edges = np.sort(np.concatenate([[0], before, below, [len(values)]]))
    return np.diff(edges) / len(values)


# Categories


def align(current: Items, base: Items) -> tuple[Numbers, Numbers]:
    """Return the shares of the same categories on both sides; the last is everything else.

    An item that only one side lists is absent on the other side if that one lists all it has.
    Otherwise it may have been too rare to be listed: it is then given the same share, as far as
    the rarest listed item allows. What is computed from the shares is thus exact for up to 100
    different values, and beyond that no larger than the truth.
    """
    import numpy as np

    items = sorted({*current.counts, *base.counts})
    p = np.array([current.counts.get(i, 0) / current.total for i in items])
    q = np.array([base.counts.get(i, 0) / base.total for i in items])
    p_known = np.array([i in current.counts for i in items], dtype=bool)
    q_known = np.array([i in base.counts for i in items], dtype=bool)
    return _completed(p, p_known, q, current), _completed(q, q_known, p, base)


def _completed(shares: Numbers, known: Numbers, other: Numbers, items: Items) -> Numbers:
    import numpy as np

    unlisted = (items.total - sum(items.counts.values())) / items.total
    guess = np.zeros_like(shares)
    if unlisted > 0:
        rarest = min(items.counts.values()) / items.total
        guess = np.where(known, 0.0, np.minimum(other, rarest))
        if guess.sum() > unlisted:
            guess *= unlisted / guess.sum()
    return np.append(shares + guess, max(0.0, unlisted - guess.sum()))


def js_distance(p: Numbers, q: Numbers) -> float:
    """Return the Jensen-Shannon distance of two sets of shares, from 0 to 1.

    The square root of the divergence in bits: the mean Kullback-Leibler divergence of the two
    from their middle. Source: Endres and Schindelin, IEEE Trans. Inf. Theory 49, 2003; it is
    `scipy.spatial.distance.jensenshannon` with base 2.
    """
    import numpy as np

    middle = (p + q) / 2
    divergence = 0.0
    for side in (p, q):
        used = side > 0
        divergence += 0.5 * float((side[used] * np.log2(side[used] / middle[used])).sum())
    return float(np.sqrt(min(1.0, max(0.0, divergence))))


def chi_squared(p: Numbers, q: Numbers, n_current: int, n_base: int) -> Significance:
    """Return Pearson's chi-squared test that two sets of shares come from one distribution.

    The statistic of the table of two rows (n p and n q) and one column per category, without
    Yates' correction; the degrees of freedom are the categories that occur, less one.
    """
    import numpy as np
    from scipy.special import chdtrc

    observed = np.stack([p * n_current, q * n_base])
    observed = observed[:, observed.sum(axis=0) > 0]
    if observed.shape[1] < 2:
        return Significance(0.0, 1.0)
    sizes = np.array([[n_current], [n_base]])
    expected = sizes * observed.sum(axis=0) / sizes.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return Significance(statistic, float(chdtrc(observed.shape[1] - 1, statistic)))


def tv_distance(p: Numbers, q: Numbers) -> float:
    """Return the total variation distance: half of the sum of |p - q|, from 0 to 1."""
    import numpy as np

    return float(np.abs(p - q).sum() / 2)


def l_infinity(p: Numbers, q: Numbers) -> float:
    """Return the largest |p - q| of a category, from 0 to 1."""
    import numpy as np

    return float(np.abs(p - q).max())


# What chance gives


def psi_by_chance(n_current: int, n_base: int, quantile: float) -> float:
    """Return the PSI that two samples of one distribution exceed with probability 1 - quantile.

    (1/n1 + 1/n2) times the quantile of chi-squared with one degree of freedom less than bins.
    Source: Yurdakul, Statistical Properties of Population Stability Index, 2018.
    """
    return (1 / n_current + 1 / n_base) * _chi_squared_quantile(BINS - 1, quantile)


def js_by_chance(n_current: int, n_base: int, categories: int, quantile: float) -> float:
    """Return the JS distance that two samples exceed with probability 1 - quantile.

    The divergence is near sum((p - q)^2 / p) / 8 nats for small differences, whose distribution
    is (1/n1 + 1/n2) / 8 times chi-squared with one degree of freedom less than categories.
    """
    from math import log, sqrt

    chi = _chi_squared_quantile(max(1, categories - 1), quantile)
    return sqrt((1 / n_current + 1 / n_base) * chi / (8 * log(2)))


def mean_by_chance(n_current: int, n_base: int, quantile: float) -> float:
    """Return the difference of two means, in standard deviations, that is exceeded by chance.

    With probability 1 - quantile, on either side. The Wasserstein distance of two samples of one
    distribution is about as large.
    """
    from math import sqrt

    return _normal_quantile(quantile) * sqrt(1 / n_current + 1 / n_base)


def share_by_chance(share: float, n_current: int, n_base: int, quantile: float) -> float:
    """Return the difference of two shares that is exceeded with probability 1 - quantile."""
    from math import sqrt

    return mean_by_chance(n_current, n_base, quantile) * sqrt(share * (1 - share))


def _normal_quantile(quantile: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + quantile) / 2))


def _chi_squared_quantile(freedom: int, quantile: float) -> float:
    from scipy.special import chdtri

    return float(chdtri(freedom, 1 - quantile))


def as_numbers(values: Sequence[float]) -> Numbers:
    """Return quantiles as an array of doubles."""
    import numpy as np

    return np.asarray(values, dtype=np.float64)
