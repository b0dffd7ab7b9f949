"""What a rule is: an id, a severity, words, and something that an engine can check.

A *row rule* judges each row by itself or among the others (unique, reference); a row that breaks it
can be set aside. A *table rule* judges the table as a whole; no row is to blame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["warn", "quarantine", "block"]
SEVERITIES: tuple[Severity, ...] = ("warn", "quarantine", "block")

Operator: TypeAlias = Literal[
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
]
_WORDS: dict[str, str] = {
    "mustBe": "{}",
    "mustNotBe": "not {}",
    "mustBeGreaterThan": "more than {}",
    "mustBeGreaterOrEqualTo": "at least {}",
    "mustBeLessThan": "less than {}",
    "mustBeLessOrEqualTo": "at most {}",
    "mustBeBetween": "between {} and {}",
    "mustNotBeBetween": "not between {} and {}",
}


class ContractError(ValueError):
    """A contract cannot be used; names file and line, what exists and what to do."""


@dataclass(frozen=True)
class Bound:
    """What a number must be.

    Attributes:
        operator: Operator of ODCS.
        values: One number, or the two ends of an interval (both inside).
    """

    operator: Operator
    values: tuple[float, ...]

    def met(self, number: float) -> bool:
        """Return whether a number is as it must be."""
        first, last = self.values[0], self.values[-1]
        return {
            "mustBe": number == first,
            "mustNotBe": number != first,
            "mustBeGreaterThan": number > first,
            "mustBeGreaterOrEqualTo": number >= first,
            "mustBeLessThan": number < first,
            "mustBeLessOrEqualTo": number <= first,
            "mustBeBetween": first <= number <= last,
            "mustNotBeBetween": not first <= number <= last,
        }[self.operator]

    def __str__(self) -> str:
        return _WORDS[self.operator].format(*(f"{v:g}" for v in self.values))

    @property
    def none(self) -> bool:
        """Whether it allows the number 0 alone, of numbers that count something."""
        return (self.operator, *self.values) in {
            ("mustBe", 0),
            ("mustBeLessOrEqualTo", 0),
        }


@dataclass(frozen=True)
class Condition:
    """True of each good row.

    Attributes:
        sql: Boolean in Spark's dialect over the row's columns; null counts as broken.
    """

    sql: str


@dataclass(frozen=True)
class Unique:
    """No two rows have the same values; the first row that breaks no other rule is the good one.

    Attributes:
        columns: The columns, taken together.
        required: Whether a null breaks the rule, as in a primary key; else it is ignored.
    """

    columns: tuple[str, ...]
    required: bool = False


@dataclass(frozen=True)
class Reference:
    """The values exist in another table; a null refers to nothing and is allowed.

    Attributes:
        columns: Columns of the row.
        table: The other table; without a schema it is one of the same product.
        to: Its columns, in the same order.
    """

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...]


@dataclass(frozen=True)
class Types:
    """The columns are there with a type that fits.

    Attributes:
        columns: Name, logical type of ODCS (or empty) and Spark SQL type (or empty).
    """

    columns: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Metric:
    """A number over all rows.

    Attributes:
        sql: Aggregate in Spark's dialect over the columns, such as `count(*)`.
        bound: What it must be.
        percent: Whether it is taken as a percentage of the rows; 0 of an empty table.
    """

    sql: str
    bound: Bound
    percent: bool = False


@dataclass(frozen=True)
class Duplicates:
    """How many rows repeat the values of an earlier one."""

    columns: tuple[str, ...]
    bound: Bound
    percent: bool = False


@dataclass(frozen=True)
class Statement:
    """A number that a SELECT of its own returns.

    Attributes:
        sql: SELECT in Spark's dialect with one row and one column. `source` is the table.
        bound: What it must be.
    """

    sql: str
    bound: Bound


@dataclass(frozen=True)
class Coverage:
    """Percentage of the keys of another table that this table has.

    Attributes:
        columns: Columns of this table.
        table: The other table.
        to: Its columns, in the same order.
        bound: What the percentage must be; of an empty other table it is 100.
    """

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...]
    bound: Bound


@dataclass(frozen=True)
class Freshness:
    """The newest value is not older than so many seconds.

    Attributes:
        column: Date or timestamp; a date counts from its midnight in UTC.
        seconds: Greatest age.
    """

    column: str
    seconds: float


RowCheck: TypeAlias = "Condition | Unique | Reference"
TableCheck: TypeAlias = "Types | Metric | Duplicates | Statement | Coverage | Freshness"


@dataclass(frozen=True)
class Rule:
    """One thing that a contract promises.

    Attributes:
        id: Name, unique in the contract: letters, digits and underscores.
        kind: required, unique, primary_key, enum, range, length, pattern, values, reference, sql,
            schema, row_count, metric, coverage or freshness.
        severity: `warn`: said and nothing else. `quarantine`: a row that breaks it does not come
            into the table. `block`: that, and what is downstream is not made.
        description: What is promised, in words.
        columns: Columns that it is about.
        check: What an engine checks.
        line: Line of the contract, for messages.
    """

    id: str
    kind: str
    severity: Severity
    description: str
    columns: tuple[str, ...]
    check: RowCheck | TableCheck
    line: int = field(default=0, compare=False)

    @property
    def per_row(self) -> bool:
        """Whether it judges rows."""
        return isinstance(self.check, (Condition, Unique, Reference))
