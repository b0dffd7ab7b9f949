"""Which rows are held out."""

from __future__ import annotations

import shutil
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.models import ModelError, ModelSpec, is_held_out, split_condition

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
KEYS = {
    "integers": st.integers(-(2**63), 2**63 - 1),
    "texts": TEXT,
    "both": st.tuples(st.integers(-(2**31), 2**31), TEXT),
}


def spec(*keys: str, **options: object) -> ModelSpec:
    chosen = {"task": "regression", "label": "y", "primary_key": keys or ("a",), **options}
    return ModelSpec("model", **chosen)  # type: ignore[arg-type]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), kind=st.sampled_from(sorted(KEYS)), share=st.floats(0.05, 0.95), salt=TEXT)
def test_sql_and_python_hold_out_the_same_rows(
    lakehouse: Lakehouse, data: st.DataObject, kind: str, share: float, salt: str
) -> None:
    """Both write the key and the salt alike, whatever characters they have."""
    drawn = data.draw(st.lists(KEYS[kind], min_size=1, max_size=30, unique=True))
    rows = [key if isinstance(key, tuple) else (key,) for key in drawn]
    names = ["a", "b"][: len(rows[0])]
    frame = pd.DataFrame(rows, columns=names)
    model = spec(*names, test_share=share, split_salt=salt)
    shutil.rmtree(lakehouse.root, ignore_errors=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    lakehouse.create("t.keys", table.schema)
    lakehouse.append("t.keys", table)
    found = lakehouse.query(f"SELECT *, {split_condition(model)} AS held FROM t.keys").read_all()
    by_key = {tuple(row[n] for n in names): row["held"] for row in found.to_pylist()}
    assert [by_key[row] for row in rows] == list(is_held_out(model, frame))


@given(st.sets(st.integers(0, 10**6), min_size=2), st.sets(st.integers(0, 10**6)))
def test_new_rows_never_move_old_ones(old: set[int], new: set[int]) -> None:
    before = pd.DataFrame({"a": sorted(old)})
    after = pd.DataFrame({"a": sorted(old | new)})
    sides = dict(zip(after["a"], is_held_out(spec(), after), strict=True))
    assert [sides[k] for k in before["a"]] == list(is_held_out(spec(), before))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_the_share_is_as_asked(share: float) -> None:
    held = is_held_out(spec(test_share=share), pd.DataFrame({"a": range(20_000)}))
    assert abs(held.mean() - share) < 4 * (share * (1 - share) / 20_000) ** 0.5


def test_another_salt_is_another_split() -> None:
    frame = pd.DataFrame({"a": range(1000)})
    one = is_held_out(spec(), frame)
    assert (one != is_held_out(spec(split_salt="other"), frame)).any()


@pytest.mark.parametrize("values", [[1.5, 2.0], [True, False], pd.to_datetime(["2026-01-01"] * 2)])
def test_keys_that_engines_write_differently_are_refused(values: object) -> None:
    with pytest.raises(ModelError, match="integers, text or dates"):
        is_held_out(spec(), pd.DataFrame({"a": values}))


def test_a_missing_key_names_the_columns() -> None:
    with pytest.raises(ModelError, match="there are: b, c"):
        is_held_out(spec(), pd.DataFrame({"b": [1], "c": [2]}))


def test_rows_of_one_day_are_on_one_side(lakehouse: Lakehouse) -> None:
    """A date is written alike by SQL and Python, and the other key has no say."""
    days = [date(2013, 1, 1) + timedelta(days=i) for i in range(60)]
    frame = pd.DataFrame({"a": range(600), "day": [days[i % 60] for i in range(600)]})
    model = spec(split_by=("day",), test_share=0.3)
    held = is_held_out(model, frame)
    assert frame.assign(held=held).groupby("day")["held"].nunique().max() == 1
    assert 0.1 < held.mean() < 0.5
    table = pa.Table.from_pandas(frame, preserve_index=False)
    lakehouse.create("t.days", table.schema)
    lakehouse.append("t.days", table)
    sql = f"SELECT {split_condition(model)} AS held FROM t.days ORDER BY a"
    assert lakehouse.query(sql).read_all()["held"].to_pylist() == list(held)
