"""The whole life of files on the Files page: on a disk, in a bucket, on a file server, on a phone, without
JavaScript.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import set_up, sign_in
from tests.servers.console import ConsoleProcess
from tests.servers.places import PLACES
from tests.servers.seaweedfs import SeaweedFS

pytestmark = pytest.mark.browser

MANY = 300


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProcess]:
    """A console for all of these tests."""
    instance = tmp_path_factory.mktemp("files-everywhere") / "instance"
    console = set_up(instance)
    with console:
        yield console


def opened(context: BrowserContext, console: ConsoleProcess) -> Page:
    page = context.new_page()
    page.goto(console.address)
    sign_in(page)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


def row(page: Page, name: str) -> Locator:
    return page.locator("[data-row]", has=page.get_by_role("link", name=name, exact=True))


def check(page: Page) -> None:
    """What axe finds, and what does not fit the screen."""
    assert [each["id"] for each in Axe().run(page).response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["local", "s3", "sftp"])
def test_files_live_on_every_kind_of_backend(
    context: BrowserContext,
    running: ConsoleProcess,
    tmp_path: Path,
    kind: str,
    request: pytest.FixtureRequest,
) -> None:
    page, name = opened(context, running), f"life-{kind}"
    _add_backend(running, kind, name, request)
    dice = random.Random(7)
    contents = {f"many/{number:03}.bin": dice.randbytes(200) for number in range(MANY)}
    for key, content in contents.items():
        path = running.instance / "files" / key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    copied = running.command("migrate", "local-disk", name, "--yes")
    assert copied.returncode == 0, copied.stderr

    page.goto(f"{running.address}/browse/{name}")
    (tmp_path / "dropped.txt").write_text("dropped")
    _drop(page, tmp_path / "dropped.txt")
    expect(page.locator("#uploads [data-counts]")).to_have_text("1 done", timeout=60_000)
    expect(row(page, "dropped.txt")).to_be_visible()
    row(page, "dropped.txt").get_by_role("link").click()
    expect(page.locator("#pane pre")).to_have_text("dropped")

    page.goto(f"{running.address}/browse/{name}")
    row(page, "many").get_by_role("checkbox").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Zip").click()
    with zipfile.ZipFile(download.value.path()) as packed:
        assert {each.rpartition("/")[2]: packed.read(each) for each in packed.namelist()} == {
            key.rpartition("/")[2]: content for key, content in contents.items()
        }

    row(page, "many").get_by_role("link").click()
    expect(row(page, "000.bin")).to_be_visible()
    page.get_by_role("link", name="Show more").click()
    expect(page.locator("[data-row]")).to_have_count(MANY)
    _rename_with_the_keyboard(page)
    _delete(page, kind)
    check(page)
    _share(page, running)
    page.set_viewport_size({"width": 390, "height": 800})
    for address in (
        f"{running.address}/browse/{name}",
        f"{running.address}/browse/{name}?in=many/&view=grid",
    ):
        page.goto(address)
        check(page)


def _add_backend(running: ConsoleProcess, kind: str, name: str, request: pytest.FixtureRequest) -> None:
    place = PLACES[kind](request)
    if kind == "s3":
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        server.client().put_bucket_versioning(
            Bucket=place.options["bucket"], VersioningConfiguration={"Status": "Enabled"}
        )
    options = [item for key, value in place.options.items() for item in ("--option", f"{key}={value}")]
    hidden = {f"KEY_{key.upper()}": value for key, value in place.secrets.items()}
    secrets = [item for key in place.secrets for item in ("--secret", f"{key}=env:KEY_{key.upper()}")]
    added = running.command("backend", "add", name, "--preset", kind, *options, *secrets, **hidden)
    assert added.returncode == 0, added.stderr


def _drop(page: Page, path: Path) -> None:
    box = page.locator(".drop").bounding_box()
    assert box
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})


def _rename_with_the_keyboard(page: Page) -> None:
    row(page, "000.bin").get_by_role("link").focus()
    page.keyboard.press("F2")
    field = page.get_by_label("New name")
    expect(field).to_be_focused()
    assert field.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)") == "000"
    field.fill("first.bin")
    page.keyboard.press("Enter")
    expect(page.get_by_text("“000.bin” was renamed to “first.bin”.")).to_be_visible()
    expect(page.locator("dialog[open]")).to_have_count(0)


def _delete(page: Page, kind: str) -> None:
    """With a way back where there is one, else only after typing the number."""
    row(page, "001.bin").get_by_role("link").focus()
    page.keyboard.press("Delete")
    if kind in ("local", "s3"):
        expect(page.get_by_text("“001.bin” was deleted.")).to_be_visible()
        expect(row(page, "001.bin")).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_text("“001.bin” was restored.")).to_be_visible()
        expect(row(page, "001.bin")).to_be_visible()
        return
    expect(page.get_by_role("dialog")).to_contain_text("keeps nothing that is deleted")
    button = page.get_by_role("dialog").get_by_role("button", name="Delete")
    expect(button).to_be_disabled()
    page.get_by_label("Type 1 to delete for good").fill("1")
    button.click()
    expect(page.get_by_text("“001.bin” was deleted.")).to_be_visible()
    expect(row(page, "001.bin")).to_have_count(0)


def _share(page: Page, running: ConsoleProcess) -> None:
    """A link that a stranger can open until it is revoked."""
    row(page, "002.bin").get_by_role("link").click()
    page.locator("#pane").get_by_role("link", name="Share link").click()
    page.get_by_role("dialog").get_by_role("button", name="Create the link").click()
    url = page.locator("#url").inner_text()
    check(page)
    browser = page.context.browser
    assert browser
    stranger = browser.new_context()
    sent = stranger.request.get(url)
    assert (sent.status, sent.body()) == (200, (running.instance / "files" / "many" / "002.bin").read_bytes())
    page.goto(f"{running.address}/links")
    page.get_by_role("link", name="Revoke link").first.click()
    page.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_text("It opens nothing any more.")).to_be_visible()
    assert stranger.request.get(url).status == 410
    stranger.close()


@pytest.mark.torture
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390), ("light", 390)])
def test_every_state_passes_axe(chromium: Browser, running: ConsoleProcess, scheme: str, width: int) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme)
    page = opened(context, running)
    folder = running.instance / "files" / "states"
    (folder / "empty").mkdir(parents=True, exist_ok=True)
    for name in ("photo.jpg", "text.txt", "x" * 200 + ".bin"):
        (folder / name).write_bytes(b"content")
    here = f"{running.address}/browse/local-disk?in=states/"
    for address in (
        here,
        f"{here}&view=grid",
        f"{here}empty/",
        f"{here}&q=nothing",
        f"{here}&file=states/text.txt",
    ):
        page.goto(address)
        check(page)
    page.goto(f"{here}&kind=image&max_age=604800")
    for chip in ("Filter", "Saved"):
        # At 390 px one may lie over the other.
        page.keyboard.press("Escape")
        page.locator("summary", has_text=chip).click()
        check(page)
    page.get_by_label("Save this search as").fill(f"photos {scheme} {width}")
    page.locator(".saved").get_by_role("button", name="Save").click()
    expect(page.get_by_text("is saved.")).to_be_visible()
    page.goto(f"{here}&view=list")
    row(page, "photo.jpg").get_by_role("checkbox").check()
    check(page)
    page.locator(".selbar [value=delete]").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    check(page)
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "photo.jpg")).to_be_visible()
    row(page, "text.txt").get_by_role("link").click()
    expect(page.locator("#pane")).to_be_visible()
    check(page)
    page.get_by_role("link", name="Share link").click()
    expect(page.locator("dialog[open]")).to_be_visible()
    check(page)
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    context.close()


@pytest.mark.torture
def test_everything_but_uploads_works_without_javascript(chromium: Browser, running: ConsoleProcess) -> None:
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = opened(context, running)
    folder = running.instance / "files" / "plain"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        (folder / name).write_text(name)
    page.goto(f"{running.address}/browse/local-disk?in=plain/")
    expect(page.locator(".selbar")).to_be_hidden()
    row(page, "a.txt").get_by_role("link").click()
    expect(page.locator("#pane pre")).to_have_text("a.txt")
    page.get_by_role("link", name="Rename").click()
    page.get_by_label("New name").fill("renamed.txt")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_text("“a.txt” was renamed to “renamed.txt”.")).to_be_visible()
    for name in ("renamed.txt", "sub"):
        row(page, name).get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("2 files were deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("2 files were restored.")).to_be_visible()
    page.get_by_role("link", name="New folder").click()
    page.get_by_label("Name").fill("fresh")
    page.get_by_role("button", name="Create").click()
    expect(row(page, "fresh")).to_be_visible()
    row(page, "b.txt").get_by_role("checkbox").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Zip").click()
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as packed:
        assert [packed.read(each) for each in packed.namelist()] == [b"b.txt"]
    page.get_by_label("Search names").fill("b")
    page.keyboard.press("Enter")
    # What was written since the last count is found after the next one.
    expect(row(page, "b.txt").or_(page.get_by_text("as counted"))).to_be_visible()
    context.close()
