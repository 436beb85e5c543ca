"""A migration: refused, mistyped, started, watched, paused, finished, and what failed done again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.screens.furnished import Furnished
from tests.browser.screens.hands import Hands
from tests.servers.console import ConsoleProcess
from tests.servers.seaweedfs import SeaweedFS

pytestmark = [pytest.mark.browser, pytest.mark.torture]


def _ask(
    hands: Hands, source: str, destination: str, prefix: str = "", *, workers: int | None = None
) -> None:
    page = hands.page
    hands.go("/migrations")
    hands.press(page.get_by_role("link", name="New migration").first)
    hands.choose(page.get_by_label("From", exact=True), source)
    hands.choose(page.get_by_label("To", exact=True), destination)
    hands.fill(page.locator("#prefix"), prefix)
    if workers:
        hands.press(page.locator("summary", has_text="Advanced"))
        hands.fill(page.locator("#workers"), str(workers))
    hands.press(page.get_by_role("button", name="Continue to the review"))
    expect(page.locator("#review-title, #ending-title").first).to_be_visible(timeout=60_000)


def test_a_destination_that_cannot_be_written_to_is_told_before_the_start(hands: Hands) -> None:
    page = hands.page
    _ask(hands, "media-s3", "partner-s3")
    told = page.get_by_role("heading", name="Nothing can be written to the destination")
    expect(told).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Nothing was copied.")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile(r"^(Copy \d|Start)"))).to_have_count(0)
    hands.press(page.get_by_role("button", name="Try again"))
    expect(page.locator("#announcer")).not_to_be_empty()
    expect(told).to_be_visible(timeout=60_000)


def test_a_prefix_with_a_typo_is_mended_by_a_suggestion(hands: Hands) -> None:
    page = hands.page
    _ask(hands, "local-disk", "archive", "photoz/")
    suggestion = page.locator("#suggestion")
    expect(suggestion).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name=re.compile(r"^Copy \d"))).to_have_count(0)
    hands.press(suggestion)
    expect(page.locator("#prefix")).to_have_value("photos/")
    hands.press(page.get_by_role("button", name="Continue to the review"))
    expect(page.get_by_role("button", name=re.compile(r"^Copy \d+ objects"))).to_be_visible(timeout=60_000)
    _cancel(hands)


def _cancel(hands: Hands) -> None:
    page = hands.page
    hands.press(page.locator("#do-cancel"))
    hands.press(page.get_by_role("button", name=re.compile("^Cancel")))
    expect(page.get_by_text("Cancelled").first).to_be_visible(timeout=60_000)


def test_a_migration_is_watched_paused_and_finished(
    hands: Hands, furnished: Furnished, running: ConsoleProcess, seaweedfs: SeaweedFS
) -> None:
    page = hands.page
    prefix, destination = f"voyage-{hands.way.name}/", f"far-{hands.way.name}"
    _write(furnished.instance / "files" / prefix / "frames", 8)
    done = running.command(
        *("backend", "add", destination, "--preset", "s3", "--secret", "secret_access_key=env:KEY"),
        *("--option", f"endpoint={furnished.slow}", "--option", f"bucket={seaweedfs.new_bucket()}"),
        *("--option", f"access_key_id={seaweedfs.admin.access_key}"),
        KEY=seaweedfs.admin.secret_key,
    )
    assert done.returncode == 0, done.stderr
    _ask(hands, "local-disk", destination, prefix, workers=2)
    hands.press(page.get_by_role("button", name=re.compile("^Copy 8 objects")))
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_be_visible(timeout=60_000)
    hands.press(pause)
    resume = page.get_by_role("button", name="Resume")
    expect(resume).to_be_visible(timeout=60_000)
    if hands.way.keyboard:
        # The button that took the place of the pressed one has the focus.
        expect(resume).to_be_focused()
    hands.press(resume)
    # What changes is read out, and the focus stays through every refresh.
    link = page.get_by_role("link", name="Report (CSV)").first
    link.focus()
    expect(page.locator("#ending-title")).to_be_visible(timeout=120_000)
    expect(page.locator("#announcer")).not_to_be_empty()
    assert page.locator("#migration").get_attribute("hx-trigger") is None
    verified = page.locator(".stats a", has_text="8").first
    hands.press(verified)
    expect(page.locator("tbody tr")).to_have_count(8)


def test_what_failed_is_done_again(hands: Hands, furnished: Furnished) -> None:
    page = hands.page
    prefix = f"again-{hands.way.name}/"
    folder = furnished.instance / "files" / prefix
    _write(folder, 3)
    _ask(hands, "local-disk", "archive", prefix)
    lost = folder / "file-1.bin"
    content = lost.read_bytes()
    start = page.get_by_role("button", name=re.compile("^Copy 3 objects"))
    expect(start).to_be_visible(timeout=60_000)
    lost.unlink()
    hands.press(start)
    retry = page.get_by_role("button", name="Retry 1 failed")
    expect(retry).to_be_visible(timeout=60_000)
    # The figure leads to the object, with its reason.
    hands.press(page.locator(".stats a", has_text="1").last)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text("file-1.bin")
    lost.write_bytes(content)
    hands.press(page.locator("#retry"))
    expect(page.locator("#ending-title")).to_contain_text("3", timeout=60_000)
    expect(page.locator("#do-retry")).to_have_count(0)


def _write(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"file-{number}.bin").write_bytes(bytes([number]) * 4000)


def test_the_list_is_filtered(hands: Hands) -> None:
    page = hands.page
    hands.go("/migrations")
    hands.choose(page.locator("#filter-state"), "failed")
    hands.press(page.get_by_role("button", name="Filter"))
    expect(page.locator("main")).to_contain_text("3 failed")
    hands.fill(page.locator("#filter-text"), "no such thing")
    hands.press(page.get_by_role("button", name="Filter"))
    expect(page.locator("tbody tr")).to_have_count(0)
    hands.press(page.get_by_role("link", name="Show all").first)
    expect(page.locator("tbody tr").first).to_be_visible()
