"""A feature table and its quarantine together tell the present, however it came about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from contracted import written
from landing import NOW

from lakeops_assets.contracts import ContractScreen, load
from lakeops_assets.features import FeatureResult, FeatureSpec, refresh_features
from lakeops_assets.lakehouse import Lakehouse

LIMIT = {"logicalType": "integer", "logicalTypeOptions": {"maximum": 10}}


class People:
    """An input, the features of it, and their contract."""

    def __init__(self, lakehouse: Lakehouse, folder: Path) -> None:
        self.lakehouse, self.folder = lakehouse, folder
        self.says: dict[str, Any] = {"k": {"primaryKey": True}, "v": LIMIT}
        lakehouse.create("shop.people", pa.schema([("k", pa.int64()), ("v", pa.int64())]))
        self.spec = FeatureSpec(
            lakehouse.name("shop.orders"), "SELECT k, v FROM shop.people", ("k",), "by_key"
        )

    def put(self, *rows: tuple[int, int]) -> FeatureResult:
        table = pa.table({"k": [k for k, _ in rows], "v": [v for _, v in rows]})
        if rows:
            self.lakehouse.merge("shop.people", table, ("k",))
        return self.refresh()

    def refresh(self) -> FeatureResult:
        rules = load(written(self.folder, self.says))
        screen = ContractScreen(rules, NOW, "run")
        return refresh_features(self.lakehouse, self.spec, screen=screen)

    def table(self) -> dict[int, int]:
        return {r["k"]: r["v"] for r in self.lakehouse.read(self.spec.table).read_all().to_pylist()}

    def waiting(self) -> dict[int, list[str]]:
        name = self.spec.table.beside("quarantine")
        if not self.lakehouse.exists(name):
            return {}
        rows = self.lakehouse.read(name, where="_status = 'open'").read_all().to_pylist()
        return {r["k"]: r["_failed_rules"] for r in rows}


@pytest.fixture
def people(lakehouse: Lakehouse, tmp_path: Path) -> People:
    made = People(lakehouse, tmp_path)
    result = made.put((1, 1), (2, 99), (3, 3))
    assert (result.quarantined, made.table(), made.waiting()) == (
        1,
        {1: 1, 3: 3},
        {2: ["v_range"]},
    )
    return made


def test_a_key_goes_out_and_comes_back_with_its_row(people: People) -> None:
    assert people.put((1, 99)).mode == "full", "a key of the table has no good row any more"
    assert (people.table(), set(people.waiting())) == ({3: 3}, {1, 2})
    back = people.put((1, 5), (4, 4))
    assert back.mode == "by_key"
    assert (people.table(), set(people.waiting())) == ({1: 5, 3: 3, 4: 4}, {2})


def test_another_contract_judges_every_row_again(people: People) -> None:
    people.says["v"] = {}
    assert people.refresh().reason == "the contract changed"
    assert (people.table(), people.waiting()) == ({1: 1, 2: 99, 3: 3}, {})
    assert not people.refresh().commit.written


def test_a_uniqueness_beside_the_key_is_looked_at_over_all_rows(people: People) -> None:
    people.says["v"] = {"unique": True}
    people.refresh()
    result = people.put((5, 3))
    assert result.reason == "the contract compares rows of different keys"
    assert people.table() == {1: 1, 2: 99, 3: 3}
    assert people.waiting() == {5: ["v_unique"]}


def test_a_try_that_ended_between_the_two_tables_is_made_good(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Lakehouse.merge

    def dies(self: Lakehouse, table: Any, *args: Any, **kwargs: Any) -> Any:
        if str(table) == str(people.spec.table):
            raise KeyboardInterrupt
        return real(self, table, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Lakehouse, "merge", dies)
        people.lakehouse.append("shop.people", pa.table({"k": [6, 7], "v": [6, 77]}))
        with pytest.raises(KeyboardInterrupt):
            people.refresh()
    assert 6 not in people.table()
    people.refresh()
    assert (people.table(), set(people.waiting())) == ({1: 1, 3: 3, 6: 6}, {2, 7})
    rows = people.lakehouse.row_count(people.spec.table.beside("quarantine"))
    assert rows == 2, "each key once"
