"""MLflow's store: made whole, and one client per process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
