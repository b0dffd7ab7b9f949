"""`lakeops replay`: a KPI's rule over the history of a product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lakeops_assets.components.kpi_replay import KpiReplay, kpi_rules, replay_kpi
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.monitoring.granularity import length
from lakeops_assets.settings import Settings


def replay(
    product: str, settings: Settings, *, kpi: str = "", changes: Mapping[str, Any] | None = None
) -> list[KpiReplay]:
    """Replay the KPIs of a product; changes nothing.

    Args:
        product: The product.
        settings: Where state lives.
        kpi: Name of one of its KPIs; all when empty.
        changes: Fields of the rule to try with other values, None for those that stay.
            `label_delay` is a text such as `7 days`.

    Raises:
        UnknownKpiError: There is no such KPI.
        KpiSpecError: The changed rule cannot work.
    """
    wanted = {k: v for k, v in (changes or {}).items() if v is not None}
    if "label_delay" in wanted:
        wanted["label_delay"] = length(wanted["label_delay"])
    # One threshold takes the other's place.
    if "at_least" in wanted:
        wanted.setdefault("at_most", None)
    elif "at_most" in wanted:
        wanted["at_least"] = None
    lakeops = LakeopsResource.from_settings(settings)
    rules = kpi_rules(defs().resolve_asset_graph(), product, kpi)
    return [replay_kpi(lakeops, rule, wanted) for rule in rules]
