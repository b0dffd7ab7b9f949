"""A KPI is measured on rows that the version was never trained on, each counted once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from command_line import environment

from lakeops_assets import settings
from lakeops_assets.components.kpi_rows import KpiInputs, newest_source, read_rows
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.models import split_condition
from lakeops_assets.monitoring import KpiSpec

WEEK = timedelta(days=7)
SPEC = KpiSpec("roc_auc", at_least=0.75, label_delay=WEEK)
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def table(name: str) -> TableName:
    return TableName("dev", "churn", name)


INPUTS = KpiInputs(
    scores=table("scores"),
    labels=table("churn_labels"),
    features=table("features"),
    task="classification",
    label="churn",
    positive="Yes",
    timestamp="snapshot_date",
    score="prediction_proba",
    labelled_at="labelled_on",
)


@pytest.fixture
def lakeops(copied: Path) -> LakeopsResource:
    return LakeopsResource.from_settings(settings.load(environment(copied)))


def rows(lakeops: LakeopsResource, inputs: KpiInputs = INPUTS) -> pa.Table:
    lakehouse = lakeops.lakehouse()
    source = newest_source(lakehouse, inputs, now=NOW, of_data=True)
    found = read_rows(lakehouse, lakeops.registry("churn", "model"), inputs, SPEC, source)
    assert not found.left_out
    return found.table


def one_held_out(lakeops: LakeopsResource) -> dict[str, Any]:
    """Return a held-out customer's score as it is in the log."""
    trained = lakeops.registry("churn", "model").training_rows(1)
    where = f"{split_condition(trained)} ORDER BY customer_id LIMIT 1"
    [row] = lakeops.lakehouse().read(INPUTS.scores, where=where).read_all().to_pylist()
    return row


def add(lakehouse: Lakehouse, name: TableName, like: dict[str, Any], **changes: Any) -> None:
    row = {**like, **changes}
    lakehouse.append(name, pa.Table.from_pylist([row], schema=lakehouse.schema(name)))


def test_only_rows_count_that_were_not_trained_on(lakeops: LakeopsResource) -> None:
    trained = lakeops.registry("churn", "model").training_rows(1)
    held_out = lakeops.lakehouse().read(INPUTS.features, where=split_condition(trained))
    found = rows(lakeops)
    assert found.num_rows == held_out.read_all().num_rows
    assert 0.15 < found.num_rows / 7043 < 0.25
    assert found["label"].null_count == 0
    assert all(
        known - at == WEEK
        for known, at in zip(found["known_at"].to_pylist(), found["at"].to_pylist(), strict=True)
    )


def test_a_label_that_was_not_known_at_training_counts(lakeops: LakeopsResource) -> None:
    """Customers who were not in the feature table, or had no label there, are all new."""
    lakehouse = lakeops.lakehouse()
    before = rows(lakeops).num_rows
    score = one_held_out(lakeops)
    trained = lakeops.registry("churn", "model").training_rows(1)
    inside = f"NOT ({split_condition(trained)}) LIMIT 1"
    [known] = lakehouse.read(INPUTS.scores, where=inside).read_all().to_pylist()
    add(lakehouse, INPUTS.scores, {**known, "customer_id": -1})
    add(lakehouse, INPUTS.scores, {**known, "snapshot_date": known["snapshot_date"]})
    assert score["customer_id"] > 0
    found = rows(lakeops)
    assert found.num_rows == before + 1
    assert found["label"].null_count == 1


def test_the_latest_score_before_the_label_counts(lakeops: LakeopsResource) -> None:
    lakehouse, score = lakeops.lakehouse(), one_held_out(lakeops)
    day = score["snapshot_date"]
    before = rows(lakeops)
    scores = (
        (day + timedelta(days=1), 0.111),
        (day + timedelta(days=3), 0.333),
        (day + timedelta(days=2), 0.222),
        (day + timedelta(days=30), 0.999),
    )
    for at, value in scores:
        add(lakehouse, INPUTS.scores, score, snapshot_date=at, prediction_proba=value)
    found = rows(lakeops)
    assert found.num_rows == before.num_rows
    mine = [r for r in found.to_pylist() if r["score"] in {v for _, v in scores}]
    assert [(r["score"], r["at"].date()) for r in mine] == [(0.333, day + timedelta(days=3))]
    assert mine[0]["known_at"].date() == day + WEEK


def test_the_newest_label_counts(lakeops: LakeopsResource) -> None:
    lakehouse, score = lakeops.lakehouse(), one_held_out(lakeops)
    customer = f"customer_id = {score['customer_id']}"
    [label] = lakehouse.read(INPUTS.labels, where=customer).read_all().to_pylist()
    positives = sum(rows(lakeops)["label"].to_pylist())
    other = "No" if label["churn"] == "Yes" else "Yes"
    add(lakehouse, INPUTS.labels, label, churn=other, labelled_on=date(2026, 3, 1))
    add(lakehouse, INPUTS.labels, label, churn=None, labelled_on=date(2026, 4, 1))
    change = 1 if other == "Yes" else -1
    assert sum(rows(lakeops)["label"].to_pylist()) == positives + change


def test_without_a_time_a_label_is_known_after_the_delay(lakeops: LakeopsResource) -> None:
    untimed = replace(INPUTS, labels=INPUTS.features, labelled_at="")
    assert sorted(map(str, rows(lakeops, untimed).to_pylist())) == sorted(
        map(str, rows(lakeops).to_pylist())
    )


def test_the_clock_is_the_newest_time_in_the_data_and_never_later_than_now(
    lakeops: LakeopsResource,
) -> None:
    lakehouse = lakeops.lakehouse()
    last_label = datetime(2026, 2, 6, tzinfo=UTC)
    assert newest_source(lakehouse, INPUTS, now=NOW, of_data=True).clock == last_label
    assert newest_source(lakehouse, INPUTS, now=NOW, of_data=False).clock == NOW
    early = last_label - WEEK
    assert newest_source(lakehouse, INPUTS, now=early, of_data=True).clock == early


def test_a_version_that_the_registry_does_not_know_is_left_out(lakeops: LakeopsResource) -> None:
    lakehouse = lakeops.lakehouse()
    add(lakehouse, INPUTS.scores, one_held_out(lakeops), model_version="9")
    source = newest_source(lakehouse, INPUTS, now=NOW, of_data=True)
    found = read_rows(lakehouse, lakeops.registry("churn", "model"), INPUTS, SPEC, source)
    assert "has no version 9" in found.left_out["9"]
    assert set(found.table["model_version"].to_pylist()) == {"1"}
