"""Take the rows of an entity out of landing files, without their being ingested again."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeAlias

from lakeops_assets.ingest.files import list_files, look, sha256
from lakeops_assets.ingest.ledger import FileOutcome, next_batch, outcomes, record, recover
from lakeops_assets.ingest.spec import IngestSpec
from lakeops_assets.lakehouse import Lakehouse

REMOVED = "rows were removed from it on request; it is not ingested again"


@dataclass(frozen=True)
class LandingRows:
    """Rows of an entity in a landing file.

    Attributes:
        table: Bronze table that the file feeds.
        path: The file.
        rows: Rows with the key.
        ingested: Whether the file as it is was looked at by the ingest; if not, the next ingest
            brings the rows.
    """

    table: str
    path: str
    rows: int
    ingested: bool


@dataclass(frozen=True)
class Cell:
    """A value of a key as it may be written in a file.

    Attributes:
        text: The value.
        number: Whether its column holds numbers, so that 7, " 7" and 7.0 are one.
    """

    text: str
    number: bool

    def is_in(self, value: object) -> bool:
        """Return whether a cell of a file holds the value."""
        if value is None:
            return False
        if str(value) == self.text or not self.number:
            return str(value) == self.text
        try:
            return Decimal(str(value).strip()) == Decimal(self.text)
        except InvalidOperation:
            return False


Cells: TypeAlias = Mapping[str, Cell]


def find_rows(lakehouse: Lakehouse, spec: IngestSpec, key: Mapping[str, str]) -> list[LandingRows]:
    """Return the landing files of a table that hold rows with a key."""
    known = {(o.path, o.size, o.modified_at) for o in outcomes(lakehouse, spec.table)}
    cells = _cells(lakehouse, spec, key)
    found = []
    for file in list_files(spec):
        rows = sum(1 for _, met in _records(file.full_path, spec, cells) if met)
        if rows:
            ingested = file.identity in known
            found.append(LandingRows(str(spec.table), str(file.full_path), rows, ingested))
    return found


def remove_rows(
    lakehouse: Lakehouse, spec: IngestSpec, key: Mapping[str, str], *, now: datetime
) -> list[LandingRows]:
    """Rewrite the landing files of a table without the rows of a key; return what was removed.

    The other rows keep their bytes. The ledger learns the new bytes before the file has them, so
    that a file that was ingested is not taken for a new one, whenever the process is killed. A file
    that waits to be ingested still is.
    """
    found = find_rows(lakehouse, spec, key)
    if not found:
        return []
    recover(lakehouse, spec.table, now)
    cells = _cells(lakehouse, spec, key)
    replacements: list[tuple[Path, Path]] = []
    seen: list[FileOutcome] = []
    for rows in found:
        path = Path(rows.path)
        relative = path.relative_to(spec.landing).as_posix()
        # Always the same name: a repetition takes the place of what a killed process left.
        fresh = path.with_name(f".{path.name}.rewritten.tmp")
        _rewrite(path, fresh, spec, cells)
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        os.utime(fresh, (now.timestamp(), now.timestamp()))
        new = look(fresh, relative)
        if rows.ingested and new is not None:
            digest = sha256(fresh)
            outcome = FileOutcome(
                relative, new.size, new.modified_at, digest, "ingested", reason=REMOVED
            )
            seen.append(outcome)
        replacements.append((fresh, path))
    if seen:
        record(lakehouse, spec.table, next_batch(lakehouse, spec.table), seen, now)
    for fresh, path in replacements:
        fresh.replace(path)
    return found


def _cells(lakehouse: Lakehouse, spec: IngestSpec, key: Mapping[str, str]) -> Cells:
    import pyarrow as pa

    schema = lakehouse.schema(spec.table) if lakehouse.exists(spec.table) else pa.schema([])

    def number(column: str) -> bool:
        kind = schema.field(column).type if column in schema.names else pa.string()
        return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)

    return {column: Cell(text, number(column)) for column, text in key.items()}


def _rewrite(path: Path, fresh: Path, spec: IngestSpec, key: Cells) -> None:
    if spec.format == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        kept = [not met for _, met in _records(path, spec, key)]
        pq.write_table(table.filter(pa.array(kept, pa.bool_())), fresh)
    elif spec.format == "json" and _is_array(path):
        kept_rows = [record for record, met in _records(path, spec, key) if not met]
        fresh.write_text(json.dumps(kept_rows, ensure_ascii=False), encoding="utf-8")
    else:
        with fresh.open("w", encoding="utf-8", newline="") as file:
            file.writelines(raw for raw, met in _records(path, spec, key) if not met)


def _records(path: Path, spec: IngestSpec, key: Cells) -> Iterator[tuple[Any, bool]]:
    """Yield each record as it is in the file and whether it has the key; a header has none."""
    if spec.format == "csv":
        yield from _csv(path, spec, key)
    elif spec.format == "parquet":
        import pyarrow.parquet as pq

        yield from ((row, _met(row.get, key)) for row in pq.read_table(path).to_pylist())
    elif _is_array(path):
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        yield from ((row, isinstance(row, dict) and _met(row.get, key)) for row in content)
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line in file:
                yield line, _line_met(line, key)


def _csv(path: Path, spec: IngestSpec, key: Cells) -> Iterator[tuple[str, bool]]:
    raw: list[str] = []

    def lines() -> Iterator[str]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line in file:
                raw.append(line)
                yield line

    names: list[str] | None = None
    for cells in csv.reader(lines(), delimiter=spec.delimiter):
        text = "".join(raw)  # a cell in quotes may go over several lines
        raw.clear()
        if names is None:
            names = cells
            yield text, False
        else:
            yield text, _met(dict(zip(names, cells, strict=False)).get, key)


def _line_met(line: str, key: Cells) -> bool:
    try:
        row = json.loads(line) if line.strip() else None
    except json.JSONDecodeError:  # for this line the ingest rejected the file
        return all(re.search(rf"(?<!\w){re.escape(c.text)}(?!\w)", line) for c in key.values())
    return isinstance(row, dict) and _met(row.get, key)


def _met(value_of: Callable[[str], Any], key: Cells) -> bool:
    return all(cell.is_in(value_of(column)) for column, cell in key.items())


def _is_array(path: Path) -> bool:
    with path.open(encoding="utf-8-sig") as file:
        return file.read(4096).lstrip()[:1] == "["
