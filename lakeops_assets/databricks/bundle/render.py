"""A bundle as files: equal bundles make equal bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lakeops_assets.databricks.bundle.build import Bundle
from lakeops_assets.databricks.bundle.errors import BundleError

FILE = "databricks.yml"
POLICIES = "policies"
_HEAD = """# Written by `lakeops bundle` from the asset graph; edits here are lost next time.
# Checked without a workspace, and never deployed to one. Policies beside it have to be first.
"""


def render(bundle: Bundle) -> dict[str, str]:
    """Return the files of a bundle: path below its folder -> text."""
    notes = "".join(f"# {note}\n" for note in bundle.notes)
    files = {FILE: f"{_HEAD}{notes}\n{to_yaml(bundle.config)}"}
    for name, definition in bundle.policies.items():
        body = {"name": name, "definition": json.dumps(definition)}
        files[f"{POLICIES}/{_slug(name)}.json"] = json.dumps(body, indent=2) + "\n"
    return files


def to_yaml(config: Mapping[str, Any]) -> str:
    """Return a configuration as YAML."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes lists below their key, and every value where it is used."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            return super().increase_indent(flow, indentless=False)

        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(config, Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)


def write(bundle: Bundle, folder: Path) -> list[Path]:
    """Write a bundle and return its files; files that are equal already are not touched.

    Raises:
        BundleError: The folder cannot be written.
    """
    written = []
    for name, text in render(bundle).items():
        path = folder / name
        try:
            if not path.is_file() or path.read_text() != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        except OSError as error:
            raise BundleError(f"{path} cannot be written: {error.strerror}") from error
        written.append(path)
    return written


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
