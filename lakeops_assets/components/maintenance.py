"""Small files, old versions and long logs of a product's tables, by a policy in YAML."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets import models, settings
from lakeops_assets.components.names import LAYER, ON_REQUEST, STATE, digest
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.lakehouse import (
    Lakehouse,
    Locks,
    MaintenancePlan,
    MaintenancePolicy,
    MaintenanceResult,
    TableName,
)
from lakeops_assets.lakehouse import maintenance as upkeep

SYSTEM = "lakeops"
# Metadata of the asset: the `MaintenanceSpec` itself, for whoever has the definitions at hand.
SPEC = "lakeops/maintenance"


@dataclass(frozen=True)
class MaintenanceSpec:
    """How the tables of a product are maintained.

    Attributes:
        product: Product, which is the schema.
        policy: Policy of every table; its own table stands for any.
        overrides: Table -> what differs from the policy.
        system_tables: Whether the tables of the system itself are maintained too.
        keep_models: Models whose training data is kept.
    """

    product: str
    policy: MaintenancePolicy
    overrides: Mapping[str, Mapping[str, Any]]
    system_tables: bool
    keep_models: models.Keep

    def policies(self, lakehouse: Lakehouse) -> list[MaintenancePolicy]:
        """Return the policy of each table that exists, sorted by name."""
        schemas = [self.product, *([SYSTEM] if self.system_tables else [])]
        return [
            replace(self.policy, table=table, **self._override(table))
            for schema in schemas
            for table in lakehouse.tables(schema)
        ]

    def _override(self, table: TableName) -> Mapping[str, Any]:
        if table.schema == self.product:
            return self.overrides.get(table.table, {})
        # Who promoted, approved or deleted what can be checked against the log of those tables.
        return {"log_retention_hours": None}

    def locks(self, lakeops: LakeopsResource) -> Locks:
        """Return the table versions that models need."""
        return models.needed_versions(
            lakeops.tracking_uri, lakeops.environment, keep=self.keep_models
        )

    def plan(self, lakehouse: Lakehouse, locks: Locks, *, now: datetime) -> list[MaintenancePlan]:
        """Return the plan of each table."""
        return [
            upkeep.plan_maintenance(lakehouse, policy, locks, now=now)
            for policy in self.policies(lakehouse)
        ]


class TableMaintenanceModel(dg.Model, dg.Resolvable):
    """What is different for one table; what is left out is as for the others."""

    table: str = Field(description="Table of the product.")
    optimize: bool | None = Field(
        default=None, description="Whether several small files are rewritten into one."
    )
    zorder: list[str] = Field(
        default_factory=list, description="Columns that files are sorted by when rewritten."
    )
    vacuum_retention_hours: int | None = Field(
        default=None, ge=0, description="Age from which files of older versions are deleted."
    )
    log_retention_hours: int | None = Field(
        default=None, ge=0, description="Age from which entries of the log are deleted."
    )

    def overrides(self) -> dict[str, Any]:
        """Return what was said."""
        said = {
            "optimize": self.optimize,
            "zorder": tuple(self.zorder) or None,
            "vacuum_retention_hours": self.vacuum_retention_hours,
            "log_retention_hours": self.log_retention_hours,
        }
        return {name: value for name, value in said.items() if value is not None}


@dg.scaffold_with(ExampleScaffolder)
class Maintenance(dg.Component, dg.Model, dg.Resolvable):
    """Rewrites small files, deletes old ones and shortens the logs of a product's tables.

    A table version that a registered model was trained on is kept, and the asset says for which
    model. Runs by its schedule, by its button or by `lakeops maintain`, and never as part of
    `lakeops run`.
    """

    optimize: bool = Field(
        default=True, description="Rewrite small files into one when there are several."
    )
    target_mebibytes: int = Field(
        default=100, ge=1, description="Size of the files to make, in MiB."
    )
    vacuum_retention_hours: int = Field(
        default=168,
        ge=0,
        description="Age from which files that only older versions need are deleted, with the "
        "change data. Below 1 hour, the files of a writer at work may go.",
    )
    log_retention_hours: int = Field(
        default=720,
        ge=0,
        description="Age from which entries of the log are deleted, and with them the versions.",
    )
    keep_models: Literal["all", "live"] = Field(
        default="all",
        description="Whose training data is kept: of all registered versions, or of those with an "
        "alias such as champion or previous.",
    )
    tables: list[TableMaintenanceModel] = Field(
        default_factory=list, description="Tables for which something is different."
    )
    system_tables: bool = Field(
        default=False,
        description="Maintain the tables of the schema `lakeops` too, but for their logs, which "
        "are evidence.",
    )
    schedule: str = Field(
        default="0 3 * * 0",
        description="Cron expression; the schedule is off until it is switched on in the UI.",
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["deltalake", "maintenance"])

    def maintenance_spec(self, product: str, environment: str) -> MaintenanceSpec:
        """Return the policies without YAML."""
        return MaintenanceSpec(
            product=product,
            policy=MaintenancePolicy(
                TableName(environment, product, "any"),
                optimize=self.optimize,
                target_bytes=self.target_mebibytes * 2**20,
                vacuum_retention_hours=self.vacuum_retention_hours,
                log_retention_hours=self.log_retention_hours,
            ),
            overrides={t.table: t.overrides() for t in self.tables},
            system_tables=self.system_tables,
            keep_models=self.keep_models,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the asset, its job and its schedule."""
        product = self.product or context.path.name
        spec = self.maintenance_spec(product, settings.load().environment)

        @dg.asset(
            key=maintenance_key(product),
            group_name=product,
            kinds={"deltalake"},
            description="Small files are rewritten, old files deleted and logs shortened, but for "
            "what a registered model needs. Runs on its schedule or on request only.",
            code_version=digest(spec),
            metadata={LAYER: "maintenance", ON_REQUEST: True, SPEC: ObjectMetadataValue(spec)},
        )
        def maintenance(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            lakehouse = lakeops.lakehouse()
            plans = spec.plan(lakehouse, spec.locks(lakeops), now=lakeops.now())
            done = carry_out(lakehouse, plans, context.log.info)
            return dg.MaterializeResult(
                metadata=maintenance_metadata(done), tags={STATE: lakeops.state_id()}
            )

        job = dg.define_asset_job(
            f"{product}_maintenance",
            selection=dg.AssetSelection.assets(maintenance.key),
            description=f"Maintains the tables of {product}.",
        )
        schedule = dg.ScheduleDefinition(
            name=f"{product}_maintenance",
            job=job,
            cron_schedule=self.schedule,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description=f"Maintains the tables of {product} while nobody waits for them.",
        )
        return dg.Definitions(assets=[maintenance], jobs=[job], schedules=[schedule])


def carry_out(
    lakehouse: Lakehouse,
    plans: Iterable[MaintenancePlan],
    progress: Callable[[str], None] = lambda line: None,
) -> list[MaintenanceResult]:
    """Carry out the plans of several tables, one after another."""
    done = []
    for plan in plans:
        result = upkeep.carry_out(lakehouse, plan)
        progress(f"{plan.table}: {what_was_done(result)}")
        done.append(result)
    return done


def maintenance_key(product: str) -> dg.AssetKey:
    """Return the key of a product's maintenance."""
    return dg.AssetKey([product, "maintenance"])


def maintenance_specs(graph: AssetGraph) -> list[MaintenanceSpec]:
    """Return the maintenance of each product that has one."""
    found = (graph.get(key).metadata.get(SPEC) for key in graph.toposorted_asset_keys)
    specs = (getattr(value, "instance", None) for value in found)
    return [spec for spec in specs if isinstance(spec, MaintenanceSpec)]


# What the UI shows


def what_was_done(result: MaintenanceResult) -> str:
    """Return what was done to a table in a few words."""
    before, after = result.before, result.after
    done = [f"{before.files} files rewritten into {after.files}"] if result.optimized else []
    done += [f"{result.files_removed} old files deleted"] if result.files_removed else []
    done += [f"{result.entries_removed} log entries deleted"] if result.entries_removed else []
    return ", ".join(done) or "nothing to do"


def maintenance_metadata(done: Sequence[MaintenanceResult]) -> dict[str, Any]:
    """Return what maintenance did: numbers to plot, and a table with each table in it."""
    head = "| table | what | files | stored before | stored after | freed | log entries |"
    lines = [
        f"| {r.plan.table} | {what_was_done(r)} | {r.before.files} → {r.after.files} | "
        f"{r.before.stored_bytes:,} | {r.after.stored_bytes:,} | {r.bytes_freed:,} | "
        f"{r.before.log_entries} → {r.after.log_entries} |"
        for r in done
    ]
    table = "\n".join([head, "| --- | --- | --- | ---: | ---: | ---: | --- |", *lines])
    return {
        "tables": dg.MetadataValue.md(table),
        "locked": dg.MetadataValue.md(_locked(done) or "Nothing is locked."),
        "bytes_freed": sum(r.bytes_freed for r in done),
        "bytes_stored": sum(r.after.stored_bytes for r in done),
        "bytes_locked": sum(r.locked_bytes for r in done),
        "files_removed": sum(r.files_removed for r in done),
        "tables_optimized": sum(r.optimized for r in done),
    }


def _locked(done: Sequence[MaintenanceResult]) -> str:
    lines = [
        f"| {r.plan.table} | {v.version} | {', '.join(v.needed_by)} | "
        f"{f'{v.bytes:,}' if v.readable else '**gone**: it cannot be read any more'} |"
        for r in done
        for v in r.locked
    ]
    if not lines:
        return ""
    return "\n".join(
        ["| table | version | kept for | bytes |", "| --- | --- | --- | ---: |", *lines]
    )
