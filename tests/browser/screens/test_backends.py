"""A backend's life: typed wrong, mended, tested, saved, made active and removed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.screens.hands import Hands
from tests.servers.seaweedfs import SeaweedFS

pytestmark = [pytest.mark.browser, pytest.mark.torture]


def test_a_backend_from_a_typo_to_its_removal(hands: Hands, seaweedfs: SeaweedFS) -> None:
    name = f"trip-{hands.way.name}"
    _choose_the_provider(hands)
    _add(hands, name, seaweedfs)
    _make_active(hands, name)
    _give_back(hands)
    _remove(hands, name)


def _choose_the_provider(hands: Hands) -> None:
    page = hands.page
    hands.go("/backends")
    hands.press(page.get_by_role("link", name="Add a backend").first)
    hands.fill(page.get_by_label("Search providers"), "any")
    expect(page.locator(".provider:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_be_visible()


def _add(hands: Hands, name: str, server: SeaweedFS) -> None:
    page = hands.page
    state = page.locator("#test-state")
    hands.fill(page.get_by_role("textbox", name="Name", exact=True), "media-s3")
    hands.fill(page.get_by_role("textbox", name="Endpoint"), "http://127.0.0.1:9")
    hands.fill(page.get_by_role("textbox", name="Bucket", exact=True), server.new_bucket())
    hands.fill(page.get_by_role("textbox", name="Access key ID"), server.admin.access_key)
    hands.fill(page.get_by_label("Secret access key"), server.admin.secret_key)
    hands.press(page.get_by_role("button", name="Test connection"))
    # A name that is taken is found by the test already, beside the field, which has the focus and is red.
    expect(page.locator("#name-error")).to_contain_text("already a backend")
    expect(page.locator("#name")).to_be_focused()
    expect(page.locator("#name-error")).to_be_in_viewport()
    hands.fill(page.get_by_role("textbox", name="Name", exact=True), name)

    hands.press(page.get_by_role("button", name="Test connection"))
    expect(state).to_contain_text("failed")
    expect(state).to_be_in_viewport()
    expect(page.locator("#announcer")).to_contain_text("failed")
    hands.fill(page.get_by_role("textbox", name="Endpoint"), server.endpoint)
    expect(state).to_contain_text("Changed since the last test.")
    hands.press(page.get_by_role("button", name="Test connection"))
    expect(page.locator("#probe").get_by_text("Everything works")).to_be_visible()
    hands.press(page.get_by_role("button", name="Save", exact=True))
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    # The test of the form is kept with its steps.
    expect(page.get_by_role("heading", name="Last test")).to_be_visible()
    expect(page.locator("#probe")).to_contain_text("Everything works")
    page.reload()
    expect(page.locator("#probe")).to_contain_text("Everything works")
    assert server.admin.secret_key not in page.content()


def _make_active(hands: Hands, name: str) -> None:
    page = hands.page
    hands.press(page.get_by_role("button", name="Make active"))
    keep = page.get_by_label("Keep media-s3 as the first fallback")
    expect(keep).to_be_checked(timeout=60_000)
    expect(page.get_by_text("missing there")).to_be_visible()
    hands.press(page.locator("#switch"))
    expect(page.get_by_text(f"New files now go to {name}.")).to_be_visible()
    hands.go("/")
    expect(page.locator(".head .sub, .head .muted").first).to_contain_text(f"New files go to {name}")
    expect(page.locator(".head").first).to_contain_text("media-s3")


def _give_back(hands: Hands) -> None:
    page = hands.page
    hands.go("/backend/media-s3")
    hands.press(page.get_by_role("button", name="Make active"))
    expect(page.locator("#switch")).to_have_text("Switch now", timeout=60_000)
    hands.press(page.locator("#switch"))
    expect(page.get_by_role("status").filter(has_text="media-s3").first).to_be_visible()


def _remove(hands: Hands, name: str) -> None:
    page = hands.page
    hands.go(f"/backend/{name}")
    hands.press(page.get_by_role("link", name="Remove this backend"))
    expect(page.get_by_role("heading", name=f"Remove {name}?")).to_be_visible()
    hands.press(page.get_by_role("button", name="Remove it"))
    expect(page.get_by_text(f"{name} is removed. Its files are untouched.")).to_be_visible()
    expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)


def test_a_backend_that_is_down_is_refused_and_says_how_to_override(hands: Hands) -> None:
    page = hands.page
    hands.go("/backend/old-ftp")
    hands.press(page.get_by_role("button", name="Make active"))
    expect(page.get_by_role("heading", name="old-ftp cannot take files now.")).to_be_visible(timeout=60_000)
    expect(page.locator("#switch")).to_have_count(0)
    hands.press(page.locator("summary", has_text="Switch anyway"))
    hands.fill(page.locator("#override"), "old-ft")
    hands.press(page.get_by_role("button", name="Switch without a test"))
    expect(page.locator("#override-error")).to_be_visible()
    hands.go("/")
    expect(page.locator(".head").first).to_contain_text("media-s3")


def test_a_period_and_a_snippet_are_chosen(hands: Hands) -> None:
    page = hands.page
    hands.go("/backend/local-disk")
    hands.press(page.get_by_role("link", name="30 d"))
    expect(page.get_by_role("link", name="30 d")).to_have_attribute("aria-current", "true")
    hands.press(page.get_by_role("group", name="Language").get_by_role("link").nth(1))
    expect(page.locator("#command")).to_be_visible()
    hands.press(page.locator("[data-copy=command]"))
    expect(page.locator("#announcer")).to_have_text("Copied.")
