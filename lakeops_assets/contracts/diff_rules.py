"""What each kind of change of a contract means to a consumer: docs/contract-changes.md as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Change:
    """One difference between two versions of a contract.

    Attributes:
        path: What changed, such as `customers.tenure.required`.
        kind: Kind of the change; a key of `RULES`.
        before: Value before; None when there was none.
        after: Value after; None when there is none.
        breaking: Whether a consumer that relies on the old contract can be hurt.
        why: Why it is or is not breaking.
    """

    path: str
    kind: str
    before: Any
    after: Any
    breaking: bool
    why: str


def change(kind: str, path: str, before: Any = None, after: Any = None) -> Change:
    """Return a change with the verdict of its kind."""
    breaking, why = RULES[kind]
    return Change(path, kind, before, after, breaking, why)


BREAKING, HARMLESS = True, False

RULES: Mapping[str, tuple[bool, str]] = MappingProxyType(
    {
        # The contract
        "contract_added": (HARMLESS, "nobody relied on it yet"),
        "contract_removed": (BREAKING, "every promise is withdrawn"),
        "contract_id_changed": (BREAKING, "who follows the contract by its id loses it"),
        "contract_withdrawn": (BREAKING, "an active contract promises nothing any more"),
        "contract_deprecated": (HARMLESS, "the promises hold still; look for the successor"),
        "status_changed": (HARMLESS, "no promise that was active is taken back"),
        "version_changed": (HARMLESS, "the version says that the contract changed"),
        "version_not_raised": (HARMLESS, "the contract changed under the same version; raise it"),
        "version_lowered": (BREAKING, "who asks for the version it knows gets another contract"),
        "major_version_missing": (BREAKING, "a breaking change needs a higher major version"),
        "description_changed": (HARMLESS, "words for people; no promise about data"),
        "tags_changed": (HARMLESS, "labels for people; no promise about data"),
        "owner_changed": (HARMLESS, "other people answer for the same promises"),
        "support_changed": (HARMLESS, "another place to ask; no promise about data"),
        "custom_property_changed": (HARMLESS, "the standard gives it no meaning"),
        "price_changed": (BREAKING, "the consumer agreed to other terms"),
        "server_added": (HARMLESS, "one more place to read from"),
        "server_changed": (BREAKING, "who reads from the old place finds nothing there"),
        "server_removed": (BREAKING, "who reads from it finds nothing there"),
        "role_added": (HARMLESS, "one more way to get access"),
        "role_changed": (BREAKING, "who has the role may do less than before"),
        "role_removed": (BREAKING, "who has the role loses access"),
        # Tables
        "table_added": (HARMLESS, "nobody reads it yet"),
        "table_removed": (BREAKING, "queries of it fail"),
        "table_renamed": (BREAKING, "queries by the old name fail"),
        "granularity_changed": (BREAKING, "a row means something else: sums and joins differ"),
        # Columns
        "column_added": (HARMLESS, "columns are read by name"),
        "required_column_added": (HARMLESS, "columns are read by name; only the producer must act"),
        "column_removed": (BREAKING, "queries that name it fail"),
        "column_renamed": (BREAKING, "queries by the old name fail"),
        "deprecated": (HARMLESS, "it is there still; stop using it in time"),
        "type_widened": (BREAKING, "a value may not fit where the consumer puts it"),
        "type_narrowed": (HARMLESS, "every value fits the old type without loss"),
        "type_changed": (BREAKING, "values are another kind, or lose digits"),
        "type_stated": (HARMLESS, "one promise more"),
        "type_unstated": (BREAKING, "any type may come"),
        "required_added": (HARMLESS, "nulls come no more"),
        "required_removed": (BREAKING, "nulls may come"),
        "unique_added": (HARMLESS, "one promise more"),
        "unique_removed": (BREAKING, "a join by it may multiply rows"),
        "primary_key_added": (HARMLESS, "one promise more"),
        "primary_key_changed": (BREAKING, "what a row is has changed: joins and merges differ"),
        "primary_key_removed": (BREAKING, "a join by it may multiply rows"),
        "enum_stated": (HARMLESS, "one promise more"),
        "enum_unstated": (BREAKING, "any value may come"),
        "enum_value_added": (BREAKING, "a value comes that the consumer does not know"),
        "enum_value_removed": (HARMLESS, "every value that comes is known"),
        "range_narrowed": (HARMLESS, "every value is in the old range"),
        "range_widened": (BREAKING, "a value may be outside the range that was promised"),
        "length_narrowed": (HARMLESS, "every value has a length that was promised"),
        "length_widened": (BREAKING, "a value may be longer or shorter than was promised"),
        "pattern_added": (HARMLESS, "one promise more"),
        "pattern_changed": (BREAKING, "a value may not match the old pattern"),
        "pattern_removed": (BREAKING, "a value may look like anything"),
        "type_option_added": (HARMLESS, "one promise more"),
        "type_option_changed": (BREAKING, "values may not be what the old option promised"),
        "type_option_removed": (BREAKING, "values may not be what the option promised"),
        "classification_changed": (BREAKING, "the consumer has to protect it in another way"),
        "semantic_type_changed": (BREAKING, "the values mean something else"),
        "partitioning_changed": (HARMLESS, "queries give the same rows, faster or slower"),
        "lineage_changed": (HARMLESS, "made in another way, within what is promised"),
        # References
        "reference_added": (HARMLESS, "one promise more"),
        "reference_removed": (BREAKING, "a join may find no partner"),
        # Quality
        "quality_rule_added": (HARMLESS, "one promise more"),
        "quality_rule_removed": (BREAKING, "nothing watches what was promised"),
        "quality_rule_tightened": (HARMLESS, "what passes now passed before"),
        "quality_rule_weakened": (BREAKING, "data passes that did not before"),
        "quality_rule_changed": (BREAKING, "whether data passes that did not before is unknown"),
        "severity_raised": (HARMLESS, "a violation has more consequences"),
        "severity_lowered": (BREAKING, "a violation may reach the consumer"),
        "severity_changed": (BREAKING, "whether a violation may reach the consumer is unknown"),
        # Service levels
        "sla_added": (HARMLESS, "one promise more"),
        "sla_removed": (BREAKING, "nothing is promised of it any more"),
        "sla_tightened": (HARMLESS, "better than was promised"),
        "sla_loosened": (BREAKING, "worse than was promised"),
        "sla_changed": (BREAKING, "whether it is worse than was promised is unknown"),
    }
)
