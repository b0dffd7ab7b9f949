"""`lakeops forget`: remove an entity from a product, and prove it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from lakeops_assets.components import forget as forgetting
from lakeops_assets.components.forget import Forgotten, Request
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs as build_definitions
from lakeops_assets.settings import Settings


def request(product: str, key: Sequence[str], settings: Settings) -> Request:
    """Return what has to be done to forget an entity; see `components.forget.request`."""
    return forgetting.request(LakeopsResource.from_settings(settings), _specs(), product, key)


def forget(
    asked: Request, settings: Settings, *, reason: str, landing: bool, now: datetime
) -> Forgotten:
    """Carry a request out; see `components.forget.forget`."""
    lakeops = LakeopsResource.from_settings(settings)
    return forgetting.forget(lakeops, _specs(), asked, reason=reason, landing=landing, now=now)


def _specs() -> Sequence[dg.AssetSpec]:
    return list(build_definitions().resolve_all_asset_specs())
