"""A product owner's walk: from a red check to its cause, and to the page about it."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import lakeops
from playwright.sync_api import Page, expect
from websites import Site, picture, serving

START = datetime(2024, 1, 1, tzinfo=UTC)
# From this day on the sensors speak Celsius.
CHANGED = 31


def land(folder: Path, table: str, days: range, *, changed: int | None = None) -> None:
    """Write a file of readings per day."""
    target = folder / "state" / "landing" / "plant" / table
    target.mkdir(parents=True)
    for day in days:
        dice = random.Random(day)
        level = dice.gauss(60, 4)
        with (target / f"{day:03}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "at", "temp", "site"])
            for i in range(96):
                temp = round(dice.gauss(level, 8))
                if changed is not None and day >= changed:
                    temp = round((temp - 32) / 1.8, 1)
                at = START + timedelta(days=day, minutes=15 * i)
                site = dice.choice(["north", "south"])
                writer.writerow([day * 1000 + i, at.isoformat(), temp, site])


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product whose sensors changed their unit three weeks ago."""
    folder = tmp_path_factory.mktemp("plant")
    shutil.copytree(Path(__file__).parent / "plant", folder / "defs" / "plant")
    land(folder, "usual", range(28))
    land(folder, "readings", range(49), changed=CHANGED)
    done = lakeops(folder, "run", "plant", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = {o["asset"]: o for o in json.loads(done.stdout)["outcomes"]}
    assert outcomes["plant/features_drift_metrics"]["failed"] == ["drift"]
    return folder


@pytest.fixture(scope="module")
def site(plant: Path) -> Iterator[Site]:
    with serving(plant) as site:
        yield site


def test_the_command_names_the_cause(plant: Path) -> None:
    done = lakeops(plant, "triage", "plant", "--json")
    [first, *_] = json.loads(done.stdout)["triage"]["suspects"]
    where = first["move"]["where"]
    assert (where["table"]["table"], where["column"]) == ("readings", "temp")
    assert first["move"]["kind"] == "unit changed"
    assert "Fahrenheit to Celsius" in first["move"]["evidence"]
    assert first["move"]["since"].startswith("2024-02-01")
    assert [p["column"] for p in first["path"]] == ["temp", "temp"]


def test_from_a_red_check_to_its_cause(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/plant/features_drift_metrics?view=checks")
    page.get_by_text("drift", exact=True).first.click()
    said = "likeliest cause: plant.readings.temp since 2024-02-01 00:00, unit changed"
    expect(page.get_by_text(said).first).to_be_visible()
    picture(page, "red-check")
    page.get_by_role("link", name="plant/readings").or_(
        page.get_by_role("link", name="plant / readings")
    ).first.click()
    page.wait_for_url("**/assets/plant/readings**")
    expect(page.get_by_text("_source_file").or_(page.get_by_text("readings")).first).to_be_visible()
    picture(page, "cause")


def test_the_page_opens_from_the_asset(page: Page, site: Site) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{site.dagster}/assets/plant/features_report?view=events")
    link = page.get_by_role("link", name="Open the page").first
    expect(link).to_be_visible()
    picture(page, "report-asset")
    address = link.get_attribute("href") or ""
    # The link was made by a run that knew nothing of this test's port.
    page.goto(address.replace("http://127.0.0.1:5000", site.mlflow))
    expect(page.frame_locator("iframe").get_by_role("heading", level=1)).to_contain_text("alert")
    picture(page, "report-mlflow")


def test_the_file_needs_no_server(page: Page, plant: Path) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: said.append(request.url))
    file = plant / "state" / "reports" / "plant" / "features.html"
    page.goto(file.as_uri())
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 alert in the newest window.")
    assert said == [file.as_uri()]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        picture(page, f"report-{scheme}")
