"""DuckDB: runs statements over Delta tables, change feeds and Arrow rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse.engines.arrow import as_reader
from lakeops_assets.lakehouse.engines.deltars import DELETE, open_table, schema_of
from lakeops_assets.lakehouse.engines.deltars_files import feed_gap
from lakeops_assets.lakehouse.engines.protocol import ChangesOf, Input, Query, TableAt
from lakeops_assets.lakehouse.errors import LakehouseError, QueryError, SchemaError
from lakeops_assets.lakehouse.statements import parse_select, transpile

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import DeltaTable

BATCH_ROWS = 65_536
# Marks the rows of a merge whose key the target does not have.
NEW = "__lakeops_new"
# Types that a query may end in and Delta does not have, and what Spark would have returned.
OUTPUT_TYPES = {
    "HUGEINT": "BIGINT",
    "UBIGINT": "BIGINT",
    "UINTEGER": "BIGINT",
    "USMALLINT": "INTEGER",
    "UTINYINT": "SMALLINT",
    "TIMESTAMP": "TIMESTAMPTZ",
    "TIMESTAMP_S": "TIMESTAMPTZ",
    "TIMESTAMP_MS": "TIMESTAMPTZ",
    "TIMESTAMP_NS": "TIMESTAMPTZ",
    "UUID": "VARCHAR",
    "TIME": "VARCHAR",
    "JSON": "VARCHAR",
    '"NULL"': "VARCHAR",
    "NULL": "VARCHAR",
}


def connect(inputs: Iterable[Input]) -> duckdb.DuckDBPyConnection:
    """Return a connection that can read its inputs and nothing else of this machine."""
    import duckdb

    connection = duckdb.connect(config={"python_enable_replacements": False})
    folders = sorted({i.location for i in inputs if isinstance(i, TableAt)})
    listed = ", ".join(_literal(folder) for folder in folders)
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET enable_progress_bar = false")
    # The cache of file contents would grow with every table that is read.
    connection.execute("SET enable_external_file_cache = false")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def run_query(connection: duckdb.DuckDBPyConnection, query: Query) -> duckdb.DuckDBPyRelation:
    """Return the result of a query, unread, with types that Delta has."""
    from sqlglot import exp

    uses = [t.name for t in parse_select(query.sql).find_all(exp.Table)]
    for name, source in query.inputs.items():
        if name in uses:
            register(connection, name, source, stage=uses.count(name) > 1)
    statement = transpile(query.sql, "duckdb")
    with query_errors(query.sql), _columns_named(connection, query.inputs):
        relation = connection.sql(statement)
        types = dict(zip(relation.columns, (str(t) for t in relation.types), strict=True))
        if len(types) < len(relation.columns):
            twice = sorted({c for c in relation.columns if relation.columns.count(c) > 1})
            raise QueryError(
                f"the statement makes the column {', '.join(twice)} more than once; give each "
                "its own name with AS"
            )
        if not any(t in OUTPUT_TYPES for t in types.values()):
            return relation
        casts = (
            f'CAST("{c}" AS {OUTPUT_TYPES[t]}) AS "{c}"' if t in OUTPUT_TYPES else f'"{c}"'
            for c, t in types.items()
        )
        return relation.project(", ".join(casts))


@contextmanager
def _columns_named(
    connection: duckdb.DuckDBPyConnection, inputs: Mapping[str, Input]
) -> Iterator[None]:
    """Add the columns that exist to the error about one that does not."""
    import duckdb

    try:
        yield
    except duckdb.BinderException as error:
        there = []
        for name in inputs:
            described = connection.execute(f'DESCRIBE "{name}"').fetchall()
            columns = ", ".join(row[0] for row in described)
            there.append(f"{name.replace('__', '.')} has the columns {columns}")
        raise QueryError(f"{error}. {'; '.join(there)}") from error


def register(
    connection: duckdb.DuckDBPyConnection, name: str, source: Input, *, stage: bool = False
) -> None:
    """Make an input readable by name; one that can be read once is staged if it is used twice."""
    if isinstance(source, TableAt):
        table = open_table(source.location, source.version)
        if _plain_parquet(table):
            _view(connection, name, table)
            return
        scanned = as_reader(table.scan())
    elif isinstance(source, ChangesOf):
        scanned = _changes(source)
    else:
        scanned = source
    if stage and not hasattr(scanned, "num_rows"):
        stage_rows(connection, name, scanned)
    else:
        connection.register(name, scanned)


def _plain_parquet(table: DeltaTable) -> bool:
    """Return whether the rows of a table are what its Parquet files hold.

    DuckDB then reads the files itself, with filters and columns pushed down and bounded memory. A
    table with deletion vectors, mapped column names or partition values is read by delta-rs.
    """
    features = table.protocol().reader_features or []
    return (
        "://" not in table.table_uri.removeprefix("file://")
        and not {"deletionVectors", "columnMapping"} & set(features)
        and table.protocol().min_reader_version != 2
        and not table.metadata().partition_columns
    )


def _view(connection: duckdb.DuckDBPyConnection, name: str, table: DeltaTable) -> None:
    files = ", ".join(_literal(uri.removeprefix("file://")) for uri in table.file_uris())
    # The empty rows give the table's columns and types: files that were written before a column
    # was added do not have it.
    schema = schema_of(table)
    connection.register(f"{name} columns", schema.empty_table())
    rows = (
        f" UNION ALL BY NAME SELECT * FROM read_parquet([{files}], union_by_name = true)"
        if files
        else ""
    )
    # Files that Spark wrote with the change feed on have a column more, for the kind of change.
    columns = ", ".join('"' + column.replace('"', '""') + '"' for column in schema.names)
    connection.execute(
        f'CREATE OR REPLACE VIEW "{name}" AS SELECT {columns} FROM '
        f'(SELECT * FROM "{name} columns"{rows})'
    )


def _changes(source: ChangesOf) -> pa.RecordBatchReader:
    from deltalake.exceptions import DeltaError

    table = open_table(source.location)
    last = table.version() if source.last is None else source.last
    if gap := feed_gap(source.location, source.first, min(last, table.version())):
        raise LakehouseError(
            f"the changes of {source.location} from version {source.first} to {last} are not "
            f"whole: {gap}. Compute from the whole table instead"
        )
    try:
        feed = table.load_cdf(
            starting_version=source.first, ending_version=source.last, allow_out_of_range=True
        )
    except DeltaError as error:
        raise LakehouseError(
            f"the changes of {source.location} from version {source.first} to {last} cannot be "
            f"read: {error}"
        ) from error
    return as_reader(feed)


def stage_rows(
    connection: duckdb.DuckDBPyConnection, name: str, rows: pa.RecordBatchReader
) -> None:
    """Hold rows in a temporary table, on disk where they do not fit in memory."""
    connection.register("incoming", rows)
    connection.execute(f'CREATE TEMP TABLE "{name}" AS SELECT * FROM incoming')
    connection.unregister("incoming")


def check_keys(connection: duckdb.DuckDBPyConnection, keys: Sequence[str], location: str) -> None:
    """Check that staged rows have one row per key.

    Raises:
        SchemaError: A key is null or there twice; names examples.
    """
    listed = ", ".join(f'"{k}"' for k in keys)
    null = " OR ".join(f'"{k}" IS NULL' for k in keys)
    nulls = connection.execute(f"SELECT count(*) FROM staged WHERE {null}").fetchone()
    if nulls and nulls[0]:
        raise SchemaError(
            f"{nulls[0]} rows to merge into {location} have no value in the key {', '.join(keys)}"
        )
    twice = connection.execute(
        f"SELECT {listed}, count(*) FROM staged GROUP BY {listed} HAVING count(*) > 1 "
        f"ORDER BY {listed} LIMIT 3"
    ).fetchall()
    if twice:
        examples = "; ".join(", ".join(map(repr, row[:-1])) for row in twice)
        raise SchemaError(
            f"the rows to merge into {location} have the key {', '.join(keys)} more than once, "
            f"for example {examples}; make the key unique with GROUP BY or QUALIFY"
        )


def differences(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[str],
    keys: Sequence[str],
    existing: Sequence[str],
    *,
    delete_missing: bool,
) -> pa.Table:
    """Return the staged rows that differ from the target, and which of its rows are gone.

    `NEW` tells the rows whose key the target does not have.
    """
    same_key = " AND ".join(f't."{k}" = s."{k}"' for k in keys)
    values = [c for c in columns if c not in keys]
    differs = " OR ".join(
        f's."{c}" IS DISTINCT FROM t."{c}"' if c in existing else f's."{c}" IS NOT NULL'
        for c in values
    )
    selected = ", ".join(f's."{c}"' for c in columns)
    # Keys of one time are often close to each other: then most files need not be opened.
    first, last = _bounds(connection, keys[0])
    near = f"""(SELECT * FROM target WHERE "{keys[0]}" BETWEEN {first} AND {last})"""
    statement = (
        f'SELECT {selected}, false AS {DELETE}, t."{keys[0]}" IS NULL AS {NEW} '
        f"FROM staged s LEFT JOIN {near} t ON {same_key} "
        f'WHERE t."{keys[0]}" IS NULL OR ({differs or "false"})'
    )
    if delete_missing:
        gone = ", ".join(f't."{c}"' if c in existing else f'NULL AS "{c}"' for c in columns)
        statement += (
            f" UNION ALL SELECT {gone}, true, false FROM target t ANTI JOIN staged s ON {same_key}"
        )
    return connection.sql(statement).to_arrow_table()


def _bounds(connection: duckdb.DuckDBPyConnection, key: str) -> tuple[str, str]:
    """Return the smallest and the largest staged value of a key as SQL, NULL where none is."""
    statement = (
        f'SELECT typeof(min("{key}")), CAST(min("{key}") AS VARCHAR), '
        f'CAST(max("{key}") AS VARCHAR) FROM staged'
    )
    [(kind, first, last)] = connection.execute(statement).fetchall()
    if first is None:
        return "NULL", "NULL"
    return f"CAST({_literal(first)} AS {kind})", f"CAST({_literal(last)} AS {kind})"


def all_new(changed: pa.Table) -> bool:
    """Return whether none of the rows that differ has a key that the target has."""
    return all(changed[NEW].to_pylist())


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def query_errors(sql: str) -> Iterator[None]:
    """Turn errors of a statement into ours."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise QueryError(f"the statement cannot be run: {error}\n{sql}") from error
