"""`lakeops contract diff`: find two versions of contracts and compare them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lakeops_assets
from lakeops_assets.contracts import Change, diff, is_major

if TYPE_CHECKING:
    from open_data_contract_standard.model import OpenDataContractStandard

    from lakeops_assets.settings import Settings

SUFFIXES = (".yaml", ".yml")


class ContractDiffError(ValueError):
    """The contracts to compare cannot be found or read."""


@dataclass(frozen=True)
class ContractDiff:
    """What changed in one contract.

    Attributes:
        contract: File of the contract.
        version_before: Version before; None when it is new.
        version_after: Version after; None when it was deleted.
        breaking: Whether a change can hurt a consumer.
        announced: Whether a higher major version says so; true when nothing is breaking.
        changes: Every change, in the order of the document.
    """

    contract: str
    version_before: str | None
    version_after: str | None
    breaking: bool
    announced: bool
    changes: tuple[Change, ...]


def compare_files(old: Path, new: Path) -> list[ContractDiff]:
    """Return what changed between two files; an empty one stands for no contract.

    Raises:
        ContractDiffError: A file is missing or is no contract.
    """
    texts = [_text_of(path) for path in (old, new)]
    return [_compare(str(new), _parse(texts[0], str(old)), _parse(texts[1], str(new)))]


def compare_with_git(name: str, revision: str, settings: Settings) -> list[ContractDiff]:
    """Return what changed in a file, or in the contracts of a product, since a revision of git.

    Args:
        name: File, or product whose folder has `contracts/*.yaml`.
        revision: Revision that consumers know, such as `main`.
        settings: Where the products are.

    Raises:
        ContractDiffError: There is no such product, file, repository or revision.
    """
    if name.endswith(SUFFIXES):
        path = Path(name).resolve()
        repository = _repository(path.parent, revision)
        pairs = [(path, repository.show(path))]
    else:
        folder = _product(name, settings) / "contracts"
        repository = _repository(folder, revision)
        there = {p for p in folder.glob("*") if p.suffix in SUFFIXES}
        known = {p for p in repository.files(folder) if p.suffix in SUFFIXES}
        pairs = [(path, repository.show(path)) for path in sorted(there | known)]
    found = [
        (path, _parse(before, f"{revision}:{path.name}"), _parse(_now(path), str(path)))
        for path, before in pairs
    ]
    if not found or all(b is None and a is None for _, b, a in found):
        raise ContractDiffError(
            f"{name} has no contract, neither in the working tree nor in {revision}. A contract is "
            "a file contracts/<table>.yaml beside a product's defs.yaml"
        )
    return [_compare(_shown(path), before, after) for path, before, after in _moved(found)]


def _compare(
    contract: str,
    before: OpenDataContractStandard | None,
    after: OpenDataContractStandard | None,
) -> ContractDiff:
    changes = diff(before, after)
    return ContractDiff(
        contract=contract,
        version_before=before.version if before else None,
        version_after=after.version if after else None,
        breaking=any(c.breaking for c in changes),
        announced=is_major(changes),
        changes=changes,
    )


def _moved(
    found: list[tuple[Path, OpenDataContractStandard | None, OpenDataContractStandard | None]],
) -> Iterator[tuple[Path, OpenDataContractStandard | None, OpenDataContractStandard | None]]:
    """Join a contract that is gone with a new one of the same id: its file has another name."""
    gone = {b.id: b for _, b, a in found if b and not a and b.id}
    new = {a.id for _, b, a in found if a and not b and a.id}
    for path, before, after in found:
        if before and not after and before.id in new:
            continue
        if after and not before and after.id in gone:
            yield path, gone[after.id], after
        else:
            yield path, before, after


# Reading


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ContractDiffError(f"the contract {path} cannot be read: {error.strerror}") from error


def _now(path: Path) -> str:
    return _text_of(path) if path.is_file() else ""


def _parse(text: str, name: str) -> OpenDataContractStandard | None:
    """Return a contract; None for an empty text."""
    import pydantic
    import yaml
    from open_data_contract_standard.model import OpenDataContractStandard

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ContractDiffError(f"{name} is no YAML: {error}") from error
    if document is None:
        return None
    if not isinstance(document, dict):
        raise ContractDiffError(f"{name} is no contract: it must be a map with `schema`, `version`")
    try:
        return OpenDataContractStandard(**document)
    except pydantic.ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ContractDiffError(f"{name} is no contract of ODCS 3.1: {wrong}") from error


def _product(name: str, settings: Settings) -> Path:
    packaged = Path(lakeops_assets.__file__).parent / "defs"
    folders = [settings.products, packaged]
    for folder in folders:
        if (folder / name / "defs.yaml").is_file():
            return folder / name
    there = sorted({p.parent.name for f in folders for p in f.glob("*/defs.yaml")})
    raise ContractDiffError(
        f"there is no file and no product {name}; products: {', '.join(there) or 'none'}"
    )


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


# Git


@dataclass(frozen=True)
class _Repository:
    root: Path
    revision: str

    def show(self, path: Path) -> str:
        """Return a file as it was; an empty text when it was not there."""
        relative = path.relative_to(self.root)
        found = _git(self.root, "ls-tree", "--name-only", self.revision, "--", str(relative))
        return _git(self.root, "show", f"{self.revision}:{relative}") or "" if found else ""

    def files(self, folder: Path) -> list[Path]:
        """Return the files of a folder as it was."""
        relative = f"{folder.relative_to(self.root)}/"
        found = _git(self.root, "ls-tree", "-z", "--name-only", self.revision, "--", relative)
        return [self.root / name for name in (found or "").split("\0") if name]


def _repository(folder: Path, revision: str) -> _Repository:
    there = next(f for f in (folder, *folder.parents) if f.is_dir())
    top = _git(there, "rev-parse", "--show-toplevel")
    if top is None:
        raise ContractDiffError(
            f"{there} is in no git repository; name two files instead: "
            "lakeops contract diff OLD NEW"
        )
    root = Path(top.strip())
    commit = f"{revision}^{{commit}}"
    if _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", commit) is None:
        branches = _git(root, "branch", "--all", "--format=%(refname:short)") or ""
        raise ContractDiffError(
            f"the repository {root} has no revision {revision}; it has: "
            f"{', '.join(branches.split()) or 'no branch'}. Name another with --against, or fetch "
            "it: a shallow clone has one branch only"
        )
    return _Repository(root, revision)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints; None when it fails."""
    git = shutil.which("git")
    if git is None:
        raise ContractDiffError("git is not installed; name two files: lakeops contract diff A B")
    command = [git, "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout if done.returncode == 0 else None
