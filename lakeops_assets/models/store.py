"""MLflow's store: made whole, and one client per process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"


def ensure_store(tracking_uri: str) -> None:
    """Create a SQLite store that is not there yet, whole or not at all.

    MLflow creates its tables in dozens of steps when a store is first opened. Two processes that do
    so at the same time break it, and so does one that is killed in between. So the store is made
    under another name and behind a lock, and takes its own name when it is finished.
    """
    if not tracking_uri.startswith(SQLITE) or tracking_uri in _ready:
        return
    import fcntl

    path = Path(tracking_uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            unfinished.unlink(missing_ok=True)
            unfinished.with_name(f"{unfinished.name}-journal").unlink(missing_ok=True)
            _make_client(f"{SQLITE}{unfinished}").search_experiments(max_results=1)
            unfinished.replace(path)
    _ready.add(tracking_uri)


_ready: set[str] = set()


def artifact_root(tracking_uri: str) -> Path:
    """Return the folder of a SQLite store's artifacts, beside it; a server has its own."""
    return Path(tracking_uri.removeprefix(SQLITE)).parent / "artifacts"


@lru_cache(maxsize=8)
def open_store(tracking_uri: str) -> MlflowClient:
    """Return the client of a store, the same one each time; a SQLite store is made if missing."""
    ensure_store(tracking_uri)
    return _make_client(tracking_uri)


def _make_client(tracking_uri: str) -> MlflowClient:
    import logging

    from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@contextmanager
def default_store(tracking_uri: str) -> Iterator[None]:
    """Make a store the default of the process for a while.

    MLflow writes its default to the environment as well, where every process that is started
    afterwards would find it.
    """
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Glance:
    """What a look at a store without MLflow tells of one registered model.

    Attributes:
        aliases: Alias -> version.
        tags: Version -> its tags.
    """

    aliases: Mapping[str, int]
    tags: Mapping[int, Mapping[str, str]]


def glance(tracking_uri: str, registered_name: str) -> Glance | None:
    """Return aliases and tags of a model, read from a SQLite store directly.

    To import MLflow takes seconds, and whoever only asks whether anything changed asks often.

    Returns:
        None where the store is another one, is not there, or has other tables than expected.
    """
    import sqlite3

    path = Path(tracking_uri.removeprefix(SQLITE))
    if not tracking_uri.startswith(SQLITE) or not path.is_file():
        return None
    aliases = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
    tagged = "SELECT version, key, value FROM model_version_tags WHERE name = ?"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            found = store.execute(aliases, (registered_name,)).fetchall()
            tags: dict[int, dict[str, str]] = {}
            for version, key, value in store.execute(tagged, (registered_name,)):
                tags.setdefault(int(version), {})[key] = value or ""
    except sqlite3.Error:
        return None
    return Glance({alias: int(version) for alias, version in found}, tags)
