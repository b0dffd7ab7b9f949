"""Real customers, replayed day by day."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from lakeops_assets import samples
from lakeops_assets.samples import SampleError

CHURN = samples.sample("churn")


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("landing")
    samples.land(CHURN, root)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.*")}


def customers(root: Path) -> dict[int, date]:
    return {
        int(row["customer_id"]): date.fromisoformat(row["snapshot_date"])
        for path in root.glob("churn/customers/*.csv")
        for row in csv.DictReader(path.open())
    }


def labels(root: Path) -> dict[int, date]:
    return {
        row["customer_id"]: date.fromisoformat(row["labelled_on"])
        for path in root.glob("churn/churn_labels/*.json")
        for row in map(json.loads, path.read_text().splitlines())
    }


def test_every_customer_and_label_arrives_once(landed: Path) -> None:
    lines = sum(len(p.read_text().splitlines()) - 1 for p in landed.glob("churn/customers/*.csv"))
    assert lines == len(customers(landed)) == 7043
    lines = sum(len(p.read_text().splitlines()) for p in landed.glob("churn/churn_labels/*.json"))
    assert lines == len(labels(landed)) == 7043


def test_a_label_arrives_a_week_after_its_features(landed: Path) -> None:
    seen, known = customers(landed), labels(landed)
    assert {(known[c] - seen[c]).days for c in seen} == {7}
    assert not any(
        "churn" in p.read_text().splitlines()[0] for p in landed.glob("churn/customers/*")
    )


def test_day_by_day_gives_the_same_bytes_as_all_at_once(landed: Path, tmp_path: Path) -> None:
    first = samples.land(CHURN, tmp_path, batches=2)
    assert (first.first_day, first.last_day) == (date(2026, 1, 1), date(2026, 1, 2))
    assert first.remaining == 35
    assert not list(tmp_path.glob("churn/churn_labels/*"))
    second = samples.land(CHURN, tmp_path, batches=10)
    assert second.first_day == date(2026, 1, 3)
    last = samples.land(CHURN, tmp_path)
    assert last.remaining == 0
    assert contents(tmp_path) == contents(landed)
    assert samples.land(CHURN, tmp_path).files == ()


def test_a_landing_that_was_killed_is_completed(landed: Path, tmp_path: Path) -> None:
    shutil.copytree(landed, tmp_path / "in")
    lost = tmp_path / "in" / "churn" / "churn_labels" / "2026-01-20.json"
    lost.rename(lost.with_name(".2026-01-20.json.1.tmp"))
    again = samples.land(CHURN, tmp_path / "in", batches=1)
    assert again.files == (lost,)
    lost.with_name(".2026-01-20.json.1.tmp").unlink()
    assert contents(tmp_path / "in") == contents(landed)


def test_an_unknown_sample_names_those_that_exist() -> None:
    with pytest.raises(SampleError, match="there is some for: churn"):
        samples.sample("weather")
