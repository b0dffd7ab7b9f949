"""The evidence goes along with a version that is copied to another environment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.lakehouse.statements import literal
from lakeops_assets.promotion.verdicts import Verdict, gate_results_table


@dataclass(frozen=True)
class Copy:
    """A version in the target, as its verdict names it.

    Attributes:
        model: Registered name.
        version: Version.
        model_id: MLflow's id of the copied model.
        champion: Version of the target that the original was compared with, by what it is and not
            by its number. None when the target has no champion.
    """

    model: str
    version: int
    model_id: str
    champion: int | None


def carry_over(
    source: Lakehouse,
    verdict: Verdict,
    target: Lakehouse,
    copy: Copy,
    *,
    now: datetime,
) -> bool:
    """Copy the rows behind a verdict into the target's table of verdicts, marked with their source.

    Args:
        source: Where the version was evaluated.
        verdict: The verdict on the original.
        target: Where the version was copied to.
        copy: What the rows are about there.
        now: The present.

    Returns:
        Whether rows were written; False when they are there already, or there is nothing to copy.
    """
    import pyarrow as pa

    if not verdict.evaluation_id:
        return False
    theirs = gate_results_table(target.catalog)
    identity = f"{copy.model}/{copy.version}/champion-{copy.champion}/{verdict.evaluation_id}"
    where = f"evaluation_id = {literal(verdict.evaluation_id)}"
    found = source.read(gate_results_table(source.catalog), where=where).read_all()
    changed = {
        "evaluation_id": identity,
        "model": copy.model,
        "version": copy.version,
        "champion_version": copy.champion,
        "run_id": f"copied from {verdict.model}/{verdict.version}",
        "evaluated_at": now,
        **({"model_id": copy.model_id} if "model_id" in found.schema.names else {}),
    }
    target.create(theirs, found.schema, description="Results of the gates of model versions.")
    known = target.read(theirs, where=f"evaluation_id = {literal(identity)}").read_all()
    if known.num_rows == found.num_rows:
        return False
    rows = pa.Table.from_pylist([{**r, **changed} for r in found.to_pylist()], schema=found.schema)
    return target.merge(theirs, rows, ("evaluation_id", "gate"), evolve=True).written
