"""A browser for the tests that need one: the system's Chromium."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    found = os.environ.get("DNDIV_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail(
            f"no browser: none of {', '.join(NAMES)} is here; install one (apt-get install "
            "chromium), or name one by DNDIV_CHROMIUM",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found)
