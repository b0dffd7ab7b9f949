"""The way to a workspace, with sentences for what goes wrong there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lakeops_assets.databricks.errors import PolicyBreachError, WorkspaceError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

INSTALL = "install it: pip install 'lakeops-assets[databricks]'"
_REFUSED = re.compile(r"Validation failed for (?P<field>[\w.*]+)")


def connect() -> WorkspaceClient:
    """Return a client of the workspace that `DATABRICKS_HOST` or a profile names.

    Who asks is found by the SDK: a token, a service principal or a profile, all from its own
    variables (`DATABRICKS_TOKEN`, `DATABRICKS_CLIENT_ID`, ...) and never from YAML.

    Raises:
        WorkspaceError: The SDK is not there, or finds no workspace.
    """
    try:
        from databricks.sdk import WorkspaceClient
    except ImportError as error:
        raise WorkspaceError(f"Databricks' SDK is not installed; {INSTALL}") from error
    try:
        return WorkspaceClient(product="lakeops-assets", product_version="0.1.0")
    except ValueError as error:
        raise WorkspaceError(
            f"no workspace to talk to: {error}; set DATABRICKS_HOST and DATABRICKS_TOKEN"
        ) from error


@contextmanager
def talking(doing: str) -> Iterator[None]:
    """Turn what a workspace refuses into a sentence.

    Args:
        doing: What is being done, in words that follow "cannot".
    """
    from databricks.sdk.errors import DatabricksError

    try:
        yield
    except DatabricksError as error:
        raise refusal(doing, str(error)) from error
    except OSError as error:  # requests' errors are among them
        raise WorkspaceError(f"cannot {doing}: the workspace does not answer: {error}") from error


def refusal(doing: str, message: str) -> WorkspaceError:
    """Return the error for a refusal; a breach of the policy names its field."""
    found = _REFUSED.search(message)
    if found is None:
        return WorkspaceError(f"cannot {doing}: the workspace says: {message}")
    return PolicyBreachError(
        f"cannot {doing}: the cluster policy refuses {found['field']}: {message}", found["field"]
    )
