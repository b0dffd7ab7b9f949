"""What stands between a writer and its table: good rows pass, the others go to the quarantine.

The quarantine is written before the table, because the other way round a row could be lost. Each
row has an identifier that a repeated try gives it again, so the quarantine has it once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.contracts.contract import Contract
from lakeops_assets.contracts.quarantine import META, mark, quarantine_table, schema_with_meta
from lakeops_assets.contracts.split import Rows, Split, split, take
from lakeops_assets.lakehouse import Lakehouse, TableName, Transaction
from lakeops_assets.lakehouse.statements import literal, quote

if TYPE_CHECKING:
    import pyarrow as pa

APP_ID = "screen"
# Identifiers in one DELETE.
CHUNK = 500


@dataclass(frozen=True)
class Screened:
    """What a screen let pass, and what it did not.

    Attributes:
        valid: Rows for the table, to be read once.
        rows: Number of rows that came.
        quarantined: Number of rows that were set aside; the others are in `valid`.
        by_file: Landing file -> rows of it that were set aside.
        by_rule: Rule -> rows that broke it; one of severity `warn` keeps no row out.
    """

    valid: pa.RecordBatchReader
    rows: int
    quarantined: int
    by_file: Mapping[str, int] = field(default_factory=dict)
    by_rule: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ContractScreen:
    """Lets the rows pass that keep a contract.

    Attributes:
        contract: The contract.
        now: Recorded with rows that are set aside.
        run_id: Recorded with them.
    """

    contract: Contract
    now: datetime
    run_id: str = ""

    @property
    def digest(self) -> str:
        """Hash of what decides; a writer that keeps its state compares it."""
        return self.contract.digest

    def compares(self, keys: Sequence[str]) -> bool:
        """Return whether a verdict needs rows of other keys: a uniqueness beside the key's."""
        return bool(self.contract.unique_beside(keys))

    def batch(
        self,
        lakehouse: Lakehouse,
        table: TableName,
        rows: Rows,
        *,
        batch_id: int,
        files: Sequence[str],
        existing: int | None,
    ) -> Screened:
        """Judge the rows of a batch that will be appended.

        Args:
            lakehouse: Where the tables are.
            table: Table that the rows are for.
            rows: The rows; `_source_file` and the position in the file identify each.
            batch_id: Number of the batch; a repeated try has the same.
            files: Landing files of the batch.
            existing: Version of the table before the batch, from before it was decided which files
                the batch has. Rows that another process commits meanwhile are not compared with:
                they may be these very rows.
        """
        judged = split(lakehouse, self.contract, table, rows, existing=existing)
        by_file: Counter[str] = Counter()
        set_aside = self._set_aside(rows, judged, f"{batch_id}:", by_file)
        self._append(lakehouse, table, set_aside, batch_id, files, judged)
        return self._screened(rows, judged, dict(by_file))

    def state(
        self,
        lakehouse: Lakehouse,
        table: TableName,
        rows: Rows,
        *,
        keys: Sequence[str],
        changed: pa.Table | None,
    ) -> Screened:
        """Judge rows that will replace those of the same keys.

        The quarantine then tells the present: what it held of these keys and is good now, or is
        not computed any more, is marked `replayed`.

        Args:
            lakehouse: Where the tables are.
            table: Table that the rows are for.
            rows: The rows.
            keys: Columns that identify a row.
            changed: The keys that were computed; all when None.
        """
        judged = split(lakehouse, self.contract, table, rows, compare=False, order=keys)
        quarantine = quarantine_table(table)
        refused = judged.refused()
        if len(refused):
            bad = self._keyed(rows, judged, keys)
            lakehouse.create(quarantine, bad.schema, description=_described(table))
            lakehouse.merge(quarantine, bad, ("_row_id",), evolve=True)
        if lakehouse.exists(quarantine):
            same = " AND ".join(f"q.{quote(k)} = changed.{quote(k)}" for k in keys)
            again = {"again": self._ids(rows, judged, keys)}
            where = "q._status = 'open' AND NOT EXISTS "
            where += "(SELECT 1 FROM again WHERE again._row_id = q._row_id)"
            if changed is not None:
                where += f" AND EXISTS (SELECT 1 FROM changed WHERE {same})"
                again["changed"] = changed
            reason = "computed again, and not refused any more"
            mark(lakehouse, quarantine, where, "replayed", reason=reason, inputs=dict(again))
        return self._screened(rows, judged, {})

    def settle(
        self, lakehouse: Lakehouse, table: TableName, ingested: Mapping[str, int], batch_id: int
    ) -> None:
        """Remove rows that a try left which was killed and repeated with other files.

        Args:
            lakehouse: Where the tables are.
            table: Table that the rows are for.
            ingested: File -> batch that brought it.
            batch_id: Number of the next batch; what came before is decided.
        """
        quarantine = quarantine_table(table)
        if not lakehouse.exists(quarantine):
            return
        found = lakehouse.query(
            f"SELECT DISTINCT _source_file AS file, _batch_id AS batch FROM {quarantine} "
            f"WHERE _batch_id < {int(batch_id)}"
        )
        for row in found.read_all().to_pylist():
            if ingested.get(row["file"]) != row["batch"]:
                where = f"_source_file = {literal(row['file'])} AND _batch_id = {row['batch']}"
                lakehouse.delete(quarantine, where)

    def _screened(self, rows: Rows, judged: Split, by_file: Mapping[str, int]) -> Screened:
        import pyarrow as pa

        reader, refused = rows(None), judged.refused()
        valid = (taken.rows for taken in take(reader, refused, keep=False))
        return Screened(
            pa.RecordBatchReader.from_batches(reader.schema, valid),
            judged.rows,
            len(refused),
            by_file,
            {name: n for name, n in judged.counts().items() if n},
        )

    def _append(
        self,
        lakehouse: Lakehouse,
        table: TableName,
        bad: pa.RecordBatchReader,
        batch_id: int,
        files: Sequence[str],
        judged: Split,
    ) -> None:
        """Bring the rows of a batch into the quarantine, each once."""
        import pyarrow as pa

        quarantine = quarantine_table(table)
        refused = len(judged.refused())
        if refused:
            lakehouse.create(quarantine, bad.schema, description=_described(table))
        elif not lakehouse.exists(quarantine):
            return
        seen = lakehouse.transaction_version(quarantine, APP_ID)
        if seen is None or seen < batch_id:
            transaction = Transaction(APP_ID, batch_id)
            commit = lakehouse.append(quarantine, bad, transaction=transaction, evolve=True)
            if "committed already" not in commit.reason:
                return
        # A try that was killed left rows, or another process is at the same batch. What the other
        # one has of files that are not in this batch is its own matter; `settle` decides later.
        table_of_bad = bad.read_all()
        if refused:
            lakehouse.merge(quarantine, table_of_bad, ("_row_id",), evolve=True)
        left = lakehouse.query(
            f"SELECT held._row_id FROM {quarantine} AS held "
            "JOIN files ON files.name = held._source_file "
            f"LEFT JOIN bad ON bad._row_id = held._row_id "
            f"WHERE held._batch_id = {int(batch_id)} AND bad._row_id IS NULL",
            {"bad": table_of_bad.select(["_row_id"]), "files": pa.table({"name": list(files)})},
        )
        ids = left.read_all()["_row_id"].to_pylist()
        for start in range(0, len(ids), CHUNK):
            listed = ", ".join(map(literal, ids[start : start + CHUNK]))
            lakehouse.delete(quarantine, f"_row_id IN ({listed})")

    def _set_aside(
        self, rows: Rows, judged: Split, prefix: str, files: Counter[str]
    ) -> pa.RecordBatchReader:
        """Return the refused rows of landing files with what became of them."""
        import pyarrow as pa

        refused, reader = judged.refused(), rows(None)
        schema = schema_with_meta(reader.schema)
        starts: dict[str, int] = {}

        def batches() -> Iterator[pa.RecordBatch]:
            if not len(refused):
                return
            for taken in take(_watched(reader, starts), refused, keep=True):
                names = taken.rows.column("_source_file").to_pylist()
                files.update(names)
                ids = [
                    f"{prefix}{name}#{ordinal - starts[name]:09d}"
                    for name, ordinal in zip(names, taken.ordinals.tolist(), strict=True)
                ]
                yield self._with_meta(taken.rows, ids, judged.names(taken.ordinals), schema)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _keyed(self, rows: Rows, judged: Split, keys: Sequence[str]) -> pa.RecordBatchReader:
        """Return the refused rows of a table with a key; of a key that is there twice, the first.

        A merge needs each row once, and one row is enough to tell what is wrong with the key.
        """
        import pyarrow as pa

        schema = schema_with_meta(rows(None).schema)
        seen: set[str] = set()

        def batches() -> Iterator[pa.RecordBatch]:
            for taken in take(rows(None), judged.refused(), keep=True):
                ids = _key_ids(taken.rows, keys)
                first = {name: i for i, name in reversed(list(enumerate(ids))) if name not in seen}
                fresh = sorted(first.values())
                seen.update(first)
                yield self._with_meta(
                    taken.rows.take(pa.array(fresh, pa.int64())),
                    [ids[i] for i in fresh],
                    judged.names(taken.ordinals[fresh]),
                    schema,
                )

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _ids(self, rows: Rows, judged: Split, keys: Sequence[str]) -> pa.Table:
        import pyarrow as pa

        ids: set[str] = set()
        for taken in take(rows(keys), judged.refused(), keep=True):
            ids.update(_key_ids(taken.rows, keys))
        return pa.table({"_row_id": pa.array(sorted(ids), pa.string())})

    def _with_meta(
        self, rows: pa.RecordBatch, ids: list[str], broken: list[list[str]], schema: pa.Schema
    ) -> pa.RecordBatch:
        import pyarrow as pa

        values = {
            "_row_id": ids,
            "_failed_rules": broken,
            "_run_id": [self.run_id] * len(ids),
            "_contract_version": [self.contract.version] * len(ids),
            "_quarantined_at": [self.now] * len(ids),
            "_status": ["open"] * len(ids),
            "_status_reason": [""] * len(ids),
            "_replay": [None] * len(ids),
        }
        meta = [pa.array(values[name], schema.field(name).type) for name in META]
        return pa.RecordBatch.from_arrays([*rows.columns, *meta], schema=schema)


def _watched(reader: pa.RecordBatchReader, starts: dict[str, int]) -> Iterator[pa.RecordBatch]:
    """Pass batches on and note at which position each landing file starts."""
    import pyarrow.compute as pc

    position = 0
    for batch in reader:
        names = batch.column("_source_file")
        for name in names.unique().to_pylist():
            if name not in starts:
                starts[name] = position + pc.index(names, name).as_py()
        position += batch.num_rows
        yield batch


def _key_ids(rows: pa.RecordBatch, keys: Sequence[str]) -> list[str]:
    """Return the text of the key of each row."""
    return [
        json.dumps([row[k] for k in keys], default=str, ensure_ascii=False)
        for row in rows.select(list(keys)).to_pylist()
    ]


def _described(table: TableName) -> str:
    return f"Rows that may not come into {table.schema}.{table.table}, and why."
