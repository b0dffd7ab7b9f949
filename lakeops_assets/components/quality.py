"""Contracts of the tables that a model was trained on, as gates and as evidence."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import dagster as dg

from lakeops_assets import contracts
from lakeops_assets.components.contract_checks import FOLDER, contract_beside
from lakeops_assets.components.feature_table import FeatureTable
from lakeops_assets.components.gate_models import DataQualityModel
from lakeops_assets.components.names import asset_key
from lakeops_assets.contracts import Contract
from lakeops_assets.features import inputs_of
from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableName
from lakeops_assets.lakehouse.statements import tables_of
from lakeops_assets.promotion import GateSpecError, QualityEvidence, QualityGate, RuleOutcome


def training_contracts(
    context: dg.ComponentLoadContext,
    product: str,
    features: dg.AssetKey,
    declared: DataQualityModel | None,
) -> dict[str, Contract]:
    """Return the contracts that a model's training tables have: `<schema>.<table>` -> contract.

    Raises:
        GateSpecError: A table was named that has no contract.
        ContractError: A file is no contract.
    """
    if declared is None:
        return {}
    named = [asset_key(table, product) for table in declared.tables]
    keys = named or [features, *_inputs(context, features)]
    found = {
        ".".join(key.path): contract
        for key in dict.fromkeys(keys)
        if (contract := contract_beside(context.path.parent / key.path[0], key.path[1]))
    }
    missing = [".".join(k.path) for k in named if ".".join(k.path) not in found]
    if missing:
        folder = context.path / FOLDER
        there = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise GateSpecError(
            f"data_quality asks for the contract of {', '.join(missing)}, and there is none; "
            f"contracts in {folder}: {there}"
        )
    return found


def quality_gates(
    declared: DataQualityModel | None, held: Mapping[str, Contract]
) -> tuple[QualityGate, ...]:
    """Return one gate per contract."""
    if declared is None:
        return ()
    return tuple(
        QualityGate(
            table=table,
            contract_digest=contract.digest,
            rules=tuple(r.id for r in contract.rules if r.severity == "block"),
            quarantined_at_most=declared.quarantined_at_most,
        )
        for table, contract in held.items()
    )


def quality_evidence(
    lakehouse: Lakehouse,
    table: str,
    contract: Contract,
    features: TableName,
    data_version: int,
    *,
    now: datetime,
    run_id: str,
) -> QualityEvidence:
    """Return what holds of the contract of a table that a model was trained on.

    What is stored about the table as it is now is used; it is evaluated when nothing is.

    Args:
        lakehouse: Where the tables are.
        table: `<schema>.<table>`: the feature table, or one that it is computed from.
        contract: Its contract.
        features: Feature table.
        data_version: Its version that the model was trained on.
        now: Time of the evaluation.
        run_id: Run that evaluates.
    """
    name = lakehouse.name(table)
    trained_on = _version_of(lakehouse, name, features, data_version)
    found = contracts.evaluate_or_reuse(lakehouse, contract, name, now=now, run_id=run_id)
    return QualityEvidence(
        table=table,
        data_version=trained_on,
        evaluated_version=found.data_version,
        contract_digest=found.contract_digest,
        rows=found.rows,
        quarantined=found.open_quarantine,
        rules=tuple(RuleOutcome(r.rule, r.severity, r.passed, r.reason) for r in found.results),
    )


def _version_of(lakehouse: Lakehouse, table: TableName, features: TableName, version: int) -> int:
    """Return the version of a table that a version of the feature table was computed from."""
    if table == features:
        return version
    inputs = inputs_of(lakehouse, features, version)
    if str(table) not in inputs:
        there = ", ".join(inputs) or "none"
        raise LakehouseError(
            f"version {version} of {features} was not computed from {table}; its inputs: {there}"
        )
    return inputs[str(table)]


def _inputs(context: dg.ComponentLoadContext, features: dg.AssetKey) -> Sequence[dg.AssetKey]:
    """Return the tables that the SELECT of a feature table reads; none when it is not ours."""
    product, table = features.path
    folder: Path = context.path.parent / product
    for component in context.component_tree.get_all_components(FeatureTable):
        path = folder / component.sql
        if component.table == table and component.product in ("", product) and path.is_file():
            return [asset_key(name, product) for name in tables_of(path.read_text())]
    return []
