"""Read one landing file whole and leave it as Parquet in the staging folder.

Nothing is judged here: cells of text formats stay text. A file that cannot be read from its first
byte to its last is rejected with the reason.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeops_assets.ingest.spec import IngestSpec

if TYPE_CHECKING:
    import pyarrow as pa

# Cells that have no column: a map of name to text beside the columns.
EXTRA = "__lakeops_extra"
BATCH_ROWS = 10_000
CSV_BLOCK = 4 << 20


class RejectedFileError(Exception):
    """The file cannot become rows; the message is the reason that people see."""


@dataclass(frozen=True)
class Staged:
    """A landing file in the staging folder.

    Attributes:
        path: Parquet file.
        columns: Names of its columns, without `EXTRA`.
        text: Whether cells are text, as in csv and JSON, or have Parquet's types.
    """

    path: Path
    columns: tuple[str, ...]
    text: bool


def stage(source: Path, spec: IngestSpec, target: Path) -> Staged:
    """Read a file and write it to the staging folder, in bounded memory.

    A JSON file that is one array is the exception: it is held in memory whole.

    Raises:
        RejectedFileError: The file is empty, truncated or not of its format.
    """
    if source.stat().st_size == 0:
        raise RejectedFileError("the file is empty")
    read = {"csv": _csv, "json": _json, "parquet": _parquet}[spec.format]
    with _rejected(spec.format):
        schema, batches = read(source, spec)
        _check_names(schema.names)
        _write(target, schema, batches)
    columns = tuple(name for name in schema.names if name != EXTRA)
    return Staged(target, columns, text=spec.format != "parquet")


@contextmanager
def _rejected(kind: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, UnicodeError, csv.Error, json.JSONDecodeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RejectedFileError(f"it cannot be read as {kind}: {reason}") from error


def _check_names(names: list[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise RejectedFileError(f"it has the column {', '.join(twice)} more than once")
    if any(not n.strip() for n in names):
        raise RejectedFileError("it has a column without a name")


def _write(target: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(target, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


# csv


def _csv(source: Path, spec: IngestSpec) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with source.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file, delimiter=spec.delimiter), [])
    if not names:
        raise RejectedFileError("its first line, which should name the columns, is empty")
    _check_names(names)
    ragged: list[str] = []

    def set_aside(row: Any) -> str:
        ragged.append(row.text)
        return "skip"

    schema = pa.schema([*((n, pa.string()) for n in names), (EXTRA, extra_type())])
    reader = arrow_csv.open_csv(
        source,
        read_options=arrow_csv.ReadOptions(block_size=CSV_BLOCK, use_threads=False),
        parse_options=arrow_csv.ParseOptions(
            delimiter=spec.delimiter, newlines_in_values=True, invalid_row_handler=set_aside
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=list(spec.null_values),
            strings_can_be_null=True,
            # "" is an empty text; nothing between two delimiters is null.
            quoted_strings_can_be_null=False,
        ),
    )

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            nothing = pa.nulls(batch.num_rows, extra_type())
            yield pa.RecordBatch.from_arrays([*batch.columns, nothing], schema=schema)
        if ragged:
            rows = [ragged_row(line, names, spec) for line in ragged]
            yield pa.RecordBatch.from_pylist(rows, schema=schema)

    return schema, batches()


def ragged_row(line: str, names: list[str], spec: IngestSpec) -> dict[str, Any]:
    """Return a row with too few or too many cells: the missing are null, the others extra."""
    cells = next(csv.reader([line], delimiter=spec.delimiter), [])
    values = [None if cell in spec.null_values else cell for cell in cells]
    row: dict[str, Any] = dict(zip(names, values, strict=False))
    over = {f"_extra_{i}": cell for i, cell in enumerate(cells[len(names) :], 1)}
    return {**row, EXTRA: list(over.items()) or None}


def extra_type() -> pa.DataType:
    """Return the type of `EXTRA`."""
    import pyarrow as pa

    return pa.map_(pa.string(), pa.string())


# JSON


def _json(source: Path, spec: IngestSpec) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    import pyarrow as pa

    # The columns are known when the last object has been seen, so the file is read twice.
    names: dict[str, None] = {}
    for row in _objects(source):
        names.update(dict.fromkeys(row))
    if not names:
        raise RejectedFileError("it holds no object with a value")
    schema = pa.schema([(name, pa.string()) for name in names])

    def batches() -> Iterator[pa.RecordBatch]:
        rows: list[dict[str, str | None]] = []
        for row in _objects(source):
            rows.append({name: as_text(value) for name, value in row.items()})
            if len(rows) == BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(rows, schema=schema)
                rows = []
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)

    return schema, batches()


def _objects(source: Path) -> Iterator[dict[str, Any]]:
    with source.open(encoding="utf-8-sig") as file:
        start = file.read(1)
        while start and start.isspace():
            start = file.read(1)
        file.seek(0)
        if start == "[":
            for row in json.load(file):
                yield _object(row, "an element of its array")
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise RejectedFileError(
                        f"it cannot be read as json: line {number}: {error}"
                    ) from error
                yield _object(row, f"line {number}")


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise RejectedFileError(f"it cannot be read as json: {where} is not an object")
    return row


def as_text(value: Any) -> str | None:
    """Return a value of JSON as a cell; what is nested stays JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


# Parquet


def _parquet(source: Path, spec: IngestSpec) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source)
    return file.schema_arrow.remove_metadata(), file.iter_batches(batch_size=BATCH_ROWS)
