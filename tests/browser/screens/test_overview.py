"""Overview, search and the frame around every page, with a mouse, on a phone, and with the keyboard alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.screens.hands import Hands

pytestmark = [pytest.mark.browser, pytest.mark.torture]


def test_a_cause_is_dismissed_shown_again_and_followed(hands: Hands) -> None:
    page = hands.page
    hands.go("/")
    causes = page.locator(".issues > li")
    read_only = causes.filter(has_text="partner-s3 cannot be written to")
    expect(read_only).to_be_visible()
    hands.press(read_only.get_by_role("button", name="Dismiss until it changes"))
    expect(read_only).to_have_count(0)
    hands.press(page.get_by_role("button", name="show", exact=True))
    expect(read_only).to_be_visible()
    hands.press(read_only.get_by_role("link", name="See the check"))
    expect(page.get_by_role("heading", name="partner-s3")).to_be_visible()
    # The last test with its steps is on the page that "See the check" leads to.
    expect(page.get_by_role("heading", name="Last test")).to_be_visible()


def test_the_focus_stays_when_live_parts_are_replaced(hands: Hands) -> None:
    """Its fragment comes every few seconds; nobody is thrown back to the top."""
    page = hands.page
    hands.go("/")
    link = page.locator("[id^=card-link-]").nth(1)
    name = link.get_attribute("id")
    link.focus()
    with page.expect_response(lambda answer: "/overview/live" in answer.url, timeout=60_000):
        pass
    page.wait_for_timeout(200)
    assert page.evaluate("document.activeElement.id") == name


def test_the_first_tab_skips_the_menu(hands: Hands) -> None:
    page = hands.page
    hands.go("/usage")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_the_palette_keeps_the_focus_and_gives_it_back(hands: Hands) -> None:
    page = hands.page
    hands.go("/backends")
    before = page.get_by_role("link", name="Add a backend").first
    before.focus()
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Search the console")
    expect(palette.get_by_role("option").first).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body"
            " || document.querySelector('dialog').contains(document.activeElement)"
        )
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()
    expect(before).to_be_focused()


def test_every_item_of_the_menu_is_reached(hands: Hands) -> None:
    page = hands.page
    for name in ("Backends", "Files", "Migrations", "Health", "Usage", "Audit", "Settings"):
        hands.go("/")
        menu = page.get_by_role("navigation", name="Main")
        link = menu.locator("a:visible").filter(has_text=name)
        if not link.count():
            hands.press(menu.locator("summary"))
        hands.press(link)
        expect(page.locator(".menu a[aria-current=page]").filter(has_text=name).first).to_have_count(1)
        expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_nothing_moves_for_those_who_ask_for_that(hands: Hands) -> None:
    page = hands.page
    page.emulate_media(reduced_motion="reduce")
    hands.go("/")
    moving = page.evaluate(
        "() => document.getAnimations().filter(each => each.playState === 'running').map(each =>"
        " each.effect.target.tagName + '.' + each.effect.target.getAttribute('class'))"
    )
    assert moving == []
    lasting = page.evaluate(
        "() => [...document.querySelectorAll('*')].filter(each => "
        "parseFloat(getComputedStyle(each).transitionDuration) > 0.01).map(each => each.tagName)"
    )
    assert lasting == []
