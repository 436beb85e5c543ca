"""The product as its user meets it: from the setup code to a bucket full of verified files."""

from __future__ import annotations

import csv
import io
import random
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.servers.console import ConsoleProcess
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS

pytestmark = pytest.mark.browser

PASSWORD = "a few unrelated words"
FILES = 300


def test_from_the_setup_code_to_a_verified_migration(
    console: ConsoleProcess, page: Page, seaweedfs: SeaweedFS, fault_proxy: FaultProxy
) -> None:
    files = _write_files(console.instance / "files")
    bucket = seaweedfs.new_bucket("media")

    _set_up(console, page)
    _checklist_begins_with_a_backend(page)
    _add_the_bucket(page, fault_proxy, bucket, seaweedfs)
    _switching_warns_of_what_is_missing(page)
    _migrate_and_watch(page, fault_proxy)
    _report_names_every_file(page, files)
    _make_it_active(page)
    _sign_out(page)

    stored = seaweedfs.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    assert {each["Key"]: each["Size"] for part in stored for each in part["Contents"]} == files


def _write_files(folder: Path) -> dict[str, int]:
    rng = random.Random(20261121)
    sizes = {}
    for number in range(FILES):
        key = f"uploads/{number % 9:02}/IMG_{number:04}.jpg"
        sizes[key] = rng.randint(0, 40_000)
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(sizes[key]))
    return sizes


def _set_up(console: ConsoleProcess, page: Page) -> None:
    page.goto(console.address)
    page.get_by_label("Setup code").fill("not-the-code")
    _fill_account(page)
    expect(page.locator("#code-error")).to_be_visible()

    page.get_by_label("Setup code").fill(console.setup_code)
    _fill_account(page)
    expect(page.get_by_role("heading", name="Keep this recovery key")).to_be_visible()
    shown = page.locator("#recovery-key").inner_text().strip()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download it").click()
    assert shown in Path(download.value.path()).read_text()
    page.get_by_role("link", name="I have saved it").click()

    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    answer = page.request.get(f"{console.address}/setup")
    assert answer.status == 404


def _fill_account(page: Page) -> None:
    page.get_by_label("User name").fill("maria")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password, again").fill(PASSWORD)
    page.get_by_role("button", name="Set up").click()


def _checklist_begins_with_a_backend(page: Page) -> None:
    steps = page.locator(".steps li")
    expect(steps).to_have_count(7)
    expect(page.get_by_text("local-disk").first).to_be_visible()
    expect(page.locator(".badge.ok").first).to_have_text("Healthy")


def _add_the_bucket(page: Page, proxy: FaultProxy, bucket: str, server: SeaweedFS) -> None:
    page.get_by_role("link", name="Backends").first.click()
    page.get_by_role("link", name="Add a backend").first.click()
    page.get_by_role("link", name="Any S3-compatible").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("media")
    page.get_by_role("textbox", name="Endpoint").fill(proxy.endpoint)
    page.get_by_role("textbox", name="Bucket", exact=True).fill(bucket)
    page.get_by_role("textbox", name="Access key ID").fill(server.admin.access_key)

    secret = page.get_by_label("Secret access key")
    secret.fill("certainly-not-the-secret-of-this-key")
    page.get_by_role("button", name="Test connection").click()
    panel = page.locator("#probe")
    expect(panel.get_by_text("Does not work yet")).to_be_visible()
    expect(panel.locator("li", has_text="Sign in: failed")).to_contain_text("secret")

    secret.fill(server.admin.secret_key)
    page.get_by_role("button", name="Test connection").click()
    expect(panel.get_by_text("Everything works")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="media")).to_be_visible()
    assert server.admin.secret_key not in page.content()


def _switching_warns_of_what_is_missing(page: Page) -> None:
    page.get_by_role("button", name="Make active").click()
    expect(page.get_by_text("0 of 300 objects are there; 300 are missing.")).to_be_visible()
    expect(page.get_by_role("link", name="Copy what is missing")).to_be_visible()


def _migrate_and_watch(page: Page, proxy: FaultProxy) -> None:
    # A server that takes its time, so that there is something to watch.
    proxy.delay(0.04, method="PUT", times=None)
    page.get_by_role("link", name="Migrations").first.click()
    page.get_by_role("link", name="New migration").first.click()
    page.get_by_label("From", exact=True).select_option("local-disk")
    page.get_by_label("To", exact=True).select_option("media")
    page.get_by_text("Advanced").click()
    page.get_by_label("Objects at once").fill("2")
    page.get_by_role("button", name="Continue to the review").click()

    expect(page.locator("#review-title")).to_contain_text("300 objects")
    expect(page.locator("tr", has_text="Copied")).to_contain_text("300")
    page.get_by_role("button", name="Copy 300 objects").click()

    seen = _watch(page)
    assert len(seen) >= 2, f"the bar stood still: {seen}"
    assert seen == sorted(seen)
    stats = page.locator(".stats")
    expect(stats.locator(".stat", has_text="copied")).to_contain_text("300")
    expect(stats.locator(".stat", has_text="verified")).to_contain_text("300")
    assert page.locator("#migration").get_attribute("hx-trigger") is None, "polling must stop by itself"
    proxy.clear()


def _watch(page: Page) -> list[int]:
    """The different values the bar showed on the way, until the migration was finished."""
    seen: list[int] = []
    done = page.get_by_text("All 300 objects are in media")
    while not done.is_visible():
        last = seen[-1] if seen else -1
        page.wait_for_function(
            "last => { const bar = document.querySelector('#migration [role=progressbar]');"
            " return bar && Number(bar.getAttribute('aria-valuenow')) > last"
            " || document.body.innerText.includes('All 300 objects are in media'); }",
            arg=last,
            timeout=60_000,
        )
        now = page.evaluate(
            "() => Number(document.querySelector('#migration [role=progressbar]')"
            "?.getAttribute('aria-valuenow') ?? -1)"
        )
        if now > last:
            seen.append(now)
    return seen


def _report_names_every_file(page: Page, files: dict[str, int]) -> None:
    with page.expect_download() as download:
        page.get_by_role("link", name="Report (CSV)").first.click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert {row["key"]: int(row["size"]) for row in rows} == files
    assert {row["state"] for row in rows} == {"verified"}
    assert all(row["source_checksum"] == row["destination_checksum"] != "" for row in rows)


def _make_it_active(page: Page) -> None:
    page.get_by_role("button", name="Make media active").click()
    expect(page.get_by_text("All 300 objects are there.")).to_be_visible()
    page.get_by_role("button", name="Switch now").click()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text("New files go to")).to_contain_text("media")
    page.get_by_role("link", name="Audit").click()
    expect(page.locator(".log").first).to_contain_text(re.compile("made .*media.* active"))


def _sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
