"""The key of an entity that is to be forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class ForgetKeyError(ValueError):
    """A key is written in a way that cannot be understood."""


@dataclass(frozen=True)
class Key:
    """Columns and the values in them that tell an entity, as text.

    Attributes:
        values: Column and value, in the order they were given.
    """

    values: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column for column, _ in self.values)

    @classmethod
    def parse(cls, texts: Iterable[str], keys: Iterable[tuple[str, ...]]) -> Key:
        """Return the key that texts such as `4711`, or `a=1` and `b=x`, mean.

        Args:
            texts: One per column. A text without `=` is a value of the product's only key.
            keys: Primary keys of the product's tables.

        Raises:
            ForgetKeyError: A column is named twice, or it is not clear which one is meant.
        """
        known = sorted(set(keys))
        values: dict[str, str] = {}
        for text in texts:
            column, sign, value = text.partition("=")
            if not sign:
                if len(known) != 1 or len(known[0]) != 1:
                    listed = "; ".join(", ".join(k) for k in known) or "none is declared"
                    raise ForgetKeyError(
                        f"{text!r} does not say which column it is a value of; write "
                        f"--key COLUMN={text}. Primary keys of the product: {listed}"
                    )
                column, value = known[0][0], text
            if column in values:
                raise ForgetKeyError(f"the key names the column {column} twice")
            values[column] = value
        if not values:
            raise ForgetKeyError("there is no key to forget; write --key COLUMN=VALUE")
        return cls(tuple(values.items()))

    def rows(self, schema: pa.Schema) -> pa.Table | None:
        """Return the key as one row with a schema's types; None where it cannot be in a table."""
        import pyarrow as pa

        columns = {}
        for column, text in self.values:
            value = typed(text, schema.field(column).type) if column in schema.names else None
            if value is None:
                return None
            columns[column] = pa.array([value.as_py()], type=value.type)
        return pa.table(columns)


def typed(text: str, kind: pa.DataType) -> pa.Scalar | None:
    """Return a text as a value of a column's type; None where no such value is."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    try:
        return pa.scalar(text).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
