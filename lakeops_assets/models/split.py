"""Which rows are held out: decided by a hash of the key, in SQL and in Python alike.

A key is always on the same side, whatever rows come or go, so no version of a model was ever
trained on a row that another is tested on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lakeops_assets.lakehouse.statements import literal, quote
from lakeops_assets.models.spec import ModelError, ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Column that read rows carry.
HELD_OUT = "__held_out"
DIGITS = 8


class Split(Protocol):
    """What decides which rows are held out; a `ModelSpec` is one."""

    @property
    def primary_key(self) -> Sequence[str]:
        """Columns that identify a row."""
        ...

    @property
    def test_share(self) -> float:
        """Share of the keys that is held out."""
        ...

    @property
    def split_salt(self) -> str:
        """Makes the split another one."""
        ...


def split_condition(spec: Split) -> str:
    """Return a condition in Spark's dialect that is true for held-out rows.

    MD5 in lower-case hexadecimal digits exists in every engine and compares as text.
    """
    keys = ", ".join(f"CAST({quote(k)} AS STRING)" for k in spec.primary_key)
    joined = f"concat_ws('|', {literal(spec.split_salt)}, {keys})"
    return f"substr(md5({joined}), 1, {DIGITS}) < '{_threshold(spec)}'"


def is_held_out(spec: ModelSpec, frame: pd.DataFrame) -> np.ndarray:
    """Return for each row (shape `(n,)`, bool) whether it is held out.

    Raises:
        ModelError: A key is missing or neither integer nor text, so that engines could write it
            differently.
    """
    import numpy as np
    import pandas as pd

    for key in spec.primary_key:
        if key not in frame:
            raise ModelError(
                f"the key {key} is not a column; there are: {', '.join(map(str, frame))}"
            )
        if not (
            pd.api.types.is_integer_dtype(frame[key])
            or pd.api.types.infer_dtype(frame[key]) == "string"
        ):
            raise ModelError(
                f"the key {key} has the type {frame[key].dtype}; the split needs integers or text"
            )
    threshold = _threshold(spec)
    joined = zip(*(frame[key] for key in spec.primary_key), strict=True)
    return np.fromiter(
        (_hash("|".join([spec.split_salt, *map(str, key)])) < threshold for key in joined),
        dtype=bool,
        count=len(frame),
    )


def _threshold(spec: Split) -> str:
    return f"{round(spec.test_share * 16**DIGITS):0{DIGITS}x}"


def _hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:DIGITS]
