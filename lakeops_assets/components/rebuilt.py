"""Definitions whose assets were wrapped, with everything else as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg


def with_assets(
    definitions: dg.Definitions, assets: Sequence[Any], asset_checks: Sequence[Any] | None = None
) -> dg.Definitions:
    """Return definitions with other assets, and with other checks where some are given."""
    return dg.Definitions(
        assets=assets,
        asset_checks=definitions.asset_checks if asset_checks is None else asset_checks,
        schedules=definitions.schedules,
        sensors=definitions.sensors,
        jobs=definitions.jobs,
        resources=definitions.resources,
        executor=definitions.executor,
        loggers=definitions.loggers,
        metadata=definitions.metadata,
        component_tree=definitions.component_tree,
    )
