"""Who must approve a promotion, as YAML."""

from collections.abc import Mapping

import dagster as dg
from pydantic import Field

from lakeops_assets.promotion import PromotionPolicy


class PromotionPolicyModel(dg.Model, dg.Resolvable):
    """Who must approve a new champion in one environment; the defaults are the strict ones."""

    approvals: int = Field(
        default=1, description="People who must approve the plan; 0 lets the gates decide alone."
    )
    author_may_approve: bool = Field(
        default=False, description="Whether who trained or registered the version counts."
    )
    approval_valid_hours: float = Field(
        default=168, description="Hours after which an approval no longer counts."
    )
    accept_registry_tag: bool = Field(
        default=False,
        description="Whether the version's tag `Approval_Check = approved` in MLflow counts as one "
        "approval. Everybody who may edit the registry can set it.",
    )
    unknown_may_approve: bool = Field(
        default=False,
        description="Whether such a tag counts without `Approval_Check.approver` beside it.",
    )


def policies(declared: Mapping[str, PromotionPolicyModel]) -> dict[str, PromotionPolicy]:
    """Return what the promotion room needs to know."""
    return {
        environment: PromotionPolicy(
            approvals=policy.approvals,
            author_may_approve=policy.author_may_approve,
            approval_valid_hours=policy.approval_valid_hours,
            accept_registry_tag=policy.accept_registry_tag,
            unknown_may_approve=policy.unknown_may_approve,
        )
        for environment, policy in declared.items()
    }
