"""Verdicts are stored, and whatever exposes a model asks for the stored one.

A blocking check stops what follows it in the same run and nothing else. So each evaluation is
written to `<catalog>.lakeops.gate_results`, and `require_gates` reads it back for exactly the
version that is about to be exposed. It refuses when anything is missing. The newest evaluation of a
version decides, whatever an earlier one found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse import Commit, Lakehouse, TableName
from lakeops_assets.lakehouse.statements import literal
from lakeops_assets.promotion.gates import (
    DataAge,
    Evidence,
    Gate,
    GateResult,
    RecencyGate,
    evaluate_gate,
    gates_digest,
)

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA, TABLE = "lakeops", "gate_results"
DETAILS = "details"
# Tags of a model version, for readers of the registry. Nothing here believes them.
GATE_TAG, GATES_TAG, EVALUATION_TAG = "lakeops.gate.", "lakeops.gates", "lakeops.evaluation"
TAG_LENGTH = 250


class GatesNotPassedError(Exception):
    """A model version was about to be exposed without having passed its gates."""


@dataclass(frozen=True)
class Verdict:
    """What is stored about a version's gates.

    Attributes:
        model: Registered name.
        version: Version of the model.
        allowed: True only when every gate has a stored result and all passed.
        reasons: One sentence per gate that is missing or failed; what was found otherwise.
        evaluation_id: The evaluation that decided; empty when there is none.
        results: Stored results of that evaluation.
        champion_version: The champion the version was compared with.
        data_version: Delta version of the feature table that it was trained and measured on; None
            when it was never evaluated.
        model_id: MLflow's id of the model that was measured.
    """

    model: str
    version: int
    allowed: bool
    reasons: tuple[str, ...]
    evaluation_id: str = ""
    results: tuple[GateResult, ...] = ()
    champion_version: int | None = None
    data_version: int | None = None
    model_id: str = ""


def gate_results_table(catalog: str) -> TableName:
    """Return the name of the table of verdicts in a catalog."""
    return TableName(catalog, SCHEMA, TABLE)


def record_results(
    lakehouse: Lakehouse,
    evidence: Evidence,
    gates: tuple[Gate, ...],
    results: Sequence[GateResult],
    *,
    now: datetime,
    run_id: str,
) -> Commit:
    """Store the results of one evaluation in one commit.

    An evaluation that finds what the newest stored one found (version, gates, data, champion
    compared with, verdicts and reasons) is stored once, however often it is repeated. One that
    finds anything else becomes the newest, so that what could not be measured once can be later.
    """
    import pyarrow as pa

    table = gate_results_table(lakehouse.catalog)
    lakehouse.create(table, _schema(), description="Results of the gates of model versions.")
    identity = evaluation_id(evidence, gates, results)
    rows = [
        {
            "evaluation_id": identity,
            "gate": result.gate,
            "model": evidence.model,
            "version": evidence.version,
            "model_id": evidence.model_id,
            "passed": result.passed,
            "reason": result.reason,
            "evidence": json.dumps({**result.evidence, DETAILS: result.details}, sort_keys=True),
            "gates_digest": gates_digest(gates),
            "data_table": evidence.table,
            "data_version": evidence.data_version,
            "champion_version": evidence.champion_version,
            "run_id": run_id,
            "evaluated_at": now,
        }
        for result in results
    ]
    newest = _newest(_stored(lakehouse, evidence.model, evidence.version))
    stored = {row["gate"] for row in newest if row["evaluation_id"] == identity}
    if stored == {row["gate"] for row in rows}:
        version = lakehouse.version(table) or 0
        return Commit(version, written=False, reason="this evaluation is stored already")
    return lakehouse.merge(
        table,
        pa.Table.from_pylist(rows, schema=_schema()),
        ("evaluation_id", "gate"),
        evolve=True,
    )


def evaluation_id(
    evidence: Evidence, gates: tuple[Gate, ...], results: Sequence[GateResult]
) -> str:
    """Return what identifies an evaluation: what was measured, on what, and what was found."""
    found = json.dumps(sorted((r.gate, r.passed, r.reason) for r in results))
    parts = (
        evidence.model,
        str(evidence.version),
        str(evidence.data_version),
        f"champion-{evidence.champion_version}",
        gates_digest(gates),
        hashlib.sha256(f"{evidence.model_id}{found}".encode()).hexdigest()[:8],
    )
    return "/".join(parts)


def version_tags(results: Sequence[GateResult], evaluation: str) -> dict[str, str]:
    """Return the verdict as tags of a model version."""
    tags = {
        f"{GATE_TAG}{r.gate}": "passed" if r.passed else f"failed: {r.reason}"[:TAG_LENGTH]
        for r in results
    }
    passed = bool(results) and all(r.passed for r in results)
    return {**tags, GATES_TAG: "passed" if passed else "failed", EVALUATION_TAG: evaluation}


def stored_verdict(
    lakehouse: Lakehouse,
    model: str,
    version: int,
    gates: tuple[Gate, ...] | None,
    *,
    model_id: str = "",
) -> Verdict:
    """Return what is stored about a version.

    Args:
        lakehouse: Where the results are.
        model: Registered name.
        version: Version asked about.
        gates: The gates as they are declared now, for whoever promotes. None for whoever only
            uses a champion: then the gates count that it had to pass when it was evaluated, so
            that a gate that is added later does not stop scoring.
        model_id: MLflow's id of the model behind the version; when it is given, a verdict on
            another model does not count. A number is given again when a version was deleted.
    """
    if gates is not None and not gates:
        return _refused(model, version, "no gates are declared for the model")
    rows = _newest(_stored(lakehouse, model, version))
    if not rows:
        return _refused(model, version, f"version {version} was never evaluated")
    first = rows[0]
    results = tuple(_result(row) for row in sorted(rows, key=lambda row: row["gate"]))
    problems = _problems(results, gates)
    if len({row["evaluation_id"] for row in rows}) > 1:
        problems.append("two evaluations have the same time; evaluate the version again")
    if gates is not None and any(row["gates_digest"] != gates_digest(gates) for row in rows):
        problems.append("the gates were changed after the evaluation; evaluate the version again")
    if model_id and any((row["model_id"] or "") != model_id for row in rows):
        problems.append(
            f"the evaluation is of another model, {first['model_id'] or 'which is unknown'}; "
            "evaluate the version again"
        )
    problems += [] if gates is None else _aged(lakehouse, first, gates)
    return Verdict(
        model,
        version,
        allowed=not problems,
        reasons=tuple(problems) or tuple(f"{r.gate}: {r.reason}" for r in results),
        evaluation_id=first["evaluation_id"],
        results=results,
        champion_version=first["champion_version"],
        data_version=first["data_version"],
        model_id=first["model_id"] or "",
    )


def require_gates(
    lakehouse: Lakehouse,
    model: str,
    version: int,
    gates: tuple[Gate, ...] | None,
    *,
    model_id: str = "",
) -> Verdict:
    """Return the stored verdict when it allows the version; see `stored_verdict`.

    Raises:
        GatesNotPassedError: A gate is missing, failed, or was evaluated under other gates.
    """
    verdict = stored_verdict(lakehouse, model, version, gates, model_id=model_id)
    if not verdict.allowed:
        raise GatesNotPassedError(
            f"version {version} of {model} has not passed its gates: {'; '.join(verdict.reasons)}. "
            "Run the checks of the model version, or train a better one"
        )
    return verdict


def data_age(lakehouse: Lakehouse, table: TableName | str, version: int) -> DataAge | None:
    """Return how far a table moved on since a version; None when its commit is not known any more.

    Time is that of the commits, so the answer is the same whenever it is asked.
    """
    commits = lakehouse.history(table)
    newest = next((c for c in commits if c.changed_rows), None)
    then = next((c for c in commits if c.version == version), None)
    if newest is None or then is None:
        return None
    behind = max(newest.timestamp - then.timestamp, timedelta())
    return DataAge(max(newest.version, version), behind / timedelta(days=1))


def _refused(model: str, version: int, reason: str) -> Verdict:
    return Verdict(model, version, allowed=False, reasons=(reason,))


def _problems(results: Sequence[GateResult], gates: tuple[Gate, ...] | None) -> list[str]:
    by_name = {result.gate: result for result in results}
    problems = []
    for name in by_name if gates is None else [gate.name for gate in gates]:
        result = by_name.get(name)
        if result is None:
            problems.append(f"gate {name} has no result")
        elif not result.passed:
            problems.append(f"gate {name} failed: {result.reason}")
    return problems


def _aged(lakehouse: Lakehouse, row: Mapping[str, Any], gates: tuple[Gate, ...]) -> list[str]:
    """Ask again how far the data moved on: a verdict may have waited since it was found."""
    asked = [gate for gate in gates if isinstance(gate, RecencyGate)]
    if not asked:
        return []
    table = row["data_table"]
    age = data_age(lakehouse, table, row["data_version"]) if table else None
    now = Evidence(
        model=row["model"],
        version=row["version"],
        data_version=row["data_version"],
        rows=0,
        metrics={},
        champion_version=row["champion_version"],
        data_age=age,
    )
    results = [evaluate_gate(gate, now) for gate in asked]
    return [f"by now {r.reason}" for r in results if not r.passed]


def _newest(rows: Sequence[dict]) -> list[dict]:
    """Return the rows of the newest evaluation; of all of them when several have its time."""
    last = max((row["evaluated_at"] for row in rows), default=None)
    identities = {row["evaluation_id"] for row in rows if row["evaluated_at"] == last}
    return [row for row in rows if row["evaluation_id"] in identities]


def _result(row: Mapping[str, Any]) -> GateResult:
    evidence = json.loads(row["evidence"])
    details = tuple(evidence.pop(DETAILS, ()))
    return GateResult(row["gate"], bool(row["passed"]), row["reason"], evidence, details)


def _stored(lakehouse: Lakehouse, model: str, version: int) -> list[dict]:
    table = gate_results_table(lakehouse.catalog)
    if not lakehouse.exists(table):
        return []
    where = f"model = {literal(model)} AND version = {int(version)}"
    rows = lakehouse.read(table, where=where).read_all().to_pylist()
    # Columns that a table from before does not have.
    return [{"model_id": None, "data_table": None, **row} for row in rows]


def _schema() -> pa.Schema:
    import pyarrow as pa

    def column(name: str, kind: pa.DataType, comment: str) -> pa.Field:
        return pa.field(name, kind, metadata={"comment": comment})

    return pa.schema(
        [
            column("evaluation_id", pa.string(), "Model, version, data, champion, gates, verdict."),
            column("gate", pa.string(), "Name of the gate."),
            column("model", pa.string(), "Registered name of the model."),
            column("version", pa.int64(), "Version that was measured."),
            column("model_id", pa.string(), "MLflow's id of the model behind the version."),
            column("passed", pa.bool_(), "Whether the gate was passed."),
            column("reason", pa.string(), "What was found, in words."),
            column("evidence", pa.string(), "The numbers behind it, as JSON."),
            column("gates_digest", pa.string(), "Hash of the gates as they were declared."),
            column("data_table", pa.string(), "Feature table."),
            column("data_version", pa.int64(), "Delta version of the feature table."),
            column("champion_version", pa.int64(), "Champion it was compared with."),
            column("run_id", pa.string(), "Dagster run that evaluated."),
            column("evaluated_at", pa.timestamp("us", "UTC"), "When it was evaluated."),
        ]
    )
