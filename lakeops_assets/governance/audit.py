"""Who did what that others may have to answer for: the table `<catalog>.lakeops.audit`."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeops_assets.lakehouse import Commit, Lakehouse, TableName

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class AuditEntry:
    """One act.

    Attributes:
        at: When.
        actor: Who; free text, not proven identity.
        action: What was done, such as `forget`.
        subject: To whom or what; a hash where the subject itself must not be kept.
        reason: Why.
        details: Numbers and names.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    reason: str
    details: dict[str, Any]


def audit_table(catalog: str) -> TableName:
    """Return the name of the table of acts in a catalog."""
    return TableName(catalog, "lakeops", "audit")


def record_act(lakehouse: Lakehouse, entry: AuditEntry) -> Commit:
    """Append an act."""
    import pyarrow as pa

    table = audit_table(lakehouse.catalog)
    lakehouse.create(table, _schema(), description="Acts that somebody may have to answer for.")
    row = {
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "reason": entry.reason,
        "details": json.dumps(entry.details, sort_keys=True),
    }
    return lakehouse.append(table, pa.Table.from_pylist([row], schema=_schema()))


def subject_hash(salt: bytes, product: str, key: tuple[tuple[str, str], ...]) -> str:
    """Return a hash (HMAC-SHA-256) of a product's entity, which tells nothing without the salt."""
    text = json.dumps([product, sorted(key)])
    return hmac.new(salt, text.encode(), hashlib.sha256).hexdigest()


def read_salt(path: Path) -> bytes:
    """Return the secret of this state root, which is made when it is missing.

    Keys are few and easily guessed: whoever has the salt can find out whom an entry is about, and
    whoever loses it cannot look an entity up any more.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            path.hardlink_to(fresh)  # fails where one is: of two processes one secret wins
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return bytes.fromhex(path.read_text())


def _schema() -> pa.Schema:
    import pyarrow as pa

    def column(name: str, kind: pa.DataType, comment: str) -> pa.Field:
        return pa.field(name, kind, metadata={"comment": comment})

    return pa.schema(
        [
            column("at", pa.timestamp("us", "UTC"), "When."),
            column("actor", pa.string(), "Who; free text, not proven identity."),
            column("action", pa.string(), "What was done."),
            column("subject", pa.string(), "To what; a salted hash where it must not be kept."),
            column("reason", pa.string(), "Why."),
            column("details", pa.string(), "Numbers and names, as JSON."),
        ]
    )
