"""Health, Usage and Audit: read, filtered, exported, verified, and duplicates deleted but one."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.screens.furnished import Furnished
from tests.browser.screens.hands import Hands

pytestmark = [pytest.mark.browser, pytest.mark.torture]


def test_health_says_what_is_wrong_and_leads_there(hands: Hands) -> None:
    page = hands.page
    hands.go("/health")
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict.get_by_role("heading")).to_be_visible()
    link = page.locator("[id^=health-]", has_text="old-ftp")
    link.focus()
    with page.expect_response(lambda answer: "/health/live" in answer.url, timeout=60_000):
        pass
    page.wait_for_timeout(200)
    expect(link).to_be_focused()
    hands.press(link)
    expect(page.get_by_role("heading", level=1)).to_contain_text("old-ftp")
    expect(page.locator(".notice", has_text="Down since").first).to_be_visible()


def test_usage_has_every_figure_as_a_table_and_as_csv(hands: Hands) -> None:
    page = hands.page
    hands.go("/usage")
    hands.press(page.get_by_role("link", name="90 d"))
    expect(page.get_by_role("link", name="90 d")).to_have_attribute("aria-current", "true")
    hands.press(page.locator("summary", has_text="As a table").first)
    expect(page.locator("details[open] table").first).to_be_visible()
    with page.expect_download() as download:
        hands.press(page.get_by_role("link", name="CSV"))
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text())))
    assert ["backend", "local-disk"] in [row[:2] for row in rows]


def test_duplicates_are_reviewed(hands: Hands) -> None:
    page = hands.page
    hands.go("/usage")
    # Once the runner has counted the bucket, its copies are a second group.
    hands.press(page.get_by_role("link", name=re.compile(r"Review \d groups?")))
    hands.press(page.locator("tbody tr").filter(has_text="local-disk").get_by_role("link").first)
    files = page.locator("tbody tr")
    expect(files).to_have_count(4)
    hands.pick(files.nth(1).get_by_role("radio"))
    button = page.get_by_role("button", name="Delete 3 files")
    expect(button).to_be_visible()
    hands.press(page.get_by_role("link", name="Cancel"))
    expect(page.get_by_role("heading", name="Duplicates")).to_be_visible()


def test_the_audit_log_is_filtered_opened_verified_and_exported(hands: Hands, furnished: Furnished) -> None:
    page = hands.page
    hands.go("/audit")
    hands.fill(page.get_by_label("Search the audit log"), "nightly backup")
    page.keyboard.press("Enter")
    expect(page.locator(".log > li")).to_have_count(1)
    entry = page.locator(".log .at").first
    hands.press(entry)
    expect(page.locator(".log .at").first).to_have_attribute("aria-expanded", "true")
    with page.expect_download() as download:
        hands.press(page.get_by_role("link", name="JSON Lines"))
    lines = Path(download.value.path()).read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["token.create"]
    hands.press(page.get_by_role("button", name="Verify chain"))
    expect(page.get_by_text("Chain verified")).to_be_visible(timeout=60_000)
    hands.choose(page.locator("#days"), "365")
    hands.press(page.get_by_role("button", name="Save"))
    expect(page.get_by_role("status").filter(has_text="kept").first).to_be_visible()
