"""What a contract is: the rules of one table, and a digest of what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from lakeops_assets.contracts.document import close
from lakeops_assets.contracts.rules import (
    ContractError,
    Coverage,
    Reference,
    Rule,
    Types,
    Unique,
)
from lakeops_assets.lakehouse.statements import quote


@dataclass(frozen=True)
class Contract:
    """The rules of one table.

    Attributes:
        path: The file.
        table: Name of the table, without catalog and schema.
        version: Version of the contract, as its owner counts.
        status: draft, active, deprecated ... as ODCS says.
        description: What the table is for.
        rules: The rules, in the order of the file.
    """

    path: Path = field(compare=False)
    table: str
    version: str
    status: str
    description: str
    rules: tuple[Rule, ...]

    @cached_property
    def digest(self) -> str:
        """Hash of everything that changes a verdict; words, comments and order do not."""
        said = sorted(
            [r.id, r.severity, type(r.check).__name__, asdict(r.check)] for r in self.rules
        )
        text = json.dumps([self.table, said], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def row_rules(self) -> tuple[Rule, ...]:
        """Rules that judge rows; the position of each is its bit in a row's mask."""
        return tuple(r for r in self.rules if r.per_row)

    @cached_property
    def refusing(self) -> tuple[Rule, ...]:
        """Row rules whose breakers do not come into the table."""
        return tuple(r for r in self.row_rules if r.severity != "warn")

    def rule(self, name: str) -> Rule | None:
        """Return a rule by its id; None when the contract has none of that name."""
        return next((r for r in self.rules if r.id == name), None)

    @property
    def columns(self) -> tuple[tuple[str, str, str], ...]:
        """Name, logical type and Spark type of each column that is promised."""
        return next((r.check.columns for r in self.rules if isinstance(r.check, Types)), ())

    @property
    def column_names(self) -> list[str]:
        """Columns that the rules need, the promised ones first."""
        return list(dict.fromkeys([c[0] for c in self.columns] + self.used(self.rules)))

    @staticmethod
    def used(rules: Sequence[Rule]) -> list[str]:
        """Return the columns that some rules read, each once."""
        return list(dict.fromkeys(c for r in rules for c in r.columns))

    def require_columns_among(self, columns: Sequence[str]) -> None:
        """Check that the contract is about columns that its table will have.

        Raises:
            ContractError: It names another one.
        """
        for rule in self.rules:
            for name in rule.columns:
                if name not in columns and not name.startswith("_"):
                    raise ContractError(
                        f"{self.path}:{rule.line}: {self.table} has no column {name}; "
                        f"{close(name, columns)}"
                    )

    @property
    def other_tables(self) -> list[str]:
        """Tables that rules compare with, as they are written."""
        checks = (r.check for r in self.rules)
        return sorted({c.table for c in checks if isinstance(c, (Reference, Coverage))})

    def unique_beside(self, keys: Sequence[str]) -> list[Rule]:
        """Return the refusing rules of uniqueness over other columns than a key."""
        return [
            r
            for r in self.refusing
            if isinstance(r.check, Unique) and set(r.check.columns) != set(keys)
        ]


def columns_sql(columns: Sequence[str], prefix: str = "") -> str:
    """Return quoted columns, separated by commas."""
    dot = f"{prefix}." if prefix else ""
    return ", ".join(f"{dot}{quote(c)}" for c in columns)
