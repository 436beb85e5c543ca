"""``make screens``: a picture of each screen of a furnished console, in light and dark, some as on a phone,
in ``docs/screens/``."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, sign_in
from tests.browser.screens.furnished import Furnished, furnish
from tests.servers.console import ConsoleProcess
from tests.servers.seaweedfs import SeaweedFS

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "screens"
MAX_HEIGHT = 1500
"""Pixels of a picture; what is below is no loss."""
SHORTEN = """
([folder, address]) => {
  const shorter = text => text.split(folder + '/instance').join('/srv/stowage').split(folder).join('/srv')
    .split('http://' + address).join('https://stowage.example.org').split(address).join('stowage.example.org')
    .replace(/127\\.0\\.0\\.1:9\\b/g, 'ftp.example.org:21')
    .replace(/http:..127\\.0\\.0\\.1:\\d+/g, 'https://s3.example.org')
    .replace(/127\\.0\\.0\\.1:\\d+/g, 's3.example.org').replace(/127\\.0\\.0\\.1/g, '192.0.2.7')
    .replace(/\\b((?:media|slow|partner)-s3)-\\d+-\\d+/g, '$1');
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) node.data = shorter(node.data);
  document.querySelectorAll('input:not([type=file])').forEach(each => { each.value = shorter(each.value); });
}
"""
"""Folders, addresses and ports of the machine that takes the pictures are nobody's business."""


@dataclass(frozen=True)
class Picture:
    """A screen, and whether it is shown as on a phone as well."""

    name: str
    path: str
    phone: bool = False


def pictures(furnished: Furnished) -> tuple[Picture, ...]:
    """What is taken."""
    return (
        Picture("backends", "/backends"),
        Picture("backend", "/backend/media-s3"),
        Picture("backend-form", "/backends/new?preset=b2", phone=True),
        Picture("make-active", "/backend/old-ftp/activate"),
        Picture("files", "/browse/local-disk?in=photos/"),
        Picture("files-grid", "/browse/local-disk?in=photos/&view=grid", phone=True),
        Picture("migrations", "/migrations"),
        Picture("migration", f"/migrations/{furnished.running}", phone=True),
        Picture("migration-review", f"/migrations/{furnished.ready}"),
        Picture("migration-finished", f"/migrations/{furnished.with_failures}"),
        Picture("health", "/health"),
        Picture("usage", "/usage"),
        Picture("audit", "/audit", phone=True),
        Picture("settings-environment", "/settings/environment"),
        Picture("settings-backups", "/settings/backups"),
        # By now its migration has got somewhere.
        Picture("overview", "/", phone=True),
    )


def take(browser: Browser, address: str, furnished: Furnished, folder: Path) -> None:
    """Take them all."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(address)
    sign_in(page)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    for picture in pictures(furnished):
        for width in (1280, 390) if picture.phone else (1280,):
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page.set_viewport_size({"width": width, "height": 900})
                answer = page.goto(address + picture.path)
                assert answer is not None
                assert answer.ok, (picture.path, answer.status)
                page.wait_for_load_state("networkidle")
                name = f"{picture.name}{'-390' if width == 390 else ''}-{scheme}.webp"
                _store(page, folder / name, address, furnished)
    context.close()


def _store(page: Page, path: Path, address: str, furnished: Furnished) -> None:
    page.evaluate(SHORTEN, [str(furnished.instance.parent), address.partition("//")[2]])
    height, width = page.evaluate("[document.documentElement.scrollHeight, innerWidth]")
    # As high as the page, so that the menu and bars that stay are where they belong.
    page.set_viewport_size({"width": width, "height": min(height, MAX_HEIGHT)})
    shot = Image.open(io.BytesIO(page.screenshot()))
    shot.convert("RGB").save(path, "WEBP", quality=80, method=6)


def main() -> None:
    """Take the pictures anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = os.environ.get("STOWAGE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with (
        tempfile.TemporaryDirectory(prefix="stowage-screens-") as folder,
        SeaweedFS() as server,
        furnish(Path(folder), server) as furnished,
        ConsoleProcess(furnished.instance) as console,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        take(browser, console.address, furnished, FOLDER)
        browser.close()
    size = sum(each.stat().st_size for each in FOLDER.iterdir())
    print(f"{len(list(FOLDER.iterdir()))} pictures, {size / 1_000_000:.1f} MB, in {FOLDER.name}/")


if __name__ == "__main__":
    sys.exit(main())
