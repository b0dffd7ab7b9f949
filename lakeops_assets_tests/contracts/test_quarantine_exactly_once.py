"""Killed anywhere, or run twice at once: each row is once in one of the two tables."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from contracted import aside, contract, screen
from landing import NOW, TABLE, Landing, csv, landing

from lakeops_assets.contracts import held
from lakeops_assets.ingest import IngestResult, ingest
from lakeops_assets.lakehouse import Lakehouse

TESTS = Path(__file__).parents[1]
PROLOGUE = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from landing import landing, TABLE, NOW
    from contracted import contract, screen
    from lakeops_assets import settings
    from lakeops_assets.ingest import ingest
    from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
    room = sys.modules["lakeops_assets.ingest.ingest"]
    place = landing(open_lakehouse(settings.load()), Path({folder!r}))
    rules = contract(Path({folder!r}).parent)
    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
    real = Lakehouse.append
    def append(self, table, *args, **kwargs):
        moment = "rows" if str(table) == str(TABLE) else str(table).rpartition("_")[2]
        if moment == {moment!r}:
            die()
        done = real(self, table, *args, **kwargs)
        if "after " + moment == {moment!r}:
            die()
        return done
    Lakehouse.append = append
"""


def process(place: Landing, moment: str) -> subprocess.Popen[str]:
    """Start a process that ingests the same folder, and dies at a moment."""
    start = PROLOGUE.format(tests=str(TESTS), folder=str(place.spec.landing), moment=moment)
    body = "ingest(place.lakehouse, place.spec, now=NOW, screen=screen(rules, 'other'))\n"
    script = textwrap.dedent(start) + body
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def screened(place: Landing) -> IngestResult:
    rules = contract(place.spec.landing.parent)
    return ingest(place.lakehouse, place.spec, now=NOW, screen=screen(rules))


def mixed(number: int) -> str:
    """Return a file with a good row, one out of range, and the key of the first once more."""
    day = "2026-01-05"
    return csv((number, 1, day, "good"), (number + 100, 999, day, "far"), (number, 2, day, "again"))


def check(place: Landing, files: int) -> None:
    """Each row that landed is in one of the two tables, once."""
    assert place.ids() == list(range(files))
    rows = aside(place.lakehouse)
    assert len(rows) == 2 * files
    assert len({r["_row_id"] for r in rows}) == 2 * files
    assert {tuple(r["_failed_rules"]) for r in rows} == {("primary_key",), ("amount_range",)}
    outcomes = place.ledger().values()
    assert [(o.rows, o.quarantined_rows) for o in outcomes] == [(1, 2)] * files
    assert held(place.lakehouse, TABLE).open == 2 * files


@pytest.mark.parametrize("moment", ["quarantine", "after quarantine", "rows", "after rows"])
def test_a_kill_loses_nothing_and_doubles_nothing(
    lakehouse: Lakehouse, tmp_path: Path, moment: str
) -> None:
    place = landing(lakehouse, tmp_path / "in", max_files_per_batch=1000)
    for number in range(3):
        place.drop(f"{number}.csv", mixed(number))
    killed = process(place, moment)
    assert killed.wait() == -9, killed.stderr and killed.stderr.read()
    assert screened(place).quarantined_rows == (0 if moment == "after rows" else 6)
    check(place, 3)
    assert not screened(place).commit.written
    check(place, 3)


def test_a_repeated_try_with_other_files_leaves_nothing_behind(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """The file that only the killed try had comes with a later batch, and its rows once."""
    place = landing(lakehouse, tmp_path / "in")
    place.drop("0.csv", mixed(0))
    gone = place.drop("1.csv", mixed(1))
    assert process(place, "after quarantine").wait() == -9
    assert len(aside(lakehouse)) == 4
    content = gone.read_text()
    gone.unlink()
    screened(place)
    check(place, 1)
    gone.write_text(content)
    screened(place)
    check(place, 2)


def test_rows_that_a_corrected_contract_takes_leave_the_quarantine(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """Set aside by a try that was killed, good for the next: in the table and nowhere else."""
    place = landing(lakehouse, tmp_path / "in")
    place.drop("0.csv", csv((1, 999, "2026-01-05", "far")))
    assert process(place, "after quarantine").wait() == -9
    assert len(aside(lakehouse)) == 1
    rules = contract(tmp_path, {"id": {"primaryKey": True}})
    ingest(lakehouse, place.spec, now=NOW, screen=screen(rules))
    assert place.ids() == [1]
    assert aside(lakehouse) == []


def test_two_processes_share_the_work(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in", max_files_per_batch=2)
    for number in range(8):
        place.drop(f"{number}.csv", mixed(number))
    both = [process(place, "never") for _ in range(2)]
    for one in both:
        assert one.wait() == 0, one.stderr and one.stderr.read()
    screened(place)
    check(place, 8)


def test_a_batch_without_a_good_row_is_done_once(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("0.csv", csv((1, 999, "2026-01-05", "far")))
    assert screened(place).quarantined_rows == 1
    assert screened(place).files == ()
    place.drop("1.csv", csv((2, 1, "2026-01-05", "good")))
    screened(place)
    assert (place.ids(), len(aside(lakehouse))) == ([2], 1)
