"""What a feature table is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from lakeops_assets.lakehouse import TableName
from lakeops_assets.lakehouse.statements import output_columns, parse_select, tables_of

Refresh: TypeAlias = Literal["by_key", "full"]


class FeatureSpecError(ValueError):
    """A feature table is declared in a way that cannot work."""


@dataclass(frozen=True)
class FeatureSpec:
    """A feature table.

    Attributes:
        table: Where the rows go.
        sql: One SELECT in Spark's dialect; it names tables with two or three parts.
        primary_key: Columns that identify a row of the result.
        refresh: `by_key` recomputes only keys that changed upstream. It is right when a row of
            the result depends on input rows of the same key and on nothing else, so every input
            needs the key's columns. `full` recomputes all rows; it is always right. Both write
            only the rows that differ.
        columns: Column -> description.
        description: Description of the table.
    """

    table: TableName
    sql: str
    primary_key: tuple[str, ...]
    refresh: Refresh = "full"
    columns: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        if not self.primary_key:
            raise FeatureSpecError(f"{self.table} has no primary key: name its columns")
        made = output_columns(self.sql)
        if "*" in made:
            return  # what a star makes is known when it is run
        for what, names in (("primary key", self.primary_key), ("described column", self.columns)):
            unknown = [n for n in names if n not in made]
            if unknown:
                raise FeatureSpecError(
                    f"the {what} {', '.join(unknown)} of {self.table} is not a column of its SQL, "
                    f"which makes: {', '.join(made)}"
                )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tables that the SQL reads, as written there."""
        return tuple(tables_of(self.sql))

    @property
    def digest(self) -> str:
        """Hash of everything that changes the rows; comments and white space do not."""
        statement = parse_select(self.sql).sql(dialect="spark", comments=False)
        text = json.dumps([statement, self.primary_key])
        return hashlib.sha256(text.encode()).hexdigest()[:16]
