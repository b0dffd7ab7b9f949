"""A bundle from files: `databricks.yml`, what it includes, and the policies beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lakeops_assets.databricks.bundle.build import Bundle
from lakeops_assets.databricks.bundle.errors import BundleError
from lakeops_assets.databricks.bundle.render import POLICIES


def load(path: Path) -> Bundle:
    """Return the bundle of a file.

    Raises:
        BundleError: The file, or one that it includes, cannot be read.
    """
    config = _read(path)
    included = config.get("include") or []
    patterns = included if isinstance(included, list) else []
    for pattern in patterns:
        files = sorted(path.parent.glob(str(pattern)))
        if not files and not any(sign in str(pattern) for sign in "*?["):
            raise BundleError(f"{path} includes {pattern}, and there is no such file")
        for file in files:
            config = _merged(config, _read(file), file)
    return Bundle(config, _policies(path.parent / POLICIES))


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"{path} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise BundleError(f"{path} has to be a map with bundle, resources and targets")
    return found


def _merged(one: dict[str, Any], other: Mapping[str, Any], file: Path) -> dict[str, Any]:
    found = dict(one)
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(found.get(name), dict):
            found[name] = _merged(found[name], value, file)
        elif name in found and found[name] != value:
            raise BundleError(f"{file} says {name} again, and otherwise than before")
        else:
            found[name] = value
    return found


def _policies(folder: Path) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            body = json.loads(file.read_text())
            found[str(body["name"])] = json.loads(body["definition"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{file} is no cluster policy with name and definition: {error!r}"
            ) from error
    return found
