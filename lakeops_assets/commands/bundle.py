"""A bundle of products, written from the asset graph, and the check of any bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lakeops_assets.databricks import bundle


@dataclass(frozen=True)
class Checked:
    """A bundle and what is wrong with it.

    Attributes:
        source: Where it is from.
        findings: What is wrong; empty when nothing is.
        unchecked: Kinds of resources that nothing here knows.
        notes: What is declared and cannot be said in a bundle.
        files: What was written.
        text: `databricks.yml`, when nothing was written.
    """

    source: str
    findings: tuple[bundle.Finding, ...]
    unchecked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    text: str = ""


def write(products: Sequence[str], name: str, out: Path | None, *, profiles: bool) -> Checked:
    """Make the bundle of some products, and write it when nothing is wrong with it.

    Args:
        products: Products; all when empty.
        name: Name of the bundle.
        out: Folder to write to; None only returns the text.
        profiles: Whether targets name the profiles of their workspaces.

    Raises:
        BundleError: It cannot be made of what is declared.
        BeyondEnvelopeError: What an asset runs on is beyond its product's envelope.
        WorkspaceError: Databricks' SDK, which checks it, is not installed.
    """
    from lakeops_assets.components.bundle_facts import bundle_facts
    from lakeops_assets.definitions import defs

    graph = defs().resolve_asset_graph()
    made = bundle.bundle(bundle_facts(graph, products, name=name, profiles=profiles))
    findings = tuple(bundle.check(made))
    files: tuple[str, ...] = ()
    if out is not None and not findings:
        files = tuple(map(str, bundle.write(made, out)))
    text = "" if out is not None else bundle.render(made)[bundle.FILE]
    return Checked("the asset graph", findings, notes=made.notes, files=files, text=text)


def check(path: Path) -> Checked:
    """Check the bundle in a file.

    Args:
        path: `databricks.yml`, or the folder with it.

    Raises:
        BundleError: It cannot be read.
        WorkspaceError: Databricks' SDK, which checks it, is not installed.
    """
    file = path / bundle.FILE if path.is_dir() else path
    found = bundle.load(file)
    return Checked(str(file), tuple(bundle.check(found)), unchecked=bundle.unchecked(found))
