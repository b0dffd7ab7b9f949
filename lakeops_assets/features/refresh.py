"""Bring a feature table up to date with its inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeops_assets.features.screen import Rows, Screen, held, in_memory
from lakeops_assets.features.spec import FeatureSpec, FeatureSpecError, Refresh
from lakeops_assets.lakehouse import (
    Commit,
    Lakehouse,
    LakehouseError,
    TableName,
    Transaction,
)
from lakeops_assets.lakehouse.statements import parse_select, quote, to_text, within_bounds

if TYPE_CHECKING:
    import pyarrow as pa

APP_ID = "features"


@dataclass(frozen=True)
class FeatureResult:
    """What a refresh did.

    Attributes:
        commit: The write.
        mode: How the rows were computed.
        inputs: Table -> Delta version that was read.
        keys: Number of keys that were recomputed; None when all were.
        reason: Why that mode, or why nothing was computed.
        quarantined: Rows that were computed and set aside by the contract.
    """

    commit: Commit
    mode: Refresh
    inputs: Mapping[str, int]
    keys: int | None
    reason: str
    quarantined: int = 0


def refresh_features(
    lakehouse: Lakehouse, spec: FeatureSpec, *, screen: Screen | None = None
) -> FeatureResult:
    """Compute the rows that an upstream change can have touched, and merge those that differ.

    The versions that were read are recorded with the commit. The next refresh starts from them,
    so a run that was killed before its commit is repeated as if it had not been, and one that was
    killed after it finds nothing to do. Where there is a screen, a key whose row it does not let
    pass is not in the table.

    Raises:
        FeatureSpecError: The SQL does not make what the spec says, or an input lacks the key.
        LakehouseError: An input is missing or a statement cannot be run.
    """
    inputs = {name: lakehouse.name(name) for name in spec.inputs}
    versions = {str(table): _version(lakehouse, table) for table in inputs.values()}
    state, now = _state(lakehouse, spec), _recorded(spec, versions, screen)
    if state == now:
        version = lakehouse.version(spec.table) or 0
        commit = Commit(version, written=False, reason="no input is newer")
        return FeatureResult(commit, spec.refresh, versions, 0, commit.reason)

    changed, why_full = _changed_keys(lakehouse, spec, inputs, versions, state, screen)
    if changed is not None:
        rows = _compute(lakehouse, spec, inputs, versions, changed)
        valid, aside = _screened(lakehouse, spec, in_memory(rows), changed, screen)
        kept = valid.read_all()
        if not _vanished(lakehouse, spec, changed, kept):
            commit = _merge(lakehouse, spec, kept, now, delete_missing=False)
            why = "only keys that changed upstream"
            return FeatureResult(commit, "by_key", versions, changed.num_rows, why, aside)
        why_full = "a key that changed upstream has no row any more"

    reader = lakehouse.query(_pinned(spec, inputs, versions))
    _check_columns(spec, reader.schema)
    _create(lakehouse, spec, reader.schema)
    if screen is None:
        commit, why = _replace(lakehouse, spec, reader, now)
        return FeatureResult(commit, "full", versions, None, why or why_full)
    with held(reader) as again:
        valid, aside = _screened(lakehouse, spec, again, None, screen)
        commit, why = _replace(lakehouse, spec, valid, now)
    return FeatureResult(commit, "full", versions, None, why or why_full, aside)


def _replace(
    lakehouse: Lakehouse, spec: FeatureSpec, rows: pa.RecordBatchReader, now: Mapping[str, Any]
) -> tuple[Commit, str]:
    """Make the table hold exactly these rows; also says when its columns had to change."""
    if set(lakehouse.schema(spec.table).names) == set(rows.schema.names):
        return _merge(lakehouse, spec, rows, now, delete_missing=True), ""
    commit = lakehouse.overwrite(
        spec.table,
        _described(spec, rows),
        transaction=_transaction(lakehouse, spec),
        metadata={APP_ID: json.dumps(now)},
        evolve=True,
    )
    return commit, "the SQL makes other columns than before"


def _screened(
    lakehouse: Lakehouse,
    spec: FeatureSpec,
    rows: Rows,
    changed: pa.Table | None,
    screen: Screen | None,
) -> tuple[pa.RecordBatchReader, int]:
    """Return the rows for the table and the number of those that were set aside."""
    if screen is None:
        return rows(None), 0
    screened = screen.state(lakehouse, spec.table, rows, keys=spec.primary_key, changed=changed)
    return screened.valid, screened.quarantined


def _recorded(
    spec: FeatureSpec, versions: Mapping[str, int], screen: Screen | None
) -> dict[str, Any]:
    """Return what a refresh records with its commit: all that decides the rows."""
    judged = {"screen": screen.digest} if screen is not None else {}
    return {"digest": spec.digest, "inputs": dict(versions), **judged}


def inputs_of(lakehouse: Lakehouse, table: TableName | str, version: int) -> Mapping[str, int]:
    """Return the tables that a version of a feature table was computed from, with their versions.

    Empty when no commit up to that version recorded them.
    """
    for commit in lakehouse.history(table):
        if commit.version <= version and APP_ID in commit.metadata:
            return json.loads(commit.metadata[APP_ID])["inputs"]
    return {}


def _version(lakehouse: Lakehouse, table: TableName) -> int:
    version = lakehouse.data_version(table)
    if version is None:
        lakehouse.at(table)  # raises the error that says which tables exist
        raise LakehouseError(f"there is no table {table}")
    return version


def _state(lakehouse: Lakehouse, spec: FeatureSpec) -> dict:
    """Return what the newest refresh recorded; empty before the first."""
    if not lakehouse.exists(spec.table):
        return {}
    for commit in lakehouse.history(spec.table, limit=50):
        if APP_ID in commit.metadata:
            return json.loads(commit.metadata[APP_ID])
    return {}


def _changed_keys(
    lakehouse: Lakehouse,
    spec: FeatureSpec,
    inputs: Mapping[str, TableName],
    versions: Mapping[str, int],
    state: Mapping[str, Any],
    screen: Screen | None,
) -> tuple[pa.Table | None, str]:
    """Return the keys with a change since the last refresh, or None and why all are needed."""
    if spec.refresh == "full":
        return None, "the table is declared with refresh: full"
    for table in inputs.values():
        columns = lakehouse.schema(table).names
        missing = [k for k in spec.primary_key if k not in columns]
        if missing:
            raise FeatureSpecError(
                f"{spec.table} is declared with refresh: by_key, which needs the primary key in "
                f"every input, and {table} has no column {', '.join(missing)}. Use refresh: full"
            )
    if state.get("digest") != spec.digest:
        return None, "first refresh of this SQL"
    if state.get("screen") != (screen.digest if screen is not None else None):
        return None, "the contract changed"
    if screen is not None and screen.compares(spec.primary_key):
        return None, "the contract compares rows of different keys"
    before: Mapping[str, int] = state["inputs"]
    if set(before) != set(versions) or any(before[t] > versions[t] for t in versions):
        return None, "an input was replaced"
    moved = [t for t in versions if versions[t] > before[t]]
    for name in moved:
        if gap := lakehouse.feed_gap(name, before[name] + 1, versions[name]):
            return None, f"the changes of {name} are not whole: {gap}"
    key = ", ".join(quote(k) for k in spec.primary_key)
    feeds = {
        f"changes_{i}": lakehouse.changes(t, before[t] + 1, versions[t])
        for i, t in enumerate(moved)
    }
    statement = " UNION ".join(f"SELECT {key} FROM {feed}" for feed in feeds)
    return lakehouse.query(statement, feeds).read_all(), ""


def _compute(
    lakehouse: Lakehouse,
    spec: FeatureSpec,
    inputs: Mapping[str, TableName],
    versions: Mapping[str, int],
    changed: pa.Table,
) -> pa.Table:
    """Run the SQL over the input rows of some keys."""
    reader = lakehouse.query(
        _pinned(spec, inputs, versions, only=changed), {"lakeops_changed": changed}
    )
    _check_columns(spec, reader.schema)
    return reader.read_all()


def _pinned(
    spec: FeatureSpec,
    inputs: Mapping[str, TableName],
    versions: Mapping[str, int],
    *,
    only: pa.Table | None = None,
) -> str:
    """Return the SQL with each table at its version and, if asked, only the rows of some keys."""
    import sqlglot
    from sqlglot import exp

    statement = parse_select(spec.sql).copy()
    same_key = " AND ".join(f"c.{quote(k)} = t.{quote(k)}" for k in spec.primary_key)
    # Keys of one time are often close to each other: then most files need not be opened.
    first = spec.primary_key[0]
    near = f" AND {within_bounds(f't.{quote(first)}', only[first])}" if only is not None else ""
    for table in list(statement.find_all(exp.Table)):
        written = ".".join(p for p in (table.catalog, table.db, table.name) if p)
        if written not in inputs or not table.db:
            continue
        name = inputs[written]
        source = f"SELECT * FROM {name} VERSION AS OF {versions[str(name)]} AS t"
        if only is not None:
            source += f" WHERE EXISTS (SELECT 1 FROM lakeops_changed AS c WHERE {same_key}){near}"
        alias = table.alias or table.name
        subquery = sqlglot.parse_one(f"({source}) AS {quote(alias)}", dialect="spark")
        joins = table.args.get("joins")
        table.replace(subquery)
        if joins:
            subquery.set("joins", joins)
    return to_text(statement)


def _vanished(lakehouse: Lakehouse, spec: FeatureSpec, changed: pa.Table, rows: pa.Table) -> bool:
    """Return whether the table has a changed key that the SQL makes no row for any more."""
    keys = list(spec.primary_key)
    if rows.num_rows == changed.num_rows:
        return False
    on = " AND ".join(f"c.{quote(k)} = r.{quote(k)}" for k in keys)
    there = " AND ".join(f"c.{quote(k)} = t.{quote(k)}" for k in keys)
    gone = lakehouse.query(
        f"SELECT 1 FROM changed AS c LEFT ANTI JOIN computed AS r ON {on} "
        f"WHERE EXISTS (SELECT 1 FROM existing AS t WHERE {there}) LIMIT 1",
        {"changed": changed, "computed": rows.select(keys), "existing": lakehouse.at(spec.table)},
    )
    return gone.read_all().num_rows > 0


def _check_columns(spec: FeatureSpec, schema: pa.Schema) -> None:
    missing = [c for c in (*spec.primary_key, *spec.columns) if c not in schema.names]
    if missing:
        raise FeatureSpecError(
            f"the SQL of {spec.table} does not make the column {', '.join(missing)}; it makes: "
            f"{', '.join(schema.names)}"
        )


def _create(lakehouse: Lakehouse, spec: FeatureSpec, schema: pa.Schema) -> None:
    lakehouse.create(spec.table, _with_comments(spec, schema), description=spec.description)


def _described(spec: FeatureSpec, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    import pyarrow as pa

    schema = _with_comments(spec, reader.schema)
    batches = (pa.RecordBatch.from_arrays(b.columns, schema=schema) for b in reader)
    return pa.RecordBatchReader.from_batches(schema, batches)


def _with_comments(spec: FeatureSpec, schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        f.with_metadata({"comment": spec.columns[f.name]}) if f.name in spec.columns else f
        for f in schema
    )


def _merge(
    lakehouse: Lakehouse,
    spec: FeatureSpec,
    rows: pa.Table | pa.RecordBatchReader,
    now: Mapping[str, Any],
    *,
    delete_missing: bool,
) -> Commit:
    return lakehouse.merge(
        spec.table,
        rows,
        spec.primary_key,
        delete_missing=delete_missing,
        transaction=_transaction(lakehouse, spec),
        metadata={APP_ID: json.dumps(now)},
    )


def _transaction(lakehouse: Lakehouse, spec: FeatureSpec) -> Transaction:
    seen = lakehouse.transaction_version(spec.table, APP_ID)
    return Transaction(APP_ID, 0 if seen is None else seen + 1)
