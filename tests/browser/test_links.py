"""A file is shared, opened by somebody without an account, and withdrawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.conftest import set_up, sign_in
from tests.servers.console import ConsoleProcess
from tests.servers.processes import wait_until

pytestmark = pytest.mark.browser

CONTENT = b"what is shared"


@pytest.fixture
def shared(tmp_path: Path) -> ConsoleProcess:
    console = set_up(tmp_path / "instance")
    (console.instance / "files" / "report.txt").write_bytes(CONTENT)
    return console


def check(page: Page) -> None:
    assert [each["id"] for each in Axe().run(page).response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_link_is_made_opened_signed_out_and_revoked(chromium: Browser, shared: ConsoleProcess) -> None:
    with shared:
        phone = chromium.new_context(viewport={"width": 390, "height": 800})
        page = phone.new_page()
        page.goto(f"{shared.address}/links/new?backend=local-disk&file=report.txt")
        sign_in(page)
        page.get_by_label("Or after this many downloads").fill("1")
        page.get_by_role("button", name="Create the link").click()
        url = page.locator("#url").inner_text()
        assert page.get_by_role("button", name="Copy").is_visible()
        stranger = chromium.new_context(viewport={"width": 390, "height": 800})
        opened = stranger.new_page()
        opened.goto(url)
        assert opened.get_by_role("heading", name="report.txt").is_visible()
        check(page)
        check(opened)
        with opened.expect_download() as download:
            opened.get_by_role("button", name="Download").click()
        assert Path(download.value.path()).read_bytes() == CONTENT
        # The browser has its file a moment before the console has recorded that it was sent.
        wait_until(lambda: _is_used_up(page, shared), seconds=60, what="the use recorded")
        refused = opened.goto(url)
        assert refused is not None
        assert refused.status == 410
        page.goto(f"{shared.address}/links/new?backend=local-disk&file=report.txt")
        page.get_by_role("button", name="Create the link").click()
        again = page.locator("#url").inner_text()
        sent = stranger.request.get(again)
        assert (sent.status, sent.body()) == (200, CONTENT)
        page.get_by_role("link", name="Back to the links").click()
        page.get_by_role("link", name="Revoke link 2").click()
        page.get_by_role("button", name="Revoke it").click()
        assert page.get_by_text("Link 2 is revoked").is_visible()
        gone = opened.goto(again)
        assert gone is not None
        assert gone.status == 410
        stranger.close()
        phone.close()


def _is_used_up(page: Page, shared: ConsoleProcess) -> bool:
    page.goto(f"{shared.address}/links")
    return page.get_by_text("1 of 1").is_visible()
