"""Versions with verdicts, for tests of what comes after the gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.promotion import (
    ChampionGate,
    Evidence,
    Ledger,
    MetricGate,
    Paired,
    PromotionPlan,
    PromotionPolicy,
    PromotionResult,
    carry_out,
    evaluate_gate,
    plan_promotion,
    record_results,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = "dev.churn.model"
GATES = (MetricGate("roc_auc", at_least=0.8), ChampionGate("roc_auc", margin=0.01))
OPEN = PromotionPolicy(approvals=0)
STRICT = PromotionPolicy(approvals=1)


@dataclass
class Registry:
    """A registered model in memory: promotion knows nothing else of a registry."""

    name: str = MODEL
    aliases: dict[str, int] = field(default_factory=dict)
    tags: dict[int, dict[str, str]] = field(default_factory=dict)
    author: str = "ann"

    def alias(self, alias: str) -> int | None:
        return self.aliases.get(alias)

    def set_alias(self, alias: str, version: int) -> None:
        self.aliases[alias] = version

    def delete_alias(self, alias: str) -> None:
        self.aliases.pop(alias, None)

    def version_tags(self, version: int) -> Mapping[str, str]:
        return self.tags.get(version, {})

    def set_version_tags(self, version: int, tags: Mapping[str, str]) -> None:
        self.tags.setdefault(version, {}).update(tags)

    def authors(self, version: int) -> tuple[str, ...]:
        return (self.author,) if self.author else ()

    def metrics(self, version: int) -> Mapping[str, float]:
        return {"roc_auc": 0.85, "roc_auc_low": 0.83, "roc_auc_high": 0.87, "rows": 1400.0}

    def data_version(self, version: int) -> int:
        return 4

    def fingerprint(self, version: int) -> str:
        return f"model-{version}"

    def model_id(self, version: int) -> str:
        return f"m-{version}"


def judge(
    lakehouse: Lakehouse,
    version: int,
    champion: int | None = None,
    auc: float = 0.85,
    *,
    data_version: int = 4,
    after: timedelta = timedelta(),
) -> None:
    """Store the verdict on a version."""
    paired = {}
    if champion is not None:
        paired = {"roc_auc": Paired(champion, 0.84, auc, auc - 0.84, auc - 0.845, auc - 0.835)}
    metrics = {"roc_auc": (auc, auc - 0.02, auc + 0.02)}
    found = Evidence(
        MODEL, version, data_version, 1400, metrics, champion, paired, model_id=f"m-{version}"
    )
    results = [evaluate_gate(gate, found) for gate in GATES]
    record_results(lakehouse, found, GATES, results, now=NOW + after, run_id="run")


@dataclass
class Model:
    """A model with its ledger, at a time that tests move."""

    lakehouse: Lakehouse
    policy: PromotionPolicy = OPEN
    registry: Registry = field(default_factory=Registry)
    now: datetime = NOW

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.lakehouse)

    def actions(self) -> list[tuple[str, int | None]]:
        return [(e.action, e.version) for e in self.ledger.entries()]

    def plan(self, candidate: int) -> PromotionPlan:
        return plan_promotion(
            self.ledger, self.registry, candidate, GATES, self.policy, now=self.now
        )

    def carry_out(self, plan: PromotionPlan) -> PromotionResult:
        return carry_out(
            self.ledger, self.registry, plan, GATES, actor="robot", run_id="run", now=self.now
        )

    def promote(self, version: int) -> PromotionResult:
        """Judge a version against the champion and promote it, without an approval."""
        live = self.ledger.live(MODEL)
        judge(self.lakehouse, version, live.version if live else None)
        before, self.policy = self.policy, replace(self.policy, approvals=0)
        result = self.carry_out(self.plan(version))
        self.policy = before
        assert result.promoted, result.reason
        self.now += HOUR
        return result
