"""Fit staged rows to the columns of a table; what does not fit is rescued, not lost.

A cell fits when nothing of it is lost: `1.7` is no integer and `2026-01-05 12:00` is no date.
DuckDB computes this whatever engine the lakehouse has: files are parsed where they land.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakeops_assets.ingest.spec import Column, SchemaPolicy, duckdb_type
from lakeops_assets.ingest.stage import EXTRA, RejectedFileError, Staged

if TYPE_CHECKING:
    import duckdb

INTEGERS = ("TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT", "HUGEINT")
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(?i:nan|inf|infinity)"
# Tried in this order on a column of text that nobody declared.
INFERRED = {
    "bigint": r"[+-]?(0|[1-9]\d{0,17})",
    # Neither a code such as 007 nor an identifier of twenty digits is a number.
    "double": r"[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(?i:nan|inf|infinity)",
    "boolean": r"(?i:true|false)",
    "date": r"\d{4}-\d{2}-\d{2}",
    "timestamp": r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*",
}


@dataclass(frozen=True)
class Fitted:
    """A staged file with the columns of the table.

    Attributes:
        path: Parquet file.
        rows: Rows that go to the table.
        rescued: Rows of those with something rescued.
        discarded: Rows left out.
        example: One value that did not fit, in words; empty when all did.
    """

    path: Path
    rows: int
    rescued: int
    discarded: int
    example: str


def infer(staged: Staged, names: Sequence[str]) -> dict[str, str]:
    """Return a Spark SQL type for some columns of a staged file; text when nothing else fits."""
    if not names:
        return {}
    with _open(staged.path) as connection:
        if not staged.text:
            described = dict(_described(connection))
            return {n: _spark_type(described[n]) for n in names}
        return {name: _inferred(connection, name) for name in names}


def widen(one: str, other: str) -> str:
    """Return the type that holds the values of two inferred types."""
    if one == other:
        return one
    numbers = {"bigint", "int", "smallint", "tinyint", "float", "double"}
    return "double" if {one, other} <= numbers else "string"


def fit(
    staged: Staged,
    columns: Sequence[Column],
    policy: SchemaPolicy,
    target: Path,
    keep: Sequence[str] = (),
) -> Fitted:
    """Write a staged file with exactly the columns of the table and `_rescued_data`.

    Args:
        staged: The file.
        columns: Columns of the table.
        policy: What happens to what does not fit.
        target: The file to write.
        keep: Columns of the staged file that are passed on as they are, beside its own.

    Raises:
        RejectedFileError: Under `freeze`, a column is missing or unknown or a value does not fit;
            under any policy, the file shares no column with the table.
    """
    wanted = {c.name: duckdb_type(c.type, c.name) for c in columns}
    unknown = [n for n in staged.columns if n not in wanted]
    missing = [n for n in wanted if n not in staged.columns]
    if len(missing) == len(wanted):
        raise RejectedFileError(
            f"none of its columns ({', '.join(staged.columns)[:200]}) is one of the table's"
        )
    if policy == "freeze" and (unknown or missing):
        differs = [f"unknown: {', '.join(unknown)}"] if unknown else []
        differs += [f"missing: {', '.join(missing)}"] if missing else []
        raise RejectedFileError(f"its columns are not the table's ({'; '.join(differs)})")
    with _open(staged.path) as connection:
        values, problems = _expressions(connection, staged, wanted, unknown)
        rescued = _rescued(problems, has_extra=staged.text and _has_extra(connection))
        connection.execute(
            f"CREATE VIEW fitted AS SELECT {', '.join([*values, *map(_name, keep)])}, "
            f"{rescued} AS _rescued_data "
            "FROM staged"
        )
        counts = connection.execute(
            "SELECT count(*), count(_rescued_data), min(_rescued_data) FROM fitted"
        ).fetchone()
        rows, bad, example = counts or (0, 0, None)
        if policy == "freeze" and bad:
            raise RejectedFileError(f"{bad} of {rows} rows do not fit, for example {example}")
        kept = "WHERE _rescued_data IS NULL" if policy == "discard_row" else ""
        connection.execute(
            f"COPY (SELECT * FROM fitted {kept}) TO {_text(str(target))} (FORMAT parquet)"
        )
    if policy == "discard_row":
        return Fitted(target, rows - bad, 0, bad, example or "")
    return Fitted(target, rows, bad, 0, example or "")


def _expressions(
    connection: duckdb.DuckDBPyConnection,
    staged: Staged,
    wanted: Mapping[str, str],
    unknown: Sequence[str],
) -> tuple[list[str], dict[str, str]]:
    """Return the columns to select, and for each name the text that does not fit, else null."""
    described = dict(_described(connection))
    values, problems = [], {}
    for name, kind in wanted.items():
        cell = _name(name)
        if name not in described:
            values.append(f"CAST(NULL AS {kind}) AS {cell}")
            continue
        value, fits = (
            _from_text(cell, kind) if staged.text else _from_native(cell, described[name], kind)
        )
        values.append(
            f"CASE WHEN {fits} THEN {value} END AS {cell}" if fits else f"{value} AS {cell}"
        )
        if fits:
            text = _as_text(cell, described[name])
            problems[name] = (
                f"CASE WHEN {cell} IS NOT NULL AND ({fits} AND {value} IS NOT NULL) IS NOT TRUE "
                f"THEN {text} END"
            )
    for name in unknown:
        problems[name] = _as_text(_name(name), described[name])
    return values, problems


def _from_text(cell: str, kind: str) -> tuple[str, str]:
    """Return a cast of a text and the condition under which it loses nothing."""
    base = kind.split("(")[0].upper()
    trimmed = f"trim({cell})"
    if base in ("TEXT", "VARCHAR"):
        return cell, ""
    cast = f"TRY_CAST({trimmed} AS {kind})"
    if base in INTEGERS:
        return cast, _matches(trimmed, r"[+-]?\d+")
    if base in ("FLOAT", "REAL", "DOUBLE"):
        return cast, _matches(trimmed, NUMBER)
    if base == "DECIMAL":
        scale = int((re.findall(r"\d+", kind) or ["18", "3"])[-1]) if "," in kind else 0
        return cast, _matches(trimmed, rf"[+-]?(\d+(\.\d{{0,{scale}}}0*)?|\.\d{{1,{scale}}}0*)")
    if base == "BOOLEAN":
        value = f"lower({trimmed}) IN ('true', 't', 'yes', 'y', '1')"
        return value, f"lower({trimmed}) IN ('true','t','yes','y','1','false','f','no','n','0')"
    if base == "DATE":
        return cast, _matches(trimmed, INFERRED["date"])
    if base == "BLOB":
        return f"encode({cell})", "true"
    return cast, _matches(trimmed, r"\d{4}-\d{2}-\d{2}.*")


def _from_native(cell: str, kind: str, wanted: str) -> tuple[str, str]:
    if kind == wanted or (kind == "VARCHAR" and wanted == "TEXT"):
        return cell, ""
    if wanted in ("TEXT", "VARCHAR"):
        return _as_text(cell, kind), ""
    if kind == "VARCHAR":
        return _from_text(cell, wanted)
    if _nested(kind):
        return f"CAST(NULL AS {wanted})", "false"
    value = f"TRY_CAST({cell} AS {wanted})"
    return value, f"TRY_CAST({value} AS {kind}) = {cell}"


def _rescued(problems: Mapping[str, str], *, has_extra: bool) -> str:
    """Return an expression for a JSON object of everything that does not fit, or null."""
    if not problems and not has_extra:
        return "CAST(NULL AS VARCHAR)"
    listed = ", ".join(f"{{'k': {_text(n)}, 'v': {e}}}" for n, e in problems.items())
    entries = f"[e FOR e IN [{listed}] IF e.v IS NOT NULL]" if problems else ""
    if has_extra:
        over = f"coalesce([{{'k': e.key, 'v': e.value}} FOR e IN map_entries({EXTRA})], [])"
        entries = f"list_concat({entries}, {over})" if entries else over
    return (
        f"CASE WHEN len({entries}) > 0 THEN "
        f"CAST(to_json(map_from_entries([(e.k, e.v) FOR e IN {entries}])) AS VARCHAR) END"
    )


def _inferred(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    cell = _name(name)
    tests = ", ".join(
        f"bool_and({_matches(cell, pattern)} AND TRY_CAST({cell} AS {kind}) IS NOT NULL)"
        for kind, pattern in INFERRED.items()
    )
    found = connection.execute(f"SELECT {tests} FROM staged WHERE {cell} IS NOT NULL").fetchone()
    return next((k for k, fits in zip(INFERRED, found or (), strict=False) if fits), "string")


def _spark_type(kind: str) -> str:
    names = {
        "BOOLEAN": "boolean",
        "TINYINT": "tinyint",
        "SMALLINT": "smallint",
        "INTEGER": "int",
        "BIGINT": "bigint",
        "UTINYINT": "smallint",
        "USMALLINT": "int",
        "UINTEGER": "bigint",
        "FLOAT": "float",
        "DOUBLE": "double",
        "DATE": "date",
        "BLOB": "binary",
    }
    if kind.startswith("TIMESTAMP"):
        return "timestamp"
    return kind.lower() if kind.startswith("DECIMAL") else names.get(kind, "string")


@contextmanager
def _open(staged: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            f"CREATE VIEW staged AS SELECT * FROM read_parquet({_text(str(staged))})"
        )
        yield connection


def _described(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in connection.execute("DESCRIBE staged").fetchall()]


def _has_extra(connection: duckdb.DuckDBPyConnection) -> bool:
    return any(name == EXTRA for name, _ in _described(connection))


def _nested(kind: str) -> bool:
    return kind.startswith(("STRUCT", "MAP", "UNION")) or kind.endswith("]")


def _as_text(cell: str, kind: str) -> str:
    return f"CAST(to_json({cell}) AS VARCHAR)" if _nested(kind) else f"CAST({cell} AS VARCHAR)"


def _matches(text: str, pattern: str) -> str:
    return f"regexp_full_match({text}, {_text(pattern)})"


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
