"""Jobs with which people approve, reject and revert in the UI; the command line calls the same."""

from enum import Enum

import dagster as dg
from pydantic import Field

from lakeops_assets.components.promotable import Promotable
from lakeops_assets.components.resources import LakeopsResource


class Decision(Enum):
    """What a person says about a plan; the Launchpad takes the names as they are here."""

    approve = "approve"
    reject = "reject"


class ApproveConfig(dg.Config):
    """An approval or a rejection of a plan."""

    plan: str = Field(description="Digest of the plan, as the champion's page shows it.")
    decision: Decision = Field(default=Decision.approve, description="approve or reject.")
    approver: str = Field(description="Who decides. Free text: nothing here proves who you are.")
    reason: str = Field(description="Why; the ledger keeps it.")


class RevertConfig(dg.Config):
    """A revert that a person asks for."""

    reason: str = Field(description="Why; the ledger keeps it.")
    to: int = Field(default=0, description="Version to go back to; 0 for the one before.")
    actor: str = Field(default="", description="Who asks; LAKEOPS_ACTOR when empty.")


def approve_job(promotable: Promotable) -> dg.JobDefinition:
    """Return the job that records an approval or a rejection."""
    name = f"{promotable.prefix}_approve"

    @dg.op(name=f"{name}_plan", description="Record an approval or a rejection in the ledger.")
    def approve_plan(
        context: dg.OpExecutionContext, config: ApproveConfig, lakeops: LakeopsResource
    ) -> None:
        if not config.approver.strip():
            raise dg.Failure("say who approves: `approver` is empty", allow_retries=False)
        entry = promotable.approve(
            lakeops,
            digest=config.plan,
            approver=config.approver,
            reason=config.reason,
            reject=config.decision is Decision.reject,
            run_id=context.run_id,
        )
        context.log.info(
            "event %s: %s of version %s by %s",
            *(entry.sequence, entry.action, entry.version, entry.actor),
        )

    @dg.job(
        name=name,
        description=f"Approve or reject the plan for the next champion of {promotable.prefix}. The "
        "refresh sensor or `lakeops run` carries out what has enough approvals.",
    )
    def job() -> None:
        approve_plan()

    return job


def revert_job(promotable: Promotable) -> dg.JobDefinition:
    """Return the job that makes the version before champion again."""
    name = f"{promotable.prefix}_revert_champion"

    @dg.op(name=f"{name}_now", description="Make the version that was live before champion again.")
    def revert_now(
        context: dg.OpExecutionContext, config: RevertConfig, lakeops: LakeopsResource
    ) -> None:
        result = promotable.revert(
            lakeops,
            reason=config.reason,
            to=config.to or None,
            actor=config.actor,
            run_id=context.run_id,
        )
        if not result.reverted:
            raise dg.Failure(result.reason, allow_retries=False)
        context.log.info(
            "version %s is champion again instead of %s: %s",
            *(result.champion, result.replaced, result.reason),
        )

    @dg.job(
        name=name,
        description=f"Make the version that was live before champion of {promotable.prefix} again. "
        "The refresh sensor or `lakeops run` brings what follows up to date.",
    )
    def job() -> None:
        revert_now()

    return job
