"""The ledger only grows, knows what was live when, and finds what somebody did to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import HOUR, MODEL, NOW

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.promotion import (
    Entry,
    Ledger,
    LedgerBrokenError,
    LedgerMovedError,
)
from lakeops_assets.promotion.ledger import live_in, sealed


def promotion(version: int, replaced: int | None = None, **changes: object) -> Entry:
    entry = Entry(MODEL, "promote", version, replaced, "ann", "better", NOW + version * HOUR)
    return replace(entry, **changes)


def filled(lakehouse: Lakehouse, events: int = 4) -> Ledger:
    ledger = Ledger(lakehouse)
    for version in range(1, events + 1):
        ledger.append(promotion(version, version - 1 or None))
    return ledger


def test_it_knows_what_was_live_when(lakehouse: Lakehouse) -> None:
    ledger = Ledger(lakehouse)
    assert (ledger.head(), ledger.entries(), ledger.live(MODEL), ledger.verify()) == (
        0,
        (),
        None,
        (),
    )
    filled(lakehouse, 3)
    ledger.append(promotion(7, model="dev.shop.model"))
    ledger.append(promotion(2, 3, action="revert", at=NOW + 9 * HOUR))
    ledger.append(promotion(4, action="approve", at=NOW + 10 * HOUR))
    live = ledger.live(MODEL)
    assert live is not None
    assert (live.version, live.sequence) == (2, 5)
    at = {hours: ledger.live(MODEL, NOW + hours * HOUR) for hours in (0, 1, 2.5, 8, 9)}
    assert {h: found and found.version for h, found in at.items()} == {
        0: None,
        1: 1,
        2.5: 2,
        8: 3,
        9: 2,
    }
    assert [e.sequence for e in ledger.entries(MODEL)] == [1, 2, 3, 5, 6]
    assert ledger.verify() == ()


def test_of_two_with_the_same_expectation_one_succeeds(lakehouse: Lakehouse) -> None:
    ledger = filled(lakehouse, 2)
    assert ledger.append(promotion(3, 2), expected_head=2).sequence == 3
    with pytest.raises(LedgerMovedError, match="has 3 events, and the decision was made on 2"):
        ledger.append(promotion(4, 2), expected_head=2)
    assert ledger.append(promotion(4, 3)).sequence == 4


def test_delta_lets_one_of_two_commit_though_both_saw_the_same(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the file lock, as on two machines: the second is asked again."""
    ledger = filled(lakehouse, 2)
    other = Ledger(lakehouse)
    asked = []

    def slow(entries: tuple) -> Entry:
        asked.append(len(entries))
        if len(asked) == 1:
            path = Path(lakehouse.location(ledger.table)).with_suffix(".lock")
            path.unlink()  # another machine has no part in this lock
            other.append(promotion(3, 2))
        return promotion(9, 2)

    assert ledger.decide(slow).sequence == 4
    assert asked == [2, 3]
    assert [e.version for e in ledger.entries()] == [1, 2, 3, 9]
    assert ledger.verify() == ()


WRITER = """
import sys
from pathlib import Path
from judged import MODEL, NOW
from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.promotion import Entry, Ledger, LedgerMovedError
ledger = Ledger(Lakehouse(Path(sys.argv[1]), "dev", create_engine("duckdb")))
number = int(sys.argv[2])
sys.stdin.read()  # until all have imported everything
try:
    ledger.append(Entry(MODEL, "promote", number, 1, "ann", "", NOW), expected_head=1)
    print("won")
except LedgerMovedError:
    pass
for _ in range(3):
    ledger.append(Entry(MODEL, "approve", number, 1, f"writer {number}", "", NOW))
"""


def test_many_processes_lose_no_event_break_no_chain_and_one_decides(tmp_path: Path) -> None:
    """The drill in benchmarks has 100 of them."""
    root = tmp_path / "lakehouse"
    ledger = Ledger(Lakehouse(root, "dev", create_engine("duckdb")))
    ledger.append(promotion(1))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), str(number)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (2, 3, 4, 5)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    said = [p.stdout.read() for p in processes if p.stdout is not None]
    assert [p.wait() for p in processes] == [0, 0, 0, 0]
    assert said.count("won\n") == 1
    assert len(ledger.entries()) == 2 + 4 * 3
    assert ledger.verify() == ()


def tamper(lakehouse: Lakehouse, change: Callable[[list[dict]], list[dict]]) -> None:
    """Write the rows of the ledger anew, as somebody with access to the files could."""
    rows = lakehouse.read("lakeops.promotions").read_all()
    changed = pa.Table.from_pylist(change(rows.to_pylist()), schema=rows.schema)
    lakehouse.overwrite("lakeops.promotions", changed)


def edit(rows: list[dict]) -> list[dict]:
    return [{**row, "reason": "much better"} if row["sequence"] == 2 else row for row in rows]


def swap(rows: list[dict]) -> list[dict]:
    other = {2: 3, 3: 2}
    return [{**row, "sequence": other.get(row["sequence"], row["sequence"])} for row in rows]


def without(sequence: int) -> Callable[[list[dict]], list[dict]]:
    return lambda rows: [row for row in rows if row["sequence"] != sequence]


def by_number(rows: list[dict]) -> dict[int, dict]:
    return {row["sequence"]: row for row in rows}


TAMPERING: dict[str, tuple[Callable[[list[dict]], list[dict]], str, int]] = {
    "an edited row": (edit, "edited", 2),
    "a row that was taken out": (
        lambda rows: [r for r in rows if r["sequence"] != 2],
        "missing",
        2,
    ),
    "the last row taken out": (lambda rows: [r for r in rows if r["sequence"] != 4], "missing", 4),
    "all rows taken out": (lambda rows: [], "missing", 1),
    "rows that changed places": (swap, "edited", 2),
    "a row that was put in twice": (lambda rows: [*rows, by_number(rows)[1]], "foreign", 1),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found_and_nothing_is_read(lakehouse: Lakehouse, what: str) -> None:
    ledger = filled(lakehouse)
    change, kind, sequence = TAMPERING[what]
    tamper(lakehouse, change)
    problems = ledger.verify()
    assert (kind, sequence) in {(p.kind, p.sequence) for p in problems}
    assert "rewritten" in {p.kind for p in problems}
    with pytest.raises(LedgerBrokenError, match="lakeops doctor"):
        ledger.live(MODEL)
    with pytest.raises(LedgerBrokenError):
        ledger.append(promotion(9))


def test_a_row_that_was_put_in_with_a_right_hash_is_found(lakehouse: Lakehouse) -> None:
    ledger = filled(lakehouse, 2)
    forged = sealed(promotion(9), ledger.entries()[-1])
    row = {**forged.__dict__, "evidence": "{}"}
    schema = lakehouse.schema(ledger.table)
    lakehouse.append(ledger.table, pa.Table.from_pylist([row], schema=schema))
    assert {p.kind for p in ledger.verify()} == {"foreign", "rewritten"}
    with pytest.raises(LedgerBrokenError, match="event 3 was put in"):
        ledger.live(MODEL)


def test_a_ledger_that_was_replaced_by_a_consistent_one_is_found(lakehouse: Lakehouse) -> None:
    """The registry notes the hash of each decision, in a place of its own."""
    ledger = filled(lakehouse, 3)
    noted = {e.sequence: e.hash for e in ledger.entries()}
    assert ledger.verify(noted) == ()
    shutil.rmtree(lakehouse.location(ledger.table))
    assert [p.kind for p in ledger.verify(noted)] == ["deleted"]
    for version in (1, 2, 9):
        ledger.append(promotion(version))
    assert ledger.verify() == ()
    assert {p.sequence for p in ledger.verify(noted)} == {2, 3}


def test_a_table_that_cannot_be_read_is_a_problem(lakehouse: Lakehouse) -> None:
    ledger = filled(lakehouse, 2)
    for path in Path(lakehouse.location(ledger.table)).glob("*.parquet"):
        path.unlink()
    assert [p.kind for p in ledger.verify()] == ["unreadable"]


def test_joining_its_files_is_no_tampering(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakeops_assets.promotion.ledger.COMPACT_EVERY", 4)
    ledger = filled(lakehouse)
    assert lakehouse.history(ledger.table)[0].operation.startswith("OPTIMIZE")
    assert ledger.verify() == ()
    assert ledger.append(promotion(5, 4)).sequence == 5
    assert ledger.verify() == ()


@given(
    st.lists(
        st.tuples(st.sampled_from(["promote", "revert", "approve", "restore"]), st.integers(1, 9)),
        max_size=20,
    )
)
def test_the_last_decision_is_live_and_the_chain_is_deterministic(events: list) -> None:
    chains = []
    for _ in range(2):
        chain: list = []
        for number, (action, version) in enumerate(events):
            entry = promotion(version, action=action, at=NOW + timedelta(minutes=number))
            chain.append(sealed(entry, chain[-1] if chain else None))
        chains.append(chain)
    assert chains[0] == chains[1]
    assert all(e.hash == e.seal() for e in chains[0])
    decided = [version for action, version in events if action in ("promote", "revert")]
    live = live_in(chains[0], MODEL)
    assert (live and live.version) == (decided[-1] if decided else None)
