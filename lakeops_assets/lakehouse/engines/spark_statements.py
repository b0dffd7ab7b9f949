"""Spark's session, and what a statement carries that has no options as a writer has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.engines import commit_lock
from lakeops_assets.lakehouse.engines.delta_log import DeltaLog
from lakeops_assets.lakehouse.engines.deltars import COMMIT_ID
from lakeops_assets.lakehouse.engines.protocol import Transaction
from lakeops_assets.lakehouse.engines.spark_query import write_errors
from lakeops_assets.lakehouse.engines.spark_session import open_session
from lakeops_assets.settings import SparkOptions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What a statement carries has to be set for the session: one thread at a time.
STATEMENTS = RLock()


class SparkStatements(DeltaLog):
    """A session that runs statements.

    Args:
        options: How the session is started, when it is first needed.
    """

    def __init__(self, options: SparkOptions) -> None:
        self._options = options

    @property
    def session(self) -> SparkSession:
        """The session; starts when it is first asked for."""
        return open_session(self._options)

    @contextmanager
    def committing(self, location: str) -> Iterator[None]:
        """Commit alone where Spark would replace another's commit, and turn errors into ours."""
        with write_errors(location):
            if self._options.on_databricks:  # whose storage keeps writers apart
                yield
                return
            with commit_lock.committing(location, alone=True):
                yield

    @contextmanager
    def carrying(
        self,
        transaction: Transaction | None,
        metadata: Mapping[str, str] | None,
        identifier: str,
    ) -> Iterator[None]:
        """Let the statements of a block carry what a writer's options say for data frames."""
        confs = {"commitInfo.userMetadata": user_metadata(metadata, identifier)}
        if transaction is not None:
            confs["write.txnAppId"] = transaction.app_id
            confs["write.txnVersion"] = str(transaction.version)
        with self.setting({f"spark.databricks.delta.{k}": v for k, v in confs.items()}):
            yield

    @contextmanager
    def setting(self, confs: Mapping[str, str]) -> Iterator[None]:
        """Set the session for the statements of a block, and nobody else's."""
        session = self.session
        with STATEMENTS:
            for key, value in confs.items():
                session.conf.set(key, value)
            try:
                yield
            finally:
                for key in confs:
                    session.conf.unset(key)


def user_metadata(metadata: Mapping[str, str] | None, identifier: str) -> str:
    """Return what a commit records: what its writer says, and what it is found by."""
    return json.dumps({**(metadata or {}), COMMIT_ID: identifier}, sort_keys=True)
