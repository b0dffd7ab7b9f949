"""Rows are taken out of landing files, and what is left is neither changed nor ingested again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from landing import NOW, Landing, landing

from lakeops_assets.ingest import find_rows, remove_rows
from lakeops_assets.lakehouse import Lakehouse

HEADER = "id,amount,day,note\n"
KEY = {"id": "2"}
FIRST, SECOND = '1,1.0,2026-01-05,"over\ntwo lines"\n', " 2,2.0,2026-01-05,gone\n"


def remove(folder: Landing) -> list[tuple[str, int, bool]]:
    removed = remove_rows(folder.lakehouse, folder.spec, KEY, now=NOW)
    return [(Path(r.path).name, r.rows, r.ingested) for r in removed]


def test_a_csv_keeps_the_bytes_of_its_other_rows(lakehouse: Lakehouse, tmp_path: Path) -> None:
    folder = landing(lakehouse, tmp_path / "landing")
    path = folder.drop("a.csv", HEADER + FIRST + SECOND)
    folder.drop("b.csv", HEADER + "12,2.0,2026-01-05,2\n")
    folder.ingest()
    assert remove(folder) == [("a.csv", 1, True)]
    assert path.read_text() == HEADER + FIRST
    assert folder.ingest().files == ()
    assert folder.ids() == [1, 2, 12]
    assert remove(folder) == []


def test_a_file_that_waits_is_ingested_without_the_row(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    folder = landing(lakehouse, tmp_path / "landing")
    folder.drop("a.csv", HEADER + "1,1.0,2026-01-05,x\n")
    folder.ingest()
    folder.drop("b.csv", HEADER + FIRST.replace("1,", "3,", 1) + SECOND)
    assert remove(folder) == [("b.csv", 1, False)]
    folder.ingest()
    assert folder.ids() == [1, 3]


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ('{"id": 1}\n{"id": 2, "note": "x"}\n{"id": 3}', '{"id": 1}\n{"id": 3}'),
        ('[{"id": 1}, {"id": 2}]', '[{"id": 1}]'),
    ],
)
def test_json_lines_and_arrays(
    lakehouse: Lakehouse, tmp_path: Path, content: str, left: str
) -> None:
    folder = landing(lakehouse, tmp_path / "landing", format="json")
    path = folder.drop("a.json", content)
    folder.ingest()
    assert remove(folder) == [("a.json", 1, True)]
    assert path.read_text() == left
    assert folder.ingest().files == ()


def test_parquet(lakehouse: Lakehouse, tmp_path: Path) -> None:
    folder = landing(lakehouse, tmp_path / "landing", format="parquet")
    path = folder.spec.landing / "a.parquet"
    pq.write_table(pa.table({"id": [1, 2]}), path)
    folder.ingest()
    assert remove(folder) == [("a.parquet", 1, True)]
    assert pq.read_table(path)["id"].to_pylist() == [1]
    assert folder.ingest().files == ()


def test_text_is_compared_as_text(lakehouse: Lakehouse, tmp_path: Path) -> None:
    folder = landing(lakehouse, tmp_path / "landing")
    folder.drop("a.csv", HEADER + "1,1.0,2026-01-05,007\n2,1.0,2026-01-05,7\n")
    folder.ingest()
    [found] = find_rows(lakehouse, folder.spec, {"note": "7"})
    assert found.rows == 1
    [found] = find_rows(lakehouse, folder.spec, {"amount": "1"})
    assert found.rows == 2
