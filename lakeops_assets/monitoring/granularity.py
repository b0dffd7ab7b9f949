"""How long a window is and where it starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_LENGTHS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_CALENDAR = ("month", "year")
_MICROSECOND = timedelta(microseconds=1)
# Weeks start on Monday, as `date_trunc('WEEK')` has it: the first Monday after the epoch.
_MONDAY = timedelta(days=4)


class GranularityError(ValueError):
    """A text does not name a length of time that windows can have."""


@dataclass(frozen=True)
class Granularity:
    """Length of a window, such as `5 minutes`, `1 day`, `2 weeks` or `1 month`.

    Windows are aligned in UTC and never overlap: minutes, hours and days count from the epoch,
    weeks start on Monday, months and years are those of the calendar.

    Attributes:
        text: As it was written; this is what the metric tables hold.
        count: How many units.
        unit: `minute`, `hour`, `day`, `week`, `month` or `year`.
    """

    text: str
    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Granularity:
        """Parse a number and a unit.

        Raises:
            GranularityError: The text is something else, or more than one month or year.
        """
        match = re.fullmatch(r"(\d+) (minute|hour|day|week|month|year)s?", text.strip())
        if match is None or int(match[1]) == 0:
            raise GranularityError(
                f"{text!r} is not a granularity: write a number and minutes, hours, days, weeks, "
                "month or year, such as '1 day', '2 weeks' or '1 month'"
            )
        count, unit = int(match[1]), match[2]
        if unit in _CALENDAR and count > 1:
            raise GranularityError(
                f"{text!r} is not a granularity: a window is at most '1 {unit}' of the calendar; "
                "use weeks for other lengths"
            )
        return cls(text.strip(), count, unit)

    def start_sql(self, timestamp: str) -> str:
        """Return the start of the window of a timestamp: SQL for microseconds since the epoch.

        Args:
            timestamp: A timestamp, as an expression in Spark's dialect.
        """
        if self.unit in _CALENDAR:
            return f"unix_micros(date_trunc('{self.unit.upper()}', {timestamp}))"
        length = self.count * _LENGTHS[self.unit] // _MICROSECOND
        origin = _MONDAY // _MICROSECOND if self.unit == "week" else 0
        micros = f"unix_micros({timestamp})"
        # The remainder of a negative number is negative: times before the epoch need the second.
        return f"{micros} - ((({micros} - {origin}) % {length}) + {length}) % {length}"

    def end(self, start: datetime) -> datetime:
        """Return the end of a window, which is the start of the next one."""
        if self.unit == "month":
            return (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        if self.unit == "year":
            return start.replace(year=start.year + 1)
        return start + self.count * _LENGTHS[self.unit]


def length(text: str) -> timedelta:
    """Return a length of time such as `0 days`, `12 hours` or `1 week`.

    Raises:
        GranularityError: The text is something else; months and years have no fixed length.
    """
    match = re.fullmatch(r"(\d+) (minute|hour|day|week)s?", text.strip())
    if match is None:
        raise GranularityError(
            f"{text!r} is not a length of time: write a number and minutes, hours, days or weeks, "
            "such as '7 days'"
        )
    return int(match[1]) * _LENGTHS[match[2]]


def instant(micros: int) -> datetime:
    """Return microseconds since the epoch as a time in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
