"""Gates of a model version as asset checks that store their verdict."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import dagster as dg

from lakeops_assets.components import training
from lakeops_assets.components.measurement import measure
from lakeops_assets.components.names import ModelNames
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.contracts import Contract
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.models import ModelRegistry, ModelSpec
from lakeops_assets.promotion import (
    GATE_TAG,
    Gate,
    GateResult,
    Ledger,
    evaluate_gate,
    evaluation_id,
    live_champion,
    record_results,
    stored_verdict,
    version_tags,
)


def gates_check(
    names: ModelNames,
    spec: ModelSpec,
    features: TableName,
    gates: tuple[Gate, ...],
    held: Mapping[str, Contract],
) -> dg.AssetChecksDefinition:
    """Return the gates as checks of the model version; see `measure`."""

    @dg.multi_asset_check(
        name=f"{names.product}_{names.model}_gates",
        specs=[
            dg.AssetCheckSpec(
                gate.name,
                asset=names.version,
                description=f"Gate: {gate.requirement}. Not measured is not passed.",
                blocking=True,
            )
            for gate in gates
        ],
        can_subset=True,
    )
    def model_gates(
        context: dg.AssetCheckExecutionContext, lakeops: LakeopsResource
    ) -> Iterator[dg.AssetCheckResult]:
        lakehouse, registry = lakeops.lakehouse(), lakeops.registry(names.product, names.model)
        version = training.candidate(registry)
        results = standing_results(lakehouse, registry, version, gates)
        if not results:
            now, run_id = lakeops.now(), context.run.run_id
            evidence = measure(
                *(lakehouse, registry, spec, features, version, gates),
                held=held,
                now=now,
                run_id=run_id,
            )
            results = [evaluate_gate(gate, evidence) for gate in gates]
            record_results(lakehouse, evidence, gates, results, now=now, run_id=run_id)
            tag_version(registry, version, results, evaluation_id(evidence, gates, results))
        # One gate that is executed from its page evaluates all: a verdict is about all of them.
        wanted = {key.name for key in context.selected_asset_check_keys}
        for result in results:
            if result.gate in wanted:
                yield dg.AssetCheckResult(
                    check_name=result.gate,
                    asset_key=names.version,
                    passed=result.passed,
                    description=result.reason,
                    metadata=result_metadata(version, result),
                )

    return model_gates


def standing_results(
    lakehouse: Lakehouse, registry: ModelRegistry, version: int, gates: tuple[Gate, ...]
) -> list[GateResult]:
    """Return the stored results of a version that is champion by them; empty when it is not.

    They are the evidence of its promotion. To measure it once more would compare it with itself.
    """
    if live_champion(Ledger(lakehouse), registry).version != version:
        return []
    model_id = registry.version(version).model_id
    verdict = stored_verdict(lakehouse, registry.name, version, gates, model_id=model_id)
    return list(verdict.results) if verdict.allowed else []


def tag_version(
    registry: ModelRegistry, version: int, results: Sequence[GateResult], evaluation: str
) -> None:
    """Write the verdict as tags of the version; those of gates that are gone are removed."""
    tags = version_tags(results, evaluation)
    registry.set_version_tags(version, tags)
    for key in registry.version(version).tags:
        if key.startswith(GATE_TAG) and key not in tags:
            registry.client.delete_model_version_tag(registry.name, str(version), key)


def result_metadata(version: int, result: GateResult) -> dict[str, Any]:
    """Return what a check shows: its table first, and each number as one that the UI plots."""
    rows = result.details or tuple(
        {"measured": name, "found": _text(value)} for name, value in result.evidence.items()
    )
    return {
        **({"evidence": dg.MetadataValue.md(_table(rows))} if rows else {}),
        "version": version,
        **{name: _plotted(value) for name, value in result.evidence.items()},
    }


def _plotted(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    # The UI cannot draw what is not a number, and fails to read it.
    return dg.MetadataValue.float(float(value)) if isfinite(value) else str(value)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    lines += [f"| {' | '.join(_text(row.get(name, '')) for name in columns)} |" for row in rows]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is True or value is False:
        return "passed" if value else "**failed**"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
