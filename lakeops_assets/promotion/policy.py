"""How many people must agree before a version becomes champion, per environment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

WEEK_HOURS = 168


class PolicyError(ValueError):
    """A policy is declared in a way that cannot be followed."""


@dataclass(frozen=True)
class PromotionPolicy:
    """What a promotion needs besides its gates; the defaults are the strict ones.

    Attributes:
        approvals: People who must approve the plan; 0 lets the gates decide alone.
        author_may_approve: Whether who trained or registered the version counts.
        approval_valid_hours: Hours after which an approval no longer counts.
        accept_registry_tag: Whether the tag `Approval_Check = approved` of the version counts as an
            approval. Everybody who may edit the registry can set it, in any name.
        unknown_may_approve: Whether a registry tag counts that does not say whose approval it is.
    """

    approvals: int = 1
    author_may_approve: bool = False
    approval_valid_hours: float = WEEK_HOURS
    accept_registry_tag: bool = False
    unknown_may_approve: bool = False

    def __post_init__(self) -> None:
        if self.approvals < 0:
            raise PolicyError(f"approvals is {self.approvals}: give 0 or more")
        if not self.approval_valid_hours > 0:
            raise PolicyError(
                f"approval_valid_hours is {self.approval_valid_hours}: give more than 0"
            )

    def digest(self) -> str:
        """Return a hash: an approval under another policy is none under this one."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


# One machine, one person: the gates decide, and who trained may say yes to what was reverted.
OPEN = PromotionPolicy(approvals=0, author_may_approve=True)


def policy_of(environment: str, declared: Mapping[str, PromotionPolicy]) -> PromotionPolicy:
    """Return the policy of an environment.

    What is not declared is strict: only `dev` promotes without an approval by default, so that a
    new environment, or one with a typing error in its name, is never an open door.
    """
    if environment in declared:
        return declared[environment]
    return OPEN if environment == "dev" else PromotionPolicy()
