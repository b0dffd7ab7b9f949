"""From one environment to another: what is champion here becomes a candidate there.

Bytes, tags, metrics and evidence are copied, and then the policy of the other environment decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakeops_assets.components.measurement import measure
from lakeops_assets.components.promotable import Promotable
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.models import Copied, copy_version, find_copy
from lakeops_assets.promotion import (
    Advance,
    Copy,
    Ledger,
    LiveVersion,
    PromotionPlan,
    Verdict,
    advance,
    carry_over,
    evaluate_gate,
    live_champion,
    plan_promotion,
    reconcile,
    record_results,
    require_gates,
    stored_verdict,
)

if TYPE_CHECKING:
    from lakeops_assets.models import ModelRegistry


class CrossingError(ValueError):
    """There is nothing to promote to the other environment, or it is the same one."""


@dataclass(frozen=True)
class CrossingPlan:
    """What promoting to another environment would do.

    Attributes:
        source: Registered name here.
        version: Champion here, which would be copied.
        target: Registered name there.
        copy: Its version there; None as long as it is not copied.
        champion: Champion there; None without one.
        approvals: Approvals that are needed there.
        plan: The plan there; None as long as the version is not copied.
        reason: In words.
    """

    source: str
    version: int
    target: str
    copy: int | None
    champion: int | None
    approvals: int
    plan: PromotionPlan | None
    reason: str


@dataclass(frozen=True)
class Crossing:
    """What promoting to another environment did.

    Attributes:
        copied: The copy.
        advance: What became of it.
    """

    copied: Copied
    advance: Advance


def elsewhere(
    lakeops: LakeopsResource, environment: str, tracking_uri: str = ""
) -> LakeopsResource:
    """Return the resource of another environment, and of another store when one is given.

    Raises:
        CrossingError: It is the environment that one is in.
    """
    if environment == lakeops.environment:
        raise CrossingError(
            f"this is {environment} already; `lakeops run` promotes within an environment"
        )
    here = lakeops.settings()
    there = replace(here, environment=environment, tracking_uri=tracking_uri or here.tracking_uri)
    return LakeopsResource.from_settings(there)


def plan_crossing(
    promotable: Promotable, here: LakeopsResource, there: LakeopsResource
) -> CrossingPlan:
    """Plan to promote the champion to another environment; changes nothing."""
    source, target = promotable.registry(here), promotable.registry(there)
    version = _champion(promotable, here)
    copy = find_copy(source, version, target)
    ledger, policy = promotable.ledger(there), promotable.policy(there.environment)
    live = ledger.live(target.name)
    plan = None
    if copy is not None:
        plan = plan_promotion(ledger, target, copy, promotable.gates, policy, now=there.now())
    needed = f"{policy.approvals} approvals" if policy.approvals != 1 else "1 approval"
    reason = (
        plan.reason
        if plan is not None
        else f"version {version} of {source.name} would be copied with its bytes and evidence; "
        f"then {target.name} needs {needed}"
    )
    return CrossingPlan(
        source=source.name,
        version=version,
        target=target.name,
        copy=copy,
        champion=live.version if live else None,
        approvals=policy.approvals,
        plan=plan,
        reason=reason,
    )


def cross(
    promotable: Promotable, here: LakeopsResource, there: LakeopsResource, run_id: str = ""
) -> Crossing:
    """Copy the champion to another environment and promote it there as far as its policy allows.

    Every step is found done when it was: repeated, it goes on where it was cut off, or carries out
    what was approved meanwhile.

    Raises:
        CrossingError: There is no champion here.
        GatesNotPassedError: The champion has not passed its gates here.
    """
    source, target = promotable.registry(here), promotable.registry(there)
    version, now = _champion(promotable, here), there.now()
    verdict = require_gates(here.lakehouse(), source.name, version, None)
    ledger, policy = promotable.ledger(there), promotable.policy(there.environment)
    reconcile(ledger, target, promotable.gates, policy, actor=there.actor, run_id=run_id, now=now)
    copied = copy_version(source, version, target, actor=here.actor)
    live = ledger.live(target.name)
    if live is None or live.version != copied.version:
        _bring_evidence(promotable, here, there, verdict, copied, live, run_id)
    done = advance(
        ledger,
        target,
        copied.version,
        promotable.gates,
        policy,
        actor=there.actor,
        run_id=run_id,
        now=now,
    )
    return Crossing(copied, done)


def _bring_evidence(
    promotable: Promotable,
    here: LakeopsResource,
    there: LakeopsResource,
    verdict: Verdict,
    copied: Copied,
    live: LiveVersion | None,
    run_id: str,
) -> None:
    """Let the other environment have a verdict on the copy, against its own champion.

    Where it has none, or it is the model that the original was compared with, the evidence is
    copied. Else the copy is measured against the champion there, on the data of here.
    """
    source, target = promotable.registry(here), promotable.registry(there)
    tables, gates, now = there.lakehouse(), promotable.gates, there.now()
    champion = live.version if live else None
    known = stored_verdict(tables, target.name, copied.version, gates)
    if known.allowed and known.champion_version == champion:
        return
    model_id = target.version(copied.version).model_id
    compared = None
    if live is not None and verdict.champion_version is not None:
        compared = find_copy(source, verdict.champion_version, target)
    if champion == compared:
        copy = Copy(target.name, copied.version, model_id, champion)
        carry_over(here.lakehouse(), verdict, tables, copy, now=now)
        return
    evidence = measure(
        *(here.lakehouse(), target, promotable.spec, promotable.features, copied.version, gates),
        held=promotable.held,
        now=now,
        run_id=run_id,
        ledger=promotable.ledger(there),
    )
    results = [evaluate_gate(gate, evidence) for gate in gates]
    record_results(tables, evidence, gates, results, now=now, run_id=run_id)


def _champion(promotable: Promotable, here: LakeopsResource) -> int:
    registry: ModelRegistry = promotable.registry(here)
    live = live_champion(Ledger(here.lakehouse()), registry)
    if live.version is None:
        raise CrossingError(f"there is nothing to promote: {live.reason}")
    return live.version
