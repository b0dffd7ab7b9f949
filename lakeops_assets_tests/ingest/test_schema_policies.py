"""What happens to cells that do not fit their column."""

from __future__ import annotations

import io
import json
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landing import TABLE, Landing, csv, good, landing

from lakeops_assets.ingest import Column
from lakeops_assets.lakehouse import Lakehouse


def rescued(place: Landing) -> list[dict[str, Any] | None]:
    rows = sorted(place.rows("id", "_rescued_data"), key=lambda r: (r["id"] is None, r["id"]))
    return [r["_rescued_data"] and json.loads(r["_rescued_data"]) for r in rows]


MISFITS = csv(
    (1, "1.5", "2026-01-05", "fits"),
    (2, "plenty", "2026-01-05", "amount is a word"),
    (3, "1", "yesterday", "day is a word"),
    ("4.5", "1", "2026-01-05", "id is no integer"),
)


def test_evolve_rescues_what_does_not_fit(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", MISFITS)
    result = place.ingest()
    assert (result.rows, result.rescued_rows, result.discarded_rows) == (4, 3, 0)
    assert rescued(place) == [None, {"amount": "plenty"}, {"day": "yesterday"}, {"id": "4.5"}]
    assert [r["note"] for r in place.rows("note")][-1] == "id is no integer"


def test_evolve_adds_unknown_columns_and_leaves_missing_ones_null(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", good(1))
    place.drop("b.csv", "id,channel,score\n2,web,7\n")
    place.ingest()
    place.drop("c.csv", "id,channel,score\n3,shop,many\n")
    place.ingest()
    found = sorted(place.rows("id", "amount", "channel", "score"), key=lambda r: r["id"])
    assert found[0] == {"id": 1, "amount": 0.5, "channel": None, "score": None}
    assert found[1] == {"id": 2, "amount": None, "channel": "web", "score": 7}
    assert found[2]["score"] is None, "the first batch made it an integer"
    assert rescued(place) == [None, None, {"score": "many"}]


def test_freeze_rejects_the_file_and_says_why(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in", schema_policy="freeze")
    place.drop("good.csv", good(1))
    place.drop("misfits.csv", MISFITS)
    place.drop("extra.csv", csv((1, 1, "2026-01-01", "x", 7), header="id,amount,day,note,extra"))
    place.drop("missing.csv", "id,amount,day\n1,1,2026-01-01\n")
    place.ingest()
    assert place.ids() == [1]
    ledger = place.ledger()
    assert "3 of 4 rows do not fit" in ledger["misfits.csv"].reason
    assert "unknown: extra" in ledger["extra.csv"].reason
    assert "missing: note" in ledger["missing.csv"].reason


def test_discard_row_leaves_rows_out_and_counts_them(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in", schema_policy="discard_row")
    place.drop("a.csv", MISFITS)
    place.drop("b.csv", "id,amount,extra\n7,1,\n8,1,something\n")
    result = place.ingest()
    assert place.ids() == [1, 7]
    assert (result.rows, result.discarded_rows) == (2, 4)
    assert "extra" not in lakehouse.schema(TABLE).names
    assert "something" in place.ledger()["b.csv"].reason


def test_ragged_rows_keep_their_cells(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop(
        "a.csv", "id,amount,day,note\n1,2\n2,2,2026-01-05,fits\n3,2,2026-01-05,n,over,more\n"
    )
    place.ingest()
    found = sorted(place.rows("id", "amount", "note"), key=lambda r: r["id"])
    assert [r["id"] for r in found] == [1, 2, 3]
    assert found[0] == {"id": 1, "amount": 2.0, "note": None}
    assert rescued(place) == [None, None, {"_extra_1": "over", "_extra_2": "more"}]


def test_quotes_keep_delimiters_and_lines_together(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in", delimiter=";", null_values=("", "NA"))
    place.drop("a.csv", 'id;amount;day;note\n1;NA;2026-01-05;"a;b\nc ""d"""\n2;;2026-01-05;""\n')
    place.ingest()
    found = sorted(place.rows("id", "amount", "note"), key=lambda r: r["id"])
    assert found[0] == {"id": 1, "amount": None, "note": 'a;b\nc "d"'}
    assert found[1] == {"id": 2, "amount": None, "note": ""}


def test_nested_json_is_kept_as_text(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in", format="json")
    place.drop("a.json", '{"id": 1, "note": {"a": [1, 2]}, "amount": [3]}\n')
    place.ingest()
    [row] = place.rows("note", "amount")
    assert json.loads(row["note"]) == {"a": [1, 2]}
    assert rescued(place) == [{"amount": "[3]"}]


def test_types_are_inferred_without_losing_anything(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in", columns=())
    head = "n,x,mixed,zeros,flag,day,at,text,empty\n"
    place.drop("a.csv", head + "1,1.5,1,007,true,2026-01-05,2026-01-05 10:00:00,a,\n")
    place.drop("b.csv", head + "2,2,1.5,008,false,2026-01-06,2026-01-06T11:00:00Z,b,\n")
    place.ingest()
    types = {f.name: str(f.type) for f in lakehouse.schema(TABLE) if f.name[0] != "_"}
    assert types == {
        "n": "int64",
        "x": "double",
        "mixed": "double",
        "zeros": "string",
        "flag": "bool",
        "day": "date32[day]",
        "at": "timestamp[us, tz=UTC]",
        "text": "string",
        "empty": "string",
    }
    assert sorted(r["zeros"] for r in place.rows("zeros")) == ["007", "008"]
    assert max(r["at"] for r in place.rows("at")) == datetime(2026, 1, 6, 11, tzinfo=UTC)


def test_parquet_types_that_differ_are_converted_or_rescued(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in", format="parquet")
    out = io.BytesIO()
    table = pa.table({"id": [1.0, 2.5, None], "amount": ["3", "x", None], "note": [1, 2, 3]})
    pq.write_table(table, out)
    place.drop("a.parquet", out.getvalue())
    place.ingest()
    found = sorted(place.rows("id", "amount", "note"), key=lambda r: r["note"])
    assert found[0] == {"id": 1, "amount": 3.0, "note": "1"}
    assert found[1] == {"id": None, "amount": None, "note": "2"}
    kept = [r["_rescued_data"] for r in place.rows("_rescued_data") if r["_rescued_data"]]
    assert [json.loads(k) for k in kept] == [{"id": "2.5", "amount": "x"}]


CELLS = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "date": st.dates(),
    "string": st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    "boolean": st.booleans(),
    "decimal(12,3)": st.decimals(-(10**8), 10**8, places=3),
}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.data(), declared=st.sampled_from(sorted(CELLS)), kind=st.sampled_from(["csv", "json"])
)
def test_no_value_is_ever_lost(
    lakehouse: Lakehouse,
    tmp_path_factory: pytest.TempPathFactory,
    data: Any,
    declared: str,
    kind: str,
) -> None:
    """Every value ends in its column, equal, or in `_rescued_data` as it was written."""
    import csv as csv_format

    drawn = st.one_of(CELLS[declared], st.one_of(*CELLS.values()))
    values = data.draw(st.lists(drawn, min_size=1, max_size=8))
    texts = [str(v).lower() if isinstance(v, bool) else str(v) for v in values]
    columns = (Column("id", "bigint"), Column("value", declared))
    place = landing(lakehouse, tmp_path_factory.mktemp("in"), format=kind, columns=columns)
    shutil.rmtree(lakehouse.root, ignore_errors=True)
    if kind == "csv":
        out = io.StringIO()
        writer = csv_format.writer(out, quoting=csv_format.QUOTE_ALL)
        writer.writerows([("id", "value"), *enumerate(texts)])
        content = out.getvalue()
    else:
        content = "\n".join(json.dumps({"id": i, "value": t}) for i, t in enumerate(texts))
    place.drop(f"a.{kind}", content)
    place.ingest()
    found = sorted(place.rows("id", "value", "_rescued_data"), key=lambda r: r["id"])
    assert [r["id"] for r in found] == list(range(len(values)))
    for row, text in zip(found, texts, strict=True):
        if row["_rescued_data"]:
            assert row["value"] is None
            assert json.loads(row["_rescued_data"]) == {"value": text}
        else:
            assert same(row["value"], text), (row, text)


def same(value: object, text: str) -> bool:
    """Return whether a stored value is what the text says."""
    if isinstance(value, str):
        return value == text
    if isinstance(value, bool):
        return value == (text.strip().lower() in ("true", "1", "yes", "t", "y"))
    if isinstance(value, int):
        return Decimal(text) == value
    if isinstance(value, float):
        return float(text) == value
    if isinstance(value, Decimal):
        return Decimal(text) == value
    return isinstance(value, date) and value.isoformat() == text.strip()
