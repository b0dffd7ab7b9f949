"""A customer is forgotten by the whole churn product, whenever the command is killed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import environment, lakeops

from lakeops_assets import settings
from lakeops_assets.components.forget import forget, request
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.definitions import defs
from lakeops_assets.lakehouse import Lakehouse, open_lakehouse

TABLES = ("customers", "churn_labels", "features", "baseline", "scores")
KILL = """
import os, signal
from lakeops_assets.lakehouse import Lakehouse
Lakehouse.vacuum = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
"""


def tables(folder: Path) -> Lakehouse:
    return open_lakehouse(settings.load(environment(folder)))


def holders(folder: Path, customer: int) -> list[Path]:
    """Return the files of the lakehouse with a row of a customer, whatever Delta says of them."""
    found = []
    for path in (folder / "state" / "lakehouse").rglob("*.parquet"):
        if "_delta_log" not in path.parts and "customer_id" in pq.read_schema(path).names:
            ids = pq.read_table(path, columns=["customer_id"])["customer_id"].to_pylist()
            found += [path] if customer in ids else []
    return found


def test_killed_before_the_vacuum_it_is_finished_and_the_product_goes_on(
    copied: Path,
) -> None:
    """Customer 1 is the smallest key of each file, so that the logs have to be cut as well."""
    command = ("forget", "churn", "--key", "1", "--reason", "test", "--landing", "--yes", "--json")
    done = lakeops(copied, *command, before=KILL)
    assert done.returncode == -9, done.stdout + done.stderr
    done = lakeops(copied, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    proof = json.loads(done.stdout)["result"]["proof"]
    assert proof["left"] == []
    assert {k["hit"]["table"] for k in proof["kept"]} == {"dev.churn.features"}
    locked = tables(copied).location("churn.features")
    assert [str(p.parent) for p in holders(copied, 1)] == [locked]
    landed = [p.read_text() for p in (copied / "state" / "landing").rglob("*.*")]
    assert len(landed) == 60
    assert not [text for text in landed if '"customer_id":1,' in text or "\n1," in text]

    run = lakeops(copied, "run", "churn", "--json")
    assert run.returncode == 0, run.stdout
    outcomes = {o["asset"]: o for o in json.loads(run.stdout)["outcomes"]}
    assert {t: outcomes[f"churn/{t}"]["rows"] for t in TABLES} == dict.fromkeys(TABLES, 7042)
    assert outcomes["churn/champion"]["version"] == "v1"
    # The baseline is that of a model which was trained on the customer: he does not come back.
    assert [str(p.parent) for p in holders(copied, 1)] == [locked]
    again = json.loads(lakeops(copied, "run", "churn", "--json").stdout)
    assert {o["status"] for o in again["outcomes"]} == {"up to date"}


def test_what_stays_is_named_and_nothing_is_computed_twice(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(copied).items():
        monkeypatch.setenv(name, value)
    resource = LakeopsResource.from_settings(settings.load())
    specs = list(defs().resolve_all_asset_specs())
    asked = request(resource, specs, "churn", ["4711"])
    assert {str(t.table): t.rows for t in asked.plan.tables if t.rows} == {
        f"dev.churn.{t}": 1 for t in TABLES
    }
    assert len(asked.landing) == 2
    assert asked.trained_on == ("dev.churn.model@1",)
    assert "input example" in request(resource, specs, "churn", ["2"]).trained_on[0]

    done = forget(resource, specs, asked, reason="asked to", landing=False, now=resource.now())
    assert done.clean
    assert done.landing_left == asked.landing
    lakehouse = tables(copied)
    locked = {lakehouse.location("churn.features")}
    assert {str(p.parent) for p in holders(copied, 4711)} == locked
    audit = lakehouse.read("lakeops.audit").read_all().to_pylist()
    assert sorted((row["action"], row["subject"], row["actor"]) for row in audit) == [
        ("forget", done.subject, "tester"),
        ("forget_planned", done.subject, "tester"),
    ]
    assert "4711" not in json.dumps(audit, default=str)

    # A run computes nothing anew but what describes the rows: profiles, and checks of contracts.
    before = {t: lakehouse.version(t) for t in lakehouse.tables() if t.table in TABLES}
    run = lakeops(copied, "run", "churn", "--json")
    assert run.returncode == 0, run.stdout
    assert {t: lakehouse.version(t) for t in before} == before


def test_an_unclear_key_is_one_sentence(finished: Path) -> None:
    done = lakeops(finished, "forget", "shop", "--key", "1", "--reason", "x", "--yes")
    assert done.returncode == 2
    assert done.stderr.startswith("lakeops: there is no product shop; products: churn")


def test_the_job_in_the_ui_says_what_it_would_do(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(finished).items():
        monkeypatch.setenv(name, value)
    config = {"key": ["customer_id=4711"], "reason": "test"}
    result = (
        defs()
        .resolve_job_def("churn_forget")
        .execute_in_process(run_config={"ops": {"forget_churn": {"config": config}}})
    )
    [output] = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    metadata = output.event_specific_data.metadata  # type: ignore[union-attr]
    assert metadata["rows"].value == {f"dev.churn.{t}": 1 for t in TABLES}
    assert len(holders(finished, 4711)) >= len(TABLES)
