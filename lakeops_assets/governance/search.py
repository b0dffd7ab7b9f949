"""Look for a key in the bytes of a table's files, whatever the log of the table says of them.

A proof that something is gone must not trust what it is to prove. So every file below the table's
folder is opened: Parquet is decoded, whether or not any version refers to it, the log is read entry
by entry, and what is neither is searched as bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import unquote

from lakeops_assets.governance.keys import Key, typed

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Kind: TypeAlias = Literal["data", "change data", "log", "other"]
LOG, CHANGES = "_delta_log", "_change_data"
# Actions of a log that describe the table and nothing of a row: schema, comments, versions.
ABOUT_TABLE = ("metaData", "protocol")


@dataclass(frozen=True)
class Hit:
    """A file that holds a key.

    Attributes:
        table: Full name of the table.
        path: File, relative to the table's folder.
        kind: What the file is.
        rows: Rows with the key; 0 where it is no table.
        where: Where in the file, in words.
    """

    table: str
    path: str
    kind: Kind
    rows: int
    where: str


@dataclass(frozen=True)
class Search:
    """What was found in the files of a table.

    Attributes:
        files: Number of files that were read.
        hits: Files that hold the key, sorted by path.
        same_value: Other column of the key's type -> rows that hold the same value there, which
            may mean something else; for keys of one column.
    """

    files: int
    hits: tuple[Hit, ...]
    same_value: tuple[tuple[str, int], ...]


def search(folder: Path, table: str, key: Key) -> Search:
    """Look for a key in every file of a table.

    Args:
        folder: Folder of the table.
        table: Full name, for the hits.
        key: What to look for.
    """
    hits: list[Hit] = []
    same: dict[str, int] = {}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        parts = path.relative_to(folder).parts
        name = "/".join(parts)
        kind: Kind = "log" if LOG in parts else "change data" if CHANGES in parts else "data"
        if path.suffix == ".parquet" and kind != "log":
            found = _rows(path, parts, key, same)
        elif path.suffix in (".parquet", ".json") and kind == "log":
            found = _log(path, key)
        else:
            kind = "log" if kind == "log" else "other"
            found = (0, "bytes") if _in_bytes(path, key) else None
        if found is not None:
            hits.append(Hit(table, name, kind, *found))
    return Search(len(files), tuple(hits), tuple(sorted(same.items())))


def log_version(hit: Hit) -> int | None:
    """Return the version that an entry or checkpoint of a log is of; None for other files."""
    number = Path(hit.path).name.split(".")[0]
    return int(number) if hit.kind == "log" and number.isdigit() else None


# Parquet


def _rows(
    path: Path, parts: tuple[str, ...], key: Key, same: dict[str, int]
) -> tuple[int, str] | None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        # A partition's value is in the name of its folder and not in the file.
        partition = dict(unquote(p).split("=", 1) for p in parts[:-1] if "=" in p)
        wanted = {c: _value(c, text, schema, partition) for c, text in key.values}
        others = _others(key, schema)
        columns = [*(c for c in key.columns if c in schema.names), *others]
        if not columns:  # the whole key is in the name of the folder, or the file cannot hold it
            rows = file.metadata.num_rows if all(v is not None for v in wanted.values()) else 0
            return (rows, "rows") if rows else None
        rows = 0
        for batch in file.iter_batches(columns=columns):
            met = np.ones(batch.num_rows, dtype=bool)
            for column, value in wanted.items():
                if value is None:
                    met[:] = False
                elif column in schema.names:
                    met &= _equal(batch.column(column), value)
            rows += int(met.sum())
            for column, value in others.items():
                if count := int(_equal(batch.column(column), value).sum()):
                    same[column] = same.get(column, 0) + count
    except (pa.ArrowException, OSError) as error:
        return 0, f"it cannot be decoded, so it may hold anything: {error}"
    return (rows, "rows") if rows else None


def _value(column: str, text: str, schema: pa.Schema, partition: dict[str, str]) -> Any:
    """Return the value to look for in a column; None where the file cannot hold it."""
    if column in schema.names:
        return typed(text, schema.field(column).type)
    return text if partition.get(column) == text else None


def _others(key: Key, schema: pa.Schema) -> dict[str, Any]:
    """Return the other columns of the key's type, and the value as one of them."""
    if len(key.values) != 1 or key.columns[0] not in schema.names:
        return {}
    [(column, text)] = key.values
    kind = schema.field(column).type
    found = {f.name: typed(text, f.type) for f in schema if f.type == kind and f.name != column}
    return {name: value for name, value in found.items() if value is not None}


def _equal(column: pa.Array, value: pa.Scalar) -> np.ndarray:
    """Return which cells hold a value (shape `(n,)`, bool); null is no value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    equal = pc.call_function("equal", [column, value])
    return equal.fill_null(False).to_numpy(zero_copy_only=False)


# The log


def _log(path: Path, key: Key) -> tuple[int, str] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            actions = pq.read_table(path).to_pylist()
        else:
            actions = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (pa.ArrowException, OSError, ValueError) as error:
        return 0, f"it cannot be decoded, so it may hold anything: {error}"
    found = sorted({place for action in actions for place in _places(action, "", key)})
    return (0, ", ".join(found)) if found else None


def _places(value: Any, field: str, key: Key) -> Iterator[str]:
    """Yield where an action of the log holds the key: in statistics, or in a text."""
    if isinstance(value, dict):
        if {"minValues", "maxValues"} & value.keys():
            least, most = value.get("minValues") or {}, value.get("maxValues") or {}
            ends = [(str(least.get(c)) == t, str(most.get(c)) == t) for c, t in key.values]
            # Of several columns each value alone is that of many; together they are one entity's.
            if all(map(all, ends)) or (len(ends) == 1 and any(ends[0])):
                yield "smallest or largest value of a file"
            return
        for name, inner in value.items():
            if name in ABOUT_TABLE:
                continue
            yield from _places(inner, str(name), key)
    elif isinstance(value, list):
        for inner in value:
            yield from _places(inner, field, key)
    elif isinstance(value, str):
        inner = _nested(value)
        if inner is not None:
            yield from _places(inner, field, key)
        elif _holds(value, key) or (value, field) in ((t, c) for c, t in key.values):
            yield f"text of {field}"
    elif value is not None and len(key.values) == 1 and key.values[0] == (field, str(value)):
        yield f"value of {field}"


def _nested(text: str) -> Any:
    """Return what a text says in JSON, when it is an object or an array."""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _holds(text: str, key: Key) -> bool:
    """Return whether a text holds all values as words; a lone number is a number of the log."""
    lone = re.fullmatch(r"[-+.\d]*", text)
    return not lone and all(_word(value).search(text) for _, value in key.values)


def _word(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-]){re.escape(value)}(?![\w-]|\.\w)")


def _in_bytes(path: Path, key: Key) -> bool:
    content = path.read_bytes().decode("utf-8", errors="replace")
    if path.name == "_last_checkpoint":  # numbers of the checkpoint, and nothing of a row
        return False
    return _holds(content, key)
