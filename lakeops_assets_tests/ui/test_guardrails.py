"""The guardrails in the UI: rules, quarantine, gates, an approval by link, the ledger, the KPI."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import lakeops
from playwright.sync_api import Page, expect
from websites import READY_SECONDS, Site, picture, serving

STAGING = {"LAKEOPS_ENV": "staging"}


@pytest.fixture(scope="module")
def site(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Staging, in which the first champion waits for an approval and two rows are in quarantine."""
    folder = tmp_path_factory.mktemp("staging")
    landed = finished / "state" / "landing" / "churn"
    for path in sorted(landed.rglob("*.*")):
        target = folder / "state" / "landing" / "churn" / path.relative_to(landed)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    customers = folder / "state" / "landing" / "churn" / "customers"
    spoil(max(customers.iterdir()), customers / "2026-01-31.csv")
    done = lakeops(folder, "run", "churn", "--json", **STAGING)
    outcomes = {o["asset"]: o for o in json.loads(done.stdout)["outcomes"]}
    assert done.returncode == 1
    assert outcomes["churn/champion"]["status"] == "failed", done.stdout
    with serving(folder, **STAGING) as site:
        yield site


def spoil(source: Path, target: Path) -> None:
    """Write two customers with values that the contract does not allow."""
    with source.open() as file:
        rows = list(csv.DictReader(file))[:2]
    rows[0] |= {"customer_id": "9000001", "contract": "Weekly"}
    rows[1] |= {"customer_id": "9000002", "tenure": "-3"}
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_broken_rule_says_which_rows_it_set_aside(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/churn/customers?view=checks")
    page.get_by_text("contract_enum", exact=True).first.click()
    expect(page.get_by_text("Weekly").first).to_be_visible()
    expect(page.get_by_text("quarantine").first).to_be_visible()
    picture(page, "contract")


def test_the_gates_show_their_evidence(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/churn/model_version?view=checks")
    page.get_by_text("value", exact=True).first.click()
    expect(page.get_by_text("EUR per customer").first).to_be_visible()
    picture(page, "gates")


def test_a_version_is_approved_by_the_link_on_its_page(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/assets/churn/model_version?view=events")
    link = page.get_by_role("link", name="Approve version 1").first
    expect(link).to_be_visible()
    picture(page, "candidate")
    page.goto(site.dagster + (link.get_attribute("href") or ""))
    expect(page.get_by_text("churn_approve_plan").first).to_be_visible()
    editor = page.locator(".CodeMirror").first
    expect(editor).to_contain_text("decision: approve")
    picture(page, "approve")
    written = editor.evaluate("e => e.CodeMirror.getValue()")
    filled = written.replace("approver: ''", "approver: Ada").replace(
        "reason: ''", "reason: better than calling nobody"
    )
    assert filled != written
    editor.evaluate("(e, text) => e.CodeMirror.setValue(text)", filled)
    page.get_by_role("button", name="Launch run").last.click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()


def test_the_sensor_carries_out_what_was_approved(page: Page, site: Site) -> None:
    said = page.get_by_text("Ada: better than calling nobody").first
    for _ in range(READY_SECONDS // 10):
        page.goto(f"{site.dagster}/assets/churn/champion?view=events")
        page.wait_for_timeout(10_000)  # the sensor looks every 30 seconds
        if said.is_visible():
            break
    expect(said).to_be_visible()
    picture(page, "champion")
    page.goto(f"{site.dagster}/assets/churn/scores_kpi_windows?view=checks")
    page.get_by_text("kpi", exact=True).first.click()
    expect(page.get_by_text("Passed").first).to_be_visible()
    picture(page, "kpi")


def test_people_can_start_everything_that_the_command_line_can(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/jobs")
    for job in ("approve", "revert_champion", "maintenance", "reproduce", "forget"):
        expect(page.get_by_text(f"churn_{job}", exact=True).first).to_be_visible()
    picture(page, "jobs")
