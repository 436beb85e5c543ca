"""Settings: the environment, people, sessions, two-factor sign-in, tokens, the key and backups."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, expect

from dashboard.vault.one_time_codes import STEP_SECONDS, code_at
from tests.browser.screens.furnished import PASSWORD, Furnished
from tests.browser.screens.hands import Hands

pytestmark = [pytest.mark.browser, pytest.mark.torture]


def test_a_variable_is_reviewed_saved_and_restored(hands: Hands, furnished: Furnished) -> None:
    page, file = hands.page, furnished.instance / ".env"
    before = file.read_bytes()
    hands.go("/settings/environment")
    hands.fill(page.locator("#STOWAGE_UPLOAD_QUOTA"), "not a number")
    hands.press(page.get_by_role("button", name="Review changes"))
    expect(page.locator("#STOWAGE_UPLOAD_QUOTA-error")).to_be_visible()
    hands.fill(page.locator("#STOWAGE_UPLOAD_QUOTA"), "7000000000")
    hands.press(page.get_by_role("button", name="Review changes"))
    expect(page.locator(".diff .add")).to_contain_text("7000000000")
    assert file.read_bytes() == before
    hands.press(page.get_by_role("button", name="Save 1 change"))
    expect(page.get_by_role("status").filter(has_text="saved").first).to_be_visible()
    assert b"7000000000" in file.read_bytes()
    hands.press(page.get_by_role("link", name="Compare and restore").first)
    expect(page.locator(".diff .del")).to_contain_text("7000000000")
    hands.press(page.get_by_role("button", name="Restore"))
    expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
    assert file.read_bytes() == before


def test_somebody_is_added_changed_and_disabled(hands: Hands) -> None:
    page, name = hands.page, f"guest-{hands.way.name}"
    hands.go("/settings/users")
    hands.fill(page.locator("#username"), name)
    hands.fill(page.locator("#password"), PASSWORD)
    hands.pick(page.get_by_role("radio", name=re.compile("^Operator")))
    hands.press(page.get_by_role("button", name="Add", exact=True))
    row = page.get_by_role("row", name=re.compile(name))
    expect(row).to_be_visible()
    hands.choose(row.get_by_role("combobox"), "viewer")
    hands.press(row.get_by_role("button", name="Set role"))
    expect(row.get_by_role("combobox")).to_have_value("viewer")
    hands.press(row.locator("summary"))
    hands.press(row.get_by_role("button", name="Disable"))
    expect(row.get_by_text("Disabled")).to_be_visible()


def test_a_token_is_made_shown_once_and_revoked(hands: Hands) -> None:
    page, name = hands.page, f"script of {hands.way.name}"
    hands.go("/settings/tokens")
    hands.fill(page.locator("#name"), name)
    hands.tick(page.locator("[name=scope][value=view]"))
    hands.press(page.get_by_role("button", name="Make it"))
    shown = page.locator("#new-token")
    expect(shown).to_be_visible()
    text = shown.inner_text()
    hands.go("/settings/tokens")
    assert text not in page.content()
    hands.press(page.get_by_role("button", name=f"Revoke {name}"))
    expect(page.get_by_role("button", name=f"Revoke {name}")).to_have_count(0)


def test_rotating_the_key_asks_and_takes_the_password(hands: Hands) -> None:
    page = hands.page
    hands.go("/settings/keys")
    hands.press(page.get_by_role("link", name="Rotate the key…"))
    expect(page.get_by_text("The present recovery key stops working.")).to_be_visible()
    hands.fill(page.locator("#confirm"), "not the password")
    hands.press(page.get_by_role("button", name="Rotate the key"))
    expect(page.locator("#confirm-error")).to_be_visible()
    hands.fill(page.locator("#confirm"), PASSWORD)
    hands.press(page.get_by_role("button", name="Rotate the key"))
    expect(page.locator("#recovery-key")).to_be_visible(timeout=60_000)


def test_a_backup_is_made(hands: Hands) -> None:
    page = hands.page
    hands.go("/settings/backups")
    hands.fill(page.locator("#keep"), "many")
    hands.press(page.get_by_role("button", name="Save", exact=True))
    expect(page.locator("#keep-error")).to_be_visible()
    expect(page.locator("#keep")).to_be_focused()
    hands.go("/settings/backups")
    hands.press(page.get_by_role("button", name="Back up now"))
    expect(page.locator("#live tbody .badge").first).to_have_text("Complete", timeout=60_000)


def test_two_factor_sign_in_is_set_up_used_and_a_session_ended(hands: Hands) -> None:
    """Of a person of one's own, who signs in beside maria."""
    page, name = hands.page, f"dora-{hands.way.name}"
    hands.go("/settings/users")
    hands.fill(page.locator("#username"), name)
    hands.fill(page.locator("#password"), PASSWORD)
    hands.press(page.get_by_role("button", name="Add", exact=True))
    expect(page.get_by_role("row", name=re.compile(name))).to_be_visible()

    page.context.clear_cookies()
    sign_in_as(hands, name)
    hands.go("/settings/sessions")
    hands.fill(page.locator("#confirm-begin"), PASSWORD)
    hands.press(page.get_by_role("button", name="Set it up"))
    secret = page.locator("#totp-secret").inner_text()
    hands.fill(page.locator("#code"), "000000")
    hands.press(page.get_by_role("button", name="Turn it on"))
    expect(page.locator("#code-error")).to_be_visible()
    hands.fill(page.locator("#code"), _code(secret))
    hands.press(page.get_by_role("button", name="Turn it on"))
    expect(page.get_by_text("Keep these recovery codes")).to_be_visible()
    recovery = page.locator("#recovery-codes").inner_text().split()[0]

    page.context.clear_cookies()
    sign_in_as(hands, name)
    expect(page.get_by_role("heading", name="Enter the code")).to_be_visible()
    hands.fill(page.locator("#code"), recovery)
    hands.press(page.get_by_role("button", name="Sign in"))
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    hands.go("/settings/sessions")
    others = page.get_by_role("button", name=re.compile("^End the session"))
    before = others.count()
    assert before
    hands.press(others.first)
    expect(others).to_have_count(before - 1)


def sign_in_as(hands: Hands, name: str) -> None:
    page: Page = hands.page
    hands.go("/sign-in")
    hands.fill(page.get_by_label("Name"), name)
    hands.fill(page.get_by_label("Password"), PASSWORD)
    hands.press(page.get_by_role("button", name="Sign in"))
    expect(page.get_by_role("heading", name=re.compile("Overview|Enter the code"))).to_be_visible()


def _code(secret: str) -> str:
    return code_at(secret, int(time.time() // STEP_SECONDS))
