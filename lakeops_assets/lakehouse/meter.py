"""What work costs, taken from counters that the machine keeps anyway."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Linux counts for each process the bytes that it read and wrote, from disk or from memory that
# holds a copy of it. Elsewhere they are unknown.
_COUNTERS = Path("/proc/self/io")


@dataclass(frozen=True)
class Usage:
    """What was used between two moments.

    Attributes:
        wall_seconds: Time that passed.
        cpu_seconds: Time of all cores that this process had.
        bytes_read: Bytes that the process read from files; None where nobody counts them.
        bytes_written: Bytes that it wrote; None where nobody counts them.
        rows_written: Rows that were inserted, updated or deleted in tables.
        elsewhere_seconds: Time that machines elsewhere had, such as those of Databricks.
        dbus: Databricks units of those.
        elsewhere_money: What those cost.
    """

    wall_seconds: float
    cpu_seconds: float
    bytes_read: int | None
    bytes_written: int | None
    rows_written: int
    elsewhere_seconds: float = 0.0
    dbus: float = 0.0
    elsewhere_money: float = 0.0

    def __sub__(self, before: Usage) -> Usage:
        """Return what was used since."""
        return Usage(
            self.wall_seconds - before.wall_seconds,
            self.cpu_seconds - before.cpu_seconds,
            _since(self.bytes_read, before.bytes_read),
            _since(self.bytes_written, before.bytes_written),
            self.rows_written - before.rows_written,
            self.elsewhere_seconds - before.elsewhere_seconds,
            self.dbus - before.dbus,
            self.elsewhere_money - before.elsewhere_money,
        )


class Meter:
    """Counts what is used from one reading to the next.

    Args:
        counters: What returns the clock, the CPU time and the bytes read and written.
    """

    def __init__(
        self,
        counters: Callable[[], tuple[float, float, int | None, int | None]] | None = None,
    ) -> None:
        self._counters = counters or _process
        self._rows = 0
        self._elsewhere = (0.0, 0.0, 0.0)
        self._last = self._now()

    def wrote(self, rows: int) -> None:
        """Count rows that were written."""
        self._rows += rows

    def elsewhere(self, seconds: float, dbus: float, money: float) -> None:
        """Count what machines elsewhere used; their price is known there."""
        so_far = self._elsewhere
        self._elsewhere = (so_far[0] + seconds, so_far[1] + dbus, so_far[2] + money)

    def read(self) -> Usage:
        """Return what was used since the last reading."""
        now = self._now()
        used = now - self._last
        self._last = now
        return used

    def _now(self) -> Usage:
        wall, cpu, read, written = self._counters()
        return Usage(wall, cpu, read, written, self._rows, *self._elsewhere)


def _since(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before


def _process() -> tuple[float, float, int | None, int | None]:
    read, written = None, None
    if _COUNTERS.exists():
        lines = (line.split(": ") for line in _COUNTERS.read_text().splitlines())
        counted = {name: int(value) for name, value in lines}
        read, written = counted.get("rchar"), counted.get("wchar")
    return time.perf_counter(), time.process_time(), read, written
