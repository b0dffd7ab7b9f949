"""Score the rows that need it, each once per champion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from lakeops_assets.lakehouse import Commit, Lakehouse, Mapped, Query, TableName, Transaction
from lakeops_assets.lakehouse.statements import quote

if TYPE_CHECKING:
    import pyarrow as pa

    from lakeops_assets.models import ModelRegistry, Scorer
    from lakeops_assets.promotion import LiveVersion


@dataclass(frozen=True)
class ScoreSpec:
    """A table of scores.

    Attributes:
        table: Where the scores go.
        features: Feature table that is scored.
        primary_key: Columns that identify a row; those of the model when empty.
        carry: Columns of the feature table to repeat.
        description: Description of the table.
        backfill: Whether a new champion scores all rows, and not only those that come after the
            ones that its predecessors scored. The first champion scores all in any case.
    """

    table: TableName
    features: TableName
    primary_key: tuple[str, ...]
    carry: tuple[str, ...] = ()
    description: str = ""
    backfill: bool = True


@dataclass(frozen=True)
class Rescore:
    """How a champion scores that came back by a revert.

    Attributes:
        event: Number of the revert in the ledger.
        rows: `all` scores every row anew; `none` only rows that change after the revert.
        features_version: Delta version of the features when it was reverted.
    """

    event: int
    rows: Literal["all", "none"]
    features_version: int


@dataclass(frozen=True)
class ScoreResult:
    """What a scoring did: the write, and in words why those rows."""

    commit: Commit
    reason: str


def score(
    lakehouse: Lakehouse,
    registry: ModelRegistry,
    spec: ScoreSpec,
    version: int,
    *,
    now: datetime,
    rescore: Rescore | None = None,
) -> ScoreResult:
    """Append the scores of a model version for rows that it has not scored as they are now.

    Each model version is a writer of its own, whose transaction carries the Delta version of the
    features: a run that was killed is repeated without a score lost or written twice. A version
    that came back and has to score other rows than those is a new writer.
    """
    scorer = registry.load(version)
    key = spec.primary_key or tuple(registry.primary_key(version))
    newest = lakehouse.data_version(spec.features)
    if newest is None:
        lakehouse.at(spec.features)  # raises the error that says which tables exist
    at = newest or 0
    app_id = f"scores/{registry.name}/v{version}"
    if rescore is not None:
        app_id += f"/event-{rescore.event}"
    seen = lakehouse.transaction_version(spec.table, app_id)
    if seen is None and rescore is not None and rescore.rows == "none":
        seen = rescore.features_version
    if seen is None and rescore is None and not spec.backfill:
        seen = _scored_up_to(lakehouse, spec.table)
    columns = list(dict.fromkeys((*key, *spec.carry, *scorer.columns)))
    everything = f"SELECT {_listed(columns)} FROM {spec.features} VERSION AS OF {at}"
    if seen is None:
        rows: Query = lakehouse.bind(everything)
        when = "for the first time" if rescore is None else "anew, for it came back"
        reason = f"version {version} scores all rows {when}"
    elif seen >= at:
        commit = Commit(lakehouse.version(spec.table) or 0, written=False, reason="no row is new")
        return ScoreResult(commit, commit.reason)
    elif gap := lakehouse.feed_gap(spec.features, seen + 1, at):
        rows = lakehouse.bind(everything)
        reason = f"version {version} scores all rows again: {gap}"
    else:
        rows = _changed(lakehouse, spec, columns, seen, at)
        reason = f"rows that changed from version {seen} to {at} of {spec.features}"
    repeated = [lakehouse.schema(spec.features, at).field(name) for name in (*key, *spec.carry)]
    scores = _scores(rows, scorer, repeated, version, at, now)
    lakehouse.create(spec.table, scores.schema, description=spec.description)
    commit = lakehouse.append(spec.table, scores, transaction=Transaction(app_id, at))
    return ScoreResult(commit, f"{commit.inserted} rows: {reason}")


def rescore_of(live: LiveVersion | None, version: int) -> Rescore | None:
    """Return what the revert that made a version live asks to score; None for what changed."""
    if live is None or live.version != version or live.entry.action != "revert":
        return None
    measured = live.entry.evidence.get("measured", {})
    rows = measured.get("rescore")
    if rows not in ("all", "none"):
        return None
    return Rescore(live.sequence, rows, int(measured["features_version"]))


def _scored_up_to(lakehouse: Lakehouse, table: TableName) -> int | None:
    """Return the newest Delta version of the features with a score; None when there is none."""
    if not lakehouse.exists(table):
        return None
    newest = lakehouse.query(f"SELECT max(features_version) AS newest FROM {table}").read_all()
    return newest["newest"][0].as_py()


def _changed(
    lakehouse: Lakehouse, spec: ScoreSpec, columns: list[str], seen: int, at: int
) -> Query:
    """Return the rows whose scored columns differ; a label that arrived changes no score."""
    listed = _listed(columns)
    return lakehouse.bind(
        f"SELECT {listed} FROM feed WHERE _change_type IN ('insert', 'update_postimage') "
        f"EXCEPT SELECT {listed} FROM feed WHERE _change_type = 'update_preimage'",
        {"feed": lakehouse.changes(spec.features, seen + 1, at)},
    )


def _scores(
    rows: Query,
    scorer: Scorer,
    repeated: list[pa.Field],
    version: int,
    features_version: int,
    now: datetime,
) -> Mapped:
    import pyarrow as pa

    schema = pa.schema(
        [
            *repeated,
            *scorer.prediction_fields(),
            _field("model_version", pa.string(), "Version of the model that gave the score."),
            _field("scored_at", pa.timestamp("us", "UTC"), "When the row was scored."),
            _field("features_version", pa.int64(), "Delta version of the features."),
        ]
    )

    def scored(batch: pa.RecordBatch) -> pa.RecordBatch:
        predicted = scorer.predict(batch)
        same = {"model_version": str(version), "scored_at": now}
        columns = [batch.column(field.name) for field in repeated]
        columns += [predicted.column(f.name) for f in scorer.prediction_fields()]
        columns += [
            pa.repeat(pa.scalar(value, schema.field(name).type), batch.num_rows)
            for name, value in {**same, "features_version": features_version}.items()
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    return Mapped(rows, scored, schema)


def _field(name: str, kind: pa.DataType, comment: str) -> pa.Field:
    import pyarrow as pa

    return pa.field(name, kind, metadata={"comment": comment})


def _listed(columns: list[str]) -> str:
    return ", ".join(quote(c) for c in columns)
