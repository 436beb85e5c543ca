"""Settings that go on working by themselves: who is told, how pages look, and copies by schedule."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.screens.furnished import PASSWORD, Furnished
from tests.browser.screens.hands import Hands
from tests.browser.screens.test_settings import sign_in_as
from tests.servers.processes import wait_until
from tests.services.notifications.receivers import HttpReceiver, http_receiver

pytestmark = [pytest.mark.browser, pytest.mark.torture]

CLOSED = "http://127.0.0.1:9/hook"
"""Nothing listens there."""


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as started:
        yield started


def test_a_channel_is_tested_mended_saved_muted_and_sent_through_again(
    hands: Hands, receiver: HttpReceiver
) -> None:
    page, name = hands.page, f"pager-{hands.way.name}"
    hands.go("/settings/notifications")
    hands.press(page.get_by_role("link", name="Add a channel").first)
    hands.press(page.get_by_role("link", name="Webhook", exact=True))
    hands.fill(page.locator("#field-name"), name)
    hands.fill(page.locator("#field-url"), CLOSED)
    test, panel = page.get_by_role("button", name="Send a test message"), page.locator("#probe")
    hands.press(test)
    failed = panel.locator("li", has=page.locator(".tick.bad"))
    expect(failed).to_contain_text("refused the connection", timeout=60_000)
    expect(failed.locator(".why .muted")).not_to_be_empty()
    expect(page.locator("#announcer")).not_to_be_empty()
    expect(page.locator("#field-url")).to_have_value(CLOSED)

    hands.fill(page.locator("#field-url"), receiver.url())
    hands.press(test)
    expect(panel.locator(".tick.bad")).to_have_count(0, timeout=60_000)
    wait_until(lambda: len(receiver.got) == 1, seconds=60, what="the test's message")
    expect(panel.locator(".tick.now")).to_have_count(0)
    hands.press(page.get_by_role("button", name="Save", exact=True))
    expect(page.locator("#new-key")).to_be_visible()
    hands.press(page.get_by_role("link", name="Done"))

    row = page.get_by_role("listitem").filter(has_text=name)
    hands.press(row.get_by_role("button", name=f"Test {name}"))
    wait_until(lambda: len(receiver.got) == 2, seconds=60, what="a message of the saved channel")
    expect(panel.locator(".tick.now")).to_have_count(0, timeout=60_000)
    hands.press(page.get_by_role("link", name="Notifications", exact=True).last)
    expect(row.get_by_text("Tested", exact=True)).to_be_visible()
    hands.press(row.locator("summary"))
    hands.press(row.get_by_role("button", name="8 hours"))
    expect(row.get_by_text("Muted", exact=True)).to_be_visible()
    hands.press(row.get_by_role("button", name=f"Unmute {name}"))
    expect(row.get_by_text("Muted", exact=True)).to_have_count(0)

    sent = page.locator("#log").get_by_role("row").filter(has_text=name)
    hands.press(sent.get_by_role("button", name=re.compile("^Send again")).first)
    wait_until(lambda: len(receiver.got) >= 3, seconds=60, what="the message that is sent again")
    hands.press(row.get_by_role("link", name=name))
    hands.press(page.locator("summary", has_text="Remove"))
    hands.press(page.get_by_role("button", name=f"Remove {name}"))
    expect(row).to_have_count(0)


def test_language_theme_and_time_zone_change_the_page_at_once(hands: Hands) -> None:
    """Of a person of one's own: maria's pages are those of the other journeys."""
    page, name = hands.page, f"eva-{hands.way.name}"
    hands.go("/settings/users")
    hands.fill(page.locator("#username"), name)
    hands.fill(page.locator("#password"), PASSWORD)
    hands.pick(page.get_by_role("radio", name=re.compile("^Admin")))
    hands.press(page.get_by_role("button", name="Add", exact=True))
    expect(page.get_by_role("row", name=re.compile(name))).to_be_visible()
    page.context.clear_cookies()
    sign_in_as(hands, name)

    hands.go("/settings/preferences")
    _prefer(hands, "de", "Asia/Tokyo", "dark", save="Save")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("heading", name="Einstellungen", exact=True)).to_be_visible()
    assert _is_dark(page)
    hands.go("/audit")
    expect(page.get_by_text("Asia/Tokyo").first).to_be_visible()
    hands.go("/settings/preferences")
    _prefer(hands, "en", "UTC", "light", save="Speichern")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert not _is_dark(page)
    hands.go("/audit")
    expect(page.get_by_text("Asia/Tokyo")).to_have_count(0)


def _prefer(hands: Hands, language: str, zone: str, theme: str, *, save: str) -> None:
    page = hands.page
    hands.choose(page.locator("#language"), language)
    if hands.way.keyboard:
        hands.reach(page.locator("#time_zone"))
        page.keyboard.type(zone.rpartition("/")[2])
    else:
        page.locator("#time_zone").select_option(zone)
    expect(page.locator("#time_zone")).to_have_value(zone)
    hands.pick(page.locator(f"input[name=theme][value={theme}]"))
    hands.press(page.get_by_role("button", name=save, exact=True))


def _is_dark(page: Page) -> bool:
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(each) for each in re.findall(r"\d+", color)[:3]) < 3 * 100


def test_a_copy_is_scheduled_run_and_restored_as_it_was(hands: Hands, furnished: Furnished) -> None:
    page, prefix = hands.page, f"ledger-{hands.way.name}/"
    file = furnished.instance / "files" / prefix / "book.txt"
    file.parent.mkdir()
    file.write_text("first state")
    hands.go("/settings/schedules")
    hands.press(page.get_by_role("link", name="Add a schedule"))
    hands.choose(page.locator("#source"), "local-disk")
    hands.choose(page.locator("#destination"), "local-disk")
    hands.press(page.get_by_role("button", name="Save", exact=True))
    expect(page.locator("#destination-error, #source-error").first).to_be_visible()
    hands.choose(page.locator("#destination"), "archive")
    if not page.locator("#prefix").is_visible():
        hands.press(page.locator("summary", has_text="Only a part"))
    hands.fill(page.locator("#prefix"), prefix)
    hands.press(page.get_by_role("button", name="Save", exact=True))
    expect(page.get_by_text("It has not run yet.")).to_be_visible()

    runs = page.locator("#live tbody tr")
    hands.press(page.get_by_role("button", name="Run now"))
    expect(runs.filter(has_text="Complete")).to_have_count(1, timeout=60_000)
    address = page.url
    file.write_text("second state, by mistake")
    page.goto(address)
    hands.press(page.get_by_role("button", name="Run now"))
    expect(runs.filter(has_text="Complete")).to_have_count(2, timeout=60_000)

    page.goto(address)
    oldest = page.locator("#after_run option").last.get_attribute("value")
    assert oldest
    hands.choose(page.locator("#after_run"), oldest)
    hands.press(page.get_by_role("button", name="Review the restore"))
    start = page.locator("#do-start")
    expect(start).to_be_visible(timeout=60_000)
    assert file.read_text() == "second state, by mistake", "nothing happens before the plan is approved"
    hands.press(start)
    wait_until(lambda: file.read_text() == "first state", seconds=60, what="the first state")
    page.goto(address)
    expect(runs.filter(has_text="A restore")).to_have_count(1)
