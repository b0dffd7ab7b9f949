"""Features as they were known at an instant.

Owns what a row may see: events that were known by its cut-off, a lead before its own time. One
definition gives the rows of the past, for training, and those of now, for scoring.
"""

from lakeops_assets.features.point_in_time.explain import Explanation, Seen, explain
from lakeops_assets.features.point_in_time.refresh import (
    PointInTimeResult,
    compute,
    refresh_point_in_time,
)
from lakeops_assets.features.point_in_time.spec import (
    Events,
    Lookup,
    PointInTimeError,
    PointInTimeSpec,
    decode,
    encode,
    length,
)
from lakeops_assets.features.point_in_time.statement import CUT_OFF, Bounds, statement

__all__ = [
    "CUT_OFF",
    "Bounds",
    "Events",
    "Explanation",
    "Lookup",
    "PointInTimeError",
    "PointInTimeResult",
    "PointInTimeSpec",
    "Seen",
    "compute",
    "decode",
    "encode",
    "explain",
    "length",
    "refresh_point_in_time",
    "statement",
]
