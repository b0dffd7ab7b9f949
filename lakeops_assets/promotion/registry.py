"""What a promotion needs of the model registry, and the one place that moves its aliases.

The ledger decides and the aliases follow. Every step here can be repeated, and the last one notes
in the registry that the others were done, so that a process that was killed in between is told from
a person who moved an alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lakeops_assets.promotion.ledger import LedgerEntry

# Tags of a version. ANCHOR notes the event that made it live: `<sequence>:<hash>`.
ANCHOR = "lakeops.ledger"
GATES, EVALUATION = "lakeops.gates", "lakeops.evaluation"
REVERTED = "lakeops.reverted"


class Registry(Protocol):
    """One registered model: its aliases and what is known of its versions."""

    @property
    def name(self) -> str:
        """Registered name."""
        ...

    def alias(self, alias: str) -> int | None:
        """Return the version that carries an alias; None when none does."""
        ...

    def set_alias(self, alias: str, version: int) -> None:
        """Move an alias to a version."""
        ...

    def delete_alias(self, alias: str) -> None:
        """Remove an alias; does nothing where none is."""
        ...

    def version_tags(self, version: int) -> Mapping[str, str]:
        """Return the tags of a version."""
        ...

    def set_version_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        ...

    def authors(self, version: int) -> tuple[str, ...]:
        """Return who trained and registered a version; empty when nobody is known."""
        ...

    def metrics(self, version: int) -> Mapping[str, float]:
        """Return metrics on the held-out rows, with `_low` and `_high`."""
        ...

    def data_version(self, version: int) -> int:
        """Return the Delta version that a version was trained on."""
        ...

    def fingerprint(self, version: int) -> str:
        """Return what identifies the model of a version: specification, data, code."""
        ...

    def model_id(self, version: int) -> str:
        """Return the id of the model of a version; numbers can be given again, ids cannot."""
        ...


def anchor(entry: LedgerEntry) -> str:
    """Return how the registry notes an event."""
    return f"{entry.sequence}:{entry.hash}"


def is_carried_out(registry: Registry, entry: LedgerEntry) -> bool:
    """Return whether the aliases were moved for a decision, whatever became of them since."""
    if entry.version is None:
        return False
    return registry.version_tags(entry.version).get(ANCHOR) == anchor(entry)


def move_aliases(registry: Registry, entry: LedgerEntry) -> None:
    """Let the aliases say what a decision in the ledger says; safe to repeat.

    `previous` first: a process that is killed after it leaves the champion as it was. A version
    that was reverted from is no `previous`: nobody should go back to it.
    """
    if entry.version is None:
        return
    if entry.action == "revert":
        registry.delete_alias("previous")
        if entry.replaced is not None:
            registry.set_version_tags(entry.replaced, {REVERTED: entry.reason[:500]})
    elif entry.replaced is not None:
        registry.set_alias("previous", entry.replaced)
    evaluation = str(entry.evidence.get("evaluation_id", ""))
    registry.set_version_tags(entry.version, {GATES: "passed", EVALUATION: evaluation})
    registry.set_alias("champion", entry.version)
    if registry.alias("challenger") == entry.version:
        registry.delete_alias("challenger")
    registry.set_version_tags(entry.version, {ANCHOR: anchor(entry)})


def anchors(registry: Registry, versions: tuple[int, ...]) -> dict[int, str]:
    """Return number -> hash of the events that the registry notes for some versions."""
    found: dict[int, str] = {}
    for version in versions:
        sequence, _, noted = registry.version_tags(version).get(ANCHOR, "").partition(":")
        if sequence.isdigit():
            found[int(sequence)] = noted
    return found
