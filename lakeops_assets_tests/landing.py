"""Landing folders for tests, and what their files became."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lakeops_assets.ingest import Column, FileOutcome, IngestResult, IngestSpec, ingest, outcomes
from lakeops_assets.lakehouse import Lakehouse, TableName

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE = TableName("dev", "shop", "orders")
COLUMNS = (
    Column("id", "bigint", "Order."),
    Column("amount", "double"),
    Column("day", "date"),
    Column("note", "string"),
)


@dataclass(frozen=True)
class Landing:
    """A landing folder and the table that it feeds."""

    lakehouse: Lakehouse
    spec: IngestSpec

    def drop(self, name: str, content: str | bytes) -> Path:
        path = self.spec.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def ingest(self) -> IngestResult:
        return ingest(self.lakehouse, self.spec, now=NOW)

    def rows(self, *columns: str) -> list[dict[str, Any]]:
        wanted = ", ".join(columns) if columns else "*"
        return self.lakehouse.query(f"SELECT {wanted} FROM {TABLE}").read_all().to_pylist()

    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.rows("id"))

    def ledger(self) -> dict[str, FileOutcome]:
        return {o.path: o for o in outcomes(self.lakehouse, TABLE)}

    def statuses(self) -> dict[str, str]:
        return {path: outcome.status for path, outcome in self.ledger().items()}


def landing(lakehouse: Lakehouse, folder: Path, **options: Any) -> Landing:
    """Return a landing folder with declared columns unless others are given."""
    folder.mkdir(parents=True, exist_ok=True)
    options.setdefault("columns", COLUMNS)
    return Landing(lakehouse, IngestSpec(TABLE, folder, **options))


def csv(*rows: Iterable[object], header: str = "id,amount,day,note") -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def good(number: int) -> str:
    """Return a csv file with one faultless row."""
    return csv((number, number / 2, "2026-01-05", f"order {number}"))
