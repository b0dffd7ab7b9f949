"""Killed anywhere, or run twice at once: each row is there once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from landing import NOW, TABLE, Landing, csv, good, landing

from lakeops_assets.ingest import IngestError, ledger_table
from lakeops_assets.ingest.ledger import recover
from lakeops_assets.lakehouse import Lakehouse

TESTS = Path(__file__).parents[1]
PROLOGUE = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from landing import landing, TABLE, NOW
    from lakeops_assets import settings
    from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
    room = sys.modules["lakeops_assets.ingest.ingest"]
    place = landing(open_lakehouse(settings.load()), Path({folder!r}))
    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def process(place: Landing, body: str) -> subprocess.Popen[str]:
    """Start a process that ingests the same folder in the way that the body says."""
    start = PROLOGUE.format(tests=str(TESTS), folder=str(place.spec.landing))
    script = textwrap.dedent(start) + textwrap.dedent(body)
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


KILLED = {
    "before the table": "sys.modules['lakeops_assets.ingest.commit'].create = die",
    "before the rows": "Lakehouse.append = die",
    "between rows and ledger": "room.record = die",
    "after the ledger": """
        real = room.record
        def record(*args):
            real(*args)
            die()
        room.record = record
    """,
}


@pytest.mark.parametrize("moment", KILLED)
def test_a_kill_loses_nothing_and_doubles_nothing(
    lakehouse: Lakehouse, tmp_path: Path, moment: str
) -> None:
    place = landing(lakehouse, tmp_path / "in", max_files_per_batch=1000)
    for number in range(3):
        place.drop(f"{number}.csv", good(number))
    place.drop("bad.csv", "")
    killed = process(place, textwrap.dedent(KILLED[moment]) + "\nplace.ingest()\n")
    assert killed.wait() == -9, killed.stderr and killed.stderr.read()
    place.ingest()
    assert place.ids() == [0, 1, 2]
    assert {r["_batch_id"] for r in place.rows("_batch_id")} == {0}
    assert lakehouse.version(TABLE) == 1, "one to create it and one for the batch"
    assert place.statuses() == {
        "0.csv": "ingested",
        "1.csv": "ingested",
        "2.csv": "ingested",
        "bad.csv": "rejected",
    }
    assert not place.ingest().commit.written


def test_two_processes_share_the_work(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    for number in range(12):
        rows = ((number * 100 + i, i, "2026-01-05", "x" * 20) for i in range(100))
        place.drop(f"{number:02}.csv", csv(*rows))
    both = [process(place, "place.ingest()\n") for _ in range(2)]
    for one in both:
        assert one.wait() == 0, one.stderr and one.stderr.read()
    place.ingest()
    assert place.ids() == sorted(n * 100 + i for n in range(12) for i in range(100))
    assert len(place.ledger()) == 12
    count = f"SELECT count(*) AS n FROM {ledger_table('dev')}"
    assert lakehouse.query(count).read_all()["n"][0].as_py() == 12


def test_a_ledger_that_cannot_be_made_up_stops_everything(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the commit that tells what was taken in, going on could double rows."""
    import shutil

    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", good(1))
    place.ingest()
    shutil.rmtree(lakehouse.location(str(ledger_table("dev"))))
    monkeypatch.setattr(Lakehouse, "history", lambda *args, **kwargs: [])
    with pytest.raises(IngestError, match="by hand"):
        recover(lakehouse, TABLE, NOW)


def test_the_ledger_is_made_up_from_the_commits(lakehouse: Lakehouse, tmp_path: Path) -> None:
    import shutil

    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", good(1))
    place.ingest()
    shutil.rmtree(lakehouse.location(str(ledger_table("dev"))))
    assert place.ledger() == {}
    place.ingest()
    assert place.ids() == [1]
    assert place.statuses() == {"a.csv": "ingested"}


def test_nothing_stays_in_the_staging_folder(lakehouse: Lakehouse, tmp_path: Path) -> None:
    place = landing(lakehouse, tmp_path / "in")
    place.drop("a.csv", good(1))
    place.ingest()
    assert not list((lakehouse.root.parent / "staging").iterdir())
