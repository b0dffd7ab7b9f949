"""Whether the columns of a table are those that a contract promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakeops_assets.contracts.contract import Contract
from lakeops_assets.contracts.document import close
from lakeops_assets.contracts.rules import ContractError
from lakeops_assets.lakehouse.types import spark_type

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_FITTING: dict[str, tuple[str, ...]] = {
    "string": ("string",),
    "integer": _INTEGERS,
    "number": (*_INTEGERS, "float", "double", "decimal"),
    "boolean": ("boolean",),
    "date": ("date",),
    "timestamp": ("timestamp", "timestamp_ntz"),
    "time": ("string",),
    "object": ("struct", "map", "string"),
    "map": ("map", "string"),
    "array": ("array", "string"),
    "vector": ("array",),
}
_SYNONYMS = {"integer": "int", "long": "bigint", "bool": "boolean", "varchar": "string"}


def unfit_columns(contract: Contract, schema: pa.Schema) -> dict[str, str]:
    """Return the columns that are missing or have a type that does not fit, and why."""
    found: dict[str, str] = {}
    types = {f.name: spark_type(f.type) for f in schema}
    for name, logical, physical in contract.columns:
        if name not in types:
            found[name] = f"column {name} is missing"
            continue
        base = types[name].split("(")[0].split("<")[0]
        wanted = _FITTING.get(logical, ())
        if wanted and base not in wanted:
            found[name] = f"column {name} is {types[name]}, which is no {logical}"
        if physical and _plain(physical) != _plain(types[name]):
            found[name] = f"column {name} is {types[name]} and should be {physical}"
    for name in contract.column_names:
        if name not in types:
            found.setdefault(name, f"column {name} is missing")
    return found


def require_columns(contract: Contract, schema: pa.Schema) -> None:
    """Check that the rows can be judged at all.

    Raises:
        ContractError: A column that a rule of rows reads is missing or of a type that does not fit.
    """
    read = contract.used(contract.row_rules)
    unfit = {c: why for c, why in unfit_columns(contract, schema).items() if c in read}
    if unfit:
        column, why = next(iter(unfit.items()))
        rule = next(r for r in contract.row_rules if column in r.columns)
        raise ContractError(
            f"{contract.path}:{rule.line}: the rows of {contract.table} cannot be judged: {why}. "
            f"{close(column, schema.names)}. Correct the contract or the table"
        )


def _plain(kind: str) -> str:
    text = kind.lower().replace(" ", "")
    return _SYNONYMS.get(text, text)
