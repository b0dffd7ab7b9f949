"""`lakeops reproduce`: make a model again and compare."""

from __future__ import annotations

import sys

from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.models import Reference, Reproduction
from lakeops_assets.models import reproduce as reproduce_version
from lakeops_assets.settings import Settings


def reproduce(reference: str, settings: Settings, python: str = "") -> Reproduction:
    """Make the version that a text such as `churn@champion` names again, and compare.

    Args:
        reference: The version.
        settings: Where state lives.
        python: Interpreter to train with; this one when empty.

    Raises:
        ModelError: There is no such version, or it cannot be made again.
    """
    lakeops = LakeopsResource.from_settings(settings)
    wanted = Reference.parse(reference)
    registry = lakeops.registry(wanted.product, wanted.model)
    return reproduce_version(
        registry, wanted.resolve(registry), lakeops.lakehouse(), python=python or sys.executable
    )
