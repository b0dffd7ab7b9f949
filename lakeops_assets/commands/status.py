"""`lakeops status`: what there is, read from the tables and the registry themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import Lakehouse, TableName, open_lakehouse
from lakeops_assets.promotion import gate_results_table
from lakeops_assets.settings import Settings

if TYPE_CHECKING:
    from lakeops_assets.models import ModelRegistry, VersionInfo


@dataclass(frozen=True)
class TableStatus:
    """One table.

    Attributes:
        table: Full name.
        version: Newest Delta version.
        rows: Number of rows.
        bytes: Size of its data files.
        changed_at: When its rows last changed.
        age_seconds: Seconds since then.
    """

    table: str
    version: int
    rows: int
    bytes: int
    changed_at: datetime
    age_seconds: float


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model.

    Attributes:
        model: Registered name.
        version: Version.
        aliases: Aliases that it carries.
        created_at: When it was registered.
        metrics: Metrics on the held-out rows.
        gates: Gate -> passed, of its newest evaluation; empty when it was never evaluated.
        refused: Gate -> reason, of the gates that failed.
        run_id: MLflow run.
    """

    model: str
    version: int
    aliases: tuple[str, ...]
    created_at: datetime
    metrics: dict[str, float]
    gates: dict[str, bool]
    refused: dict[str, str]
    run_id: str


@dataclass(frozen=True)
class WaitingPlan:
    """A promotion that waits for people.

    Attributes:
        product: Product.
        model: Registered name.
        version: Version that would become champion.
        plan: Digest to approve.
        reason: How many approvals are missing, and from whom one would not count.
    """

    product: str
    model: str
    version: int
    plan: str
    reason: str


@dataclass(frozen=True)
class Status:
    """Tables, model versions and plans that wait for an approval, of an environment."""

    environment: str
    tables: tuple[TableStatus, ...]
    models: tuple[VersionStatus, ...]
    waiting: tuple[WaitingPlan, ...] = ()


def status(products: Sequence[str], settings: Settings, now: datetime) -> Status:
    """Return the tables and model versions of some products; of all when none is named."""
    lakehouse = open_lakehouse(settings)
    found = _models(lakehouse, products, settings)
    tables = [t for t in lakehouse.tables() if not products or t.schema in products]
    return Status(
        environment=settings.environment,
        tables=tuple(_table(lakehouse, t, now) for t in tables),
        models=tuple(found),
        waiting=_waiting(products, settings) if found else (),
    )


def _waiting(products: Sequence[str], settings: Settings) -> tuple[WaitingPlan, ...]:
    from lakeops_assets.commands.promotion import waiting

    return tuple(
        WaitingPlan(
            product=plan.model.split(".")[1],
            model=plan.model,
            version=plan.candidate,
            plan=plan.digest,
            reason=plan.reason,
        )
        for plan in waiting(tuple(products), settings)
    )


def _table(lakehouse: Lakehouse, table: TableName, now: datetime) -> TableStatus:
    newest = lakehouse.history(table, limit=1)[0]
    changed = lakehouse.last_change(table) or newest
    return TableStatus(
        table=str(table),
        version=newest.version,
        rows=lakehouse.row_count(table),
        bytes=lakehouse.size_bytes(table),
        changed_at=changed.timestamp,
        age_seconds=(now - changed.timestamp).total_seconds(),
    )


def _models(
    lakehouse: Lakehouse, products: Sequence[str], settings: Settings
) -> list[VersionStatus]:
    if settings.tracking_uri.startswith("sqlite") and not settings.mlflow_root.is_dir():
        return []  # asking would create an empty store
    from lakeops_assets.models import registered_models

    gates = _gates(lakehouse)

    def key(registry: ModelRegistry, version: VersionInfo) -> tuple[str, int]:
        return registry.name, version.version

    found: list[VersionStatus] = []
    for registry in registered_models(settings.tracking_uri, settings.environment):
        if products and registry.name.split(".")[1] not in products:
            continue
        found.extend(
            VersionStatus(
                model=registry.name,
                version=version.version,
                aliases=tuple(version.aliases),
                created_at=version.created_at,
                metrics=dict(version.metrics),
                gates={r["gate"]: r["passed"] for r in gates.get(key(registry, version), [])},
                refused={
                    r["gate"]: r["reason"]
                    for r in gates.get(key(registry, version), [])
                    if not r["passed"]
                },
                run_id=version.run_id,
            )
            for version in registry.versions()
        )
    return found


def _gates(lakehouse: Lakehouse) -> dict[tuple[str, int], list[dict]]:
    """Return the results of the newest evaluation of each version."""
    table = gate_results_table(lakehouse.catalog)
    if not lakehouse.exists(table):
        return {}
    newest = lakehouse.query(
        f"SELECT model, version, gate, passed, reason FROM {table} QUALIFY evaluated_at = "
        "max(evaluated_at) OVER (PARTITION BY model, version) ORDER BY model, version, gate"
    )
    gates: dict[tuple[str, int], list[dict]] = {}
    for row in newest.read_all().to_pylist():
        gates.setdefault((row["model"], row["version"]), []).append(row)
    return gates
