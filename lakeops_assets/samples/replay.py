"""Deal the rows of a data set to days and land them as files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd


class SampleError(ValueError):
    """A sample does not exist or cannot be replayed."""


@dataclass(frozen=True)
class Delivery:
    """One landing table of a sample.

    Attributes:
        table: Landing table, which is also the bronze table.
        format: Format of its files.
        delay_days: How many days after a row of the sample its part in this table arrives.
        rows: Takes all rows of the sample (DataFrame) and the day each of its parts arrives
            (Series of dates, same index), and returns this table's columns.
    """

    table: str
    format: Literal["csv", "json"]
    rows: Callable[[pd.DataFrame, pd.Series], pd.DataFrame]
    delay_days: int = 0


@dataclass(frozen=True)
class Sample:
    """A data set and how it is replayed.

    Attributes:
        name: Product that it is made for.
        load: Returns all rows.
        key: Column whose hash deals a row to a day; unique.
        first_day: First day of the replay.
        days: Number of days over which rows arrive.
        deliveries: Landing tables.
    """

    name: str
    load: Callable[[], pd.DataFrame]
    key: str
    first_day: date
    days: int
    deliveries: tuple[Delivery, ...]

    @property
    def batches(self) -> int:
        """Number of daily batches until the last delayed part has arrived."""
        return self.days + max(d.delay_days for d in self.deliveries)


@dataclass(frozen=True)
class Landed:
    """What was landed.

    Attributes:
        files: New files, oldest first.
        first_day: Day of the first new batch; None when nothing remained.
        last_day: Day of the last.
        remaining: Daily batches that have not landed yet.
    """

    files: tuple[Path, ...]
    first_day: date | None
    last_day: date | None
    remaining: int


def land(sample: Sample, landing_root: Path, batches: int | None = None) -> Landed:
    """Land the next daily batches of a sample.

    A file is written under a hidden name and renamed when it is whole, so a reader never sees
    half of one, and a landing that was killed is simply repeated: days whose files are there are
    not landed again, the others are, with the same bytes.

    Args:
        sample: What to land.
        landing_root: Folder of all landing folders; files go to `<root>/<sample>/<table>/`.
        batches: Number of days; all that remain when None.
    """
    days = [sample.first_day + timedelta(days=i) for i in range(sample.batches)]
    due = [d for d in days if not _complete(sample, landing_root, d)]
    chosen = due if batches is None else due[:batches]
    if not chosen:
        return Landed((), None, None, 0)
    frame = sample.load()
    offsets = frame[sample.key].map(lambda key: _day(key, sample.days))
    files: list[Path] = []
    parts = {d.table: _dealt(sample, d, frame, offsets) for d in sample.deliveries}
    for day in chosen:
        for delivery in sample.deliveries:
            rows = parts[delivery.table].get(day)
            path = _path(sample, landing_root, delivery, day)
            if rows is not None and not path.exists():
                _write(path, rows, delivery.format)
                files.append(path)
    return Landed(tuple(files), chosen[0], chosen[-1], len(due) - len(chosen))


def _dealt(
    sample: Sample, delivery: Delivery, frame: pd.DataFrame, offsets: pd.Series
) -> Mapping[date, pd.DataFrame]:
    arrives = offsets.map(
        lambda offset: sample.first_day + timedelta(days=int(offset) + delivery.delay_days)
    )
    rows = delivery.rows(frame, arrives)
    return {day: rows[arrives == day] for day in arrives.unique()}


def _day(key: object, days: int) -> int:
    digest = hashlib.sha256(str(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") % days


def _complete(sample: Sample, root: Path, day: date) -> bool:
    expected = [
        d
        for d in sample.deliveries
        if d.delay_days <= (day - sample.first_day).days < sample.days + d.delay_days
    ]
    return all(_path(sample, root, d, day).exists() for d in expected)


def _path(sample: Sample, root: Path, delivery: Delivery, day: date) -> Path:
    return root / sample.name / delivery.table / f"{day.isoformat()}.{delivery.format}"


def _write(path: Path, rows: pd.DataFrame, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with hidden.open("w", encoding="utf-8", newline="") as file:
        if kind == "csv":
            rows.to_csv(file, index=False, lineterminator="\n")
        else:
            rows.to_json(file, orient="records", lines=True, date_format="iso")
        file.flush()
        os.fsync(file.fileno())
    hidden.replace(path)
