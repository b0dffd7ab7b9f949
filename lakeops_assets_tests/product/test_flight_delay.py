"""Some days of real flights through the real graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from command_line import environment, lakeops

from lakeops_assets import settings
from lakeops_assets.lakehouse import open_lakehouse

DAYS = 9


def run(folder: Path) -> dict[str, Any]:
    done = lakeops(folder, "run", "flight_delay", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return {o["asset"].split("/")[1]: o for o in json.loads(done.stdout)["outcomes"]}


def test_days_of_flights_become_scores(tmp_path: Path) -> None:
    """A champion from nine days, and then one day more: only what is new is computed."""
    landed = json.loads(
        lakeops(tmp_path, "land", "flight_delay", "--batches", str(DAYS), "--json").stdout
    )
    assert landed["last_day"] == "2013-01-09"
    first = run(tmp_path)
    assert first["champion"]["version"] == "v1"
    assert first["scores"]["rows"] == first["features"]["rows"] > 7000
    assert first["training"]["rows"] < first["features"]["rows"]

    lakeops(tmp_path, "land", "flight_delay")
    second = run(tmp_path)
    assert second["champion"]["version"] == "v1"
    more = second["features"]["rows"] - first["features"]["rows"]
    assert 700 < more < 1000
    assert second["scores"]["rows"] - first["scores"]["rows"] == more
    lakehouse = open_lakehouse(settings.load(environment(tmp_path)))
    [newest, *_] = lakehouse.history("flight_delay.features")
    assert newest.operation == "WRITE"

    explained = lakeops(
        tmp_path, "explain", "flight_delay", "--key", "flight_id=2013-01-09/UA1545/EWR", "--json"
    )
    assert explained.returncode == 0, explained.stderr
    found = json.loads(explained.stdout)
    assert found["cut_off"] < found["features"]["scheduled_departure"]
    by_source = {s["source"]: s for s in found["seen"]}
    assert len(by_source["origin"]["rows"]) == found["features"]["origin_departures_24h"]
    known = [r["known_at"] for s in found["seen"] for r in s["rows"] if s["source"] != "rows"]
    assert max(known) <= found["cut_off"]

    wrong = lakeops(tmp_path, "explain", "churn", "--key", "customer_id=1")
    assert wrong.returncode == 2
    assert "there are: flight_delay.features" in wrong.stderr
