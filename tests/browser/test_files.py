"""The Files page: found, looked at, uploaded over a line that breaks, with the keyboard alone."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import set_up
from tests.servers.console import ConsoleProcess
from tests.servers.processes import wait_until

pytestmark = pytest.mark.browser

TEXT = "<script>document.title = 'run'</script>\nCafé"


def picture(seed: int) -> bytes:
    """A small JPEG."""
    dice = random.Random(seed)
    image = Image.new("RGB", (64, 48), tuple(dice.randrange(256) for _ in range(3)))
    held = io.BytesIO()
    image.save(held, "JPEG")
    return held.getvalue()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProcess]:
    """A console with a file of each kind on its disk."""
    instance = tmp_path_factory.mktemp("files-page") / "instance"
    console = set_up(instance)
    # Before the first count, which a search relies on.
    fill(instance / "files" / "album")
    with console:
        yield console


def fill(folder: Path) -> None:
    """One file of each kind that the pane shows, and a folder."""
    folder.mkdir(parents=True)
    (folder / "deeper").mkdir()
    (folder / "deeper" / "inside.txt").write_text("inside")
    (folder / "harbour.jpg").write_bytes(picture(1))
    (folder / "page.html").write_text(TEXT)
    (folder / "report.pdf").write_bytes(_pdf())
    (folder / "song.wav").write_bytes(
        b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data\0\0\0\0"
    )
    (folder / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    (folder / "disk.bin").write_bytes(bytes(range(256)))


def _pdf() -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (60, 80), "white").save(held, "PDF")
    return held.getvalue()


def row(page: Page, name: str) -> Locator:
    """The row of a file or folder."""
    return page.locator("[data-row]", has=page.get_by_role("link", name=name, exact=True))


def drop(page: Page, paths: Sequence[Path]) -> None:
    """Drop files and folders from the desk onto the list."""
    box = page.locator(".drop").bounding_box()
    assert box
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})


def faults(page: Page) -> list[str]:
    """What axe finds, and what does not fit the screen."""
    violations = Axe().run(page).response["violations"]
    found = [f"{each['id']}: {each['nodes'][0]['target']}" for each in violations]
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found + ([f"{wide} pixels wider than the screen"] if wide > 0 else [])


def test_files_are_browsed_previewed_and_uploaded(
    signed_in: Page, running: ConsoleProcess, tmp_path: Path
) -> None:
    page, files = signed_in, running.instance / "files"
    page.goto(f"{running.address}/")
    page.get_by_role("link", name="Files", exact=True).click()
    page.get_by_role("link", name="album", exact=True).click()
    expect(row(page, "harbour.jpg")).to_be_visible()
    assert "in=album/" in page.url

    _walk_with_the_keyboard(page)
    _preview_each_kind(page)
    _upload(page, files, tmp_path)
    assert faults(page) == []


def _walk_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    expect(page.locator("[data-selected]")).to_contain_text("2 selected")
    page.keyboard.press("Escape")
    expect(page.locator(".selbar")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("harb")
    page.keyboard.press("Enter")
    expect(page.locator("[data-row]")).to_have_count(1)
    expect(
        page.get_by_text("Only this folder was searched").or_(page.get_by_text("as counted"))
    ).to_be_visible()
    page.go_back()
    expect(page.locator("[data-row]")).to_have_count(7)
    row(page, "deeper").get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(row(page, "inside.txt")).to_be_visible()
    page.go_back()
    expect(row(page, "harbour.jpg")).to_be_visible()


def _preview_each_kind(page: Page) -> None:
    pane = page.locator("#pane")
    row(page, "harbour.jpg").get_by_role("link").click()
    expect(pane.locator("img.preview")).to_be_visible()
    assert (
        pane.locator("img.preview").evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    )
    row(page, "page.html").get_by_role("link").click()
    expect(pane.locator("pre")).to_have_text(TEXT)
    for name, tag in (("song.wav", "audio"), ("film.mp4", "video"), ("report.pdf", "iframe")):
        row(page, name).get_by_role("link").click()
        expect(pane.locator(f"{tag}.preview")).to_be_visible()
    row(page, "disk.bin").get_by_role("link").click()
    expect(pane.get_by_text("There is no preview for this kind of file.")).to_be_visible()
    with page.expect_download() as download:
        pane.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == bytes(range(256))
    page.keyboard.press("Escape")
    expect(pane).to_have_count(0)
    assert page.title() != "run"


def _upload(page: Page, files: Path, tmp_path: Path) -> None:
    """Three files and a folder are dropped, and the line breaks when the large one is at 40 %."""
    desk = tmp_path / "desk"
    (desk / "holiday" / "day two").mkdir(parents=True)
    sent = {
        "bay.jpg": picture(2),
        "dunes.jpg": picture(3),
        "noise.txt": random.Random(4).randbytes(6_000_000).hex().encode(),
        "holiday/one.jpg": picture(5),
        "holiday/day two/two.jpg": picture(6),
    }
    for name, content in sent.items():
        (desk / name).write_bytes(content)
    uploads = page.locator("#uploads")
    large = uploads.locator("li", has_text="noise.txt")
    # Small pieces, so that a short file has a middle.
    uploads.evaluate("section => { section.dataset.partSize = 1048576 }")
    held: list[Route] = []
    page.route("**/api/v1/uploads/*", lambda route: _hold_the_middle(route, held))
    drop(page, [desk / "bay.jpg", desk / "dunes.jpg", desk / "noise.txt", desk / "holiday"])
    expect(large.locator("[data-figure]")).to_have_text(re.compile(r"^(4\d|5\d) %$"))
    # The figure is there a moment before the next piece is sent.
    wait_until(lambda: page.evaluate("true") and bool(held), seconds=60, what="a piece on its way")
    page.context.set_offline(True)
    for route in held:
        route.abort("internetdisconnected")
    expect(large).to_contain_text("The connection broke at")
    page.unroute("**/api/v1/uploads/*")
    page.context.set_offline(False)
    expect(large).to_contain_text("resumed from")
    expect(uploads.locator("[data-counts]")).to_have_text("5 done", timeout=60_000)
    expect(row(page, "holiday")).to_be_visible()
    thumbnail = row(page, "bay.jpg").locator("img.mini")
    expect(thumbnail).to_be_visible()
    assert thumbnail.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    for name, content in sent.items():
        assert (files / "album" / name).read_bytes() == content, name


def _hold_the_middle(route: Route, held: list[Route]) -> None:
    if int(route.request.headers.get("upload-offset", 0)) >= 5 << 20:
        held.append(route)
    else:
        route.continue_()
