"""Rows that keep the contract now move to the table, exactly once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from contracted import aside, contract, screen
from landing import NOW, TABLE, Landing, csv, landing

from lakeops_assets.contracts import (
    Contract,
    QuarantineError,
    discard,
    explain,
    held,
    quarantines,
    replay,
)
from lakeops_assets.ingest import ingest
from lakeops_assets.lakehouse import Lakehouse

TESTS = Path(__file__).parents[1]
DAY = "2026-01-05"
SCRIPT = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from contracted import contract
    from landing import TABLE
    from lakeops_assets import settings
    from lakeops_assets.contracts import replay
    from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
    def after(real):
        def call(*args, **kwargs):
            real(*args, **kwargs)
            die()
        return call
    {body}
    replay(open_lakehouse(settings.load()), contract(Path({folder!r}), {says!r}), TABLE)
"""
WIDER = {
    "id": {"logicalType": "integer", "primaryKey": True},
    "amount": {"logicalType": "number", "logicalTypeOptions": {"maximum": 1000}},
}
KILLED = {
    "before the claim": "Lakehouse.merge = die",
    "after the claim": "Lakehouse.merge = after(Lakehouse.merge)",
    "before the rows": "Lakehouse.append = die",
    "after the rows": "Lakehouse.append = after(Lakehouse.append)",
}


@pytest.fixture
def place(lakehouse: Lakehouse, tmp_path: Path) -> Landing:
    """One row in the table, three above the limit, one of them too far for the wider limit."""
    found = landing(lakehouse, tmp_path / "in")
    found.drop("0.csv", csv(*((i, 1 if i == 0 else i * 400, DAY, "x") for i in range(4))))
    ingest(lakehouse, found.spec, now=NOW, screen=screen(contract(tmp_path)))
    assert (found.ids(), len(aside(lakehouse))) == ([0], 3)
    return found


def wider(folder: Path) -> Contract:
    return contract(folder, WIDER)


def process(folder: Path, body: str = "") -> subprocess.Popen[str]:
    script = SCRIPT.format(tests=str(TESTS), folder=str(folder), says=WIDER, body=body)
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def check(place: Landing) -> None:
    assert place.ids() == [0, 1, 2]
    statuses = {r["id"]: r["_status"] for r in aside(place.lakehouse)}
    assert statuses == {1: "replayed", 2: "replayed", 3: "open"}


def test_exactly_the_rows_that_keep_it_move(place: Landing, tmp_path: Path) -> None:
    done = replay(place.lakehouse, wider(tmp_path), TABLE)
    assert (done.moved, done.open) == (2, 1)
    check(place)
    version = place.lakehouse.version(TABLE)
    assert replay(place.lakehouse, wider(tmp_path), TABLE).moved == 0
    assert place.lakehouse.version(TABLE) == version
    sources = {r["id"]: r["_source_file"] for r in place.rows("id", "_source_file")}
    assert sources == dict.fromkeys(range(3), "0.csv"), "a row keeps where it came from"


@pytest.mark.parametrize("moment", KILLED)
def test_a_killed_replay_is_finished_by_the_next(
    place: Landing, tmp_path: Path, moment: str
) -> None:
    killed = process(tmp_path, KILLED[moment])
    assert killed.wait() == -9, killed.stderr and killed.stderr.read()
    replay(place.lakehouse, wider(tmp_path), TABLE)
    check(place)


def test_two_replays_at_once_move_each_row_once(place: Landing, tmp_path: Path) -> None:
    both = [process(tmp_path) for _ in range(2)]
    for one in both:
        assert one.wait() == 0, one.stderr and one.stderr.read()
    check(place)


def test_a_key_that_came_meanwhile_stays_out(place: Landing, tmp_path: Path) -> None:
    place.drop("1.csv", csv((2, 5, DAY, "corrected")))
    ingest(place.lakehouse, place.spec, now=NOW, screen=screen(contract(tmp_path)))
    assert replay(place.lakehouse, wider(tmp_path), TABLE).moved == 1
    assert {r["id"]: r["note"] for r in place.rows("id", "note")} == {
        0: "x",
        1: "x",
        2: "corrected",
    }


def test_a_row_is_explained_in_words_and_values(place: Landing, tmp_path: Path) -> None:
    found = explain(place.lakehouse, TABLE, contract(tmp_path), limit=1)
    assert found[0].row_id == "0:0.csv#000000001"
    assert found[0].row["note"] == "x"
    [broken] = found[0].broken
    assert broken.description == "amount is at least 0 and at most 100"
    assert broken.values == {"amount": 400.0}
    [same] = explain(place.lakehouse, TABLE, None, row_id=found[0].row_id)
    assert "does not have this rule any more" in same.broken[0].description
    with pytest.raises(QuarantineError, match="no row 7"):
        explain(place.lakehouse, TABLE, None, row_id="7")


def test_discarded_rows_are_a_record_and_move_no_more(place: Landing, tmp_path: Path) -> None:
    lakehouse = place.lakehouse
    with pytest.raises(QuarantineError, match="needs a reason"):
        discard(lakehouse, TABLE, reason=" ", rule="amount_range", row_ids=[])
    with pytest.raises(QuarantineError, match="which rows"):
        discard(lakehouse, TABLE, reason="test rows", row_ids=[])
    one = explain(lakehouse, TABLE, None)[0].row_id
    assert discard(lakehouse, TABLE, reason="a test row", row_ids=[one]).updated == 1
    assert replay(lakehouse, wider(tmp_path), TABLE).moved == 1
    assert place.ids() == [0, 2]
    found = held(lakehouse, TABLE)
    assert (found.open, found.replayed, found.discarded) == (1, 1, 1)
    assert found.rules == {"amount_range": 1}
    assert quarantines(lakehouse) == [TABLE]
    assert discard(lakehouse, TABLE, reason="all", rule="amount_range", row_ids=[]).updated == 1


def test_a_table_without_a_quarantine_says_which_have_one(place: Landing, tmp_path: Path) -> None:
    other = place.lakehouse.name("shop.other")
    with pytest.raises(QuarantineError, match=r"There is one for: dev\.shop\.orders"):
        replay(place.lakehouse, contract(tmp_path), other)
