"""The Dagster UI in a real browser: the graph is there, an asset can be materialized."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import copy_of
from playwright.sync_api import Page, expect
from websites import Site, picture, serving


@pytest.fixture(scope="module")
def site(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`lakeops ui` over a copy of a finished run of the churn product."""
    with serving(copy_of(finished, tmp_path_factory.mktemp("ui") / "copied")) as site:
        yield site


def test_the_lineage_shows_the_whole_product(page: Page, site: Site) -> None:
    page.goto(f"{site.dagster}/locations/lakeops_assets/asset-groups/churn/lineage")
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
