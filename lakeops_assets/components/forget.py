"""Forget an entity of a product: tables, change feeds, old versions, landing files, and the audit.

The rooms below do the work; here they learn of each other: which tables a product has and in which
order they are made, which versions its models need, and how a table's writer finds out that it is
up to date with what was deleted before it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from lakeops_assets import governance, ingest, models
from lakeops_assets.components.names import (
    FILES,
    LANDING,
    PRIMARY_KEY,
    REFRESH,
    TABLE_NAME,
)
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.governance import MARK, ForgetKeyError, ForgetPlan, ForgetResult, Key
from lakeops_assets.ingest import IngestSpec, LandingRows
from lakeops_assets.lakehouse import Locks, TableName, Transaction
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.models.artifacts import EXAMPLE_ROWS

SALT = "audit-salt"


@dataclass(frozen=True)
class Request:
    """What is to be forgotten, and all that is known of it.

    Attributes:
        plan: What is done to the tables.
        landing: Rows in landing files, which are the producer's.
        trained_on: Model versions that were trained or measured on the entity; what they learned
            cannot be taken out of them.
    """

    plan: ForgetPlan
    landing: tuple[LandingRows, ...]
    trained_on: tuple[str, ...]


@dataclass(frozen=True)
class Forgotten:
    """What was done.

    Attributes:
        result: What happened to the tables, with the proof.
        landing_removed: Rows that were taken out of landing files.
        landing_left: Rows that stay in landing files.
        subject: Hash under which the act is in the audit.
        clean: Whether nothing is left that has no reason to stay.
    """

    result: ForgetResult
    landing_removed: tuple[LandingRows, ...]
    landing_left: tuple[LandingRows, ...]
    subject: str
    clean: bool


def request(
    lakeops: LakeopsResource, specs: Sequence[dg.AssetSpec], product: str, key: Sequence[str]
) -> Request:
    """Return what has to be done to forget an entity; changes nothing.

    Args:
        lakeops: Where tables and models are.
        specs: Assets of all products.
        product: Product.
        key: One text per column, such as `customer_id=4711`; the value alone where the product has
            one key of one column.

    Raises:
        ForgetKeyError: There is no such product, or the key is not understood.
    """
    ours = _in_order([s for s in specs if s.group_name == product])
    if not ours:
        there = ", ".join(sorted({s.group_name for s in specs if s.group_name}))
        raise ForgetKeyError(f"there is no product {product}; products: {there}")
    keys = {tuple(_text(s, PRIMARY_KEY).split(", ")) for s in ours if PRIMARY_KEY in s.metadata}
    parsed = Key.parse(key, keys)
    lakehouse = lakeops.lakehouse()
    locks = models.needed_versions(lakeops.tracking_uri, lakehouse.catalog)
    tables = [TableName.parse(_text(s, TABLE_NAME)) for s in ours if TABLE_NAME in s.metadata]
    # A table that no asset writes, such as a quarantine, is the product's all the same.
    tables += [t for t in lakehouse.tables(schema=product) if t not in tables]
    landing = [
        rows
        for spec in _landings(ours)
        for rows in ingest.find_rows(lakehouse, spec, dict(parsed.values))
    ]
    return Request(
        plan=governance.plan_forget(lakehouse, product, parsed, tables, locks),
        landing=tuple(landing),
        trained_on=tuple(_trained_on(lakeops, locks, parsed)),
    )


def forget(
    lakeops: LakeopsResource,
    specs: Sequence[dg.AssetSpec],
    request: Request,
    *,
    reason: str,
    landing: bool,
    now: datetime,
) -> Forgotten:
    """Carry a request out; killed anywhere, the same request again finishes it.

    Args:
        lakeops: Where tables and models are.
        specs: Assets of all products.
        request: What to do.
        reason: Why; goes to the audit. It should not name the entity.
        landing: Take the rows out of the landing files as well.
        now: When.
    """
    lakehouse, plan = lakeops.lakehouse(), request.plan
    ours = [s for s in specs if s.group_name == plan.product]
    salt = governance.read_salt(Path(lakeops.home) / SALT)
    subject = governance.subject_hash(salt, plan.product, plan.key.values)

    def record(action: str, **details: Any) -> None:
        entry = governance.AuditEntry(now, lakeops.actor, action, subject, reason, details)
        governance.record_act(lakehouse, entry)

    record("forget_planned", rows={str(t.table): t.rows for t in plan.tables if t.rows})
    removed: list[LandingRows] = []
    for spec in _landings(ours):
        if lakehouse.exists(spec.table):
            ingest.recover(lakehouse, spec.table, now)
        if landing:
            removed += ingest.remove_rows(lakehouse, spec, dict(plan.key.values), now=now)
    followers = _Followers(lakeops, ours, plan, subject)
    result = governance.carry_out(lakehouse, plan, act=subject, follow=followers.record_of)
    left = () if landing else request.landing
    record(
        "forget",
        product=plan.product,
        columns=plan.key.columns,
        rows=result.rows,
        files_removed=result.files_removed,
        log_entries_removed=result.log_entries_removed,
        kept=[{"file": f"{k.hit.table}/{k.hit.path}", "why": k.reason} for k in result.proof.kept],
        left=[f"{hit.table}/{hit.path}" for hit in result.proof.left],
        landing_rows_removed=sum(r.rows for r in removed),
        landing_rows_left=sum(r.rows for r in left),
        models_trained_on_it=request.trained_on,
    )
    clean = not result.proof.left and all(rows.ingested for rows in left)
    return Forgotten(result, tuple(removed), left, subject, clean)


class _Followers:
    """What each delete records, so that the table's writer has nothing to do over again.

    A feature table that was computed from its inputs as they were is, without the entity, what it
    would be if it were computed from the inputs without it. Likewise a log of scores. The change
    feeds that would tell are deleted, for they hold the entity. Whether a table was up to date is
    found out before anything is deleted: afterwards the logs may be too short to tell. A table that
    was not is computed anew in full by its next refresh, which finds the gap in the change feed.
    """

    def __init__(
        self, lakeops: LakeopsResource, specs: Sequence[dg.AssetSpec], plan: ForgetPlan, act: str
    ) -> None:
        self.lakehouse, self.act = lakeops.lakehouse(), act
        tables = [p.table for p in plan.tables if p.rows]
        by_key = {
            _text(s, TABLE_NAME)
            for s in specs
            if s.metadata.get(REFRESH) == "by_key"
            and set(plan.key.columns) <= set(_text(s, PRIMARY_KEY).split(", "))
        }
        states = {t: json.loads(self._recorded(t, "features") or "{}") for t in tables}
        self.current = {
            table: state
            for table, state in states.items()
            if state
            and str(table) in by_key
            and all(self._only_forgotten(t, v) for t, v in state["inputs"].items())
        }
        self.writers = dict(self._writers(lakeops, tables))

    def record_of(self, table: TableName) -> tuple[Mapping[str, str], Transaction | None]:
        """Return metadata and transaction of the delete from a table."""
        metadata: dict[str, str] = {}
        if state := self.current.get(table):
            inputs = {t: self.lakehouse.data_version(t) for t in state["inputs"]}
            metadata["features"] = json.dumps({**state, "inputs": inputs})
        if baseline := self._recorded(table, "baseline"):
            metadata["baseline"] = baseline
        app_id, features = self.writers.get(table, ("", ""))
        if not app_id:
            return metadata, None
        return metadata, Transaction(app_id, self.lakehouse.data_version(features) or 0)

    def _writers(
        self, lakeops: LakeopsResource, tables: Sequence[TableName]
    ) -> Iterator[tuple[TableName, tuple[str, str]]]:
        """Yield the logs of scores whose champion has scored all features, and their writer."""
        for registry in models.registered_models(lakeops.tracking_uri, self.lakehouse.catalog):
            champion = registry.alias("champion")
            if champion is None:
                continue
            features = registry.table(champion)
            app_id = f"scores/{registry.name}/v{champion}"
            for table in tables:
                seen = self.lakehouse.transaction_version(table, app_id)
                if seen is not None and self._only_forgotten(features, seen):
                    yield table, (app_id, features)

    def _recorded(self, table: TableName, name: str) -> str:
        commits = self.lakehouse.history(table, limit=50)
        return next((c.metadata[name] for c in commits if name in c.metadata), "")

    def _only_forgotten(self, table: str, since: int) -> bool:
        """Return whether nothing but this act, which may be a repetition, has changed a table."""
        if not self.lakehouse.exists(table):
            return False
        commits = self.lakehouse.history(table)
        later = [c for c in commits if c.version > since and c.changed_rows]
        return commits[-1].version <= since and all(c.metadata.get(MARK) == self.act for c in later)


def _in_order(specs: Sequence[dg.AssetSpec]) -> list[dg.AssetSpec]:
    """Return assets, each after those it is made from."""
    by_key = {spec.key: spec for spec in specs}
    upstream = {k: {d.asset_key for d in s.deps} & by_key.keys() for k, s in by_key.items()}
    return [by_key[key] for key in TopologicalSorter(upstream).static_order()]


def _landings(specs: Sequence[dg.AssetSpec]) -> Iterator[IngestSpec]:
    for spec in specs:
        if LANDING in spec.metadata:
            table = TableName.parse(_text(spec, TABLE_NAME))
            options: Any = spec.metadata[FILES]
            options = options.value if isinstance(options, dg.MetadataValue) else options
            yield IngestSpec(table, Path(_text(spec, LANDING)), **options)


def _trained_on(lakeops: LakeopsResource, locks: Locks, key: Key) -> Iterator[str]:
    """Yield the model versions whose rows had the entity, and those of which nobody can tell."""
    lakehouse = lakeops.lakehouse()
    for name, versions in locks.items():
        table = TableName.parse(name)
        for version, found in versions.items():
            holders = governance.holders(lakehouse, table, version, key, found)
            for model in holders:
                shown = model in found and _in_example(lakeops, model, table, key)
                example = " (its input example in MLflow holds the entity's features)"
                yield model + (example if shown else "")


def _in_example(lakeops: LakeopsResource, model: str, table: TableName, key: Key) -> bool:
    """Return whether the entity is among the first labelled rows, which MLflow shows."""
    name, _, version = model.rpartition("@")
    registry = models.ModelRegistry(lakeops.tracking_uri, Path(), name, name.rpartition(".")[0])
    try:
        recipe, _, _ = registry.recipe(int(version))
    except models.ModelError:  # nothing is recorded with it, so nothing can be said
        return False
    spec, lakehouse = recipe.spec, lakeops.lakehouse()
    keys = key.rows(lakehouse.schema(table, recipe.data_version))
    if keys is None:
        return False
    same = " AND ".join(f"k.{quote(c)} = t.{quote(c)}" for c in key.columns)
    first = (
        f"SELECT * FROM {table} VERSION AS OF {recipe.data_version} "
        f"WHERE {quote(spec.label)} IS NOT NULL "
        f"ORDER BY {', '.join(quote(k) for k in spec.primary_key)} LIMIT {EXAMPLE_ROWS}"
    )
    statement = f"SELECT 1 FROM ({first}) AS t WHERE EXISTS (SELECT 1 FROM keys AS k WHERE {same})"
    return lakehouse.query(statement, {"keys": keys}).read_all().num_rows > 0


def _text(spec: dg.AssetSpec, name: str) -> str:
    value = spec.metadata[name]
    return str(value.value if isinstance(value, dg.MetadataValue) else value)


# The job


class ForgetConfig(dg.Config):
    """Whom to forget, and why."""

    key: list[str] = Field(
        description="One text per column, such as customer_id=4711. Dagster keeps the "
        "configuration of its runs: delete the run when it is done, or use `lakeops forget`."
    )
    reason: str = Field(description="Why; goes to the audit and should not name the entity.")
    landing: bool = Field(
        default=False, description="Take the rows out of the landing files as well."
    )
    dry_run: bool = Field(default=True, description="Only say what would be done.")


def forget_job(product: str, specs: Sequence[dg.AssetSpec]) -> dg.JobDefinition:
    """Return the job that forgets an entity of a product."""

    @dg.op(name=f"forget_{product}")
    def forget_entity(
        context: dg.OpExecutionContext, config: ForgetConfig, lakeops: LakeopsResource
    ) -> None:
        asked = request(lakeops, specs, product, config.key)
        planned = {str(t.table): t.rows for t in asked.plan.tables if t.rows}
        context.log.info("rows to delete: %s", planned or "none")
        for kept in asked.plan.kept:
            context.log.warning("%s/%s stays: %s", kept.hit.table, kept.hit.path, kept.reason)
        if config.dry_run:
            context.add_output_metadata({"rows": planned, "dry_run": True})
            return
        done = forget(
            lakeops, specs, asked, reason=config.reason, landing=config.landing, now=lakeops.now()
        )
        metadata: dict[str, Any] = {
            "rows": dict(done.result.rows),
            "files_removed": done.result.files_removed,
            "files_kept": len(done.result.proof.kept),
            "files_left": len(done.result.proof.left),
            "subject": done.subject,
        }
        if not done.clean:
            raise dg.Failure("something that holds the entity is left", metadata)
        context.add_output_metadata(metadata)

    @dg.job(
        name=f"{product}_forget",
        description=f"Removes an entity from every table of `{product}`, with old versions and "
        "change feeds, and searches all files for what is left. Run nothing else meanwhile.",
    )
    def job() -> None:
        forget_entity()

    return job
