"""When new data is worth a new model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from lakeops_assets.components.retraining import ALWAYS, Alerting, RetrainPolicy, decide
from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.models import ModelError, ModelSpec

FEATURES = TableName("dev", "shop", "features")
START = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = ModelSpec(
    "model", "classification", "y", ("k",), "sklearn.linear_model.LogisticRegression", positive="a"
)
FOUR_WEEKS = RetrainPolicy(every=timedelta(weeks=4), timestamp="at")
ON_ALERT = RetrainPolicy(on_alert=True, timestamp="at")


@dataclass(frozen=True)
class Newest:
    """What the registry knows of the newest model."""

    data_version: int
    spec_digest: str = SPEC.digest()


@pytest.fixture
def features(lakehouse: Lakehouse) -> Lakehouse:
    """Version 1 has ten labelled days; version 2 adds ten days and version 3 thirty more."""
    schema = pa.schema([("k", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("y", pa.string())])
    lakehouse.create(FEATURES, schema)
    for first, last in ((0, 10), (10, 20), (20, 50)):
        days = range(first, last)
        rows = {
            "k": list(days),
            "at": [START + timedelta(days=d) for d in days],
            "y": ["a"] * len(days),
        }
        lakehouse.append(FEATURES, pa.table(rows, schema=schema))
    return lakehouse


def decided(
    lakehouse: Lakehouse,
    policy: RetrainPolicy,
    version: int,
    newest: Any = None,
    alerts: Sequence[Alerting] = (),
) -> tuple[bool, str]:
    found = decide(lakehouse, SPEC, FEATURES, version, newest or Newest(1), policy, lambda: alerts)
    return found.train, found.reason


def test_without_a_condition_any_new_data_is_enough(features: Lakehouse) -> None:
    assert decided(features, ALWAYS, 2) == (True, "the data changed")


def test_another_specification_is_always_enough(features: Lakehouse) -> None:
    assert decided(features, FOUR_WEEKS, 2, Newest(1, "other")) == (
        True,
        "the specification changed",
    )


def test_a_share_of_the_labelled_rows(features: Lakehouse) -> None:
    half = RetrainPolicy(share=0.5)
    assert decided(features, half, 2)[0]
    train, reason = decided(features, RetrainPolicy(share=0.6), 2)
    assert not train
    assert "10 of 20 labelled rows changed since, fewer than 60%" in reason


def test_a_length_of_time_of_the_data(features: Lakehouse) -> None:
    train, reason = decided(features, FOUR_WEEKS, 2)
    assert not train
    assert "its data grew by 10 days, 0:00:00, less than 28 days" in reason
    train, reason = decided(features, FOUR_WEEKS, 3)
    assert train
    assert "its data grew by 40 days" in reason


def test_an_alert_in_a_window_that_the_model_has_not_seen(features: Lakehouse) -> None:
    seen = Alerting(START + timedelta(days=7), "x drifted")
    unseen = Alerting(START + timedelta(days=14), "y drifted")
    assert not decided(features, ON_ALERT, 2, alerts=[seen])[0]
    assert decided(features, ON_ALERT, 2, alerts=[seen, unseen]) == (True, "of an alert: y drifted")
    # Trained on version 2, which has the window: once per alert.
    assert not decided(features, ON_ALERT, 3, Newest(2), alerts=[unseen])[0]


def test_one_condition_is_enough(features: Lakehouse) -> None:
    both = RetrainPolicy(share=0.9, every=timedelta(weeks=4), timestamp="at")
    assert not decided(features, both, 2)[0]
    assert decided(features, both, 3)[0]


def test_a_policy_of_time_needs_the_time() -> None:
    with pytest.raises(ModelError, match="needs `timestamp`"):
        RetrainPolicy(every=timedelta(days=1))
