"""The engine of one asset, for the few that need another than the rest."""

from typing import Literal

import dagster as dg
from pydantic import Field


class OnEngine(dg.Model):
    """The field of components whose work an engine does."""

    engine: Literal["", "duckdb", "spark"] = Field(
        default="",
        description="Engine that computes and writes this asset: `duckdb` in the process of the "
        "run, `spark` on a cluster or a local session. That of the settings (`LAKEOPS_ENGINE`) "
        "when left out. All engines read each other's tables.",
    )
