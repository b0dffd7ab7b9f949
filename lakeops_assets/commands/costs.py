"""What assets cost, from the table that each of their runs is recorded in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lakeops_assets.commands.run import UnknownProductError
from lakeops_assets.components.budget import budgets_of
from lakeops_assets.components.monitored import monitored_tables
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.monitoring.costs import AssetCost, BudgetStatus, asset_costs, judge
from lakeops_assets.monitoring.forecast import Forecast, forecast
from lakeops_assets.settings import Settings


@dataclass(frozen=True)
class Costs:
    """What products cost.

    Attributes:
        since: From when on.
        assets: Cost of each asset, the most expensive first.
        money: Sum of all.
        currency: Currency of the money.
        budgets: Budgets in their present period.
    """

    since: datetime
    assets: tuple[AssetCost, ...]
    money: float
    currency: str
    budgets: tuple[BudgetStatus, ...]


@dataclass(frozen=True)
class MonitorForecast:
    """What a first refresh of a monitor comes to.

    Attributes:
        product: Product of the monitor.
        table: Monitored table.
        forecast: What it costs; None while there is no table.
    """

    product: str
    table: str
    forecast: Forecast | None


def costs(products: Sequence[str], settings: Settings, *, days: int) -> Costs:
    """Return what assets cost in the last days, and the state of the budgets.

    Raises:
        UnknownProductError: There is no such product.
    """
    lakeops = LakeopsResource.from_settings(settings)
    graph = defs().resolve_asset_graph()
    _check(products, [graph.get(key).group_name for key in graph.toposorted_asset_keys])
    lakehouse, now = lakeops.lakehouse(), lakeops.now()
    since = now - timedelta(days=days)
    found = asset_costs(lakehouse, products, since=since)
    budgets = [b for b in budgets_of(graph) if not products or b.product in products]
    return Costs(
        since=since,
        assets=tuple(found),
        money=sum(cost.money for cost in found),
        currency=settings.prices.currency,
        budgets=tuple(judge(lakehouse, b, settings.prices, now=now) for b in budgets),
    )


def forecasts(products: Sequence[str], settings: Settings) -> list[MonitorForecast]:
    """Return what each declared monitor would cost on the data that is there.

    Raises:
        UnknownProductError: A product has no monitor.
    """
    lakehouse = LakeopsResource.from_settings(settings).lakehouse()
    monitors = monitored_tables(defs().resolve_asset_graph())
    _check(products, [m.product for m in monitors])
    return [
        MonitorForecast(
            m.product,
            str(m.table),
            forecast(lakehouse, m.table, m.spec, settings.prices)
            if lakehouse.exists(m.table)
            else None,
        )
        for m in monitors
        if not products or m.product in products
    ]


def _check(products: Sequence[str], known: Sequence[str | None]) -> None:
    there = sorted({product for product in known if product})
    unknown = [product for product in products if product not in there]
    if unknown:
        raise UnknownProductError(
            f"there is nothing of {', '.join(unknown)}; products: {', '.join(there) or 'none'}"
        )
