"""Land the rows of a data set as files, on the day on which each became known."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

# Rows, and the day on which each arrives (Series of dates with the same index).
Arriving: TypeAlias = "tuple[pd.DataFrame, pd.Series]"


class SampleError(ValueError):
    """A sample does not exist or cannot be replayed."""


@dataclass(frozen=True)
class Delivery:
    """One landing table of a sample.

    Attributes:
        table: Landing table, which is also the bronze table.
        format: Format of its files.
        first_day: Day of its first file; there is one for each day.
        last_day: Day of its last file.
        rows: Takes the data set as `Sample.load` returns it, and returns this table's rows and the
            day each of them arrives.
    """

    table: str
    format: Literal["csv", "json"]
    first_day: date
    last_day: date
    rows: Callable[[Mapping[str, pd.DataFrame]], Arriving]


@dataclass(frozen=True)
class Sample:
    """A data set and how it is replayed.

    Attributes:
        name: Product that it is made for.
        load: Returns the frames that the deliveries are made from, by name.
        deliveries: Landing tables.
        first_batches: How many daily batches `lakeops run` lands where nothing was landed yet; all
            when None.
        by_name: Whether it is landed only for those who name it. `lakeops run` without a name
            leaves such a product out until something of it has landed.
    """

    name: str
    load: Callable[[], Mapping[str, pd.DataFrame]]
    deliveries: tuple[Delivery, ...]
    first_batches: int | None = None
    by_name: bool = False

    @property
    def days(self) -> tuple[date, ...]:
        """Days of the replay, one batch each."""
        first = min(d.first_day for d in self.deliveries)
        last = max(d.last_day for d in self.deliveries)
        return tuple(first + timedelta(days=i) for i in range((last - first).days + 1))


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
    due = [d for d in sample.days if not _complete(sample, landing_root, d)]
    chosen = due if batches is None else due[:batches]
    if not chosen:
        return Landed((), None, None, 0)
    frames = sample.load()
    parts = {d.table: _by_day(d, frames) for d in sample.deliveries}
    files: list[Path] = []
    for day in chosen:
        for delivery in sample.deliveries:
            path = _path(sample, landing_root, delivery, day)
            if _delivers(delivery, day) and not path.exists():
                _write(path, parts[delivery.table](day), delivery.format)
                files.append(path)
    return Landed(tuple(files), chosen[0], chosen[-1], len(due) - len(chosen))


def _by_day(
    delivery: Delivery, frames: Mapping[str, pd.DataFrame]
) -> Callable[[date], pd.DataFrame]:
    rows, arrives = delivery.rows(frames)
    places = rows.groupby(arrives.to_numpy(), sort=False).indices
    return lambda day: rows.iloc[places.get(day, [])]


def _delivers(delivery: Delivery, day: date) -> bool:
    return delivery.first_day <= day <= delivery.last_day


def _complete(sample: Sample, root: Path, day: date) -> bool:
    expected = [d for d in sample.deliveries if _delivers(d, day)]
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
