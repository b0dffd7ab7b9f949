"""What an asset finds is the same after it has travelled."""

import json

import dagster as dg
import pytest

from lakeops_assets import settings
from lakeops_assets.commands.task import Asked, TaskError, make
from lakeops_assets.components import remote_results

SCHEMA = dg.TableSchema([dg.TableColumn("id", "bigint", description="Identifier.")])


@dg.multi_asset(
    specs=[dg.AssetSpec("one"), dg.AssetSpec("two", deps=["one"])],
    check_specs=[dg.AssetCheckSpec("good", asset="one"), dg.AssetCheckSpec("bad", asset="two")],
)
def pair(context: dg.AssetExecutionContext):
    context.log_event(dg.AssetObservation("landing", metadata={"files": 1}))
    yield dg.MaterializeResult(
        asset_key="one",
        metadata={"rows": 3, "dagster/column_schema": SCHEMA, "share": 0.5},
        data_version=dg.DataVersion("delta:4"),
        tags={"lakeops/state": "abc.dev"},
    )
    yield dg.AssetCheckResult(asset_key="one", check_name="good", passed=True)
    yield dg.MaterializeResult(asset_key="two", metadata={"rows_inserted": 2})
    yield dg.AssetCheckResult(
        asset_key="two",
        check_name="bad",
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description="too few",
        metadata={"value": 1},
    )


def test_events_come_back_as_they_were_and_in_their_order() -> None:
    done = dg.materialize([pair], instance=dg.DagsterInstance.ephemeral())
    sent = json.loads(json.dumps(remote_results.message(done.all_events, 2)))
    assert remote_results.read([{"format": "another"}]) is None
    remote = remote_results.read([{"format": "another"}, sent])
    assert remote is not None
    assert remote.rows_written == 2
    landing, one, good, two, bad = remote_results.results(remote)
    assert isinstance(landing, dg.AssetObservation)
    assert isinstance(one, dg.MaterializeResult)
    assert one.metadata["dagster/column_schema"].value == SCHEMA
    assert one.data_version == dg.DataVersion("delta:4")
    assert one.tags == {"lakeops/state": "abc.dev"}
    assert isinstance(two, dg.MaterializeResult)
    assert two.data_version is None  # Dagster's own guess there says nothing here
    assert isinstance(good, dg.AssetCheckResult)
    assert isinstance(bad, dg.AssetCheckResult)
    assert [(c.asset_key, c.check_name, c.passed) for c in (good, bad)] == [
        (dg.AssetKey("one"), "good", True),
        (dg.AssetKey("two"), "bad", False),
    ]
    assert (bad.severity, bad.description) == (dg.AssetCheckSeverity.WARN, "too few")


def test_a_task_that_is_asked_for_what_is_not_there_says_what_is(
    config: settings.Settings,
) -> None:
    with pytest.raises(TaskError, match=r"no step makes shop/x; assets here: .*churn/features"):
        make(Asked(("shop/x",)), "0e8f2a34-6a7e-4b0e-9d55-1d2f3c4b5a69")
