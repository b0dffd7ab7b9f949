"""What a gate may ask: bounds that something can break."""

from __future__ import annotations

import math


class GateSpecError(ValueError):
    """A gate is declared in a way that cannot be evaluated."""


def bounds(at_least: float | None, at_most: float | None) -> str:
    """Return bounds in words."""
    said = []
    if at_least is not None:
        said.append(f"at least {at_least:g}")
    if at_most is not None:
        said.append(f"at most {at_most:g}")
    return " and ".join(said)


def check_bounds(
    name: str, at_least: float | None, at_most: float | None, or_else: str = ""
) -> None:
    """Refuse bounds that nothing could break, or that are no numbers."""
    if at_least is None and at_most is None:
        raise GateSpecError(f"gate {name} needs at_least or at_most{or_else}, else all pass")
    check_finite(name, at_least, at_most)


def check_finite(name: str, *bounds: float | None) -> None:
    """Refuse bounds that are no numbers: nothing is below or above them."""
    for bound in bounds:
        if bound is not None and not math.isfinite(bound):
            raise GateSpecError(f"a bound of gate {name} is {bound}: give a number")


def check_margin(name: str, margin: float) -> None:
    """Refuse a margin that is no number or negative."""
    if not (math.isfinite(margin) and margin >= 0):
        raise GateSpecError(f"the margin of gate {name} is {margin}: give 0 or more")


def check_share(name: str, field: str, share: float) -> None:
    """Refuse a share that is none."""
    if not 0 <= share <= 1:
        raise GateSpecError(f"{field} of gate {name} is {share}: give a share between 0 and 1")
