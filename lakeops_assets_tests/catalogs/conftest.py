"""Each catalog that there is: two stand-ins, and a real server where somebody names one."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from catalogs.stand_in import OPEN_SOURCE, TOKEN, Catalogs, databricks

from lakeops_assets.catalogs import DatabricksCatalog, OpenSourceCatalog

# Address of a real open-source server, for the tests that need nothing but its interface.
REAL = "LAKEOPS_TEST_UNITY_CATALOG"
# Address of an emulator of a workspace by other people.
MINILAKE = "LAKEOPS_TEST_MINILAKE"


@dataclass(frozen=True)
class Served:
    """A catalog and what is behind it.

    Attributes:
        catalog: The client that is tested.
        name: Name of a catalog that is not there yet.
        stand_in: What is behind it; None when it is a real server.
    """

    catalog: Any
    name: str
    stand_in: Any = None

    @property
    def storage(self) -> str:
        """Where tables are."""
        return (
            f"file:///tmp/{self.name}" if self.catalog.reads_files else f"s3://bucket/{self.name}"
        )


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The catalog of a workspace, also for whoever reads the environment."""
    sdk = pytest.importorskip("databricks.sdk")
    for name in [n for n in os.environ if n.startswith("DATABRICKS_")]:
        monkeypatch.delenv(name)
    with Catalogs(databricks()) as served:
        monkeypatch.setenv("DATABRICKS_HOST", served.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
        yield Served(DatabricksCatalog(sdk.WorkspaceClient()), "dev", served)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """An open-source server."""
    monkeypatch.setenv("LAKEOPS_UNITY_CATALOG_TOKEN", TOKEN)
    with Catalogs(OPEN_SOURCE) as served:
        yield Served(OpenSourceCatalog(served.host, TOKEN), "dev", served)


@pytest.fixture(params=["workspace", "server"])
def stood_in(request: pytest.FixtureRequest) -> Served:
    """Each stand-in."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["workspace", "server", "minilake", "open source"])
def served(request: pytest.FixtureRequest) -> Served:
    """Each stand-in, and each catalog by other people that somebody names."""
    if request.param in ("workspace", "server"):
        return request.getfixturevalue(request.param)
    return by_others(request.param)


@pytest.fixture(params=["minilake", "open source"])
def others(request: pytest.FixtureRequest) -> Served:
    """Each catalog by other people."""
    return by_others(request.param)


def by_others(kind: str) -> Served:
    """Return a catalog that is not ours, with the principals of the tests."""
    name = f"t{uuid.uuid4().hex[:12]}"
    url = os.environ.get(MINILAKE if kind == "minilake" else REAL, "")
    if not url.startswith("http"):
        variable = MINILAKE if kind == "minilake" else REAL
        pytest.skip(f"set {variable} to the address of a server of {kind}")
    if kind == "minilake":
        sdk = pytest.importorskip("databricks.sdk")
        return Served(DatabricksCatalog(sdk.WorkspaceClient(host=url, token=TOKEN)), name)
    token = os.environ.get("LAKEOPS_UNITY_CATALOG_TOKEN", "")
    for principal in sorted(OPEN_SOURCE.users or ()) if token else []:
        add_user(url, token, principal)
    return Served(OpenSourceCatalog(url, token), name)


def add_user(url: str, token: str, principal: str) -> None:
    """Add a principal, which is there from an earlier run or not."""
    user = {"displayName": principal, "emails": [{"value": principal, "primary": True}]}
    request = Request(
        f"{url}/api/1.0/unity-control/scim2/Users",
        data=json.dumps(user).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    try:
        urlopen(request, timeout=10).close()
    except HTTPError as error:
        if "already exists" not in error.read().decode():
            raise
