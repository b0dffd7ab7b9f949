"""Merging with Spark: what differs is compared first, and committed only against what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.engines.protocol import TableAt
from lakeops_assets.lakehouse.engines.spark_query import CHANGED_MEANWHILE, read_input
from lakeops_assets.lakehouse.errors import SchemaError
from lakeops_assets.lakehouse.statements import quote, within_bounds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# What a row that differs was when it was compared; null for one that the target does not have.
BEFORE = "__lakeops_before"
# Marks the rows that a merge deletes.
DELETE = "__lakeops_delete"


@dataclass(frozen=True)
class Differences:
    """Rows of a source that differ from a target.

    Attributes:
        rows: Columns of the source, `BEFORE` and `DELETE`.
        new: How many have a key that the target does not have.
        changed: How many do not.
    """

    rows: DataFrame
    new: int
    changed: int


def check_keys(rows: DataFrame, keys: Sequence[str], location: str) -> str:
    """Check that rows to merge have one row per key; return between what the first key lies.

    The condition is on the table's column, named `t`, and TRUE where statistics cannot help.

    Raises:
        SchemaError: A key is null or there twice; names examples.
    """
    from pyspark.sql import functions as f

    missing = [k for k in keys if k not in rows.columns]
    if missing:
        raise SchemaError(
            f"the key {', '.join(missing)} is not a column of the rows to merge into {location}; "
            f"they have: {', '.join(rows.columns)}"
        )
    columns = [rows[quote(k)] for k in keys]
    null = columns[0].isNull()
    for column in columns[1:]:
        null = null | column.isNull()
    found = rows.agg(
        f.count_if(null).alias("nulls"),
        f.count(f.lit(1)).alias("rows"),
        f.count_distinct(f.struct(*columns)).alias("keys"),
        f.min(columns[0]).alias("first"),
        f.max(columns[0]).alias("last"),
    ).toArrow()
    [row] = found.select(["nulls", "rows", "keys"]).to_pylist()
    if row["nulls"]:
        raise SchemaError(
            f"{row['nulls']} rows to merge into {location} have no value in the key "
            f"{', '.join(keys)}"
        )
    if row["keys"] < row["rows"]:
        twice = rows.groupBy(*columns).count().where("count > 1").orderBy(*keys).limit(3)
        examples = "; ".join(
            ", ".join(repr(v) for k, v in example.items() if k != "count")
            for example in twice.toArrow().to_pylist()
        )
        raise SchemaError(
            f"the rows to merge into {location} have the key {', '.join(keys)} more than once, "
            f"for example {examples}; make the key unique with GROUP BY or QUALIFY"
        )
    import pyarrow as pa

    ends = pa.chunked_array([*found["first"].chunks, *found["last"].chunks], found["first"].type)
    return within_bounds(f"t.{quote(keys[0])}", ends)


def differences(
    session: SparkSession,
    rows: DataFrame,
    target: TableAt,
    keys: Sequence[str],
    existing: Sequence[str],
    near: str,
    *,
    delete_missing: bool,
) -> Differences:
    """Compare rows with a version of a table.

    Args:
        session: Where it is computed.
        rows: The table's columns, perhaps with new ones behind them.
        target: The table at a version.
        keys: Columns that identify a row.
        existing: Columns of the table.
        near: Condition on `t` that holds for all keys of the rows.
        delete_missing: Rows of the table without one here are to be deleted.
    """
    columns = rows.columns
    same_key = " AND ".join(f"t.{quote(k)} = s.{quote(k)}" for k in keys)
    differs = " OR ".join(
        f"NOT ({_comparable(rows, 's', c)} <=> {_comparable(rows, 't', c)})"
        if c in existing
        else f"s.{quote(c)} IS NOT NULL"
        for c in columns
        if c not in keys
    )
    before = _row(rows, "t", existing)
    selected = ", ".join(f"s.{quote(c)}" for c in columns)
    new = f"t.{quote(keys[0])} IS NULL"
    statement = (
        f"SELECT {selected}, IF({new}, NULL, {before}) AS {BEFORE}, false AS {DELETE} "
        f"FROM {{rows}} s LEFT JOIN (SELECT * FROM {{target}} t WHERE {near}) t ON {same_key} "
        f"WHERE {new} OR ({differs or 'false'})"
    )
    if delete_missing:
        types = {field.name: field.dataType.simpleString() for field in rows.schema}
        gone = ", ".join(
            f"t.{quote(c)}" if c in existing else f"CAST(NULL AS {types[c]}) AS {quote(c)}"
            for c in columns
        )
        statement += (
            f" UNION ALL SELECT {gone}, {before}, true FROM {{target}} t "
            f"LEFT ANTI JOIN {{rows}} s ON {same_key}"
        )
    found = session.sql(statement, rows=rows, target=read_input(session, target))
    counts = found.selectExpr(
        f"count_if({BEFORE} IS NULL) AS new", f"count_if({BEFORE} IS NOT NULL) AS changed"
    ).collect()[0]
    return Differences(found, int(counts["new"]), int(counts["changed"]))


def merge_statement(
    rows: DataFrame, location: str, keys: Sequence[str], existing: Sequence[str], near: str,
    *, evolve: bool
) -> str:  # fmt: skip
    """Return the MERGE of differences, which stand in the statement as `{changed}`.

    It reads the newest version, which may be newer than what was compared: a row that is not any
    more what it was then, or not there any more, makes it fail.
    """
    columns = [c for c in rows.columns if c not in (BEFORE, DELETE)]
    same_key = " AND ".join(f"t.{quote(k)} = s.{quote(k)}" for k in keys)
    before = _row(rows, "t", existing)
    seen = f"s.{BEFORE} IS NOT NULL AND s.{BEFORE} <=> {before}"
    values = [c for c in columns if c not in keys]
    equal = " AND ".join(
        f"{_comparable(rows, 's', c)} <=> {_comparable(rows, 't', c)}"
        for c in values
        if c in existing
    )
    updated = ", ".join(f"{quote(c)} = s.{quote(c)}" for c in values)
    listed = ", ".join(quote(c) for c in columns)
    inserted = ", ".join(f"s.{quote(c)}" for c in columns)
    key = quote(keys[0])
    key_type = next(f.dataType.simpleString() for f in rows.schema if f.name == keys[0])
    refusal = f"CAST(raise_error('{CHANGED_MEANWHILE}') AS {key_type})"
    clauses = [
        f"WHEN MATCHED AND {seen} AND s.{DELETE} THEN DELETE",
        f"WHEN MATCHED AND {seen} THEN UPDATE SET {updated}" if values else "",
        f"WHEN MATCHED AND NOT ({equal or 'true'}) THEN UPDATE SET t.{key} = {refusal}",
        f"WHEN NOT MATCHED AND s.{BEFORE} IS NULL THEN INSERT ({listed}) VALUES ({inserted})",
        # The row is gone; where it was to be deleted that is as well.
        f"WHEN NOT MATCHED AND NOT s.{DELETE} THEN INSERT ({key}) VALUES ({refusal})",
    ]
    evolving = " WITH SCHEMA EVOLUTION" if evolve and set(columns) - set(existing) else ""
    return (
        f"MERGE{evolving} INTO delta.{quote(location)} t USING {{changed}} s "
        f"ON {same_key} AND {near} {' '.join(clauses)}"
    )


def _row(rows: DataFrame, side: str, columns: Sequence[str]) -> str:
    return f"struct({', '.join(_comparable(rows, side, c) for c in columns)})"


def _comparable(rows: DataFrame, side: str, column: str) -> str:
    """Return a column in a form that Spark can compare; it cannot compare maps."""
    from pyspark.sql.types import MapType

    kind = next((f.dataType for f in rows.schema if f.name == column), None)
    text = f"{side}.{quote(column)}"
    return f"to_json({text})" if isinstance(kind, MapType) else text
