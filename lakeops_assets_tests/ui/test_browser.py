"""The Dagster UI in a real browser: the graph is there, an asset can be materialized."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import copy_of
from playwright.sync_api import Browser, Page, expect, sync_playwright

PROJECT = Path(__file__).parents[2]
# Set to a folder to keep the pictures, as for docs/images.
PICTURES = os.environ.get("LAKEOPS_PICTURES")
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
READY_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Site:
    """Addresses of the two user interfaces."""

    dagster: str
    mlflow: str


@pytest.fixture(scope="module")
def site(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`lakeops ui` over a copy of a finished run of the churn product."""
    state = copy_of(finished, tmp_path_factory.mktemp("ui") / "copied")
    ports = free_port(), free_port()
    site = Site(*(f"http://127.0.0.1:{port}" for port in ports))
    env = {
        **os.environ,
        "LAKEOPS_HOME": str(state / "state"),
        "DAGSTER_HOME": str(state / "dagster"),
        "LAKEOPS_DEFS": str(state / "defs"),
    }
    arguments = ["ui", "--port", str(ports[0]), "--mlflow-port", str(ports[1])]
    log = (state / "ui.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "lakeops_assets.cli", *arguments],
        cwd=PROJECT,
        env=env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        wait_until_up(f"{site.dagster}/server_info", process)
        wait_until_up(f"{site.mlflow}/health", process)
        yield site
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            log.close()


def wait_until_up(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "lakeops ui ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{url} did not answer within {READY_SECONDS} s")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = next((p for name in BROWSERS if (p := shutil.which(name))), None)
    assert found, "no Chrome or Chromium was found; `make browser` installs one"
    with sync_playwright() as playwright:
        # The UI stays blank in the language of the C locale.
        browser = playwright.chromium.launch(
            executable_path=found,
            args=[
                *("--no-sandbox", "--disable-gpu", "--lang=en-US", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
            ],
            env={**os.environ, "LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8"},
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(locale="en-US", viewport={"width": 1500, "height": 950})
    page.set_default_timeout(READY_SECONDS * 1000)
    yield page
    page.close()


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.wait_for_timeout(1500)  # what slides in has arrived
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def test_the_lineage_shows_the_whole_product(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/asset-groups/churn")
    for node in ("customers", "features", "model_version", "champion", "scores"):
        expect(page.get_by_text(node, exact=True).first).to_be_visible()
    picture(page, "lineage")


def test_an_asset_shows_rows_columns_and_where_it_is(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/churn/features?view=overview")
    expect(page.get_by_text("7,043").first).to_be_visible()
    expect(page.get_by_text("dev.churn.features").first).to_be_visible()
    expect(page.get_by_text("Identifier of the customer.").first).to_be_visible()
    picture(page, "features")


def test_the_model_shows_metrics_curves_and_the_way_to_mlflow(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/churn/model?view=overview")
    expect(page.get_by_text("roc_auc").first).to_be_visible()
    expect(page.get_by_role("link", name="MLflow run").first).to_be_visible()
    expect(page.locator("img[src^='data:image/svg+xml']").first).to_be_visible()
    picture(page, "model")


def test_the_way_to_mlflow_leads_there_and_back(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/churn/model?view=overview")
    link = page.get_by_role("link", name="MLflow run").first
    # The run was made while no UI was up; only the port of the link is another here.
    path = (link.get_attribute("href") or "").partition("/#/")[2]
    page.goto(f"{site.mlflow}/#/{path}")
    expect(page.get_by_text("roc_auc", exact=True).first).to_be_visible()
    back = page.get_by_role("link", name="asset").first
    expect(back).to_have_attribute("href", re.compile("/assets/churn/model$"))
    picture(page, "mlflow")


def test_the_gates_are_checks_with_their_reasons(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/churn/model_version?view=checks")
    page.get_by_text("roc_auc", exact=True).first.click()
    expect(page.get_by_text("roc_auc on the held-out rows is at least 0.8").first).to_be_visible()
    expect(page.get_by_text("95 % interval").first).to_be_visible()
    expect(page.get_by_text("Passed").first).to_be_visible()
    picture(page, "gates")


def test_the_sensors_are_on(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/automation")
    expect(page.get_by_text("churn_customers_landing").first).to_be_visible()
    expect(page.get_by_text("refresh", exact=True).first).to_be_visible()
    switches = page.locator("input[type='checkbox']:checked, [role='switch'][aria-checked='true']")
    expect(switches.first).to_be_attached()
    picture(page, "sensors")


def test_an_asset_is_materialized_from_the_page_and_turns_green(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/churn/features?view=overview")
    page.get_by_role("button", name="Materialize").first.click()
    expect(page.get_by_text("Launched run")).to_be_visible()
    page.get_by_role("link", name="View", exact=True).click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    picture(page, "run")
    page.goto(f"{site.dagster}/assets/churn/features?view=events")
    expect(page.get_by_text("no input is newer").first).to_be_visible()
