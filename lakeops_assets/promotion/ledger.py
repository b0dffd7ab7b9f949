"""The memory of promotions: `<catalog>.lakeops.promotions`, which only grows.

One row per event, numbered 1, 2, 3… over the whole table. One numbering for all models makes one
chain of hashes: a row cannot be taken out, put in or moved without breaking it, whichever model it
is about. The number is also the version of the Delta application transaction that writes the row.
Two writers who saw the same last row write the same transaction, and Delta lets one of them commit
(two blind appends would both succeed). That is the compare and set, on every engine; a file lock
beside the table only keeps many writers from repeating their work.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lakeops_assets.lakehouse import (
    ConcurrentWriteError,
    Lakehouse,
    LakehouseError,
    TableName,
    Transaction,
)

if TYPE_CHECKING:
    import pyarrow as pa

Action: TypeAlias = Literal["promote", "revert", "reject", "approve", "expire", "restore"]
# Events that say which version is live from then on; the others are about plans and aliases.
DECISIONS = ("promote", "revert")
# Writer of the table, and key of what it records with its commits.
APP_ID = "promotions"
ATTEMPTS = 100
COMPACT_EVERY = 50
# Operations that leave every row as it was.
HARMLESS = frozenset({"CREATE TABLE", "CREATE OR REPLACE TABLE", "SET TBLPROPERTIES", "FSCK"})
HARMLESS_PREFIXES = ("OPTIMIZE", "VACUUM")


class LedgerMovedError(Exception):
    """Another writer appended first; look at the ledger again and decide again."""


class LedgerBrokenError(Exception):
    """The ledger is not the one that was written: nothing is promoted on its word."""


@dataclass(frozen=True)
class Entry:
    """An event to record.

    Attributes:
        model: Registered name.
        action: `promote` and `revert` make `version` live; `approve`, `reject` and `expire` are
            about the plan `plan_digest`; `restore` put the registry's alias back.
        version: Version that the event is about; None when an alias was taken away.
        replaced: Version that was live before; for `restore`, the version the alias pointed to.
        actor: Who acted. Free text, not proven identity.
        reason: Why, in words.
        evidence: What the decision was made on: metrics, gates, data versions.
        plan_digest: Plan that was approved, rejected or carried out; empty without one.
        run_id: Dagster run; empty outside one.
        at: When, in UTC.
    """

    model: str
    action: Action
    version: int | None
    replaced: int | None
    actor: str
    reason: str
    at: datetime
    evidence: Mapping[str, Any] = field(default_factory=dict)
    plan_digest: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class LedgerEntry(Entry):
    """A recorded event.

    Attributes:
        sequence: Its number; 1 is the first event of the table.
        previous_hash: Hash of the event before; empty for the first.
        hash: SHA-256 of all other fields as canonical JSON.
    """

    sequence: int = 0
    previous_hash: str = ""
    hash: str = ""

    def seal(self) -> str:
        """Return the hash that the other fields should have."""
        fields = {k: v for k, v in asdict(self).items() if k != "hash"}
        fields["at"] = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class LiveVersion:
    """Which version of a model was live at a time, by the ledger.

    Attributes:
        model: Registered name.
        version: The version.
        entry: The event that made it live.
    """

    model: str
    version: int
    entry: LedgerEntry

    @property
    def sequence(self) -> int:
        """Number of the event that made it live."""
        return self.entry.sequence


@dataclass(frozen=True)
class Problem:
    """Something in the ledger that was not written by it.

    Attributes:
        kind: `edited`, `missing`, `chain`, `foreign` (a row that the ledger did not write),
            `rewritten` (Delta operations that change rows), `deleted` or `unreadable`.
        sequence: Event it is about; None when it is about the table.
        text: What was found.
    """

    kind: str
    sequence: int | None
    text: str


@dataclass(frozen=True)
class Ledger:
    """The events of one catalog.

    Attributes:
        lakehouse: Where the table is; its catalog decides which.
    """

    lakehouse: Lakehouse

    @property
    def table(self) -> TableName:
        """Full name of the table."""
        return ledger_table(self.lakehouse.catalog)

    # Writing

    def append(self, entry: Entry, *, expected_head: int | None = None) -> LedgerEntry:
        """Record an event.

        Args:
            entry: The event.
            expected_head: Number of the last event that the decision was made on. None for an
                event that stands whatever else was recorded meanwhile.

        Raises:
            LedgerMovedError: Another event came after `expected_head`.
            LedgerBrokenError: The ledger was tampered with.
        """

        def check(entries: tuple[LedgerEntry, ...]) -> Entry:
            head = entries[-1].sequence if entries else 0
            if expected_head is not None and head != expected_head:
                raise LedgerMovedError(
                    f"{self.table} has {head} events, and the decision was made on "
                    f"{expected_head}; look at it again"
                )
            return entry

        return self.decide(check)

    def decide(
        self,
        decide: Callable[[tuple[LedgerEntry, ...]], Entry],
        then: Callable[[LedgerEntry], None] = lambda entry: None,
    ) -> LedgerEntry:
        """Record the event that a function returns for the events as they are.

        Args:
            decide: Gets all events. When another writer is faster it is asked again, with that
                writer's event among the others. It raises what it likes to record nothing.
            then: Called with the recorded event before the next writer on this machine may start,
                to let aliases follow in the order of the events.

        Raises:
            LedgerMovedError: Others were faster many times in a row.
            LedgerBrokenError: The ledger was tampered with.
        """
        with self.locked():
            self.lakehouse.create(
                self.table, _schema(), description="Promotions, approvals and reverts of models."
            )
            for _ in range(ATTEMPTS):
                entries = self.entries()
                head = entries[-1] if entries else None
                entry = sealed(decide(entries), head)
                if self._commit(entry):
                    then(entry)
                    self._compact(entry.sequence)
                    return entry
        raise LedgerMovedError(
            f"{ATTEMPTS} times in a row another writer appended to {self.table} first; try again"
        )

    def _commit(self, entry: LedgerEntry) -> bool:
        import pyarrow as pa

        row = {**asdict(entry), "evidence": json.dumps(dict(entry.evidence), sort_keys=True)}
        try:
            commit = self.lakehouse.append(
                self.table,
                pa.Table.from_pylist([row], schema=_schema()),
                transaction=Transaction(APP_ID, entry.sequence),
                metadata={"sequence": str(entry.sequence), "hash": entry.hash},
            )
        except ConcurrentWriteError:
            return False
        return commit.written

    def _compact(self, sequence: int) -> None:
        """Join the files of single events now and then: everybody reads all of them."""
        if sequence % COMPACT_EVERY == 0:
            with suppress(ConcurrentWriteError):  # who was faster does it next time
                self.lakehouse.optimize(self.table)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers on this machine waiting; not to be nested, nor around a write."""
        path = Path(self.lakehouse.location(self.table)).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # Reading

    def head(self) -> int:
        """Return the number of the last event, from the log alone; 0 before the first."""
        return self.lakehouse.transaction_version(self.table, APP_ID) or 0

    def entries(self, model: str | None = None) -> tuple[LedgerEntry, ...]:
        """Return the events of a model, or of all, in their order.

        Raises:
            LedgerBrokenError: A row was changed, removed or put in.
            LakehouseError: The table cannot be read.
        """
        rows, last = self._rows()
        problems = _problems(rows, last)
        if problems:
            raise LedgerBrokenError(
                f"{self.table} was changed by something else than lakeops: {problems[0].text}. "
                "`lakeops doctor` lists all that is wrong with it"
            )
        return tuple(e for e in rows if model is None or e.model == model)

    def live(self, model: str, at: datetime | None = None) -> LiveVersion | None:
        """Return the version that is live by the ledger, or was at a time; None without one."""
        return live_in(self.entries(model), model, at)

    def verify(self, anchors: Mapping[int, str] | None = None) -> tuple[Problem, ...]:
        """Return what is wrong with the ledger; empty when nothing is.

        Args:
            anchors: Number -> hash of events as they are noted in another place, such as the tags
                of model versions. They show that the whole table was replaced by a consistent one.
        """
        try:
            rows, last = self._rows()
            found = [*_problems(rows, last), *self._history_problems(rows)]
        except LakehouseError as error:
            return (Problem("unreadable", None, str(error)),)
        by_number = {e.sequence: e for e in rows}
        for sequence, noted in sorted((anchors or {}).items()):
            if not rows:
                text = f"it is empty, and the model registry notes its event {sequence}"
                found.append(Problem("deleted", None, text))
                break
            entry = by_number.get(sequence)
            if entry is None or entry.hash != noted:
                text = f"event {sequence} is not the one that the model registry notes"
                found.append(Problem("edited", sequence, text))
        return tuple(dict.fromkeys(found))

    def _rows(self) -> tuple[list[LedgerEntry], range]:
        """Return the rows, and between which numbers the last one must be.

        The log is asked before and after, for events may be added while the rows are read.
        """
        if not self.lakehouse.exists(self.table):
            return [], range(1)
        least = self.head()
        rows = self.lakehouse.read(self.table).read_all().to_pylist()
        entries = [LedgerEntry(**{**row, "evidence": json.loads(row["evidence"])}) for row in rows]
        return sorted(entries, key=lambda e: e.sequence), range(least, self.head() + 1)

    def _history_problems(self, rows: Sequence[LedgerEntry]) -> list[Problem]:
        """Compare the rows with what the commits that Delta still knows have recorded."""
        if not self.lakehouse.exists(self.table):
            return []
        hashes = {e.sequence: e.hash for e in rows}
        found = []
        for commit in reversed(self.lakehouse.history(self.table)):
            operation = commit.operation.upper()
            if operation in HARMLESS or operation.startswith(HARMLESS_PREFIXES):
                continue
            sequence = commit.metadata.get("sequence", "")
            if not sequence.isdigit() or operation not in ("WRITE", "STREAMING UPDATE"):
                text = f"Delta version {commit.version} is a {operation} that lakeops did not make"
                found.append(Problem("rewritten", None, text))
            elif hashes.get(int(sequence)) != commit.metadata.get("hash"):
                text = f"event {sequence} is not the one that Delta version {commit.version} wrote"
                found.append(Problem("edited", int(sequence), text))
        return found


def ledger_table(catalog: str) -> TableName:
    """Return the name of the ledger of a catalog."""
    return TableName(catalog, "lakeops", "promotions")


def sealed(entry: Entry, head: LedgerEntry | None) -> LedgerEntry:
    """Return an event as the one that follows `head`."""
    fields = {name: getattr(entry, name) for name in Entry.__dataclass_fields__}
    fields["evidence"] = json.loads(json.dumps(dict(entry.evidence)))
    following = LedgerEntry(
        **fields,
        sequence=head.sequence + 1 if head else 1,
        previous_hash=head.hash if head else "",
    )
    return replace(following, hash=following.seal())


def live_in(
    entries: Sequence[LedgerEntry], model: str, at: datetime | None = None
) -> LiveVersion | None:
    """Return the version that the last decision among some events made live."""
    for entry in reversed(entries):
        decided = entry.model == model and entry.action in DECISIONS
        if decided and entry.version is not None and (at is None or entry.at <= at):
            return LiveVersion(model, entry.version, entry)
    return None


def _problems(rows: Sequence[LedgerEntry], last: range) -> list[Problem]:
    """Return where the chain does not hold; `rows` are in the order of their numbers."""
    found: list[Problem] = []
    previous: LedgerEntry | None = None
    for entry in rows:
        expected = previous.sequence + 1 if previous else 1
        if entry.hash != entry.seal():
            text = f"event {entry.sequence} was edited: its hash is not that of its content"
            found.append(Problem("edited", entry.sequence, text))
        if entry.sequence != expected:
            found.append(_out_of_order(entry.sequence, expected))
        elif entry.previous_hash != (previous.hash if previous else ""):
            text = f"event {entry.sequence} does not follow the event before it"
            found.append(Problem("chain", entry.sequence, text))
        previous = entry
    newest = previous.sequence if previous else 0
    if newest < last.start:
        found.append(_out_of_order(last.start + 1, newest + 1))
    elif newest >= last.stop:
        text = f"event {newest} was put in by something else than lakeops"
        found.append(Problem("foreign", newest, text))
    return found


def _out_of_order(sequence: int, expected: int) -> Problem:
    if sequence < expected:
        return Problem("foreign", sequence, f"event {sequence} is there more than once")
    missing = str(expected) if sequence == expected + 1 else f"{expected} to {sequence - 1}"
    return Problem("missing", expected, f"event {missing} is missing")


def _schema() -> pa.Schema:
    import pyarrow as pa

    def column(name: str, kind: pa.DataType, comment: str) -> pa.Field:
        return pa.field(name, kind, metadata={"comment": comment})

    return pa.schema(
        [
            column("sequence", pa.int64(), "Number of the event: 1, 2, 3... over the table."),
            column("model", pa.string(), "Registered name of the model."),
            column("action", pa.string(), "promote, revert, approve, reject, expire or restore."),
            column("version", pa.int64(), "Version that the event is about."),
            column("replaced", pa.int64(), "Version that it replaced."),
            column("actor", pa.string(), "Who acted; free text, not proven identity."),
            column("reason", pa.string(), "Why, in words."),
            column("evidence", pa.string(), "What it was decided on, as JSON."),
            column("plan_digest", pa.string(), "Plan that it is about."),
            column("run_id", pa.string(), "Dagster run."),
            column("at", pa.timestamp("us", "UTC"), "When it happened."),
            column("previous_hash", pa.string(), "Hash of the event before."),
            column("hash", pa.string(), "SHA-256 of all other fields as canonical JSON."),
        ]
    )
