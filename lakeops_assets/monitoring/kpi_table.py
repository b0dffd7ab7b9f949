"""The table of KPI windows beside a table of scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from lakeops_assets.lakehouse import Commit, Lakehouse, TableName
from lakeops_assets.lakehouse.statements import literal
from lakeops_assets.monitoring.kpi import KpiSpec, KpiWindow

if TYPE_CHECKING:
    import pyarrow as pa

# Key of what a commit records.
KPI = "kpi"
KEYS = ("model_version", "window_start", "metric")


@dataclass(frozen=True)
class KpiSource:
    """What windows were computed from.

    Attributes:
        scores: Delta version of the table of scores.
        labels: Delta version of the table of labels.
        clock: The time at which they were seen.
    """

    scores: int
    labels: int
    clock: datetime


def write_windows(
    lakehouse: Lakehouse,
    table: TableName,
    windows: Sequence[KpiWindow],
    spec: KpiSpec,
    source: KpiSource,
) -> Commit:
    """Write the windows that differ from those in the table, and remove those that are no more.

    A window that no label and no row has reached since is left as it is. The commit records what
    the windows were computed from.
    """
    import pyarrow as pa

    constant = {
        "granularity": spec.window,
        "metric": spec.metric,
        "at_least": spec.at_least,
        "at_most": spec.at_most,
        "rule": spec.rule,
    }
    rows = []
    for window in windows:
        row = {f.name: getattr(window, f.name) for f in fields(window)}
        row |= {"window_start": row.pop("start"), "window_end": row.pop("end")}
        rows.append({**row, **constant})
    schema = window_schema()
    lakehouse.create(table, schema, description="KPI of each model version in each window.")
    recorded = {
        "scores": source.scores,
        "labels": source.labels,
        "clock": source.clock.isoformat(),
        "rule": spec.rule,
    }
    return lakehouse.merge(
        table,
        pa.Table.from_pylist(rows, schema=schema),
        KEYS,
        delete_missing=True,
        metadata={KPI: json.dumps(recorded)},
    )


def read_windows(
    lakehouse: Lakehouse, table: TableName, spec: KpiSpec, version: int | None = None
) -> tuple[KpiWindow, ...]:
    """Return the windows that were computed under a rule; none when the rule was another."""
    if not lakehouse.exists(table):
        return ()
    where = f"rule = {literal(spec.rule)}"
    rows = lakehouse.read(table, version=version, where=where).read_all().to_pylist()
    return tuple(sorted((_window(row) for row in rows), key=lambda w: (w.model_version, w.start)))


def read_source(
    lakehouse: Lakehouse, table: TableName, version: int | None = None
) -> KpiSource | None:
    """Return what the windows of a version of the table were computed from; None when unknown."""
    for commit in lakehouse.history(table) if lakehouse.exists(table) else ():
        if KPI in commit.metadata and (version is None or commit.version <= version):
            recorded: Mapping = json.loads(commit.metadata[KPI])
            clock = datetime.fromisoformat(recorded["clock"])
            return KpiSource(recorded["scores"], recorded["labels"], clock)
    return None


def _window(row: dict) -> KpiWindow:
    row = {**row, "start": row["window_start"], "end": row["window_end"]}
    return KpiWindow(**{f.name: row[f.name] for f in fields(KpiWindow)})


def window_schema() -> pa.Schema:
    """Return the columns of the table."""
    import pyarrow as pa

    def column(name: str, kind: pa.DataType, comment: str) -> pa.Field:
        return pa.field(name, kind, metadata={"comment": comment})

    text, number, count = pa.string(), pa.float64(), pa.int64()
    time, truth = pa.timestamp("us", "UTC"), pa.bool_()
    return pa.schema(
        [
            column("model_version", text, "Version of the model that gave the scores."),
            column("window_start", time, "Start of the window."),
            column("window_end", time, "End of the window, which is not in it."),
            column("granularity", text, "Length of the window."),
            column("metric", text, "What was measured."),
            column("rows", count, "Scored rows that the version was not trained on."),
            column("labelled", count, "Rows of those whose label is known."),
            column("value", number, "The metric; null when it cannot be measured."),
            column("low", number, "Lower end of its 95 % interval."),
            column("high", number, "Upper end of its 95 % interval."),
            column("at_least", number, "Smallest value that is good."),
            column("at_most", number, "Largest value that is good."),
            column("violates", truth, "Mature and beyond the threshold."),
            column("mature", truth, "Labels had their time, and enough of them are there."),
            column("reason", text, "Why it is not mature, or what was found."),
            column("digest", text, "Hash of the labelled rows that were measured."),
            column("rule", text, "Hash of the rule under which it was judged."),
        ]
    )
