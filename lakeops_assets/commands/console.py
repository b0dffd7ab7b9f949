"""What every command shares: its settings, its options and JSON."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lakeops_assets.settings import Settings

Products = Annotated[list[str] | None, typer.Argument(help="Products; all when none is named.")]
MonitorTable = Annotated[
    str, typer.Option(help="Monitored table; the one with predictions by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def load_settings() -> Settings:
    """Return the settings of this process."""
    from lakeops_assets import settings

    return settings.load()


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))  # noqa: T201


def plain(value: Any) -> Any:
    """Return a value as JSON can say it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
