"""What is ingested from where into which table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from lakeops_assets.lakehouse import TableName

Format: TypeAlias = Literal["csv", "json", "parquet"]
SchemaPolicy: TypeAlias = Literal["evolve", "freeze", "discard_row"]

PROVENANCE = {
    "_source_file": "Landing file that the row came from.",
    "_ingested_at": "When the row was ingested.",
    "_batch_id": "Batch that brought the row; one Delta commit.",
    "_rescued_data": "What did not fit its column, as JSON; null when everything did.",
}
TOPIC_PROVENANCE = {
    "_topic": "Topic that the row came from.",
    "_partition": "Partition of the topic.",
    "_offset": "Offset of the record in its partition.",
    "_timestamp": "Time of the record.",
    "_key": "Key of the record, as text.",
}
NESTED = ("array", "map", "struct")


class IngestError(ValueError):
    """A table cannot be ingested as declared."""


@dataclass(frozen=True)
class Column:
    """A column of the landing files.

    Attributes:
        name: Name, as in the files.
        type: Spark SQL type.
        description: What it means.
    """

    name: str
    type: str = "string"
    description: str = ""


@dataclass(frozen=True)
class Topic:
    """A topic of Kafka that feeds a table instead of a folder.

    Attributes:
        servers: Addresses of brokers, `host:port,host:port`.
        topic: Name of the topic.
        format: What a record is: a JSON object, or one line of csv with the declared columns.
        starting: Where the first start begins: `earliest` or `latest`.
        max_records: About the most records of one micro-batch.
        options: Further settings of Kafka's client, such as `security.protocol`.
    """

    servers: str
    topic: str
    format: Literal["json", "csv"] = "json"
    starting: Literal["earliest", "latest"] = "earliest"
    max_records: int = 10_000
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class IngestSpec:
    """A bronze table and the folder or topic that feeds it.

    Attributes:
        table: Where the rows go.
        landing: Folder with the files, searched with its sub-folders.
        format: Format of the files. JSON is one object per line or one array of objects; nested
            values are kept as JSON text.
        columns: Columns of the files; inferred from the first batch when empty, and ruled by the
            table's schema from then on.
        schema_policy: In the vocabulary of dlt. `evolve`: a column that the table does not have
            is added to it; a value that is not of its column's type becomes null and its text
            goes to `_rescued_data`. `freeze`: a file with other columns or such a value is
            rejected whole. `discard_row`: a row with a value for an unknown column, or with such
            a value, is left out and counted. A column that a file does not have is null under
            `evolve` and `discard_row`.
        pattern: Names of the files.
        delimiter: Separates the cells of a csv file.
        null_values: Texts that mean null in a csv file when they are not quoted.
        description: Description of the table.
        settle_seconds: Files modified within so many seconds are left for the next time.
        max_files_per_batch: Most files of one commit.
        topic: Topic of Kafka that the rows come from; the folder when None. A record that is not
            of the topic's format goes to `_rescued_data` under `evolve`, is left out under
            `discard_row`, and ends the stream under `freeze`: a topic has no file to reject.
    """

    table: TableName
    landing: Path
    format: Format = "csv"
    columns: tuple[Column, ...] = ()
    schema_policy: SchemaPolicy = "evolve"
    pattern: str = ""
    delimiter: str = ","
    null_values: tuple[str, ...] = ("",)
    description: str = ""
    settle_seconds: int = 0
    max_files_per_batch: int = 1000
    topic: Topic | None = None

    def __post_init__(self) -> None:
        for option, allowed in (
            ("format", ("csv", "json", "parquet")),
            ("schema_policy", ("evolve", "freeze", "discard_row")),
        ):
            if getattr(self, option) not in allowed:
                raise IngestError(
                    f"{option} of {self.table} is {getattr(self, option)!r}; it can be: "
                    f"{', '.join(allowed)}"
                )
        names = [c.name for c in self.columns]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise IngestError(f"{self.table} declares the column {', '.join(twice)} twice")
        reserved = [n for n in names if n in self.provenance]
        if reserved:
            raise IngestError(f"{', '.join(reserved)} of {self.table} is a provenance column")
        if self.max_files_per_batch < 1:
            raise IngestError(f"max_files_per_batch of {self.table} must be at least 1")
        if self.topic is not None and self.topic.format == "csv" and not self.columns:
            raise IngestError(
                f"the records of {self.table} are lines of csv, which do not name their columns: "
                "declare them"
            )
        for column in self.columns:
            duckdb_type(column.type, f"{self.table}.{column.name}")

    @property
    def provenance(self) -> dict[str, str]:
        """Columns that tell where a row came from, and what they mean."""
        return {**PROVENANCE, **(TOPIC_PROVENANCE if self.topic is not None else {})}

    @property
    def glob(self) -> str:
        """Pattern of the names of the files."""
        return self.pattern or f"*.{self.format}"


def duckdb_type(spark_type: str, where: str) -> str:
    """Return the type in which the parser reads a Spark SQL type.

    Raises:
        IngestError: It is no type, or one that a cell of a file cannot have.
    """
    from sqlglot import errors, exp

    if spark_type.lower().startswith(NESTED):
        raise IngestError(
            f"{where} is declared as {spark_type}; nested values are ingested as JSON text: "
            "declare it as string and take it apart in the SQL of a feature table"
        )
    try:
        built = exp.DataType.build(spark_type, dialect="spark")
    except (errors.SqlglotError, ValueError) as error:
        raise IngestError(
            f"{where} has the type {spark_type!r}, which is not one of Spark SQL: string, boolean, "
            "int, bigint, double, decimal(p,s), date, timestamp ..."
        ) from error
    if built.this == exp.DataType.Type.USERDEFINED:
        raise IngestError(f"{where} has the type {spark_type!r}, which Spark SQL does not know")
    return built.sql("duckdb")
