"""Which files land, and what becomes of the ones that cannot."""

from __future__ import annotations

import io
import json
import os
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from landing import COLUMNS, NOW, TABLE, csv, good, landing

from lakeops_assets.ingest import Column, IngestError, IngestSpec, pending
from lakeops_assets.ingest import ingest as ingest_room
from lakeops_assets.lakehouse import Lakehouse

ROW = {"id": 1, "amount": 0.5, "day": date(2026, 1, 5), "note": "order 1"}


def parquet(*rows: dict[str, object]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("csv", good(1)),
        ("csv", "\ufeff" + good(1)),
        ("json", json.dumps(ROW, default=str) + "\n"),
        ("json", json.dumps([ROW], default=str)),
        ("parquet", parquet(ROW)),
    ],
)
def test_each_format_lands_with_its_provenance(
    lakehouse: Lakehouse, tmp_path: Path, kind: str, content: str | bytes
) -> None:
    place = landing(lakehouse, tmp_path / "in", format=kind)
    place.drop(f"2026/one.{kind}", content)
    result = place.ingest()
    assert (result.rows, result.batches, result.count("ingested")) == (1, 1, 1)
    provenance = {
        "_source_file": f"2026/one.{kind}",
        "_ingested_at": NOW,
        "_batch_id": 0,
        "_rescued_data": None,
    }
    assert place.rows() == [{**ROW, **provenance}]
    assert lakehouse.schema(TABLE).field("id").metadata == {b"comment": b"Order."}


def test_only_new_files_are_taken_in(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", good(1))
    first = place.ingest()
    place.drop("b.csv", good(2))
    second = place.ingest()
    assert second.rows == 1
    assert [f.path for f in second.files] == ["b.csv"]
    third = place.ingest()
    assert not third.commit.written
    assert third.commit.version == second.commit.version == first.commit.version + 1
    assert {r["id"]: r["_batch_id"] for r in place.rows("id", "_batch_id")} == {1: 0, 2: 1}


def test_a_batch_holds_no_more_files_than_it_should(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in", max_files_per_batch=2)
    for number in range(5):
        place.drop(f"{number}.csv", good(number))
    assert place.ingest().batches == 3
    assert place.ids() == [0, 1, 2, 3, 4]


# Bad files. In each test good files of the same batch must land.


@pytest.mark.parametrize(
    ("name", "content", "because"),
    [
        ("empty.csv", b"", "empty"),
        ("latin.csv", "id,amount,day,note\n1,1,2026-01-01,caf\xe9\n".encode("latin-1"), "utf"),
        ("twice.csv", b"id,id,day\n1,2,2026-01-01\n", "id more than once"),
        ("nameless.csv", b"id,,day\n1,2,2026-01-01\n", "without a name"),
        ("other.csv", b"colour,shape\nred,round\n", "none of its columns"),
        ("blank_head.csv", b"\n1,2\n", "first line"),
    ],
)
def test_a_bad_csv_is_rejected_and_the_good_ones_land(
    lakehouse: Lakehouse, tmp_path: Path, name: str, content: bytes, because: str
) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("0.csv", good(1))
    place.drop(name, content)
    place.drop("z.csv", good(2))
    place.ingest()
    assert place.ids() == [1, 2]
    outcome = place.ledger()[name]
    assert outcome.status == "rejected"
    assert because in outcome.reason.lower()
    assert not place.ingest().files, "a rejected file is not looked at again"


@pytest.mark.parametrize(
    ("content", "because"),
    [
        (b"{", "line 1"),
        (b'{"id": 1}\n{"id": 2', "line 2"),
        (b'[{"id": 1}, 7]', "not an object"),
        (b"3\n", "not an object"),
        (b"{}\n", "no object with a value"),
        (b"\x00\xff\xfe", "json"),
    ],
)
def test_a_bad_json_is_rejected_and_the_good_ones_land(
    lakehouse: Lakehouse, tmp_path: Path, content: bytes, because: str
) -> None:
    place = landing(lakehouse, tmp_path / "in", format="json")
    place.drop("0.json", '{"id": 1}\n')
    place.drop("bad.json", content)
    place.ingest()
    assert place.ids() == [1]
    outcome = place.ledger()["bad.json"]
    assert outcome.status == "rejected"
    assert because in outcome.reason


@pytest.mark.parametrize("damage", ["truncated", "text", "footer"])
def test_a_bad_parquet_is_rejected_and_the_good_ones_land(
    lakehouse: Lakehouse, tmp_path: Path, damage: str
) -> None:
    place = landing(lakehouse, tmp_path / "in", format="parquet")
    whole = parquet(*({**ROW, "id": i, "note": "x" * 50 + str(i)} for i in range(2000)))
    damaged = {
        "truncated": whole[: len(whole) // 2],
        "text": b"id,amount\n1,2\n",
        # The footer is whole and says where the pages are; the pages themselves are damaged.
        "footer": whole[:4] + bytes(1000) + whole[1004:],
    }[damage]
    place.drop("0.parquet", parquet(ROW))
    place.drop("bad.parquet", damaged)
    place.ingest()
    assert place.ids() == [1]
    outcome = place.ledger()["bad.parquet"]
    assert outcome.status == "rejected"
    assert "cannot be read as parquet" in outcome.reason


def test_a_csv_with_a_head_alone_has_no_rows(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("head.csv", csv())
    assert place.ingest().count("ingested") == 1
    assert place.rows() == []


def test_equal_bytes_under_another_name_come_once(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", good(1))
    place.drop("b.csv", good(1))
    place.ingest()
    place.drop("c.csv", good(1))
    place.ingest()
    assert place.ids() == [1]
    assert place.statuses() == {"a.csv": "ingested", "b.csv": "duplicate", "c.csv": "duplicate"}
    assert "a.csv" in place.ledger()["c.csv"].reason


def test_a_touched_file_comes_once(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    path = place.drop("a.csv", good(1))
    place.ingest()
    os.utime(path, (1, 1))
    result = place.ingest()
    assert place.ids() == [1]
    assert [f.status for f in result.files] == ["duplicate"]
    assert "touched" in result.files[0].reason


def test_other_bytes_under_a_known_name_are_told_and_not_taken(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", good(1))
    place.ingest()
    place.drop("a.csv", good(12))
    result = place.ingest()
    assert place.ids() == [1]
    assert [f.status for f in result.files] == ["changed"]
    assert "another name" in result.files[0].reason


def test_a_rejected_file_may_come_again_corrected(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", b"")
    place.ingest()
    place.drop("a.csv", good(1))
    place.ingest()
    assert place.ids() == [1]


def test_unfinished_and_hidden_files_are_not_files_yet(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in", pattern="*")
    for name in (".a.csv", "_b.csv", "c.csv.tmp", "d.csv.part", "_inner/e.csv"):
        place.drop(name, good(1))
    place.drop("f.csv", good(2))
    place.ingest()
    assert place.ids() == [2]


def test_a_file_that_was_just_written_is_left_to_settle(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in", settle_seconds=60)
    old = place.drop("old.csv", good(1))
    new = place.drop("new.csv", good(2))
    os.utime(old, (NOW.timestamp() - 61,) * 2)
    os.utime(new, (NOW.timestamp() - 59,) * 2)
    assert [f.path for f in pending(lakehouse, place.spec, now=NOW)] == ["old.csv"]
    later = NOW + timedelta(seconds=2)
    assert len(pending(lakehouse, place.spec, now=later)) == 2


@pytest.mark.parametrize("moment", ["hash", "stage"])
def test_a_file_that_grows_while_it_is_read_is_taken_whole_the_next_time(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its writer adds a row after each of our steps, for real."""
    place = landing(lakehouse, tmp_path / "in")
    place.drop("good.csv", good(1))
    growing = place.drop("growing.csv", csv((2, 1, "2026-01-01", "first")))
    name = {"hash": "sha256", "stage": "stage"}[moment]
    step = getattr(ingest_room_module(), name)

    def while_growing(source: Path, *rest: object) -> object:
        done = step(source, *rest)
        if source == growing:
            with growing.open("a") as file:
                file.write("3,1,2026-01-01,second\n")
        return done

    monkeypatch.setattr(ingest_room_module(), name, while_growing)
    result = place.ingest()
    assert {f.path: f.status for f in result.files}["growing.csv"] == "deferred"
    assert place.ids() == [1]
    monkeypatch.undo()
    place.ingest()
    assert place.ids() == [1, 2, 3]
    assert place.statuses()["growing.csv"] == "ingested"


def ingest_room_module() -> object:
    import sys

    return sys.modules[ingest_room.__module__]


def test_a_file_that_disappears_is_no_error(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("good.csv", good(1))
    gone = place.drop("gone.csv", good(2))
    real = ingest_room_module().sha256  # type: ignore[attr-defined]

    def vanish(path: Path) -> str:
        if path == gone:
            gone.unlink(missing_ok=True)
        return real(path)

    monkeypatch.setattr(ingest_room_module(), "sha256", vanish)
    place.ingest()
    assert place.ids() == [1]
    assert "gone.csv" not in place.statuses()


def test_what_is_pending_is_told_without_reading(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", b"\xff\xfe not even text")
    assert [f.path for f in pending(lakehouse, place.spec, now=NOW)] == ["a.csv"]
    place.ingest()
    assert pending(lakehouse, place.spec, now=NOW) == []


def test_without_files_a_declared_table_is_there_and_empty(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in")
    assert place.ingest().rows == 0
    assert place.rows() == []
    names = lakehouse.schema(TABLE).names
    assert names[: len(COLUMNS)] == [c.name for c in COLUMNS]


def test_without_files_and_columns_the_error_says_where_to_drop_some(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    place = landing(lakehouse, tmp_path / "in", columns=())
    with pytest.raises(IngestError, match=r"drop files named \*\.csv into .*/in"):
        place.ingest()


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"format": "xml"}, "csv, json, parquet"),
        ({"schema_policy": "guess"}, "evolve, freeze, discard_row"),
        ({"columns": (Column("a"), Column("a"))}, "a twice"),
        ({"columns": (Column("_batch_id"),)}, "provenance"),
        ({"columns": (Column("a", "interger"),)}, "interger"),
        ({"columns": (Column("a", "array<int>"),)}, "JSON text"),
        ({"max_files_per_batch": 0}, "at least 1"),
    ],
)
def test_a_wrong_declaration_says_what_is_possible(
    tmp_path: Path, options: dict[str, object], because: str
) -> None:
    with pytest.raises(IngestError, match=because):
        IngestSpec(TABLE, tmp_path, **options)  # type: ignore[arg-type]
