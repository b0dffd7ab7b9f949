"""Which columns a column is made of, as a value that knows no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from lakeops_assets.lakehouse import TableName


@dataclass(frozen=True)
class Origin:
    """A column, or the rows of a table as such.

    Attributes:
        table: Its table.
        column: Its name; None for which rows the table has.
    """

    table: TableName
    column: str | None = None

    def __str__(self) -> str:
        name = f"{self.table.schema}.{self.table.table}"
        return name if self.column is None else f"{name}.{self.column}"


@dataclass(frozen=True)
class TracedTable:
    """A table with what its columns are made of.

    Attributes:
        table: The table.
        time: Column with the time of a row; None where rows have none.
        origins: Column -> what it is made of directly; empty for a source.
        ignored: Columns that say nothing when they move: keys and provenance.
    """

    table: TableName
    time: str | None = None
    origins: Mapping[str, tuple[Origin, ...]] | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lineage:
    """Tables from sources to the one that is monitored.

    Attributes:
        tables: The tables, each after those that it is made of.
    """

    tables: tuple[TracedTable, ...]

    @cached_property
    def _by_name(self) -> dict[TableName, TracedTable]:
        return {t.table: t for t in self.tables}

    def parents(self, of: Origin) -> tuple[Origin, ...]:
        """Return what a column is made of directly; the rows of a table are made of all of it."""
        traced = self._by_name.get(of.table)
        if traced is None or not traced.origins:
            return ()
        if of.column is not None:
            return traced.origins.get(of.column, ())
        return tuple(dict.fromkeys(o for found in traced.origins.values() for o in found))

    @cached_property
    def _paths(self) -> dict[Origin, Mapping[Origin, tuple[Origin, ...]]]:
        return {}

    def paths(self, to: Origin) -> Mapping[Origin, tuple[Origin, ...]]:
        """Return everything that a column is made of, with the shortest way from there to it."""
        if to not in self._paths:
            self._paths[to] = self._walked(to)
        return self._paths[to]

    def _walked(self, to: Origin) -> dict[Origin, tuple[Origin, ...]]:
        found: dict[Origin, tuple[Origin, ...]] = {to: (to,)}
        # From column to column first: the way that names columns says more than a shorter one.
        for by_rows in (False, True):
            edge = list(found)
            while edge:
                following = []
                for here in edge:
                    for parent in self._steps(here, by_rows=by_rows):
                        if parent not in found:
                            found[parent] = (parent, *found[here])
                            following.append(parent)
                edge = following
        return found

    def _steps(self, here: Origin, *, by_rows: bool) -> list[Origin]:
        parents = self.parents(here)
        if not by_rows:
            return [p for p in parents if p.column is not None]
        # A column that moves with the rows of its table moves for their reason.
        return [step for p in parents for step in (p, Origin(p.table))]
