"""Large files that a browser sends directly to a bucket: what CORS refuses is said and mended, and a reload
costs only the parts that were not complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from dashboard.media.policy import DEFAULT
from tests.servers.console import ConsoleProcess
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_s3, composed
from tests.services.console import ADMIN, PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.torture]

PART = 16 * 1024 * 1024
RULE = {"AllowedOrigins": ["https://www.example.com"], "AllowedMethods": ["GET"], "AllowedHeaders": ["*"]}


@pytest.fixture
def bucket(seaweedfs: SeaweedFS) -> str:
    """A bucket that other sites may read."""
    name = seaweedfs.new_bucket("browser")
    seaweedfs.client().put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [RULE]})
    return name


@pytest.fixture
def page(chromium: Browser, seaweedfs: SeaweedFS, bucket: str, tmp_path: Path) -> Iterator[Page]:
    """The Files page of the bucket, where even a small file is a large one."""
    with composed(tmp_path / "instance") as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
        services.upload_policies.save(ADMIN, "default", replace(DEFAULT, direct=True))
        add_s3(services, "cloud", seaweedfs.endpoint, bucket, seaweedfs.admin)
    with ConsoleProcess(tmp_path / "instance") as console:
        context = chromium.new_context(base_url=console.address)
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Name").fill(ADMIN.name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        visit(page)
        yield page
        context.close()


def visit(page: Page) -> None:
    page.goto("/browse/cloud")
    page.evaluate("document.getElementById('uploads').dataset.directFrom = '1'")


def choose(page: Page, path: Path) -> None:
    page.set_input_files("#upload-files", str(path))


def file_of(tmp_path: Path, name: str, size: int) -> Path:
    path = tmp_path / name
    path.write_bytes(b"\x00" + bytes(range(1, 256)) * (size // 255))
    return path


def keys(server: SeaweedFS, bucket: str) -> dict[str, int]:
    listed = server.client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return {each["Key"]: each["Size"] for each in listed}


def test_a_bucket_that_refuses_and_then_takes_files(
    page: Page, seaweedfs: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    uploads = page.locator("#uploads")
    refused = file_of(tmp_path, "refused.dat", 300_000)
    choose(page, refused)
    expect(uploads).to_contain_text("The bucket does not let this page send files to it.")
    expect(uploads).to_contain_text("Stored and checked", timeout=60_000)
    expect(uploads).to_contain_text("so it goes through the console")
    uploads.get_by_text("The rule that the bucket needs").click()
    origin = page.evaluate("location.origin")
    expect(uploads.locator("pre")).to_contain_text(origin)
    found = Axe().run(page, context="#uploads")
    assert found.violations_count == 0, found.generate_report()
    uploads.get_by_role("button", name="Fix it").click()
    expect(page.locator("#toasts")).to_contain_text("The rule was added.")
    expect(uploads.locator("[data-cors]")).to_be_hidden()
    rules = seaweedfs.client().get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert [rule["AllowedOrigins"] for rule in rules] == [["https://www.example.com"], [origin]]

    sent: list[str] = []
    hung: list[Route] = []

    def watch(route: Route) -> None:
        number = route.request.url.partition("partNumber=")[2].partition("&")[0]
        if number == "2" and not hung:
            hung.append(route)
            return
        sent.append(number)
        route.continue_()

    page.route("**/*partNumber=*", watch)
    large = file_of(tmp_path, "large.dat", PART + 1_000_000)
    with page.expect_response(lambda response: "partNumber=1&" in response.url) as first:
        choose(page, large)
    assert first.value.status == 200
    page.on("dialog", lambda dialog: dialog.accept())
    visit(page)
    expect(uploads).to_contain_text("Choose the same file again to resume.")
    choose(page, large)
    expect(uploads).to_contain_text("Stored and checked", timeout=60_000)
    assert [number for number in sent if number] == ["1", "2"], "part 1 is not sent again"
    assert keys(seaweedfs, bucket) == {path.name: path.stat().st_size for path in (large, refused)}
    assert "Uploads" not in seaweedfs.client().list_multipart_uploads(Bucket=bucket)


IN_STEP = """size => new Promise((done) => {
  const waiting = [];
  const sent = [];
  const end = (request) => { request.status = 200; request.onload(); };
  window.XMLHttpRequest = class {
    upload = {};
    open(method, url) { this.url = url; this.number = Number(url.split("/").pop()); }
    setRequestHeader() {}
    getResponseHeader() { return this.url; }
    abort() {}
    send(body) {
      body.arrayBuffer().then((bytes) => sent.push([this.number, Array.from(new Uint8Array(bytes))]));
      if (this.number === 1) { setTimeout(end, 1, this); return; }
      if (!waiting.length) setTimeout(() => waiting.splice(0).forEach(end), 30);
      waiting.push(this);
    }
  };
  const file = new File([new Uint8Array(size).map((each, index) => index % 251)], "many.dat");
  new window.stowageDirect.Upload(file, {
    endpoint: "/made-up", id: "", about: {}, onUrl() {}, onBroken() {}, onProgress() {},
    onError: () => done("error"), onThroughConsole: (why) => done("console " + why),
    onSuccess: () => done(sent),
  }).start();
})"""
"""Sends a file. Parts are answered a few at the same time, so that one address is left for all senders."""


def test_every_part_of_many_is_sent_once(page: Page) -> None:
    """Addresses come in batches, which several senders use up in the same moment."""
    size, part = 1003, 10
    finished: list[dict[str, Any]] = []

    def answer(route: Route) -> None:
        path, body = route.request.url.partition("/made-up/")[2], route.request.post_data_json
        if path == "direct":
            route.fulfill(json={"upload_url": "/made-up/1", "part_size": part, "part_count": 101})
        elif path == "1/parts":
            route.fulfill(json={"parts": [_address(number, size, part) for number in body["numbers"]]})
        else:
            finished.append(body)
            route.fulfill(status=202, json={})

    page.route("**/made-up/**", answer)
    sent = page.evaluate(IN_STEP, size)
    assert [number for number, _ in sorted(sent)] == list(range(1, 102))
    content = b"".join(bytes(data) for _, data in sorted(sent))
    assert content == bytes(index % 251 for index in range(size))
    assert sorted(each["number"] for each in finished[0]["parts"]) == list(range(1, 102))


def _address(number: int, size: int, part: int) -> dict[str, Any]:
    return {
        "number": number,
        "size": min(part, size - (number - 1) * part),
        "method": "PUT",
        "url": f"/made-up/parts/{number}",
        "headers": {},
    }
