"""Verdicts are stored, and whatever exposes a model asks for the stored one.

A blocking check stops what follows it in the same run and nothing else. So each evaluation is
written to `<catalog>.lakeops.gate_results`, and `require_gates` reads it back for exactly the
version that is about to be exposed. It refuses when anything is missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import Commit, Lakehouse, TableName
from lakeops_assets.promotion.gates import Evidence, Gate, GateResult, gates_digest

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA, TABLE = "lakeops", "gate_results"


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
    """

    model: str
    version: int
    allowed: bool
    reasons: tuple[str, ...]
    evaluation_id: str = ""
    results: tuple[GateResult, ...] = ()
    champion_version: int | None = None


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

    The same evaluation (version, gates, data and champion compared with) is stored once, however
    often it is repeated.
    """
    import pyarrow as pa

    table = gate_results_table(lakehouse.catalog)
    lakehouse.create(table, _schema(), description="Results of the gates of model versions.")
    evaluation_id = _evaluation_id(evidence, gates)
    rows = [
        {
            "evaluation_id": evaluation_id,
            "gate": result.gate,
            "model": evidence.model,
            "version": evidence.version,
            "passed": result.passed,
            "reason": result.reason,
            "evidence": json.dumps(dict(result.evidence), sort_keys=True),
            "gates_digest": gates_digest(gates),
            "data_version": evidence.data_version,
            "champion_version": evidence.champion_version,
            "run_id": run_id,
            "evaluated_at": now,
        }
        for result in results
    ]
    known = {row["gate"] for row in _stored(lakehouse, f"evaluation_id = '{evaluation_id}'")}
    new = [row for row in rows if row["gate"] not in known]
    if not new:
        version = lakehouse.version(table) or 0
        return Commit(version, written=False, reason="this evaluation is stored already")
    return lakehouse.merge(
        table, pa.Table.from_pylist(new, schema=_schema()), ("evaluation_id", "gate")
    )


def stored_verdict(
    lakehouse: Lakehouse, model: str, version: int, gates: tuple[Gate, ...] | None
) -> Verdict:
    """Return what is stored about a version.

    Args:
        lakehouse: Where the results are.
        model: Registered name.
        version: Version asked about.
        gates: The gates as they are declared now, for whoever promotes. None for whoever only
            uses a champion: then the gates count that it had to pass when it was evaluated, so
            that a gate that is added later does not stop scoring.
    """
    if gates is not None and not gates:
        return Verdict(
            model, version, allowed=False, reasons=("no gates are declared for the model",)
        )
    rows = _stored(lakehouse, f"model = '{model}' AND version = {int(version)}")
    if not rows:
        reason = f"version {version} was never evaluated"
        return Verdict(model, version, allowed=False, reasons=(reason,))
    newest = max(rows, key=lambda row: row["evaluated_at"])
    evaluation = [row for row in rows if row["evaluation_id"] == newest["evaluation_id"]]
    results = tuple(
        GateResult(row["gate"], bool(row["passed"]), row["reason"], json.loads(row["evidence"]))
        for row in sorted(evaluation, key=lambda row: row["gate"])
    )
    problems = _problems(results, gates)
    if gates is not None and any(row["gates_digest"] != gates_digest(gates) for row in evaluation):
        problems.append("the gates were changed after the evaluation; evaluate the version again")
    return Verdict(
        model,
        version,
        allowed=not problems,
        reasons=tuple(problems) or tuple(f"{r.gate}: {r.reason}" for r in results),
        evaluation_id=newest["evaluation_id"],
        results=results,
        champion_version=newest["champion_version"],
    )


def require_gates(
    lakehouse: Lakehouse, model: str, version: int, gates: tuple[Gate, ...] | None
) -> Verdict:
    """Return the stored verdict when it allows the version; see `stored_verdict`.

    Raises:
        GatesNotPassedError: A gate is missing, failed, or was evaluated under other gates.
    """
    verdict = stored_verdict(lakehouse, model, version, gates)
    if not verdict.allowed:
        raise GatesNotPassedError(
            f"version {version} of {model} has not passed its gates: {'; '.join(verdict.reasons)}. "
            "Run the checks of the model version, or train a better one"
        )
    return verdict


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


def _evaluation_id(evidence: Evidence, gates: tuple[Gate, ...]) -> str:
    parts = (
        evidence.model,
        str(evidence.version),
        str(evidence.data_version),
        f"champion-{evidence.champion_version}",
        gates_digest(gates),
    )
    return "/".join(parts)


def _stored(lakehouse: Lakehouse, where: str) -> list[dict]:
    table = gate_results_table(lakehouse.catalog)
    if not lakehouse.exists(table):
        return []
    return lakehouse.read(table, where=where).read_all().to_pylist()


def _schema() -> pa.Schema:
    import pyarrow as pa

    def column(name: str, kind: pa.DataType, comment: str) -> pa.Field:
        return pa.field(name, kind, metadata={"comment": comment})

    return pa.schema(
        [
            column("evaluation_id", pa.string(), "Model, version, data, champion and gates."),
            column("gate", pa.string(), "Name of the gate."),
            column("model", pa.string(), "Registered name of the model."),
            column("version", pa.int64(), "Version that was measured."),
            column("passed", pa.bool_(), "Whether the gate was passed."),
            column("reason", pa.string(), "What was found, in words."),
            column("evidence", pa.string(), "The numbers behind it, as JSON."),
            column("gates_digest", pa.string(), "Hash of the gates as they were declared."),
            column("data_version", pa.int64(), "Delta version of the feature table."),
            column("champion_version", pa.int64(), "Champion it was compared with."),
            column("run_id", pa.string(), "Dagster run that evaluated."),
            column("evaluated_at", pa.timestamp("us", "UTC"), "When it was evaluated."),
        ]
    )
