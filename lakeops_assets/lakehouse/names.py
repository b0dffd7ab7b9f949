"""Three-part table names: `<catalog>.<schema>.<table>`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class TableNameError(ValueError):
    """A text is not the name of a table."""


@dataclass(frozen=True, order=True)
class TableName:
    """Address of one table; the catalog is the environment and the schema is the product."""

    catalog: str
    schema: str
    table: str

    def __post_init__(self) -> None:
        for part in (self.catalog, self.schema, self.table):
            if not _PART.fullmatch(part):
                raise TableNameError(
                    f"{part!r} in the table name {self} is not a name: use letters, digits and "
                    "underscores, starting with a letter or underscore"
                )

    @classmethod
    def parse(
        cls, text: str, *, catalog: str | None = None, schema: str | None = None
    ) -> TableName:
        """Parse one, two or three parts; the missing ones come from `catalog` and `schema`.

        Raises:
            TableNameError: A part is missing and has no default, or is not a name.
        """
        parts = text.split(".")
        known = [catalog, schema]
        while len(parts) < 3 and known:
            default = known.pop(len(known) - 1) if len(parts) == 1 else known.pop(0)
            if default is None:
                break
            parts.insert(0, default)
        if len(parts) != 3:
            raise TableNameError(
                f"{text!r} is not the full name of a table: write <catalog>.<schema>.<table>, "
                "for example dev.churn.features"
            )
        return cls(*parts)

    def beside(self, suffix: str) -> TableName:
        """Return the name of the table next to this one, `<table>_<suffix>`."""
        return TableName(self.catalog, self.schema, f"{self.table}_{suffix}")

    def location(self, root: Path) -> Path:
        """Return the folder of the table under the lakehouse root."""
        return root / self.catalog / self.schema / self.table

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"
