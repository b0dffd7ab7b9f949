"""What was found about each table: `<catalog>.lakeops.contract_results`.

Each evaluation is stored, and whoever relies on a table asks for the newest: whether the contract
held for exactly the data version that is about to be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.contracts.contract import Contract
from lakeops_assets.contracts.evaluate import (
    Evaluation,
    RuleResult,
    depends_on_others,
    evaluate,
    freshness,
)
from lakeops_assets.contracts.quarantine import quarantine_table
from lakeops_assets.lakehouse import Commit, Lakehouse, TableName
from lakeops_assets.lakehouse.statements import literal

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA, TABLE = "lakeops", "contract_results"


class ContractNotHeldError(Exception):
    """A table was about to be used that breaks a rule which blocks."""


@dataclass(frozen=True)
class Standing:
    """The newest stored evaluation of a table.

    Attributes:
        table: The table.
        data_version: Delta version that was looked at: the last that had changed rows.
        contract_version: Version of the contract.
        contract_digest: Hash of what the contract demanded.
        quarantine_version: Delta version of the quarantine; None when there was none.
        evaluated_at: When.
        run_id: Run that evaluated.
        rows: Rows of the table.
        open_quarantine: Rows that waited in the quarantine.
        results: One per rule.
    """

    table: TableName
    data_version: int
    contract_version: str
    contract_digest: str
    quarantine_version: int | None
    evaluated_at: datetime
    run_id: str
    rows: int
    open_quarantine: int
    results: tuple[RuleResult, ...]

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        """Rules that the table itself breaks, or that block; empty when the contract holds.

        Rows in the quarantine are not in the table, so a rule of severity `quarantine` that only
        they break is kept by the table.
        """
        return tuple(
            r
            for r in self.results
            if not r.passed
            and (r.severity == "block" or (r.severity == "quarantine" and r.violations))
        )

    @property
    def holds(self) -> bool:
        """Whether the table keeps its contract, warnings aside."""
        return not self.broken


def results_table(catalog: str) -> TableName:
    """Return the name of the table of evaluations in a catalog."""
    return TableName(catalog, SCHEMA, TABLE)


def record_evaluation(lakehouse: Lakehouse, evaluation: Evaluation, *, run_id: str) -> Commit:
    """Store an evaluation in one commit."""
    import pyarrow as pa

    table = results_table(evaluation.table.catalog)
    lakehouse.create(table, _schema(), description="What was found about each rule of contracts.")
    rows = [
        {
            "table_name": str(evaluation.table),
            "data_version": evaluation.data_version,
            "contract_version": evaluation.contract_version,
            "contract_digest": evaluation.contract_digest,
            "rule": result.rule,
            "severity": result.severity,
            "passed": result.passed,
            "rows": result.rows,
            "violations": result.violations,
            "quarantined": result.quarantined,
            "reason": result.reason,
            "run_id": run_id,
            "evaluated_at": evaluation.evaluated_at,
            "open_quarantine": evaluation.open_quarantine,
            "quarantine_version": evaluation.quarantine_version,
        }
        for result in evaluation.results
    ]
    return lakehouse.append(table, pa.Table.from_pylist(rows, schema=_schema()))


def standing(lakehouse: Lakehouse, table: TableName) -> Standing | None:
    """Return the newest stored evaluation of a table; None before the first."""
    stored = results_table(table.catalog)
    if not lakehouse.exists(stored):
        return None
    rows = lakehouse.query(
        f"SELECT * FROM {stored} WHERE table_name = {literal(str(table))} "
        "QUALIFY evaluated_at = max(evaluated_at) OVER ()"
    ).read_all().to_pylist()  # fmt: skip
    if not rows:
        return None
    first = rows[0]
    fields = ("rule", "severity", "passed", "rows", "violations", "quarantined", "reason")
    return Standing(
        table=table,
        results=tuple(RuleResult(**{f: row[f] for f in fields}) for row in rows),
        **{
            name: first[name]
            for name in (
                "data_version",
                "contract_version",
                "contract_digest",
                "quarantine_version",
                "evaluated_at",
                "run_id",
                "rows",
                "open_quarantine",
            )
        },
    )


def evaluate_or_reuse(
    lakehouse: Lakehouse, contract: Contract, table: TableName, *, now: datetime, run_id: str
) -> Evaluation:
    """Return what holds of a table now, and store it when it was not known.

    The stored evaluation is used again when table, contract and quarantine are the same and no
    other table has a say; the age of the data is looked at anew.
    """
    known = standing(lakehouse, table)
    same = (
        known is not None
        and known.data_version == lakehouse.data_version(table)
        and known.contract_digest == contract.digest
        and known.quarantine_version == lakehouse.version(quarantine_table(table))
        and {r.rule for r in known.results} == {r.id for r in contract.rules}
    )
    if known is None or not same or depends_on_others(contract):
        evaluation = evaluate(lakehouse, contract, table, now=now)
        if known is None or not same or _verdicts(known.results) != _verdicts(evaluation.results):
            record_evaluation(lakehouse, evaluation, run_id=run_id)
        return evaluation
    aged = freshness(lakehouse, contract, table, now=now)
    results = {r.rule: r for r in known.results}
    evaluation = Evaluation(
        table=table,
        data_version=known.data_version,
        contract_version=contract.version,
        contract_digest=contract.digest,
        quarantine_version=known.quarantine_version,
        rows=known.rows,
        open_quarantine=known.open_quarantine,
        results=tuple(aged.get(r.id, results[r.id]) for r in contract.rules),
        evaluated_at=known.evaluated_at,
    )
    if any(aged[name].passed != results[name].passed for name in aged):
        evaluation = replace(evaluation, evaluated_at=now)
        record_evaluation(lakehouse, evaluation, run_id=run_id)
    return evaluation


def _verdicts(results: Sequence[RuleResult]) -> dict[str, tuple[bool, int]]:
    return {r.rule: (r.passed, r.violations) for r in results}


def require_held(
    lakehouse: Lakehouse, contract: Contract, table: TableName, *, now: datetime, run_id: str
) -> Evaluation:
    """Return what holds of a table now when no rule that blocks is broken.

    Raises:
        ContractNotHeldError: One is.
    """
    evaluation = evaluate_or_reuse(lakehouse, contract, table, now=now, run_id=run_id)
    _refuse(table, evaluation.results)
    return evaluation


def require_standing(lakehouse: Lakehouse, table: TableName) -> Standing | None:
    """Return the newest stored evaluation, for whoever does not have the contract itself.

    Raises:
        ContractNotHeldError: The rows of now were evaluated, and break a rule which blocks.
    """
    known = standing(lakehouse, table)
    if known is not None and known.data_version == lakehouse.data_version(table):
        _refuse(table, known.results)
    return known


def _refuse(table: TableName, results: Sequence[RuleResult]) -> None:
    broken = [r for r in results if r.severity == "block" and not r.passed]
    if broken:
        listed = "; ".join(f"{r.rule}: {r.reason}" for r in broken)
        raise ContractNotHeldError(
            f"{table} breaks its contract, and nothing is made of it: {listed}. Look at rows with "
            f"`lakeops quarantine explain {table.schema}.{table.table}`; then correct and replay "
            "them, discard them with a reason, or change the contract"
        )


def _schema() -> pa.Schema:
    import pyarrow as pa

    def column(name: str, kind: pa.DataType, comment: str) -> pa.Field:
        return pa.field(name, kind, metadata={"comment": comment})

    return pa.schema(
        [
            column("table_name", pa.string(), "Table that was looked at."),
            column("data_version", pa.int64(), "Delta version of its rows."),
            column("contract_version", pa.string(), "Version of the contract."),
            column("contract_digest", pa.string(), "Hash of what the contract demands."),
            column("rule", pa.string(), "Id of the rule."),
            column("severity", pa.string(), "warn, quarantine or block."),
            column("passed", pa.bool_(), "Whether the rule was kept."),
            column("rows", pa.int64(), "Rows of the table."),
            column("violations", pa.int64(), "Rows of the table that break the rule."),
            column("quarantined", pa.int64(), "Rows that wait in the quarantine and break it."),
            column("reason", pa.string(), "What was found, in words."),
            column("run_id", pa.string(), "Dagster run that evaluated."),
            column("evaluated_at", pa.timestamp("us", "UTC"), "When it was evaluated."),
            column("open_quarantine", pa.int64(), "Rows that wait in the quarantine in all."),
            column("quarantine_version", pa.int64(), "Delta version of the quarantine."),
        ]
    )
