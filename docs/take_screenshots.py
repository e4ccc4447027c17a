"""Take the pictures of the admin page that the docs show: ``python -m docs.take_screenshots``."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from flask_hazelcast_failover.testing import LocalCluster, start_together
from tests.support.apps import TOKEN
from tests.support.serving import Served, serve

IMAGES = Path(__file__).parent / "images"
SIZES = {"": (1100, 800), "-phone": (390, 800)}


def main() -> None:
    """Take one picture of each state and size."""
    IMAGES.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    blue, green = LocalCluster("blue"), LocalCluster("green")
    start_together(blue, green)
    with blue, green, sync_playwright() as playwright, serve(blue, green, workers=4) as served:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        _take(browser, served, "primary")
        blue.kill()
        _take(browser, served, "elsewhere")
        green.kill()
        _take(browser, served, "offline")
        browser.close()


def _take(browser: Browser, served: Served, standing: str) -> None:
    for suffix, (width, height) in SIZES.items():
        page = browser.new_page(
            http_credentials={"username": "operator", "password": TOKEN},
            viewport={"width": width, "height": height},
            color_scheme="dark" if suffix else "light",
        )
        page.goto(f"{served.url}/hazelcast/")
        page.locator(f".now.{standing}").wait_for(timeout=20_000)
        for _ in range(4):  # so that the latencies have a line
            with page.expect_response("**/*part=live"):
                pass
        page.screenshot(path=IMAGES / f"admin-{standing}{suffix}.png", full_page=True)
        page.close()


if __name__ == "__main__":
    main()
