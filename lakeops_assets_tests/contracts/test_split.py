"""Each row that comes is in the table or in the quarantine, and in one of them."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from contracted import aside, contract, screen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landing import TABLE

from lakeops_assets.contracts import Contract, ContractError, Screened, split
from lakeops_assets.contracts.split import Rows, whole
from lakeops_assets.lakehouse import Lakehouse

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("amount", pa.float64()),
        ("note", pa.string()),
        ("_source_file", pa.string()),
        ("_batch_id", pa.int64()),
    ]
)
SAYS: dict[str, dict[str, Any]] = {
    "id": {"logicalType": "integer", "primaryKey": True},
    "amount": {"logicalType": "number", "logicalTypeOptions": {"minimum": 0, "maximum": 10}},
    "note": {
        "logicalType": "string",
        "logicalTypeOptions": {"maxLength": 3},
        "customProperties": [{"property": "severity", "value": "warn"}],
    },
}


def rows_of(values: list[tuple[Any, Any, Any]], chunk: int) -> Rows:
    table = pa.Table.from_pylist(
        [
            {"id": i, "amount": a, "note": n, "_source_file": f"{k // 7}.csv", "_batch_id": 0}
            for k, (i, a, n) in enumerate(values)
        ],
        schema=SCHEMA,
    )
    return lambda columns: pa.RecordBatchReader.from_batches(
        table.schema if columns is None else table.select(columns).schema,
        (table if columns is None else table.select(columns)).to_batches(chunk),
    )


def passed(lakehouse: Lakehouse, rules: Contract, rows: Rows) -> Screened:
    existing = lakehouse.version(TABLE)
    return screen(rules).batch(
        lakehouse, TABLE, rows, batch_id=0, files=["0.csv", "1.csv", "2.csv"], existing=existing
    )


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 5)),
            st.one_of(st.none(), st.floats(-1, 11), st.sampled_from([math.nan, math.inf])),
            st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["日本語", "é\u0301"])),
        ),
        max_size=20,
    ),
    chunk=st.integers(1, 8),
)
def test_valid_and_quarantined_are_what_came(
    lakehouse: Lakehouse, tmp_path: Path, values: list[tuple[Any, Any, Any]], chunk: int
) -> None:
    import shutil

    shutil.rmtree(lakehouse.location(TABLE.beside("quarantine")), ignore_errors=True)
    rules = contract(tmp_path, SAYS)
    done = passed(lakehouse, rules, rows_of(values, chunk))
    valid, held = done.valid.read_all().to_pylist(), aside(lakehouse)
    assert done.rows == len(values) == len(valid) + len(held)
    assert done.quarantined == len(held) == sum(done.by_file.values())

    def seen(rows: list[dict[str, Any]]) -> Counter[str]:
        return Counter(repr([r[c] for c in ("id", "amount", "note", "_source_file")]) for r in rows)

    came = rows_of(values, chunk)(None).read_all().to_pylist()
    assert seen(valid) + seen(held) == seen(came)
    assert len({r["_row_id"] for r in held}) == len(held)
    # The table gets every key that a good row has, once, and no row that breaks a rule.
    good = {i for i, a, _ in values if i is not None and (a is None or 0 <= a <= 10)}
    assert sorted(r["id"] for r in valid) == sorted(good)
    assert all(r["amount"] is None or 0 <= r["amount"] <= 10 for r in valid)
    assert all(set(r["_failed_rules"]) & {"primary_key", "amount_range"} for r in held)


def test_the_first_good_row_of_a_key_is_the_one_that_passes(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    values = [(1, 99, "bad"), (1, 5, "a"), (1, 6, "b"), (2, 1, "too long")]
    rules = contract(tmp_path, SAYS)
    assert [r["note"] for r in passed(lakehouse, rules, rows_of(values, 2)).valid.read_all()
            .to_pylist()] == ["a", "too long"]  # fmt: skip
    assert [(r["_row_id"], r["_failed_rules"]) for r in aside(lakehouse)] == [
        ("0:0.csv#000000000", ["primary_key", "amount_range"]),
        ("0:0.csv#000000002", ["primary_key"]),
    ]


def test_a_key_that_the_table_has_does_not_come_again(lakehouse: Lakehouse, tmp_path: Path) -> None:
    lakehouse.create(TABLE, SCHEMA)
    lakehouse.append(TABLE, rows_of([(1, 1, "there")], 1)(None))
    done = passed(lakehouse, contract(tmp_path, SAYS), rows_of([(1, 2, "new"), (2, 2, "x")], 9))
    assert [r["id"] for r in done.valid.read_all().to_pylist()] == [2]
    assert done.by_rule == {"primary_key": 1}


def test_a_column_that_rules_need_and_rows_lack_stops_everything(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    rules = contract(tmp_path, {**SAYS, "amuont": {"required": True}})
    with pytest.raises(ContractError, match=r"orders.yaml:\d+: .*did you mean amount\?"):
        split(lakehouse, rules, TABLE, whole(rows_of([(1, 1, "x")], 1)(None).read_all()))
    assert not lakehouse.exists(TABLE.beside("quarantine"))


def test_a_column_of_another_type_stops_everything(lakehouse: Lakehouse, tmp_path: Path) -> None:
    rows = pa.table({"id": ["1"], "amount": [1.0], "note": ["x"]})
    with pytest.raises(ContractError, match="column id is string, which is no integer"):
        split(lakehouse, contract(tmp_path, SAYS), TABLE, whole(rows))
