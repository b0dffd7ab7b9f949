"""The sketch of a union from the sketches of its parts."""

from __future__ import annotations

from array import array
from collections import Counter
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeops_assets.monitoring import Column, ColumnKind, Sketch, merge

X = Column("x", ColumnKind.NUMERIC, "double")
WORD = Column("word", ColumnKind.CATEGORICAL, "string")
K = 50

numbers = st.lists(
    st.one_of(st.none(), st.integers(-40, 40).map(lambda i: i / 4)), min_size=0, max_size=200
)
words = st.lists(st.one_of(st.none(), st.sampled_from(["a", "bb", "ünï", ""])), max_size=60)


def sketch(values: list[float | None]) -> Sketch:
    """Return what a scan would keep of a numeric column."""
    x = np.sort([v for v in values if v is not None])
    n = len(x)
    if n == 0:
        return Sketch(X, len(values), len(values), nan=0, zeros=0, distinct=0)
    shares = np.append((np.arange(K) + 0.5) / K, 0.5)
    *quantiles, median = x[np.ceil(shares * n - 1e-9).astype(int) - 1]
    return Sketch(
        X,
        len(values),
        len(values) - n,
        nan=0,
        zeros=int((x == 0).sum()),
        distinct=len(set(x)),
        avg=float(x.mean()),
        stddev=float(x.std(ddof=1)) if n > 1 else None,
        min=float(x[0]),
        max=float(x[-1]),
        median=float(median),
        quantiles=array("d", quantiles),
    )


def sketch_words(values: list[str | None]) -> Sketch:
    """Return what a scan would keep of a column of texts."""
    there = [v for v in values if v is not None]
    lengths = [len(v) for v in there]
    items = sorted(Counter(there).items(), key=lambda pair: (-pair[1], pair[0]))
    return Sketch(
        WORD,
        len(values),
        len(values) - len(there),
        distinct=len(items),
        items=tuple(items),
        min_length=min(lengths, default=None),
        max_length=max(lengths, default=None),
        avg_length=sum(lengths) / len(lengths) if lengths else None,
    )


def distance(found: Sketch, exact: list[float | None]) -> float:
    """Return how wrong the rebuilt distribution is anywhere."""
    x = np.sort([v for v in exact if v is not None])
    q = np.asarray(found.quantiles)
    at = np.concatenate([x, q])
    rebuilt = np.searchsorted(q, at, side="right") / len(q)
    return float(np.abs(rebuilt - np.searchsorted(x, at, side="right") / len(x)).max())


@given(st.lists(numbers, min_size=2, max_size=5))
def test_merging_is_sketching_the_union_within_the_stated_error(parts: list[list]) -> None:
    merged = reduce(merge, map(sketch, parts))
    union = [v for part in parts for v in part]
    whole = sketch(union)
    for exact in ("count", "nulls", "nan", "zeros", "min", "max"):
        assert getattr(merged, exact) == getattr(whole, exact), exact
    for moment in ("avg", "stddev"):
        wanted = getattr(whole, moment)
        found = getattr(merged, moment)
        assert found == (wanted if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-9))
    assert merged.distinct <= whole.distinct
    if whole.quantiles is None:
        assert merged.quantiles is None
        return
    assert len(merged.quantiles) == K
    assert list(merged.quantiles) == sorted(merged.quantiles)
    # Each of the merges adds 1/(2k) to the 1/(2k) of a sketch.
    assert distance(merged, union) <= len(parts) / (2 * K) + 1e-9


@given(numbers, numbers)
def test_the_order_of_the_two_does_not_matter(a: list, b: list) -> None:
    one, other = merge(sketch(a), sketch(b)), merge(sketch(b), sketch(a))
    assert one.quantiles == other.quantiles
    assert (one.median, one.min, one.distinct) == (other.median, other.min, other.distinct)


@given(words, words)
def test_texts_add_up_exactly(a: list, b: list) -> None:
    merged, whole = merge(sketch_words(a), sketch_words(b)), sketch_words(a + b)
    assert merged.items == whole.items
    assert (merged.count, merged.nulls, merged.distinct) == (
        whole.count,
        whole.nulls,
        whole.distinct,
    )
    assert (merged.min_length, merged.max_length) == (whole.min_length, whole.max_length)
    assert merged.avg_length == (
        None if whole.avg_length is None else pytest.approx(whole.avg_length)
    )


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="different columns"):
        merge(sketch([1.0]), sketch_words(["a"]))
