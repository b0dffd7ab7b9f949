"""An ODCS file becomes a contract: each promise one rule.

Where a rule comes from, its default severity and its words are in docs/contracts.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeops_assets.contracts import quality
from lakeops_assets.contracts.conditions import length, matches, one_of, value_range
from lakeops_assets.contracts.contract import Contract
from lakeops_assets.contracts.document import Document, Place, close
from lakeops_assets.contracts.rules import (
    SEVERITIES,
    Condition,
    ContractError,
    Freshness,
    Reference,
    Rule,
    Severity,
    Types,
    Unique,
)
from lakeops_assets.lakehouse.statements import quote

if TYPE_CHECKING:
    from open_data_contract_standard.model import (
        CustomProperty,
        OpenDataContractStandard,
        SchemaObject,
        SchemaProperty,
    )

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_OPTIONS = {
    "range": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "length": ("minLength", "maxLength"),
    "pattern": ("pattern",),
}
# Said in ODCS and nothing that a row could break.
_SILENT_OPTIONS = ("format", "timezone", "defaultTimezone", "multipleOf")
_WORDS = {"info": "warn", "warning": "warn", "critical": "block"}


def load(path: Path, *, screened: bool = True) -> Contract:
    """Return the contract of a file.

    Args:
        path: ODCS 3 file with one schema object.
        screened: Whether rows go through the contract on their way into the table. Where they do
            not, no row can be set aside: `quarantine` is an error there, and row rules block
            unless they say otherwise.

    Raises:
        ContractError: It is not a contract, or says what cannot be checked; names file and line.
    """
    document = Document(path)
    model = document.model
    for field in ("apiVersion", "kind", "id", "version", "status"):
        if not getattr(model, field):
            raise document.error((), f"a contract needs {field}")
    if not str(model.apiVersion).startswith("v3."):
        raise document.error(
            ("apiVersion",), f"apiVersion is {model.apiVersion}; v3.0 and v3.1 can be read"
        )
    objects = model.schema_ or []
    if len(objects) != 1:
        raise document.error(("schema",), f"schema has {len(objects)} objects; one table per file")
    compiler = Compiler(document, objects[0], screened=screened)
    if compiler.table != path.stem:
        raise document.error(
            compiler.place,
            f"the table is {compiler.table} and the file is {path.name}; name the file "
            f"{compiler.table}.yaml",
        )
    rules = tuple(compiler.rules(model))
    twice = [r for r in rules if sum(r.id == other.id for other in rules) > 1]
    if twice:
        raise ContractError(
            f"{path}:{twice[-1].line}: the rule {twice[-1].id} is there twice (also in line "
            f"{twice[0].line}); give one of them another `id`"
        )
    purpose = (model.description.purpose if model.description else None) or ""
    return Contract(
        path=path,
        table=compiler.table,
        version=str(model.version),
        status=str(model.status),
        description=objects[0].description or purpose,
        rules=rules,
    )


class Compiler:
    """Makes the rules of one schema object.

    Args:
        document: The file.
        schema: Its schema object.
        screened: See `load`.
    """

    def __init__(self, document: Document, schema: SchemaObject, *, screened: bool) -> None:
        self.document = document
        self.schema = schema
        self.screened = screened
        self.place: Place = ("schema", 0)
        table = schema.physicalName or schema.name
        if not table:
            raise document.error(self.place, "the schema object has no name")
        self.table = table.split(".")[-1]
        self.properties = {
            self._name(p, (*self.place, "properties", i)): p
            for i, p in enumerate(schema.properties or [])
        }

    def _name(self, prop: SchemaProperty, place: Place) -> str:
        name = prop.physicalName or prop.name
        if not name:
            raise self.document.error(place, "a property has no name")
        return name

    def rules(self, model: OpenDataContractStandard) -> Iterator[Rule]:
        """Return all rules, in the order of the file."""
        yield from self._types()
        yield from self._primary_key()
        for index, (column, prop) in enumerate(self.properties.items()):
            place = (*self.place, "properties", index)
            yield from self._property(column, prop, place)
            for number, check in enumerate(prop.quality or []):
                yield from quality.rules(self, check, (*place, "quality", number), column)
        for number, check in enumerate(self.schema.quality or []):
            yield from quality.rules(self, check, (*self.place, "quality", number), None)
        yield from self._relationships()
        yield from self._service_levels(model)

    def make(
        self,
        name: str,
        kind: str,
        description: str,
        columns: tuple[str, ...],
        check: Any,
        place: Place,
        severity: str | None,
    ) -> Rule:
        """Return a rule with its severity, checked against the columns of the contract."""
        unknown = [c for c in columns if c not in self.properties and not c.startswith("_")]
        if unknown and self.properties:
            raise self.document.error(
                place, f"there is no column {unknown[0]}; {close(unknown[0], self.properties)}"
            )
        rule = Rule(
            re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_"),
            kind,
            "warn",
            description,
            columns,
            check,
            self.document.line(place),
        )
        return replace(rule, severity=self._severity(rule, severity, place))

    def _severity(self, rule: Rule, said: str | None, place: Place) -> Severity:
        default: Severity = "block"
        if rule.kind == "freshness":
            default = "warn"
        elif rule.per_row and self.screened:
            default = "quarantine"
        wanted = _WORDS.get(said or "error", said)
        if wanted in (None, "error"):
            return default
        if wanted not in SEVERITIES:
            known = (*SEVERITIES, "info", "warning", "error", "critical")
            raise self.document.error(
                place, f"the severity of {rule.id} is {said}; {close(str(said), known)}"
            )
        if wanted == "quarantine" and not rule.per_row:
            raise self.document.error(
                place,
                f"{rule.id} is about the table as a whole, so that no row can be set aside for it; "
                "its severity can be: warn, block",
            )
        if wanted == "quarantine" and not self.screened:
            raise self.document.error(
                place,
                f"{rule.id} cannot quarantine: the rows of {self.table} are checked where they are "
                "and do not pass through the contract; its severity can be: warn, block",
            )
        return next(s for s in SEVERITIES if s == wanted)

    def _types(self) -> Iterator[Rule]:
        columns = tuple(
            (name, p.logicalType or "", p.physicalType or "") for name, p in self.properties.items()
        )
        if columns:
            yield self.make(
                "schema",
                "schema",
                f"the {len(columns)} columns are there with types that fit",
                tuple(c[0] for c in columns),
                Types(columns),
                (*self.place, "properties"),
                severity_of(self.schema.customProperties, "schema"),
            )

    def _primary_key(self) -> Iterator[Rule]:
        keys = [(n, p) for n, p in self.properties.items() if p.primaryKey]
        if not keys:
            return
        keys.sort(key=lambda k: k[1].primaryKeyPosition or 0)
        columns = tuple(name for name, _ in keys)
        place = (*self.place, "properties", list(self.properties).index(columns[0]), "primaryKey")
        yield self.make(
            "primary_key",
            "primary_key",
            f"each row has its own {', '.join(columns)}",
            columns,
            Unique(columns, required=True),
            place,
            severity_of(keys[0][1].customProperties, "primary_key"),
        )

    def _property(self, column: str, prop: SchemaProperty, place: Place) -> Iterator[Rule]:
        """Return the rules that a property states without a `quality` entry."""
        name, options = quote(column), dict(prop.logicalTypeOptions or {})
        found: list[tuple[str, str, Any, str]] = []
        if prop.required:
            found.append(("required", "is never null", Condition(f"{name} IS NOT NULL"), ""))
        if prop.unique:
            found.append(("unique", "does not repeat a value", Unique((column,)), ""))
        if prop.enum:
            values = [v.value for v in prop.enum]
            found.append(("enum", f"is one of {_listed(values)}", one_of(name, values), ""))
        known = [o for names in _OPTIONS.values() for o in names]
        for option in options:
            if option not in (*known, *_SILENT_OPTIONS):
                raise self.document.error(
                    (*place, "logicalTypeOptions", option),
                    f"logicalTypeOptions has no {option}; {close(option, known)}",
                )
        for kind, build in (("range", value_range), ("length", length), ("pattern", matches)):
            chosen = {o: options[o] for o in _OPTIONS[kind] if o in options}
            if chosen:
                try:
                    words, check = build(name, chosen, prop.logicalType or "")
                except ValueError as error:
                    raise self.document.error(
                        (*place, "logicalTypeOptions", next(iter(chosen))), f"{column}: {error}"
                    ) from error
                found.append((kind, words, check, "logicalTypeOptions"))
        for kind, words, check, option in found:
            yield self.make(
                f"{column}_{kind}",
                kind,
                f"{column} {words}",
                (column,),
                check,
                (*place, option or kind),
                severity_of(prop.customProperties, kind),
            )

    def _relationships(self) -> Iterator[Rule]:
        for index, (column, prop) in enumerate(self.properties.items()):
            for number, relation in enumerate(prop.relationships or []):
                place = (*self.place, "properties", index, "relationships", number)
                said = severity_of(relation.customProperties, "reference")
                yield self._reference((column,), relation.to, place, said, relation.id)
        for number, relation in enumerate(self.schema.relationships or []):
            place = (*self.place, "relationships", number)
            mine = relation.from_ if isinstance(relation.from_, list) else [relation.from_]
            columns = tuple(str(c).split(".")[-1] for c in mine if c)
            said = severity_of(relation.customProperties, "reference")
            yield self._reference(columns, relation.to, place, said, relation.id)

    def _reference(
        self, columns: tuple[str, ...], to: Any, place: Place, said: str | None, name: str | None
    ) -> Rule:
        table, targets = self.target(to, place)
        if len(targets) != len(columns):
            raise self.document.error(
                place, f"{len(columns)} columns refer to {len(targets)}: {', '.join(targets)}"
            )
        return self.make(
            name or f"{'_'.join(columns)}_reference",
            "reference",
            f"{', '.join(columns)} is found in {table}",
            columns,
            Reference(columns, table, targets),
            place,
            said,
        )

    def target(self, to: Any, place: Place) -> tuple[str, tuple[str, ...]]:
        """Return table and columns of `table.column`, or of a list of such."""
        listed = to if isinstance(to, list) else [to]
        parts = [str(t).rpartition(".") for t in listed if t]
        tables = {table for table, _, _ in parts}
        if len(tables) != 1 or "" in tables:
            raise self.document.error(
                place, f"{to!r} names no column of one table; write customers.customer_id or "
                "churn.customers.customer_id"
            )  # fmt: skip
        return tables.pop(), tuple(column for _, _, column in parts)

    def _service_levels(self, model: OpenDataContractStandard) -> Iterator[Rule]:
        for number, level in enumerate(model.slaProperties or []):
            place = ("slaProperties", number)
            if level.property not in ("latency", "freshness"):
                continue
            element = level.element or model.slaDefaultElement or ""
            yield self.freshness(
                element.split(".")[-1],
                level.value,
                level.unit,
                place,
                severity_of(level.customProperties, "freshness"),
            )

    def freshness(
        self, column: str, value: Any, unit: str | None, place: Place, said: str | None
    ) -> Rule:
        """Return the rule that the newest value of a column is not too old."""
        if not column:
            raise self.document.error(
                place, "freshness needs an `element`, the date or timestamp that tells the age"
            )
        letter = (unit or "d").strip().lower()[:1]
        if letter not in SECONDS or str(unit).lower().startswith("mo"):
            raise self.document.error(
                place, f"the unit of a freshness is {unit}; it can be: s, m, h, d, w"
            )
        try:
            seconds = float(value) * SECONDS[letter]
        except (TypeError, ValueError) as error:
            raise self.document.error(place, f"the age {value!r} is not a number") from error
        return self.make(
            f"{column}_freshness",
            "freshness",
            f"the newest {column} is not older than {value} {unit or 'd'}",
            (column,),
            Freshness(column, seconds),
            place,
            said,
        )


def severity_of(properties: list[CustomProperty] | None, kind: str) -> str | None:
    """Return the severity that custom properties give to a kind of rule; None when none."""
    for custom in properties or []:
        if custom.property == "severity":
            value = custom.value
            return value.get(kind) if isinstance(value, dict) else str(value)
    return None


def _listed(values: list[Any]) -> str:
    shown = ", ".join(str(v) for v in values[:8])
    return shown + (" ..." if len(values) > 8 else "")
