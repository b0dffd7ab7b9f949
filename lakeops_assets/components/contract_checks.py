"""The contract beside a product's YAML: screen of its rows, and one asset check per rule."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from lakeops_assets import contracts
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.contracts import Contract, Evaluation, RuleResult
from lakeops_assets.lakehouse import Lakehouse, TableName

FOLDER = "contracts"
# Metadata of an asset that has a contract: the file, from the product's folder.
CONTRACT = "lakeops/contract"
SAMPLES = 3


def contract_beside(
    product: Path, table: str, *, screened: bool = True, columns: Sequence[str] = ()
) -> Contract | None:
    """Return the contract of a product's table; None when it has none.

    Args:
        product: Folder of the product.
        table: Name of the table.
        screened: Whether rows go through the contract on their way into the table.
        columns: Columns that the table will have; empty when that is not known yet.

    Raises:
        ContractError: The file is no contract, or about a column that the table will not have.
    """
    path = product / FOLDER / f"{table}.yaml"
    if not path.is_file():
        return None
    contract = contracts.load(path, screened=screened)
    if columns:
        contract.require_columns_among(columns)
    return contract


def contract_metadata(contract: Contract | None) -> dict[str, Any]:
    """Return what the asset shows of its contract before anything is made."""
    if contract is None:
        return {}
    rows = [f"| `{r.id}` | {r.severity} | {_cell(r.description)} |" for r in contract.rules]
    text = "\n".join(
        [
            f"Version {contract.version}, {contract.status}. {contract.description}",
            "",
            "| rule | severity | promise |",
            "| --- | --- | --- |",
            *rows,
        ]
    )
    return {
        CONTRACT: f"{FOLDER}/{contract.path.name}",
        "contract": dg.MetadataValue.md(text),
    }


def contract_digest(contract: Contract | None) -> str:
    """Return the part of a code version that is the contract's."""
    return contract.digest if contract is not None else ""


def screen_of(
    contract: Contract | None, lakeops: LakeopsResource, run_id: str
) -> contracts.ContractScreen | None:
    """Return what rows have to pass; None without a contract."""
    if contract is None:
        return None
    return contracts.ContractScreen(contract, now=lakeops.now(), run_id=run_id)


def require_inputs(
    lakeops: LakeopsResource, products: Path, tables: Sequence[TableName], run_id: str
) -> None:
    """Refuse to read tables that break a rule which blocks.

    A blocking check stops what follows it in the same run and nothing else; whoever reads a table
    in a later run asks here.

    Raises:
        ContractNotHeldError: A table breaks its contract.
    """
    lakehouse = lakeops.lakehouse()
    for table in tables:
        contract = contract_beside(products / table.schema, table.table)
        if contract is None:  # or it is in another folder of products
            contracts.require_standing(lakehouse, table)
        elif lakehouse.exists(table):
            contracts.require_held(lakehouse, contract, table, now=lakeops.now(), run_id=run_id)


def contract_checks(
    key: dg.AssetKey, table: TableName, contract: Contract | None
) -> list[dg.AssetChecksDefinition]:
    """Return the rules of a contract as checks of an asset; none without a contract."""
    if contract is None:
        return []

    @dg.multi_asset_check(
        name=f"{'_'.join(key.path)}_contract",
        specs=[
            dg.AssetCheckSpec(
                rule.id,
                asset=key,
                description=f"{rule.description} ({rule.severity})",
                blocking=rule.severity == "block",
            )
            for rule in contract.rules
        ],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, lakeops: LakeopsResource
    ) -> Iterator[dg.AssetCheckResult]:
        lakehouse = lakeops.lakehouse()
        evaluation = contracts.evaluate_or_reuse(
            lakehouse, contract, table, now=lakeops.now(), run_id=context.run.run_id
        )
        # One rule that is executed from its page evaluates all: they share one scan.
        wanted = {selected.name for selected in context.selected_asset_check_keys}
        for result in evaluation.results:
            if result.rule in wanted:
                yield _check_result(lakehouse, contract, evaluation, result, key)

    return [checks]


def _check_result(
    lakehouse: Lakehouse,
    contract: Contract,
    evaluation: Evaluation,
    result: RuleResult,
    key: dg.AssetKey,
) -> dg.AssetCheckResult:
    blocks = result.severity == "block"
    metadata: dict[str, Any] = {
        "rows": result.rows,
        "violations": result.violations,
        "quarantined": result.quarantined,
        "data_version": evaluation.data_version,
        "contract_version": evaluation.contract_version,
    }
    samples = list(result.samples)
    if result.quarantined:
        held = contracts.explain(
            lakehouse, evaluation.table, contract, rule=result.rule, limit=SAMPLES
        )
        samples += [
            {"row_id": row.row_id, **broken.values}
            for row in held
            for broken in row.broken
            if broken.rule == result.rule
        ]
    if samples:
        metadata["samples"] = dg.MetadataValue.md(_markdown(samples))
    return dg.AssetCheckResult(
        check_name=result.rule,
        asset_key=key,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
        description=result.reason + _example(samples),
        metadata=metadata,
    )


def _example(samples: Sequence[dict[str, Any]]) -> str:
    """Return the first row in words: a table in the metadata has to be opened to be seen."""
    values = {k: v for k, v in samples[0].items() if k != "row_id"} if samples else {}
    named = ", ".join(f"{name} {value!r}" for name, value in list(values.items())[:3])
    return f", for example {named}" if named else ""


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a table; those from the quarantine have a column that tells which they are."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(_cell(row.get(n, '')) for n in names)} |" for row in rows]
    return "\n".join(
        [f"| {' | '.join(names)} |", f"| {' | '.join('---' for _ in names)} |", *lines]
    )


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")[:200]
