"""When new data is worth a new model: compares states, so that nothing is missed or done twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
from pydantic import Field

from lakeops_assets import models
from lakeops_assets.lakehouse import Lakehouse, LakehouseError, TableName
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.models import ModelError, ModelSpec
from lakeops_assets.monitoring.granularity import length


@dataclass(frozen=True)
class RetrainPolicy:
    """When a model is trained again; with no condition, whenever its data changed.

    Attributes:
        share: Share of the labelled rows that changed since.
        every: How much the newest time of the data has grown since.
        on_alert: When the scores alert in a window that begins after the data of the model.
        timestamp: Column of the feature table with the time of a row; for the last two.
    """

    share: float = 0.0
    every: timedelta | None = None
    on_alert: bool = False
    timestamp: str = ""

    def __post_init__(self) -> None:
        if (self.every or self.on_alert) and not self.timestamp:
            raise ModelError(
                "retrain with `every` or `on_alert` needs `timestamp`, the column of the feature "
                "table that says how far the data goes"
            )

    @property
    def always(self) -> bool:
        """Whether every change of the data is enough."""
        return not (self.share or self.every or self.on_alert)


ALWAYS = RetrainPolicy()


class RetrainModel(dg.Model, dg.Resolvable):
    """When the model is trained again; one condition is enough. With none, on any new data."""

    share: float = Field(
        default=0.0, description="When at least this share of the labelled rows changed."
    )
    every: str = Field(
        default="",
        description="When the newest row is that much newer than those of the model, such as "
        "`28 days`. Time of the data: a replay trains as often as the real year.",
    )
    on_alert: bool = Field(
        default=False,
        description="When a monitor of the scores alerts in a window that begins after the data "
        "of the model: once per window.",
    )
    timestamp: str = Field(
        default="", description="Column with the time of a row, for `every` and `on_alert`."
    )

    def policy(self) -> RetrainPolicy:
        """Return what training needs to know."""
        every = length(self.every) if self.every else None
        return RetrainPolicy(self.share, every, self.on_alert, self.timestamp)


@dataclass(frozen=True)
class Alerting:
    """A window of a monitor with an alert.

    Attributes:
        start: Start of the window.
        reason: The alert in words.
    """

    start: datetime
    reason: str


@dataclass(frozen=True)
class Decision:
    """Whether to train, and why."""

    train: bool
    reason: str


def decide(
    lakehouse: Lakehouse,
    spec: ModelSpec,
    features: TableName,
    version: int,
    newest: models.LoggedModelInfo | None,
    policy: RetrainPolicy,
    alerts: Callable[[], Sequence[Alerting]],
) -> Decision:
    """Return whether a version of the features is worth a new model.

    Args:
        lakehouse: Where the features are.
        spec: What would be trained.
        features: Feature table.
        version: Its Delta version.
        newest: Newest model there is.
        policy: When it is worth one.
        alerts: Alerts of the scores; asked only where the policy wants to know.
    """
    if newest is None:
        return Decision(train=True, reason="there is no model yet")
    if newest.spec_digest != spec.digest():
        return Decision(train=True, reason="the specification changed")
    if policy.always:
        return Decision(train=True, reason="the data changed")
    if newest.data_version >= version:
        return Decision(train=True, reason="the data went back to an older version")
    kept = []
    if policy.share:
        changed = _changed_labelled(lakehouse, spec, features, newest.data_version, version)
        if changed is None:
            # Nobody can tell, so a new model is the safe answer.
            return Decision(train=True, reason="the changes of its data are not known")
        label = quote(spec.label)
        counted = lakehouse.query(
            f"SELECT count({label}) AS n FROM {features} VERSION AS OF {version}"
        )
        total = counted.read_all()["n"][0].as_py()
        if total and changed / total >= policy.share:
            return Decision(
                train=True, reason=f"{changed} of {total} labelled rows changed since the last one"
            )
        few = f"fewer than {policy.share:.0%}"
        kept.append(f"{changed} of {total} labelled rows changed since, {few}")
    if policy.every or policy.on_alert:
        before = _newest_time(lakehouse, features, newest.data_version, spec, policy)
        now = _newest_time(lakehouse, features, version, spec, policy)
        if before is None or now is None:
            return Decision(train=True, reason="how far the data of the last one went is not known")
        if policy.every:
            grown = f"its data grew by {now - before}"
            if now - before >= policy.every:
                return Decision(train=True, reason=f"{grown} since the last one")
            kept.append(f"{grown}, less than {policy.every}")
        if policy.on_alert:
            unseen = [a for a in alerts() if a.start > before]
            if unseen:
                return Decision(train=True, reason=f"of an alert: {unseen[0].reason}")
            kept.append("no alert in a window that begins after its data")
    why = "; ".join(kept)
    return Decision(
        train=False, reason=f"kept the model of {features} version {newest.data_version}: {why}"
    )


def _newest_time(
    lakehouse: Lakehouse,
    features: TableName,
    version: int,
    spec: ModelSpec,
    policy: RetrainPolicy,
) -> datetime | None:
    """Return the newest time of a labelled row; None where that version cannot be read."""
    labelled = f"{quote(spec.label)} IS NOT NULL"
    try:
        return lakehouse.newest_time(features, policy.timestamp, version=version, where=labelled)
    except LakehouseError:  # its files or its log are gone
        return None


def _changed_labelled(
    lakehouse: Lakehouse, spec: ModelSpec, features: TableName, before: int, version: int
) -> int | None:
    """Return the labelled keys that changed between two versions; None when it cannot be told.

    The change feed tells; where its files were vacuumed, the two versions are compared.
    """
    label = quote(spec.label)
    keys = ", ".join(quote(k) for k in spec.primary_key)
    then, now = (
        f"SELECT * FROM {features} VERSION AS OF {v} WHERE {label} IS NOT NULL"
        for v in (before, version)
    )
    if not lakehouse.feed_gap(features, before + 1, version):
        source = f"feed WHERE {label} IS NOT NULL AND _change_type <> 'update_preimage'"
        feed = {"feed": lakehouse.changes(features, before + 1, version)}
    else:
        source = f"(({now} EXCEPT {then}) UNION ALL ({then} EXCEPT {now})) AS differing"
        feed = {}
    statement = f"SELECT count(*) AS n FROM (SELECT DISTINCT {keys} FROM {source})"
    try:
        return int(lakehouse.query(statement, feed).read_all()["n"][0].as_py())
    except LakehouseError:  # the earlier version is gone too, or has other columns
        return None
