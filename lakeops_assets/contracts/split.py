"""Which rows break which rules: one pass over the rows, one bit per rule.

Each row rule is a boolean in SQL; together they make one number per row, in which a bit is set for
each rule that the row breaks. Only the numbers that are not 0 leave the engine, and of the rows
only the columns that rules read enter it. What has to be compared with other rows (unique) is
looked at afterwards, over the key columns alone. So memory grows with the rows that break a rule
and not with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lakeops_assets.contracts.columns import require_columns
from lakeops_assets.contracts.contract import Contract, columns_sql
from lakeops_assets.contracts.rules import Condition, Reference, Rule, Unique
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.statements import quote

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from lakeops_assets.lakehouse.engines.protocol import Input

# Reads the same rows in the same order each time: some columns of them, or all for None.
Rows: TypeAlias = "Callable[[Sequence[str] | None], pa.RecordBatchReader]"

# Bits of one mask: more do not fit the positive half of a bigint with room to add them up.
BITS = 60
ORDINAL = "__lakeops_ordinal"


@dataclass(frozen=True)
class Split:
    """Which rows broke which rules.

    Attributes:
        rows: Number of rows.
        ordinals: Positions of the rows that broke any rule, ascending.
        masks: One row per ordinal, one column per 60 rules: the bits of the broken rules.
        rules: The row rules in the order of the bits.
    """

    rows: int
    ordinals: np.ndarray
    masks: np.ndarray
    rules: tuple[Rule, ...]

    def broken(self, rule: Rule) -> np.ndarray:
        """Return for each ordinal whether its row broke a rule."""
        index = self.rules.index(rule)
        return (self.masks[:, index // BITS] >> (index % BITS)) & 1 == 1

    def counts(self) -> dict[str, int]:
        """Return the number of rows that broke each rule."""
        return {r.id: int(self.broken(r).sum()) for r in self.rules}

    def refused(self) -> np.ndarray:
        """Return the positions of the rows that may not come into the table, ascending."""
        return self.ordinals[_refusing(self.masks, self.rules)]

    def names(self, ordinals: np.ndarray) -> list[list[str]]:
        """Return the rules that some rows broke."""
        import numpy as np

        found: list[list[str]] = [[] for _ in ordinals]
        places = np.searchsorted(self.ordinals, ordinals)
        for rule in self.rules:
            for position in np.flatnonzero(self.broken(rule)[places]):
                found[position].append(rule.id)
        return found


def split(
    lakehouse: Lakehouse,
    contract: Contract,
    table: TableName,
    rows: Rows,
    *,
    existing: int | None = None,
    compare: bool = True,
    order: Sequence[str] = (),
) -> Split:
    """Judge rows by the row rules of a contract.

    Args:
        lakehouse: What runs the statements.
        contract: The rules.
        table: Table that the rows are for.
        rows: The rows.
        existing: Version of the table whose rows are there already, for uniqueness; the newest
            when None.
        compare: Whether the rows come beside those of the table; else they replace them.
        order: Columns that tell which of several rows with the same values is the first; their
            position decides when empty, and among equals.

    Raises:
        ContractError: A column that a rule reads is missing or of a type that does not fit.
    """
    import numpy as np

    rules = contract.row_rules
    reader = rows(None)
    require_columns(contract, reader.schema)
    width = max(1, -(-len(rules) // BITS))
    counted = _Counted()
    found: list[tuple[np.ndarray, np.ndarray]] = []
    used = contract.used(rules)
    statement, inputs = mask_statement(lakehouse, rules, table)
    numbered = counted.number(rows(used or reader.schema.names[:1]))
    for batch in lakehouse.query(statement, {"batch": numbered, **inputs}):
        columns = [batch.column(i).to_numpy(zero_copy_only=False) for i in range(width + 1)]
        found.append((columns[0], np.stack(columns[1:], axis=1)))
    ordinals = np.concatenate([o for o, _ in found] or [np.empty(0, np.int64)])
    masks = np.concatenate([m for _, m in found] or [np.empty((0, width), np.int64)])
    ascending = np.argsort(ordinals, kind="stable")
    judged = Split(counted.rows, ordinals[ascending], masks[ascending], rules)
    target = lakehouse.at(table, existing) if compare and lakehouse.exists(table) else None
    for index, rule in enumerate(rules):
        if isinstance(rule.check, Unique):
            repeated = _repeated(lakehouse, rule.check, rows, judged, target, order)
            judged = _with_bit(judged, index, repeated)
    return judged


def mask_statement(
    lakehouse: Lakehouse, rules: Sequence[Rule], table: TableName
) -> tuple[str, dict[str, Input]]:
    """Return the SELECT of ordinals and masks of the rows of `batch` that break a rule."""
    joins, inputs = reference_joins(lakehouse, rules, table)
    conditions = [condition(r, i) for i, r in enumerate(rules)]
    masks = []
    for start in range(0, max(len(rules), 1), BITS):
        bits = [
            f"CAST(NOT coalesce({good}, false) AS BIGINT) * {1 << i}"
            for i, good in enumerate(conditions[start : start + BITS])
        ]
        masks.append(f"{' + '.join(bits) or 'CAST(0 AS BIGINT)'} AS mask_{start // BITS}")
    # The filter is cheaper than the masks, which are then made for few rows.
    good = " AND ".join(c for c in conditions if c != "true") or "true"
    return (
        f"SELECT {quote(ORDINAL)} AS ordinal, {', '.join(masks)} FROM batch {joins} "
        f"WHERE NOT coalesce({good}, false)"
    ), inputs


def condition(rule: Rule, index: int) -> str:
    """Return the boolean of one row; of a uniqueness only what the row itself tells."""
    check = rule.check
    if isinstance(check, Condition):
        return f"({check.sql})"
    nulls = " OR ".join(f"{quote(c)} IS NULL" for c in rule.columns)
    if isinstance(check, Reference):
        return f"({nulls} OR __lakeops_found_{index})"
    return f"(NOT ({nulls}))" if isinstance(check, Unique) and check.required else "true"


def reference_joins(
    lakehouse: Lakehouse, rules: Sequence[Rule], table: TableName
) -> tuple[str, dict[str, Input]]:
    """Return joins that tell of each row whether what it refers to exists.

    A join and not EXISTS: Spark has no EXISTS among the selected columns. A table that does not
    exist yet has no rows.
    """
    joins = []
    inputs: dict[str, Input] = {}
    for index, rule in enumerate(rules):
        if not isinstance(rule.check, Reference):
            continue
        other = other_table(lakehouse, table, rule.check.table)
        keys = [f"__lakeops_key_{index}_{i}" for i in range(len(rule.check.to))]
        listed = ", ".join(f"{quote(c)} AS {k}" for c, k in zip(rule.check.to, keys, strict=True))
        source = f"referred_{index}"
        if lakehouse.exists(other):
            inputs[source] = lakehouse.at(other)
        else:
            inputs[source] = _no_rows(rule.check.to)
        same = " AND ".join(
            f"{quote(c)} = {k}" for c, k in zip(rule.check.columns, keys, strict=True)
        )
        joins.append(
            f"LEFT JOIN (SELECT DISTINCT {listed}, true AS __lakeops_found_{index} FROM {source}) "
            f"AS joined_{index} ON {same}"
        )
    return " ".join(joins), inputs


def other_table(lakehouse: Lakehouse, table: TableName, written: str) -> TableName:
    """Return a table that a rule names; without a schema it is one of the same product."""
    return TableName.parse(written, catalog=table.catalog, schema=table.schema)


def take(rows: pa.RecordBatchReader, ordinals: np.ndarray, *, keep: bool) -> Iterator[Taken]:
    """Return the rows at some positions, or all others, batch by batch.

    Args:
        rows: All rows.
        ordinals: Positions, ascending.
        keep: Whether those positions are wanted, or the others.
    """
    import numpy as np
    import pyarrow as pa

    start = 0
    for batch in rows:
        end = start + batch.num_rows
        first, last = np.searchsorted(ordinals, (start, end))
        inside = ordinals[first:last] - start
        positions = inside if keep else np.delete(np.arange(batch.num_rows), inside)
        if len(positions) == batch.num_rows:
            yield Taken(batch, positions + start)
        elif len(positions):
            yield Taken(batch.take(pa.array(positions)), positions + start)
        start = end


@dataclass(frozen=True)
class Taken:
    """Some rows of a batch.

    Attributes:
        rows: The rows.
        ordinals: Their positions among all rows.
    """

    rows: pa.RecordBatch
    ordinals: np.ndarray


class _Counted:
    """Numbers rows, and knows how many there were."""

    def __init__(self) -> None:
        self.rows = 0

    def number(self, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        import numpy as np
        import pyarrow as pa

        schema = reader.schema.append(pa.field(ORDINAL, pa.int64()))

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                numbers = np.arange(self.rows, self.rows + batch.num_rows)
                self.rows += batch.num_rows
                yield pa.RecordBatch.from_arrays([*batch.columns, pa.array(numbers)], schema=schema)

        return pa.RecordBatchReader.from_batches(schema, batches())


def _repeated(
    lakehouse: Lakehouse,
    check: Unique,
    rows: Rows,
    judged: Split,
    target: Input | None,
    order: Sequence[str],
) -> np.ndarray:
    """Return the positions of rows whose values a better or earlier row has already."""
    import numpy as np
    import pyarrow as pa

    keys = columns_sql(check.columns)
    same = " AND ".join(f"k.{quote(c)} = other.{quote(c)}" for c in check.columns)
    filled = " AND ".join(f"{quote(c)} IS NOT NULL" for c in check.columns)
    ordinal = quote(ORDINAL)
    dirty = pa.table({"at": judged.refused()})
    inputs: dict[str, Input] = {"refused": dirty}
    first = "".join(f"k.{quote(c)}, " for c in order)
    # A row that is refused anyway does not keep a good one out.
    statement = (
        f"SELECT {ordinal} AS ordinal FROM (SELECT k.{ordinal}, row_number() OVER (PARTITION BY "
        f"{columns_sql(check.columns, 'k')} ORDER BY refused.at IS NOT NULL, {first}k.{ordinal}) "
        f"AS place FROM keys AS k JOIN (SELECT {keys} FROM keys WHERE {filled} GROUP BY {keys} "
        f"HAVING count(*) > 1) AS other ON {same} LEFT JOIN refused ON refused.at = k.{ordinal}) "
        "AS ranked WHERE place > 1"
    )
    if target is not None:
        inputs["target"] = target
        statement += (
            f" UNION SELECT k.{ordinal} AS ordinal FROM keys AS k "
            f"JOIN (SELECT DISTINCT {keys} FROM target) AS other ON {same}"
        )
    inputs["keys"] = _Counted().number(rows(list(dict.fromkeys([*check.columns, *order]))))
    found = lakehouse.query(statement, inputs).read_all()["ordinal"].to_numpy()
    return np.sort(found.astype(np.int64))


def _with_bit(judged: Split, index: int, ordinals: np.ndarray) -> Split:
    """Return a split in which some more rows broke a rule."""
    import numpy as np

    if not len(ordinals):
        return judged
    everything = np.union1d(judged.ordinals, ordinals)
    masks = np.zeros((len(everything), judged.masks.shape[1]), np.int64)
    masks[np.searchsorted(everything, judged.ordinals)] = judged.masks
    masks[np.searchsorted(everything, ordinals), index // BITS] |= 1 << (index % BITS)
    return Split(judged.rows, everything, masks, judged.rules)


def _refusing(masks: np.ndarray, rules: Sequence[Rule]) -> np.ndarray:
    import numpy as np

    refusing = np.zeros(masks.shape[1], np.int64)
    for index, rule in enumerate(rules):
        if rule.severity != "warn":
            refusing[index // BITS] |= 1 << (index % BITS)
    return np.asarray((masks & refusing).any(axis=1))


def _no_rows(columns: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    return pa.table({c: pa.array([], pa.string()) for c in columns})


def whole(table: pa.Table) -> Rows:
    """Return rows that are in memory as rows that can be read again and again."""
    return lambda columns: (table if columns is None else table.select(list(columns))).to_reader()
