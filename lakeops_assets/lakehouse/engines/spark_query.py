"""Spark: runs statements over Delta tables, change feeds and Arrow rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse.engines.deltars import open_table
from lakeops_assets.lakehouse.engines.deltars_files import feed_gap
from lakeops_assets.lakehouse.engines.protocol import ChangesOf, Input, Query, TableAt
from lakeops_assets.lakehouse.errors import ConcurrentWriteError, LakehouseError, QueryError
from lakeops_assets.lakehouse.statements import parse_select, quote

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from sqlglot import exp

# A query over more than this is streamed partition by partition; else its result comes at once.
AT_ONCE_BYTES = 256 << 20
# Where QUALIFY's condition stands while it is computed; no table may have such a column.
QUALIFIES = "__lakeops_qualifies"
# What Delta's conflicts are called, with and without a server in between.
CONFLICT = "DELTA_CONCURRENT", "ConcurrentModificationException", "DELTA_METADATA_CHANGED"
# A changed schema or protocol is a conflict for whoever wrote meanwhile.
CHANGED_MEANWHILE = "lakeops: the row changed meanwhile"


def run_query(session: SparkSession, query: Query) -> DataFrame:
    """Return the result of a query, not computed yet, with types that Delta has."""
    sql, names = _placeholders(query.sql, tuple(query.inputs))
    frames = {holder: read_input(session, query.inputs[name]) for name, holder in names.items()}
    with query_errors(query.sql), _columns_named(frames, names):
        found = session.sql(sql, None, **frames)
        columns = found.columns
    if len(set(columns)) < len(columns):
        twice = sorted({c for c in columns if columns.count(c) > 1})
        raise QueryError(
            f"the statement makes the column {', '.join(twice)} more than once; give each its own "
            "name with AS"
        )
    return with_delta_types(found)


def read_input(session: SparkSession, source: Input) -> DataFrame:
    """Return an input as a data frame."""
    if isinstance(source, TableAt):
        return _read_table(session, source)
    if isinstance(source, ChangesOf):
        return _read_changes(session, source)
    return from_arrow(session, source)


def _read_table(session: SparkSession, source: TableAt) -> DataFrame:
    table = open_table(source.location, source.version)  # whose errors say what is there
    return session.read.format("delta").option("versionAsOf", table.version()).load(source.location)


def _read_changes(session: SparkSession, source: ChangesOf) -> DataFrame:
    from pyspark.sql import functions as f

    table = open_table(source.location)
    newest = table.version()
    last = newest if source.last is None else min(source.last, newest)
    if source.first > last:
        nothing = _read_table(session, TableAt(source.location)).limit(0)
        return nothing.withColumns(
            {
                "_change_type": f.lit(None).cast("string"),
                "_commit_version": f.lit(None).cast("bigint"),
                "_commit_timestamp": f.lit(None).cast("timestamp"),
            }
        )
    if gap := feed_gap(source.location, source.first, last):
        raise LakehouseError(
            f"the changes of {source.location} from version {source.first} to {last} are not "
            f"whole: {gap}. Compute from the whole table instead"
        )
    reader = session.read.format("delta").option("readChangeFeed", "true")
    bounded = reader.option("startingVersion", source.first).option("endingVersion", last)
    return bounded.load(source.location)


def from_arrow(session: SparkSession, rows: pa.Table | pa.RecordBatchReader) -> DataFrame:
    """Return Arrow rows as a data frame; types that Spark does not have become those that hold it.

    The rows are held by Spark's driver: whoever has more of them than fits lands them in a table.
    They are one partition, so that few rows become one file.
    """
    table = rows if hasattr(rows, "num_rows") else rows.read_all()
    table = _sparks(table)
    if not table.num_rows:  # of which Spark Connect would not take the types
        from pyspark.sql.pandas.types import from_arrow_schema

        return session.createDataFrame([], from_arrow_schema(table.schema))
    return session.createDataFrame(table).coalesce(1)


def _sparks(table: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.types as is_

    def fitting(kind: pa.DataType) -> pa.DataType:
        unsigned = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}
        if kind == pa.uint64():
            return pa.int64()
        if is_.is_string_view(kind) or is_.is_time(kind) or is_.is_null(kind):
            return pa.string()
        if is_.is_timestamp(kind) and kind.tz is None:
            return pa.timestamp("us", "UTC")
        return unsigned.get(kind, kind)

    schema = pa.schema([field.with_type(fitting(field.type)) for field in table.schema])
    fitted = table if schema.equals(table.schema) else table.cast(schema)
    # Spark cannot take columns without a single chunk.
    return fitted if fitted.num_rows else schema.empty_table().combine_chunks()


def with_delta_types(frame: DataFrame) -> DataFrame:
    """Return a result without types that Delta does not have."""
    from pyspark.sql import types as t

    become: dict[str, str] = {}
    for field in frame.schema:
        if isinstance(field.dataType, t.NullType):
            become[field.name] = "string"
        elif isinstance(field.dataType, t.TimestampNTZType):
            become[field.name] = "timestamp"
        elif isinstance(field.dataType, t.TimeType):
            become[field.name] = "string"
    if not become:
        return frame
    return frame.withColumns({c: frame[quote(c)].cast(kind) for c, kind in become.items()})


def to_batches(frame: DataFrame, inputs: Mapping[str, Input], sql: str) -> pa.RecordBatchReader:
    """Compute a result and stream it.

    What is computed from little comes at once, which is quickest. Else each partition is encoded
    where it was computed and fetched when the one before it has been read.
    """
    if _bytes_of(inputs) <= AT_ONCE_BYTES:
        with query_errors(sql):
            return frame.toArrow().to_reader()
    return _streamed(frame, sql)


def _streamed(frame: DataFrame, sql: str) -> pa.RecordBatchReader:
    import pyarrow as pa

    # A function of this body: Spark sends it by value, so workers need not have this package.
    def encoded(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            yield pa.record_batch([pa.array([sink.getvalue().to_pybytes()])], names=["batch"])

    def decoded() -> Iterator[pa.RecordBatch]:
        with query_errors(sql):
            for row in frame.mapInArrow(encoded, "batch binary").toLocalIterator():
                table = pa.ipc.open_stream(row["batch"]).read_all()
                yield from table.cast(schema).to_batches()

    with query_errors(sql):
        schema = frame.limit(0).toArrow().schema
    return pa.RecordBatchReader.from_batches(schema, decoded())


def _bytes_of(inputs: Mapping[str, Input]) -> int:
    import pyarrow as pa

    total = 0
    for source in inputs.values():
        if isinstance(source, TableAt | ChangesOf):
            actions = pa.table(open_table(source.location).get_add_actions(flatten=True))
            total += sum(actions["size_bytes"].to_pylist())
    return total


@lru_cache(maxsize=512)
def _placeholders(sql: str, inputs: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return a statement as Spark runs it and which placeholder stands for each of its inputs."""
    from sqlglot import exp

    statement = _without_qualify(parse_select(sql).copy())
    _divide_by_nothing(statement)
    own = {cte.alias for cte in statement.find_all(exp.CTE)}
    names: dict[str, str] = {}
    for table in list(statement.find_all(exp.Table)):
        name = table.name
        if not isinstance(table.this, exp.Identifier) or name in own or name not in inputs:
            continue
        holder = names.setdefault(name, f"input_{len(names)}")
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
        table.set("this", exp.to_identifier(f"lakeops_{holder}", quoted=True))
    text = statement.sql(dialect="spark").replace("{", "{{").replace("}", "}}")
    for holder in names.values():
        text = text.replace(f"`lakeops_{holder}`", "{" + holder + "}")
    return text, names


def _without_qualify(statement: exp.Expr) -> exp.Expr:
    """Return a statement in which QUALIFY, which Spark does not have, is a filter around a query.

    What is ordered, limited or made distinct after it is so around the filter.
    """
    from sqlglot import exp

    for select in list(statement.find_all(exp.Select)):
        qualify = select.args.get("qualify")
        if qualify is None:
            continue
        inner = select.copy()
        after = {key: inner.args.get(key) for key in ("order", "limit", "offset", "distinct")}
        for key in (*after, "qualify", "with_"):
            inner.set(key, None)
        condition = _with_projections(qualify.this.copy(), select)
        inner.select(exp.alias_(condition, QUALIFIES, quoted=True), copy=False)
        star = exp.Star(except_=[exp.to_identifier(QUALIFIES, quoted=True)])
        outer = exp.select(star).from_(inner.subquery("qualified", copy=False))
        outer = outer.where(exp.column(QUALIFIES, quoted=True))
        outer.set("with_", select.args.get("with_"))
        for key, value in after.items():
            if value is not None:
                outer.set(key, value)
        if select is statement:
            statement = outer
        else:
            select.replace(outer)
    return statement


def _with_projections(condition: exp.Expr, select: exp.Select) -> exp.Expr:
    """Return a condition in which names of the query's own columns are what they stand for."""
    from sqlglot import exp

    meant = {p.alias: p.this for p in select.selects if isinstance(p, exp.Alias)}

    def replaced(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and not node.table and node.name in meant:
            standing = meant[node.name]
            if not any(c.name == node.name for c in standing.find_all(exp.Column)):
                return exp.paren(standing.copy())
        return node

    return condition.transform(replaced)


def _divide_by_nothing(statement: exp.Expr) -> None:
    """Make a division by zero NULL, as it is for DuckDB, where Spark would refuse the statement."""
    from sqlglot import exp

    for division in list(statement.find_all(exp.Div, exp.Mod, exp.IntDiv)):
        divisor = division.expression
        if isinstance(divisor, exp.Literal) and float(divisor.this):
            continue
        division.set(
            "expression", exp.func("NULLIF", divisor.copy(), exp.Literal.number(0), dialect="spark")
        )


@contextmanager
def _columns_named(frames: Mapping[str, DataFrame], names: Mapping[str, str]) -> Iterator[None]:
    """Add the columns that exist to the error about one that does not."""
    from pyspark.errors import AnalysisException

    try:
        yield
    except AnalysisException as error:
        there = []
        for name, holder in names.items():
            columns = ", ".join(frames[holder].columns)
            there.append(f"{name.replace('__', '.')} has the columns {columns}")
        raise QueryError(f"{first_lines(error)}. {'; '.join(there)}") from error


@contextmanager
def query_errors(sql: str) -> Iterator[None]:
    """Turn errors of a statement into ours."""
    try:
        yield
    except _errors() as error:
        raise QueryError(f"the statement cannot be run: {first_lines(error)}\n{sql}") from error


@contextmanager
def write_errors(location: str) -> Iterator[None]:
    """Turn errors of a write into ours."""
    try:
        yield
    except _errors() as error:
        said = _text_of(error)
        if any(word in said for word in CONFLICT) or "Concurrent" in type(error).__name__:
            raise ConcurrentWriteError(
                f"another writer changed the table at {location} meanwhile; read it again and "
                f"repeat the write. {first_lines(error)}"
            ) from error
        if CHANGED_MEANWHILE in said:
            raise ConcurrentWriteError(
                f"another writer changed rows of the table at {location} that were to be merged; "
                "read it again and repeat the write"
            ) from error
        raise LakehouseError(
            f"the table at {location} cannot be written: {first_lines(error)}"
        ) from error


def _text_of(error: Any) -> str:
    try:
        return str(error)
    except _bridge():  # Spark looks the text up, and does not know the errors of Delta
        return str(getattr(error, "_desc", None) or type(error).__name__)


def _errors() -> tuple[type[Exception], ...]:
    """Return what Spark raises: errors of its own, and of the bridge for those it does not know."""
    from pyspark.errors import PySparkException

    return (PySparkException, *_bridge())


def _bridge() -> tuple[type[Exception], ...]:
    try:
        from py4j.protocol import Py4JError
    except ImportError:  # a client of Spark Connect alone has no bridge to Java
        return ()
    return (Py4JError,)


def first_lines(error: Any) -> str:
    """Return what an error of Spark says, without the plan and the stack below it."""
    lines = [line.strip() for line in _text_of(error).strip().splitlines()]
    causes = [line for line in lines if line.startswith(("Caused by:", ": "))]
    return " ".join([*lines[:2], *causes[-1:]]).split("JVM stacktrace")[0].strip()
