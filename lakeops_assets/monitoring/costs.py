"""What the assets of a product cost, and whether that is within its budget.

Each run of an asset leaves a row in `<catalog>.lakeops.costs`: seconds, bytes, rows, and what they
are worth by the prices of the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from lakeops_assets.lakehouse import Commit, Lakehouse, TableName
from lakeops_assets.lakehouse.meter import Usage
from lakeops_assets.lakehouse.statements import literal
from lakeops_assets.monitoring.errors import MonitorSpecError
from lakeops_assets.settings import Prices

if TYPE_CHECKING:
    import pyarrow as pa

Period: TypeAlias = Literal["day", "week", "month"]

PERIODS = ("day", "week", "month")


@dataclass(frozen=True)
class AssetRun:
    """One execution of what makes one asset, or several together.

    Attributes:
        run_id: Run that it was part of.
        step: Step of the run.
        product: Product of the assets.
        assets: Their keys, such as `churn/scores`.
        finished_at: When it ended.
        outcome: `success` or `failure`.
        usage: What it used.
    """

    run_id: str
    step: str
    product: str
    assets: tuple[str, ...]
    finished_at: datetime
    outcome: str
    usage: Usage


@dataclass(frozen=True)
class AssetCost:
    """What an asset cost over some time.

    Attributes:
        product: Its product.
        asset: Its key; the keys of assets that are made together.
        runs: How often it was made.
        failures: How often that failed.
        wall_seconds: Time that passed meanwhile.
        cpu_seconds: Time of all cores.
        bytes_read: Bytes read from files, where they were counted.
        bytes_written: Bytes written, where they were counted.
        rows_written: Rows written.
        elsewhere_seconds: Time of machines elsewhere, such as those of Databricks.
        dbus: Databricks units of those.
        money: What all that is worth.
    """

    product: str
    asset: str
    runs: int
    failures: int
    wall_seconds: float
    cpu_seconds: float
    bytes_read: int | None
    bytes_written: int | None
    rows_written: int
    elsewhere_seconds: float
    dbus: float
    money: float


@dataclass(frozen=True)
class Budget:
    """What a product may cost.

    Attributes:
        product: Product.
        period: `day`, `week` (from Monday) or `month`, in UTC.
        money: How much, in the currency of the settings.
    """

    product: str
    period: Period
    money: float

    def __post_init__(self) -> None:
        if self.period not in PERIODS:
            raise MonitorSpecError(f"{self.period!r} is not a period; use: {', '.join(PERIODS)}")
        if self.money <= 0:
            raise MonitorSpecError(f"a budget of {self.money} leaves nothing to spend")


@dataclass(frozen=True)
class BudgetStatus:
    """A budget in its present period.

    Attributes:
        budget: The budget.
        start: Start of the period.
        end: End of the period.
        spent: Money spent since.
        expected: What it comes to by the end of the period if it goes on like that.
        reason: The verdict in words.
    """

    budget: Budget
    start: datetime
    end: datetime
    spent: float
    expected: float
    reason: str

    @property
    def within(self) -> bool:
        """Whether no more was spent than there is."""
        return self.spent <= self.budget.money


def costs_table(catalog: str) -> TableName:
    """Return the table of a catalog that costs are in."""
    return TableName(catalog, "lakeops", "costs")


def costs_schema() -> pa.Schema:
    """Return its columns."""
    import pyarrow as pa

    described = {
        "run_id": (pa.string(), "Run that the asset was made in."),
        "step": (pa.string(), "Step of the run."),
        "product": (pa.string(), "Product of the asset."),
        "assets": (pa.list_(pa.string()), "Keys of the assets that were made together."),
        "finished_at": (pa.timestamp("us", "UTC"), "When it ended."),
        "outcome": (pa.string(), "success or failure."),
        "wall_seconds": (pa.float64(), "Time that passed."),
        "cpu_seconds": (pa.float64(), "Time of all cores."),
        "bytes_read": (pa.int64(), "Bytes read from files; null where nobody counts them."),
        "bytes_written": (pa.int64(), "Bytes written to files; null where nobody counts them."),
        "rows_written": (pa.int64(), "Rows inserted, updated or deleted."),
        "elsewhere_seconds": (pa.float64(), "Time of machines elsewhere, such as Databricks'."),
        "dbus": (pa.float64(), "Databricks units of those."),
        "money": (pa.float64(), "What it is worth by the prices at that time."),
        "currency": (pa.string(), "Currency of the money."),
    }
    return pa.schema(
        pa.field(name, kind, metadata={"comment": comment})
        for name, (kind, comment) in described.items()
    )


def worth(usage: Usage, prices: Prices) -> float:
    """Return what usage costs: CPU hours, gigabytes (1e9 bytes) read or written, and elsewhere."""
    gigabytes = ((usage.bytes_read or 0) + (usage.bytes_written or 0)) / 1e9
    here = usage.cpu_seconds / 3600 * prices.cpu_hour + gigabytes * prices.gigabyte
    return here + usage.elsewhere_money


def record(lakehouse: Lakehouse, run: AssetRun, prices: Prices) -> Commit:
    """Append what one run of an asset cost."""
    import pyarrow as pa

    table, usage = costs_table(lakehouse.catalog), run.usage
    row = {
        "run_id": run.run_id,
        "step": run.step,
        "product": run.product,
        "assets": list(run.assets),
        "finished_at": run.finished_at,
        "outcome": run.outcome,
        "wall_seconds": usage.wall_seconds,
        "cpu_seconds": usage.cpu_seconds,
        "bytes_read": usage.bytes_read,
        "bytes_written": usage.bytes_written,
        "rows_written": usage.rows_written,
        "elsewhere_seconds": usage.elsewhere_seconds,
        "dbus": usage.dbus,
        "money": worth(usage, prices),
        "currency": prices.currency,
    }
    schema = costs_schema()
    lakehouse.create(table, schema, description="What each run of an asset cost.")
    # A table that is older than a column gets it with the first row that has it.
    return lakehouse.append(table, pa.Table.from_pylist([row], schema=schema), evolve=True)


def asset_costs(
    lakehouse: Lakehouse, products: Sequence[str] = (), *, since: datetime
) -> list[AssetCost]:
    """Return what each asset cost, the most expensive first.

    Args:
        lakehouse: Where the table is.
        products: Products that are asked for; all when empty.
        since: From when on.
    """
    table = costs_table(lakehouse.catalog)
    if not lakehouse.exists(table):
        return []
    # Older tables say nothing of machines elsewhere.
    there = lakehouse.schema(table).names
    elsewhere, dbus = (
        f"sum({name})" if name in there else "0" for name in ("elsewhere_seconds", "dbus")
    )
    chosen = f" AND product IN ({', '.join(map(literal, products))})" if products else ""
    sql = (
        "SELECT product, concat_ws(', ', assets) AS asset, count(*) AS runs, "
        "count_if(outcome = 'failure') AS failures, sum(wall_seconds) AS wall_seconds, "
        "sum(cpu_seconds) AS cpu_seconds, CAST(sum(bytes_read) AS BIGINT) AS bytes_read, "
        "CAST(sum(bytes_written) AS BIGINT) AS bytes_written, "
        "CAST(sum(rows_written) AS BIGINT) AS rows_written, "
        f"CAST(coalesce({elsewhere}, 0) AS DOUBLE) AS elsewhere_seconds, "
        f"CAST(coalesce({dbus}, 0) AS DOUBLE) AS dbus, sum(money) AS money FROM costs "
        f"WHERE finished_at >= {_timestamp(since)}{chosen} "
        "GROUP BY product, concat_ws(', ', assets) ORDER BY money DESC, asset"
    )
    rows = lakehouse.query(sql, {"costs": lakehouse.at(table)}).read_all().to_pylist()
    return [AssetCost(**row) for row in rows]


def judge(lakehouse: Lakehouse, budget: Budget, prices: Prices, *, now: datetime) -> BudgetStatus:
    """Return what a product has spent of a budget in the present period."""
    start, end = period_of(now, budget.period)
    spent = sum(c.money for c in asset_costs(lakehouse, [budget.product], since=start))
    expected = spent * ((end - start) / max(now - start, timedelta(minutes=1)))
    share = spent / budget.money
    reason = (
        f"{budget.product} spent {spent:.4g} of {budget.money:g} {prices.currency} "
        f"({share:.0%}) since {start:%Y-%m-%d}; {expected:.4g} by {end:%Y-%m-%d} at this rate"
    )
    return BudgetStatus(budget, start, end, spent, expected, reason)


def period_of(now: datetime, period: Period) -> tuple[datetime, datetime]:
    """Return start and end of the period that a time is in."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day, day + timedelta(days=1)
    if period == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(weeks=1)
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def _timestamp(at: datetime) -> str:
    return f"TIMESTAMP '{at.isoformat(sep=' ')}'"
