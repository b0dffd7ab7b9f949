"""Twenty planted faults: does triage name what was planted first?

Usage: python benchmarks/triage_faults.py [--half 1|2] [--only NAME] [--untouched]

The flight product gets eight or fourteen weeks of real data and a model. Then a week arrives in
which a file is wrong from its second, third or fourth day on. It goes through ingest, features,
scores and monitor as any week does, and triage is asked about it. A fault counts as found when the
first suspect is the table and the column that were planted; one that is not of a column, when it is
the table and the kind. The thresholds of triage were chosen by reasoning and looked at on the first
half alone. `--untouched` asks about weeks in which nothing was planted.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flight_product import PRODUCT, Product
from flight_year import deliver, one_day, train

from lakeops_assets import samples
from lakeops_assets.components.lineage import lineage_of
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import TableName
from lakeops_assets.monitoring.triage import Kind, Triage, triage
from lakeops_assets.samples.flights import FIRST_DAY

if TYPE_CHECKING:
    import pandas as pd

Change = Callable[["pd.DataFrame"], "pd.DataFrame"]
# Mondays, before which everything is as it was.
FIRST_HALF, SECOND_HALF = date(2013, 2, 25), date(2013, 4, 8)
WEEK = timedelta(days=7)
MONITORED = TableName("dev", PRODUCT, "predictions")


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with the files of a table.

    Attributes:
        name: What it is called here.
        table: Table whose files it is in.
        column: Column that is wrong; empty for the rows as such.
        kinds: What triage has to call it where no column is wrong.
        change: Rows of a file -> rows of the file that lands; None for a file that does not.
        from_day: Day of the week from which on, 0 for Monday.
        again: Whether the changed rows land in a file beside the true one.
    """

    name: str
    table: str
    column: str
    kinds: tuple[Kind, ...]
    change: Change | None
    from_day: int
    again: bool = False


def scaled(column: str, a: float, b: float = 0.0, digits: int = 2) -> Change:
    """Return a change of unit: a x + b, rounded."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        numbers = pd.to_numeric(rows[column])
        text = (a * numbers + b).round(digits).map(lambda v: f"{v:.{digits}f}")
        return rows.assign(**{column: text.where(numbers.notna(), "")})

    return change


def missing(column: str, share: float) -> Change:
    """Return a burst of missing values."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        import numpy as np

        gone = np.random.default_rng(len(rows)).random(len(rows)) < share
        return rows.assign(**{column: rows[column].where(~gone, "")})

    return change


def renamed(column: str, old: str, new: str) -> Change:
    """Return a category with another name."""
    return lambda rows: rows.assign(**{column: rows[column].replace({old: new})})


def shifted(columns: list[str], hours: int) -> Change:
    """Return a clock that is wrong by hours."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        moved = {
            c: (pd.to_datetime(rows[c]) + pd.Timedelta(hours=hours)).dt.strftime(_format(rows[c]))
            for c in columns
        }
        return rows.assign(**moved)

    return change


def _format(times: pd.Series) -> str:
    text = str(times.iloc[0])
    joint = "T" if "T" in text else " "
    zone = "Z" if text.endswith("Z") else "+00:00" if "+" in text else ""
    return f"%Y-%m-%d{joint}%H:%M:%S{zone}"


def part(share: float) -> Change:
    """Return some rows of a file, in another order."""
    return lambda rows: rows.sample(frac=share, random_state=1)


CLOCK, STOPPED = (Kind.CLOCK,), (Kind.STOPPED, Kind.FEWER)
REPEATED = (Kind.REPEATED,)
FAULTS = (
    (
        Fault("temperature in Celsius", "weather", "temp", (), scaled("temp", 5 / 9, -160 / 9), 2),
        Fault(
            "delays in seconds",
            "outcomes",
            "delay_minutes",
            (),
            scaled("delay_minutes", 60, digits=0),
            1,
        ),
        Fault(
            "pressure in inches of mercury",
            "weather",
            "pressure",
            (),
            scaled("pressure", 0.02953),
            3,
        ),
        Fault(
            "half of the aircraft missing", "outcomes", "tailnum", (), missing("tailnum", 0.5), 2
        ),
        Fault(
            "aircraft missing in the schedule",
            "schedule",
            "tailnum",
            (),
            missing("tailnum", 0.4),
            1,
        ),
        Fault(
            "UA is UAL in the schedule",
            "schedule",
            "carrier",
            (),
            renamed("carrier", "UA", "UAL"),
            2,
        ),
        Fault(
            "EWR is NEWARK in outcomes",
            "outcomes",
            "origin",
            (),
            renamed("origin", "EWR", "NEWARK"),
            1,
        ),
        Fault("weather stopped", "weather", "", STOPPED, None, 3),
        Fault("outcomes five hours late", "outcomes", "", CLOCK, shifted(["known_at"], 5), 2),
        Fault("outcomes delivered twice", "outcomes", "", REPEATED, part(1.0), 2, again=True),
    ),
    (
        Fault(
            "wind in metres per second",
            "weather",
            "wind_speed",
            (),
            scaled("wind_speed", 0.44704, digits=4),
            1,
        ),
        Fault(
            "distance in kilometres",
            "schedule",
            "distance",
            (),
            scaled("distance", 1.609344, digits=0),
            2,
        ),
        Fault(
            "delays in hours",
            "outcomes",
            "delay_minutes",
            (),
            scaled("delay_minutes", 1 / 60, digits=0),
            3,
        ),
        Fault("temperature missing", "weather", "temp", (), missing("temp", 0.7), 2),
        Fault(
            "a third of delays missing",
            "outcomes",
            "delay_minutes",
            (),
            missing("delay_minutes", 0.33),
            1,
        ),
        Fault(
            "DL is Delta in outcomes",
            "outcomes",
            "carrier",
            (),
            renamed("carrier", "DL", "Delta"),
            3,
        ),
        Fault("outcomes stopped", "outcomes", "", STOPPED, None, 3),
        Fault("weather stamped in local time", "weather", "", CLOCK, shifted(["known_at"], -5), 1),
        Fault(
            "schedule in local time",
            "schedule",
            "",
            CLOCK,
            shifted(["scheduled_departure", "scheduled_arrival"], -5),
            2,
        ),
        Fault("a part of weather twice", "weather", "", REPEATED, part(0.6), 1, again=True),
    ),
)


def plant(product: Product, fault: Fault, monday: date) -> None:
    """Change the files of a week that have landed."""
    import pandas as pd

    folder = product.config.landing_root / PRODUCT / fault.table
    for i in range(fault.from_day, 7):
        [path] = folder.glob(f"{monday + timedelta(days=i)}.*")
        if fault.change is None:
            path.unlink()
            continue
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        target = path.with_name(f"again-{path.name}") if fault.again else path
        fault.change(rows).to_csv(target, index=False)


def week(product: Product, landed: Path, monday: date, fault: Fault | None) -> None:
    """Land the files of a week, perhaps with a fault."""
    for i in range(7):
        deliver(landed, product, (monday + timedelta(days=i)).isoformat())
    if fault is not None:
        plant(product, fault, monday)


def found(result: Triage, fault: Fault) -> bool:
    """Return whether the first suspect is what was planted."""
    if not result.suspects:
        return False
    first = result.suspects[0].move
    if first.where.table.table != fault.table:
        return False
    return first.where.column == fault.column if fault.column else first.kind in fault.kinds


def ask(product: Product, landed: Path, monday: date, fault: Fault | None) -> tuple[Triage, int]:
    """Bring a week through the product and return what triage says, and how many alerts it had."""
    week(product, landed, monday, fault)
    now = datetime(monday.year, monday.month, monday.day, tzinfo=UTC) + WEEK
    version = product.registry().alias("champion")
    result = one_day(product, now, version, defaultdict(list))
    lineage = lineage_of(defs().resolve_asset_graph(), product.lakehouse, MONITORED)
    return triage(product.lakehouse, lineage, MONITORED, (now - WEEK, now)), len(
        result.alerts if result else ()
    )


def base(home: Path, landed: Path, monday: date) -> Product:
    """Return the product with everything up to a day, and a champion."""
    product = Product(home)
    for i in range((monday - FIRST_DAY).days):
        deliver(landed, product, (FIRST_DAY + timedelta(days=i)).isoformat())
    now = datetime(monday.year, monday.month, monday.day, tzinfo=UTC)
    one_day(product, now, None, defaultdict(list))
    one_day(product, now, train(product), defaultdict(list))
    return product


def copied(product: Product, home: Path) -> Product:
    """Return the product with a copy of its state."""
    shutil.copytree(product.config.home / "lakehouse", home / "lakehouse")
    other = Product(home)
    # The registry is only read; the champion is that of the original.
    other.config = replace(product.config, home=home)
    other.registry = product.registry  # type: ignore[method-assign]
    return other


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", type=int, choices=(1, 2), help="One half alone.")
    parser.add_argument("--only", default="", help="Faults whose name has this in it.")
    parser.add_argument("--untouched", action="store_true", help="Weeks without a fault.")
    arguments = parser.parse_args()
    halves = [(FIRST_HALF, FAULTS[0]), (SECOND_HALF, FAULTS[1])]
    if arguments.half:
        halves = [halves[arguments.half - 1]]
    first = total = alerted = 0
    print("| planted | first suspect | how | first | alert | CPU s |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        landed = Path(folder) / "landed"
        samples.land(samples.sample(PRODUCT), landed, (SECOND_HALF - FIRST_DAY).days + 7)
        for half, (monday, faults) in enumerate(halves):
            product = base(Path(folder) / f"base{half}", landed, monday)
            asked = (None,) if arguments.untouched else faults
            for i, fault in enumerate(asked):
                if fault and arguments.only not in fault.name:
                    continue
                home = Path(folder) / f"copy{half}-{i}"
                other = copied(product, home)
                started = time.process_time()
                result, alerts = ask(other, landed, monday, fault)
                spent = time.process_time() - started
                right = fault is not None and found(result, fault)
                first, total, alerted = first + right, total + 1, alerted + (alerts > 0)
                top = result.suspects[0].move if result.suspects else None
                said = f"{top.where}: {top.kind}, {top.evidence}" if top else "nothing"
                print(
                    f"| {fault.name if fault else f'nothing, {monday}'} | {said} | "
                    f"{'fault' if top and top.fault else 'move'} | {'yes' if right else '**no**'} "
                    f"| {'yes' if alerts else 'no'} | {spent:.1f} |",
                    flush=True,
                )
                shutil.rmtree(home)
    print(f"\nFirst in {first} of {total}; the monitor alerted in {alerted}.")


if __name__ == "__main__":
    main()
