"""`lakeops contract diff` on real files and a real git repository."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakeops_assets import settings
from lakeops_assets.cli import app
from lakeops_assets.commands.contract import ContractDiffError

OLD = """
version: 1.0.0
kind: DataContract
apiVersion: v3.1.0
id: orders
status: active
schema:
  - name: orders
    properties:
      - {name: order_id, physicalType: bigint, required: true}
      - {name: amount, physicalType: double}
"""
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")


def diff(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = CliRunner().invoke(app, ["contract", "diff", *arguments, "--json"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def product(config: settings.Settings) -> Path:
    """A product `shop` with one contract, committed to the branch main."""
    folder = config.products / "shop"
    (folder / "contracts").mkdir(parents=True)
    (folder / "defs.yaml").write_text("")
    (folder / "contracts" / "orders.yaml").write_text(OLD)
    git(config.products, "init", "-q", "-b", "main")
    git(config.products, "add", ".")
    git(config.products, "commit", "-q", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True)


def test_two_files(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    new.write_text(OLD.replace("1.0.0", "1.1.0").replace(", required: true", ""))
    code, [found] = diff(str(old), str(new))
    assert code == 1
    assert (found["version_before"], found["version_after"]) == ("1.0.0", "1.1.0")
    assert {c["kind"] for c in found["changes"] if c["breaking"]} == {
        "required_removed",
        "major_version_missing",
    }
    code, [same] = diff(str(old), str(old))
    assert (code, same["breaking"], same["changes"]) == (0, False, [])


def test_a_breaking_change_with_a_major_version_may_pass(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    new.write_text(OLD.replace("1.0.0", "2.0.0").replace(", required: true", ""))
    assert diff(str(old), str(new))[0] == 1
    assert diff(str(old), str(new), "--allow-major")[0] == 0


def test_an_empty_file_stands_for_no_contract(tmp_path: Path) -> None:
    old, empty = tmp_path / "old.yaml", tmp_path / "empty.yaml"
    old.write_text(OLD)
    empty.write_text("")
    assert diff(str(empty), str(old))[0] == 0
    code, [gone] = diff(str(old), str(empty), "--allow-major")
    assert (code, gone["changes"][0]["kind"]) == (1, "contract_removed")


def test_a_product_is_compared_with_main(product: Path) -> None:
    contracts = product / "contracts"
    assert [f["changes"] for f in diff("shop")[1]] == [[]]
    (contracts / "orders.yaml").write_text(OLD.replace("double", "string"))
    (contracts / "returns.yaml").write_text(OLD.replace("orders", "returns"))
    code, found = diff("shop")
    by_file = {Path(f["contract"]).name: {c["kind"] for c in f["changes"]} for f in found}
    assert code == 1
    assert by_file == {
        "orders.yaml": {"type_changed", "major_version_missing"},
        "returns.yaml": {"contract_added"},
    }
    git(product, "commit", "-q", "-a", "-m", "second")
    assert diff("shop")[1][0]["changes"] == []
    assert diff("shop", "--against", "HEAD~1")[0] == 1


def test_one_file_is_compared_with_main(product: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(product)
    (product / "contracts" / "orders.yaml").write_text(OLD.replace("bigint", "int"))
    code, [found] = diff("contracts/orders.yaml")
    assert code == 0
    assert {c["kind"] for c in found["changes"]} == {"type_narrowed", "version_not_raised"}


def test_a_deleted_contract_is_reported(product: Path) -> None:
    (product / "contracts" / "orders.yaml").unlink()
    (product / "contracts").rmdir()
    code, [found] = diff("shop")
    assert code == 1
    assert [c["kind"] for c in found["changes"]] == ["contract_removed"]


def test_a_contract_in_another_file_is_the_same_contract(product: Path) -> None:
    (product / "contracts" / "orders.yaml").rename(product / "contracts" / "sales.yaml")
    code, [found] = diff("shop")
    assert (code, found["changes"]) == (0, [])
    assert found["contract"].endswith("sales.yaml")


def test_what_cannot_be_compared_is_said_in_a_sentence(product: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1.0.0\nscheme: []\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("version: [")
    text = tmp_path / "text.yaml"
    text.write_text("only words")
    good = str(product / "contracts" / "orders.yaml")
    for arguments, message in (
        ((str(tmp_path / "none.yaml"), good), "cannot be read: No such file"),
        ((good, str(wrong)), "scheme: Extra inputs are not permitted"),
        ((good, str(broken)), "is no YAML"),
        ((good, str(text)), "it must be a map"),
        (("nothing",), "no product nothing; products: .*shop"),
        (("shop", "--against", "elsewhere"), "no revision elsewhere; it has: main"),
        ((str(wrong),), "in no git repository"),
    ):
        with pytest.raises(ContractDiffError, match=message):
            diff(*arguments)


def test_it_is_shown_with_reasons(product: Path) -> None:
    (product / "contracts" / "orders.yaml").write_text(OLD.replace("double", "string"))
    done = CliRunner().invoke(app, ["contract", "diff", "shop"])
    assert done.exit_code == 1
    assert "orders.amount.physicalType" in done.stdout
    assert "2 of them breaking" in done.stdout
