"""One model of a product as promotion sees it: its names, its gates and who must approve it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue

from lakeops_assets.components import training
from lakeops_assets.components.names import ModelNames
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.contracts import Contract
from lakeops_assets.lakehouse import TableName
from lakeops_assets.models import ModelSpec, glance
from lakeops_assets.promotion import (
    DECISIONS,
    Advance,
    Difference,
    Gate,
    Ledger,
    LedgerEntry,
    PromotionPlan,
    PromotionPolicy,
    RevertResult,
    advance,
    approve,
    carry_out_revert,
    plan_promotion,
    plan_revert,
    policy_of,
    reconcile,
    registry_approver,
)

if TYPE_CHECKING:
    from lakeops_assets.components.staleness import AssetGraph
    from lakeops_assets.models import ModelRegistry

# Metadata of the champion: the `Promotable` itself, for whoever has the definitions in its process.
PROMOTABLE = "lakeops/promotable"


class UnknownModelError(ValueError):
    """A product was named that has no model."""


@dataclass(frozen=True)
class Promotable:
    """What is declared about the promotion of one model.

    Attributes:
        names: Asset keys of the model.
        spec: How it is trained.
        features: Feature table, in the environment that the definitions were loaded for.
        gates: Gates as they are declared.
        policies: Environment -> policy, as declared.
        held: `<schema>.<table>` -> contract, of the tables that quality gates are about.
    """

    names: ModelNames
    spec: ModelSpec
    features: TableName
    gates: tuple[Gate, ...]
    policies: Mapping[str, PromotionPolicy]
    held: Mapping[str, Contract] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Start of the names of the model's jobs."""
        product, model = self.names.product, self.names.model
        return product if model == "model" else f"{product}_{model}"

    def registered(self, lakeops: LakeopsResource) -> str:
        """Return the registered name in the resource's environment."""
        return self.names.registered(lakeops.environment)

    def policy(self, environment: str) -> PromotionPolicy:
        """Return the policy of an environment; a strict one where none is declared."""
        return policy_of(environment, self.policies)

    def ledger(self, lakeops: LakeopsResource) -> Ledger:
        """Return the ledger of the resource's environment."""
        return Ledger(lakeops.lakehouse())

    def registry(self, lakeops: LakeopsResource) -> ModelRegistry:
        """Return the registered model in the resource's environment."""
        return lakeops.registry(self.names.product, self.names.model)

    def plan(self, lakeops: LakeopsResource, graph: AssetGraph | None = None) -> PromotionPlan:
        """Return the plan for the newest version; changes nothing."""
        registry = self.registry(lakeops)
        plan = plan_promotion(
            self.ledger(lakeops),
            registry,
            training.candidate(registry),
            self.gates,
            self.policy(lakeops.environment),
            now=lakeops.now(),
        )
        if graph is None or plan.action in ("keep", "refuse"):
            return plan
        return replace(plan, consequences=self.consequences(lakeops, graph))

    def consequences(self, lakeops: LakeopsResource, graph: AssetGraph) -> tuple[str, ...]:
        """Return what a new champion makes stale, and how many rows are scored anew."""
        stale = _downstream(graph, self.names.champion)
        found = [f"{len(stale)} assets become stale: {', '.join(stale)}"] if stale else []
        lakehouse = lakeops.lakehouse()
        features = replace(self.features, catalog=lakehouse.catalog)
        scored = any(k != "/".join(self.names.baseline.path) for k in stale)
        if scored and lakehouse.exists(features):
            found.append(f"{lakehouse.row_count(features):,} rows of {features} are scored anew")
        return tuple(found)

    def advance(self, lakeops: LakeopsResource, run_id: str) -> Advance:
        """Bring the champion up to date."""
        registry = self.registry(lakeops)
        return advance(
            self.ledger(lakeops),
            registry,
            training.candidate(registry),
            self.gates,
            self.policy(lakeops.environment),
            actor=lakeops.actor,
            run_id=run_id,
            now=lakeops.now(),
        )

    def reconcile(self, lakeops: LakeopsResource, run_id: str) -> Difference:
        """Put right what is between ledger and registry."""
        return reconcile(
            self.ledger(lakeops),
            self.registry(lakeops),
            self.gates,
            self.policy(lakeops.environment),
            actor=lakeops.actor,
            run_id=run_id,
            now=lakeops.now(),
        )

    def seen(self, lakeops: LakeopsResource, before: int, run_id: str) -> int:
        """Return up to which event a run has seen the ledger.

        It is the last event before the run looked, and what the run recorded itself right after.
        An approval that comes in while a run is under way is news for the next look.
        """
        seen, model = before, self.registered(lakeops)
        for entry in self.ledger(lakeops).entries():
            if entry.sequence > seen and entry.model == model and entry.run_id != run_id:
                break
            seen = max(seen, entry.sequence)
        return seen

    def news(self, lakeops: LakeopsResource, seen: int) -> str:
        """Return what was decided since an event; empty when nothing that moves a champion was."""
        for entry in self.ledger(lakeops).entries(self.registered(lakeops)):
            if entry.sequence <= seen:
                continue
            if entry.action == "approve":
                return f"version {entry.version} was approved by {entry.actor}"
            if entry.action in DECISIONS:
                return f"the champion was changed outside a run (event {entry.sequence})"
        return ""

    def latest(self, lakeops: LakeopsResource) -> str:
        """Return the last event about the model in words; empty before the first."""
        entries = self.ledger(lakeops).entries(self.registered(lakeops))
        if not entries:
            return ""
        last = entries[-1]
        return f"event {last.sequence}: {last.action} of version {last.version} by {last.actor}"

    def by_hand(self, lakeops: LakeopsResource, data_version: str) -> str:
        """Return what somebody did in the registry; empty when nothing, or it cannot be seen."""
        found = glance(lakeops.tracking_uri, self.registered(lakeops))
        if found is None:
            return ""
        if data_version != f"v{found.aliases.get('champion')}":
            # With the event, so that the next time is another reason and another run key.
            head = self.ledger(lakeops).head()
            return f"the alias champion was moved outside a run (after event {head})"
        policy = self.policy(lakeops.environment)
        if policy.accept_registry_tag and found.tags:
            newest = max(found.tags)
            approver = registry_approver(found.tags[newest])
            if approver is not None:
                return f"version {newest} was approved in the registry by {approver}"
        return ""

    def approve(
        self,
        lakeops: LakeopsResource,
        *,
        digest: str,
        approver: str,
        reason: str,
        reject: bool = False,
        run_id: str = "",
    ) -> LedgerEntry:
        """Record an approval, or a rejection, of the present plan."""
        return approve(
            self.ledger(lakeops),
            self.registry(lakeops),
            self.plan(lakeops),
            digest=digest,
            approver=approver or lakeops.actor,
            reason=reason,
            now=lakeops.now(),
            run_id=run_id,
            reject=reject,
        )

    def revert(
        self,
        lakeops: LakeopsResource,
        *,
        reason: str,
        to: int | None = None,
        actor: str = "",
        run_id: str = "",
    ) -> RevertResult:
        """Go back to the version that was live before, or to `to`, because a person asks."""
        ledger, registry, now = self.ledger(lakeops), self.registry(lakeops), lakeops.now()
        plan = plan_revert(
            ledger, registry, measured=None, reason=reason, cooldown=timedelta(), now=now, to=to
        )
        return carry_out_revert(
            ledger, registry, plan, actor=actor or lakeops.actor, run_id=run_id, now=now
        )

    def as_metadata(self) -> dict[str, object]:
        """Return metadata that lets `promotables` find this again."""
        return {PROMOTABLE: ObjectMetadataValue(self)}


def promotables(graph: AssetGraph) -> list[Promotable]:
    """Return every model of a graph, upstream first."""
    found = (graph.get(key).metadata.get(PROMOTABLE) for key in graph.toposorted_asset_keys)
    return [v.instance for v in found if isinstance(getattr(v, "instance", None), Promotable)]


def find_promotable(graph: AssetGraph, name: str) -> Promotable:
    """Return the model of a product, `<product>`, or one of several, `<product>.<model>`.

    Raises:
        UnknownModelError: There is none of that name.
    """
    there = {f"{p.names.product}.{p.names.model}": p for p in promotables(graph)}
    of_product = [p for p in there.values() if p.names.product == name]
    if name in there:
        return there[name]
    if len(of_product) == 1:
        return of_product[0]
    raise UnknownModelError(
        f"{name!r} names {len(of_product) or 'no'} model{'s' if of_product else ''}; there are: "
        f"{', '.join(there) or 'none'}"
    )


def _downstream(graph: AssetGraph, key: dg.AssetKey) -> list[str]:
    from lakeops_assets.components.staleness import with_downstream

    return sorted(k.to_user_string() for k in with_downstream(graph, [key]) - {key})
