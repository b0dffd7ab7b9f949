"""What metric tables were made from, recorded with each of their commits."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse import Commit, Lakehouse, TableName, Transaction

if TYPE_CHECKING:
    import pyarrow as pa

# Names the writer in the metric tables' transactions and what it records with a commit.
APP_ID = "monitoring"


@dataclass(frozen=True)
class Baseline:
    """What a table is compared with.

    Attributes:
        table: The table.
        version: Delta version that is read.
        where: Which of its rows; None for all.
    """

    table: TableName
    version: int
    where: str | None


@dataclass(frozen=True)
class State:
    """All that decides what is in a metric table.

    Attributes:
        table: Monitored table.
        version: Its Delta version.
        columns: Hash of its columns.
        baseline: Table, version and condition of the baseline; None without one.
        spec: Hash of the spec.
        monitor_version: Version of the monitor's configuration.
    """

    table: str
    version: int
    columns: str
    baseline: dict[str, Any] | None
    spec: str
    monitor_version: int

    @classmethod
    def of(
        cls,
        table: TableName,
        version: int,
        schema: pa.Schema,
        baseline: Baseline | None,
        spec_digest: str,
        monitor_version: int,
    ) -> State:
        """Return the state that a refresh leaves."""
        columns = "\n".join(f"{f.name} {f.type}" for f in schema)
        against = (
            None
            if baseline is None
            else {
                "table": str(baseline.table),
                "version": baseline.version,
                "where": baseline.where,
            }
        )
        return cls(
            str(table),
            version,
            hashlib.sha256(columns.encode()).hexdigest()[:16],
            against,
            spec_digest,
            monitor_version,
        )

    def why_other(self, before: State) -> str:
        """Return why windows that were made from `before` cannot stand; empty when they can."""
        if before.table != self.table:
            return "the metrics of another table were there"
        if before.spec != self.spec or before.monitor_version != self.monitor_version:
            return "the monitor's configuration changed"
        if before.columns != self.columns:
            return "the columns of the table changed"
        if before.version > self.version:
            return f"version {before.version} was profiled before, which is newer"
        return ""


def recorded(lakehouse: Lakehouse, table: TableName) -> State | None:
    """Return what the newest write of a metric table was made from; None before the first."""
    if not lakehouse.exists(table):
        return None
    for commit in lakehouse.history(table, limit=50):
        if APP_ID in commit.metadata:
            found = json.loads(commit.metadata[APP_ID])
            return State(**found) if found.keys() == State.__annotations__.keys() else None
    return None


def unchanged(lakehouse: Lakehouse, table: TableName) -> Commit:
    """Return the commit of a table that nothing was written to."""
    version = lakehouse.version(table)
    return Commit(version or 0, written=False, reason="made from the same versions and spec")


def write(
    lakehouse: Lakehouse,
    table: TableName,
    rows: pa.Table,
    state: State,
    *,
    description: str,
    where: str | None,
) -> Commit:
    """Replace the rows of a metric table, or those that meet a condition, in one commit.

    Args:
        lakehouse: Where the table is.
        table: Metric table; created if it is not there.
        rows: New rows.
        state: What they were made from.
        description: Description of a table that is created.
        where: Rows that are replaced; None for all.
    """
    lakehouse.create(table, rows.schema, description=description)
    seen = lakehouse.transaction_version(table, APP_ID)
    other_columns = lakehouse.schema(table).names != rows.schema.names
    return lakehouse.overwrite(
        table,
        rows,
        transaction=Transaction(APP_ID, 0 if seen is None else seen + 1),
        metadata={APP_ID: json.dumps(asdict(state))},
        evolve=where is None and other_columns,
        where=where,
    )
