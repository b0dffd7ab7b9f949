"""A real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from websites import READY_SECONDS

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser of this machine, without a window."""
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
    """A new page."""
    page = browser.new_page(locale="en-US", viewport={"width": 1500, "height": 950})
    page.set_default_timeout(READY_SECONDS * 1000)
    expect.set_options(timeout=READY_SECONDS * 1000)
    yield page
    page.close()
