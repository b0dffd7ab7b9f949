"""Measure what the gates ask of a version, each part on its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from lakeops_assets import models
from lakeops_assets.components.performance import measure_performance
from lakeops_assets.components.quality import quality_evidence
from lakeops_assets.components.subject import Parts, Subject
from lakeops_assets.contracts import Contract
from lakeops_assets.features import CoverageSpec, measure_coverage
from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableName
from lakeops_assets.models import ModelRegistry, ModelSpec
from lakeops_assets.promotion import (
    CoverageEvidence,
    CoverageGate,
    DataAge,
    Evidence,
    Gate,
    Ledger,
    QualityEvidence,
    QualityGate,
    ReadinessEvidence,
    ReadinessGate,
    ReadinessItem,
    RecencyGate,
    data_age,
    live_champion,
)


def measure(
    lakehouse: Lakehouse,
    registry: ModelRegistry,
    spec: ModelSpec,
    features: TableName,
    candidate: int,
    gates: tuple[Gate, ...],
    *,
    held: Mapping[str, Contract],
    now: datetime,
    run_id: str,
    ledger: Ledger | None = None,
) -> Evidence:
    """Measure what the gates ask of a candidate, on the data that it was trained on.

    A part that cannot be measured is absent, with the reason; see `Parts`.

    Args:
        lakehouse: Where the tables are.
        registry: Where the versions are.
        spec: The model.
        features: Feature table.
        candidate: Version to measure.
        gates: What is asked.
        held: `<schema>.<table>` -> contract, of the tables that quality gates are about.
        now: Time of the evaluation.
        run_id: Run that evaluates.
        ledger: Says who the champion is; that of the lakehouse's catalog when None, and that of
            another environment for a version that was copied there.

    Raises:
        ModelError: There is no such version.
        MlflowException: The registry cannot be asked.
    """
    version = registry.version(candidate)
    champion = live_champion(ledger or Ledger(lakehouse), registry).version
    subject = Subject(
        lakehouse=lakehouse,
        registry=registry,
        spec=spec,
        features=features,
        data_version=registry.data_version(candidate),
        candidate=candidate,
        rival=champion if champion != candidate else None,
    )
    parts = Parts()
    performance = measure_performance(subject, gates, parts)
    value = performance.value
    return Evidence(
        model=registry.name,
        version=candidate,
        data_version=subject.data_version,
        rows=performance.rows,
        metrics=performance.metrics,
        champion_version=champion,
        paired=performance.paired,
        model_id=version.model_id,
        table=str(features),
        slices=performance.slices,
        value=value.measured if value else None,
        value_paired=value.paired if value else None,
        threshold=value.threshold if value else None,
        quality=_quality(subject, gates, held, now, run_id, parts),
        coverage=_coverage(subject, gates, now, parts),
        readiness=_readiness(subject, gates, parts),
        data_age=_data_age(subject, gates, parts),
        unmeasured=parts.unmeasured,
    )


def _quality(
    subject: Subject,
    gates: tuple[Gate, ...],
    held: Mapping[str, Contract],
    now: datetime,
    run_id: str,
    parts: Parts,
) -> dict[str, QualityEvidence]:
    def evidence(table: str) -> QualityEvidence:
        if table not in held:
            raise LakehouseError(f"{table} has no contract")
        return quality_evidence(
            subject.lakehouse,
            table,
            held[table],
            subject.features,
            subject.data_version,
            now=now,
            run_id=run_id,
        )

    asked = [gate.table for gate in gates if isinstance(gate, QualityGate)]
    measured = {t: parts.take(f"quality/{t}", partial(evidence, t)) for t in asked}
    return {table: found for table, found in measured.items() if found is not None}


def _coverage(
    subject: Subject, gates: tuple[Gate, ...], now: datetime, parts: Parts
) -> dict[str, CoverageEvidence]:
    asked = [g for g in gates if isinstance(g, CoverageGate)]
    return (parts.take("coverage", lambda: _covered(subject, asked, now)) if asked else None) or {}


def _covered(
    subject: Subject, asked: list[CoverageGate], now: datetime
) -> dict[str, CoverageEvidence]:
    """Measure the features of all coverage gates in one pass."""
    needed = subject.registry.load(subject.candidate).columns
    by_feature = {f: gate for gate in asked for f in ([gate.feature] if gate.feature else needed)}
    by_feature |= {gate.feature: gate for gate in asked if gate.feature}
    coverage = measure_coverage(
        subject.lakehouse,
        subject.features,
        [_coverage_spec(feature, gate) for feature, gate in by_feature.items()],
        version=subject.data_version,
        now=now if any(gate.as_of == "now" for gate in asked) else None,
    )
    return {
        gate.name: CoverageEvidence(
            coverage.rows, _as_of(coverage.as_of, gate), needed, coverage.shares
        )
        for gate in asked
    }


def _coverage_spec(feature: str, gate: CoverageGate) -> CoverageSpec:
    within = None if gate.within_days is None else timedelta(days=gate.within_days)
    return CoverageSpec(feature, gate.timestamp, within)


def _as_of(clocks: Mapping[str, datetime | None], gate: CoverageGate) -> str:
    clock = clocks.get(gate.timestamp)
    return "" if clock is None else clock.isoformat(" ", "seconds")


def _readiness(subject: Subject, gates: tuple[Gate, ...], parts: Parts) -> ReadinessEvidence | None:
    gate = next((g for g in gates if isinstance(g, ReadinessGate)), None)
    if gate is None:
        return None
    return parts.take("readiness", lambda: _asked(subject, gate))


def _asked(subject: Subject, gate: ReadinessGate) -> ReadinessEvidence:
    """Ask the stored model, which has to fit the columns that it was trained on as they are now."""
    lakehouse, features = subject.lakehouse, subject.features
    numeric, categorical = models.columns_by_type(
        subject.spec, lakehouse.schema(features, subject.data_version)
    )
    there = lakehouse.schema(features).names
    found = models.check_readiness(
        subject.registry.files(subject.candidate),
        subject.spec.task,
        [c for c in numeric if c in there],
        [c for c in categorical if c in there],
        timeout_seconds=gate.timeout_seconds,
    )
    items = tuple(ReadinessItem(a.name, a.passed, a.found) for a in found.answers)
    return ReadinessEvidence(items, found.size_bytes, found.seconds)


def _data_age(subject: Subject, gates: tuple[Gate, ...], parts: Parts) -> DataAge | None:
    if not any(isinstance(g, RecencyGate) for g in gates):
        return None
    return parts.take("data_age", lambda: _aged(subject))


def _aged(subject: Subject) -> DataAge:
    age = data_age(subject.lakehouse, subject.features, subject.data_version)
    if age is None:
        raise LakehouseError(
            f"the history of {subject.features} does not reach back to version "
            f"{subject.data_version}"
        )
    return age
