"""Lengths of time as YAML writes them."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}


class DurationError(ValueError):
    """A text does not name a length of time."""


def days(text: str) -> float:
    """Return a length of time, such as `60 days`, in days.

    Raises:
        DurationError: The text is something else, or no time at all.
    """
    return duration(text) / timedelta(days=1)


def seconds(text: str) -> float:
    """Return a length of time, such as `10 seconds`, in seconds.

    Raises:
        DurationError: The text is something else, or no time at all.
    """
    return duration(text).total_seconds()


def duration(text: str) -> timedelta:
    """Return a length of time.

    Raises:
        DurationError: The text names none, or no time at all.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) (second|minute|hour|day|week)s?", text.strip())
    if match is None or float(match[1]) == 0:
        raise DurationError(
            f"{text!r} is not a length of time: write a number and seconds, minutes, hours, days "
            "or weeks, such as '60 days'"
        )
    return float(match[1]) * UNITS[match[2]]
