"""The admin page in a real browser, on real gunicorn workers and real clusters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from flask_hazelcast_failover._admin.page import ago
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import TOKEN
from tests.support.serving import Served, serve

DESKTOP: ViewportSize = {"width": 1200, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def running_browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "a Chromium is needed: on Debian, apt-get install chromium"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def browser(running_browser: Browser) -> Iterator[Browser]:
    """A browser whose pages are closed after each test, since they refresh themselves."""
    yield running_browser
    for context in running_browser.contexts:
        context.close()


@pytest.fixture(scope="module")
def standings(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[dict[str, Served]]:
    """One server for each standing of an app."""
    blue, _ = shared_clusters
    with serve("one", "other") as offline, serve(blue) as primary, serve("absent", blue) as elsewhere:
        yield {"offline": offline, "primary": primary, "elsewhere": elsewhere}


def test_an_operator_sees_a_failover_and_resets(
    browser: Browser, pair: tuple[LocalCluster, LocalCluster]
) -> None:
    blue, green = pair
    with serve(blue, green, workers=4) as served:
        page = _page(browser, served)
        page.get_by_text("on the primary cluster", exact=True).wait_for()
        page.locator("tbody tr").nth(3).wait_for(timeout=15_000)
        blue.kill()
        page.locator(".now.elsewhere").wait_for(timeout=10_000)
        assert page.locator("#now-title").inner_text() == "green"
        assert page.title() == "green: not on the primary | Hazelcast clusters"
        page.locator(".outlook", has_text="blue cannot be reached: 127.0.0.1").wait_for()
        assert "from blue: connection-lost" in page.locator(".now").inner_text()
        page.locator("[data-cluster=blue] .state", has_text="down").wait_for()
        assert page.locator(".history li").first.inner_text().count("connection-lost") == 1
        blue.restart()
        page.locator("[data-cluster=blue] .state", has_text="standby").wait_for(timeout=15_000)
        page.locator(".outlook", has_text="A reset goes back there. All of its members are new").wait_for()
        page.get_by_role("button", name="Reset to blue").click()
        text = page.locator("#confirm-text").inner_text()
        assert "All 4 processes of this app will use blue" in text
        assert "No data are copied" in text
        assert "it may be empty" in text
        page.get_by_role("button", name="Reset", exact=True).click()
        page.get_by_text("4 of 4 processes are on blue.").wait_for(timeout=10_000)
        page.locator(".now.primary").wait_for(timeout=10_000)
        assert page.title() == "blue | Hazelcast clusters"
        page.wait_for_function(
            "[...document.querySelectorAll('tbody tr td:nth-child(4)')].every(cell => cell.innerText === 'blue')"
        )


@pytest.mark.parametrize("standing", ["primary", "elsewhere", "offline"])
def test_axe_finds_no_violations(browser: Browser, standings: dict[str, Served], standing: str) -> None:
    """In light and dark mode, on a phone and on a desktop."""
    page = _page(browser, standings[standing], viewport=DESKTOP)
    page.locator(f".now.{standing}").wait_for(timeout=15_000)
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], "it scrolls sideways"
        _check_accessibility(page)
    page.locator("#reset").click()
    for size in (PHONE, DESKTOP):
        page.set_viewport_size(size)
        _check_accessibility(page)


def _check_accessibility(page: Page) -> None:
    schemes: list[Literal["light", "dark"]] = ["light", "dark"]
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{scheme}: {found.generate_report()}"


def test_the_page_can_be_used_by_keyboard(browser: Browser, blue: LocalCluster, green: LocalCluster) -> None:
    with serve(blue, green) as served:
        page = _page(browser, served)
        page.locator(".now.primary").wait_for()
        page.locator("#switch-2:not([disabled])").focus()
        page.keyboard.press("Enter")
        page.locator("dialog[open]").wait_for()
        page.keyboard.press("Escape")
        assert not page.locator("dialog[open]").count()
        page.locator("#switch-2").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        for _ in range(4):
            if page.evaluate("document.activeElement.id") == "go":
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.locator(".now.elsewhere").wait_for(timeout=10_000)


def test_the_page_keeps_the_focus_when_it_refreshes(browser: Browser, standings: dict[str, Served]) -> None:
    page = _page(browser, standings["primary"])
    page.locator(".now.primary").wait_for()
    page.locator("#reset").focus()
    with page.expect_response("**/*part=live"):
        pass
    page.wait_for_function("document.activeElement.id === 'reset'")


def test_a_refusal_is_visible_after_scrolling(browser: Browser, standings: dict[str, Served]) -> None:
    page = _page(browser, standings["elsewhere"], viewport={"width": 390, "height": 400})
    page.locator("#switch-1").click()
    assert "absent cannot be reached at the moment" in page.locator("#confirm-text").inner_text()
    page.locator("#go").click()
    refusal = page.locator("#said.bad", has_text="Nothing has changed: absent cannot be reached")
    refusal.wait_for(timeout=10_000)
    box = refusal.bounding_box()
    assert page.evaluate("scrollY") > 200
    assert box is not None and 0 <= box["y"] < 400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (9, "just now"),
        (59, "less than a minute ago"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (2 * 86400, "2 days ago"),
    ],
)
def test_times_are_shown_relative_to_now(seconds: int, text: str) -> None:
    assert ago((datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat()) == text


def test_the_content_security_policy_is_kept(browser: Browser, standings: dict[str, Served]) -> None:
    messages: list[str] = []
    page = _page(browser, standings["primary"], messages=messages)
    page.locator(".now.primary").wait_for()
    with page.expect_response("**/*part=live") as live:
        pass
    policy = live.value.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert messages == []


def test_the_page_works_under_a_prefix_of_a_proxy(browser: Browser, blue: LocalCluster) -> None:
    """It says so when the app does not answer any more."""
    with serve(blue, script_name="/shop") as served:
        page = _page(browser, served)
        page.locator(".now.primary").wait_for()
        with page.expect_response("**/shop/hazelcast/?part=live") as live:
            pass
        assert live.value.ok
        served.stop()
        page.locator("#stale:not([hidden])").wait_for(timeout=10_000)


def test_the_page_works_with_host_matching(browser: Browser, blue: LocalCluster) -> None:
    """Its files, its refreshes and its actions."""
    messages: list[str] = []
    with serve(blue, app="tests.support.served_app:create_app(host_matching=True)") as served:
        page = _page(browser, served, messages)
        page.locator(".now.primary").wait_for()
        with page.expect_response("**/*part=live") as live:
            pass
        assert live.value.ok
        page.get_by_role("button", name="Reset to").click()
        page.locator("#go").click()
        page.get_by_text("1 of 1 processes are on").wait_for()
    assert messages == []


def _page(browser: Browser, served: Served, messages: list[str] | None = None, **options: Any) -> Page:
    credentials: Any = {"username": "operator", "password": TOKEN}
    context = browser.new_context(http_credentials=credentials, **options)
    page = context.new_page()
    if messages is not None:
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(f"{served.url}/hazelcast/")
    return page
