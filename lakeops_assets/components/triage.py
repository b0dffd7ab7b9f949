"""From a monitored table to what moved upstream, and to what that did to the score."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph

from lakeops_assets import monitoring
from lakeops_assets.components.lineage import lineage_of, scored_before
from lakeops_assets.components.monitored import MonitoredTable
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.statements import quote
from lakeops_assets.monitoring.triage import Lineage, Origin, Suspect, Triage, triage

if TYPE_CHECKING:
    import pandas as pd

    from lakeops_assets.models import Scorer

# Suspects whose effect on the score is measured, and rows that it is measured on.
MEASURED = 3
ROWS = 20_000
SEED = 0
# What moved beside a suspect and is said with it.
BESIDE = 2


@dataclass(frozen=True)
class Effect:
    """What a suspect did to the mean score of the window.

    Attributes:
        usual: Mean score of the rows before the window.
        mean: Mean score of the window.
        without: Mean score of the window with the features that are made of the suspect put back:
            replaced by those of rows from before the window, chosen at random.
        features: Which features were put back.
    """

    usual: float
    mean: float
    without: float
    features: tuple[str, ...]

    @property
    def change(self) -> float:
        """How much the suspect raised the mean score."""
        return self.mean - self.without


@dataclass(frozen=True)
class Answer:
    """Suspects with their effects.

    Attributes:
        triage: What moved.
        effects: Effect of each of the first suspects; None where it has none to be measured.
        reason: Why effects are not measured; empty when they are.
    """

    triage: Triage
    effects: tuple[Effect | None, ...]
    reason: str


def ask(
    lakeops: LakeopsResource,
    graph: AssetGraph,
    monitored: MonitoredTable,
    *,
    start: datetime | None = None,
    alerts: Sequence[monitoring.Alert] = (),
) -> Answer:
    """Return what moved upstream of a monitored table in a window, the likeliest cause first.

    Args:
        lakeops: Where tables and models are.
        graph: What the tables are made of.
        monitored: The table and its monitor.
        start: Start of a window of the first granularity. When None, the newest one and
            those before it in which the same columns had drifted, and one more.
        alerts: Alerts of the table: the question is about their window and their columns, and
            without one about the newest window and all columns.

    Raises:
        MonitorSpecError: The monitor has no windows of time, or no such window.
    """
    lakehouse, spec, table = lakeops.lakehouse(), monitored.spec, monitored.table
    if not spec.granularities:
        raise monitoring.MonitorSpecError(
            f"the monitor of {table} is a snapshot: triage compares windows of a time. Give it a "
            "timestamp and granularities"
        )
    granularity = monitoring.Granularity.parse(spec.granularities[0])
    last = alerts[0].start if alerts else _window(lakehouse, monitored, start)
    begin = last if start else monitoring.moved_since(lakehouse, table, spec, monitored.rules, last)
    window = (begin, granularity.end(last))
    label = [spec.label_col] if spec.label_col else []
    lineage = lineage_of(graph, lakehouse, table, ignored=label)
    columns = [column for alert in alerts for column in alert.columns]
    found = triage(lakehouse, lineage, table, window, columns=columns)
    scored = scored_before(graph, table)
    if scored is None:
        return Answer(found, (), f"{table} is not made of scores")
    registry = lakeops.registry(table.schema, scored.model_name)
    version = registry.alias("champion")
    if version is None:
        return Answer(found, (), f"{registry.name} has no champion")
    time = next(t.time for t in lineage.tables if t.table == scored.features)
    rows = _rows(lakehouse, scored.features, str(time), window)
    scorer = registry.load(version)
    effects = tuple(
        _effect(scorer, lineage, scored.features, suspect, *rows)
        for suspect in found.suspects[:MEASURED]
    )
    return Answer(found, effects, "")


def _window(lakehouse: Lakehouse, monitored: MonitoredTable, start: datetime | None) -> datetime:
    """Return the start of a window that is there; the newest when none is named."""
    table, spec = monitored.table, monitored.spec
    starts = monitoring.profiled_windows(lakehouse, table, spec)
    if start is None and starts:
        return starts[-1]
    if start is not None and start in starts:
        return start
    newest = ", ".join(f"{at:%Y-%m-%d %H:%M}" for at in starts[-3:]) or "none"
    raise monitoring.MonitorSpecError(
        f"{table} has no window of {spec.granularities[0]} that starts at {start}; the newest "
        f"start at: {newest}"
    )


def _rows(
    lakehouse: Lakehouse, features: TableName, time: str, window: tuple[datetime, datetime]
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Return rows of the window and rows of four times its length before."""
    start, end = window
    before = start - 4 * (end - start)
    column = quote(time)

    def within(first: datetime, last: datetime) -> str:
        since, until = (f"TIMESTAMP '{at.isoformat(' ')}'" for at in (first, last))
        return f"{column} >= {since} AND {column} < {until}"

    now, then = (
        lakehouse.read(features, where=within(*bounds)).read_all().to_pandas()
        for bounds in ((start, end), (before, start))
    )
    return tuple(f.sample(min(len(f), ROWS), random_state=SEED) for f in (now, then))


def _effect(
    scorer: "Scorer",
    lineage: Lineage,
    features: TableName,
    suspect: Suspect,
    now: "pd.DataFrame",
    then: "pd.DataFrame",
) -> Effect | None:
    made = tuple(
        c
        for c in scorer.columns
        if suspect.move.where in lineage.paths(Origin(features, c)) and c in now.columns
    )
    if not made or now.empty or then.empty:
        return None
    other = then.sample(len(now), replace=True, random_state=SEED)
    put_back = now.assign(**{c: other[c].to_numpy() for c in made})
    usual, mean, without = (float(scorer.score(f).mean()) for f in (then, now, put_back))
    return Effect(usual, mean, without, made)


def suspects_table(answer: Answer, *, most: int = 5) -> str:
    """Return the suspects as a markdown table."""
    lines = [
        "| | what moved | how | since | times the usual | effect on the score | way |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for i, suspect in enumerate(answer.triage.suspects[:most]):
        move = suspect.move
        cells = (
            str(i + 1),
            str(move.where),
            how(suspect),
            f"{move.since:%Y-%m-%d %H:%M}",
            f"{move.size:.1f}",
            effect_text(answer, i),
            " → ".join(map(str, suspect.path)),
        )
        lines.append(f"| {' | '.join(c.replace('|', '/') for c in cells)} |")
    return "\n".join(lines) if answer.triage.suspects else "Nothing upstream moved."


def how(suspect: Suspect) -> str:
    """Return how a suspect moved, and what moved beside it, in words."""
    move = suspect.move
    beside = "; ".join(
        f"{m.where.column or 'rows'} ({m.evidence})" for m in suspect.beside[:BESIDE]
    )
    left = len(suspect.beside) - BESIDE
    more = f" and {left} more" if left > 0 else ""
    return f"{move.kind}: {move.evidence}" + (f"; with it {beside}{more}" if beside else "")


def effect_text(answer: Answer, place: int) -> str:
    """Return the effect of a suspect in words; empty where it is not measured."""
    if place >= len(answer.effects) or (effect := answer.effects[place]) is None:
        return ""
    return f"{effect.change:+.3f} of {effect.mean - effect.usual:+.3f}"
