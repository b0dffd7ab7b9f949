"""What the pages say is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = sorted(p for p in PROJECT.rglob("*.md") if not {".venv", ".lakeops"} & set(p.parts))


def test_the_reference_is_the_one_that_the_fields_write() -> None:
    script = "import reference; print(reference.page(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT / "docs", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    committed = (PROJECT / "docs" / "yaml.md").read_text()
    assert done.stdout == committed, "write it again: python docs/reference.py"


def test_what_engines_can_do_is_what_they_declare() -> None:
    script = "import reference; print(reference.engines_page(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT / "docs", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    committed = (PROJECT / "docs" / "engines.md").read_text()
    assert done.stdout == committed, "write it again: python docs/reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_every_decision_is_listed() -> None:
    folder = PROJECT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    assert [p.name for p in folder.glob("0*.md") if p.name not in listed] == []


def test_each_way_past_a_gate_has_the_test_that_the_page_names() -> None:
    table = (PROJECT / "docs" / "promotion.md").read_text().partition("## Ways past a gate")[2]
    named = re.findall(r"\| `(test_\w+)` \|", table)
    tests = "\n".join(p.read_text() for p in (PROJECT / "lakeops_assets_tests").rglob("test_*.py"))
    assert len(named) >= 20
    assert [name for name in named if f"def {name}(" not in tests] == []
