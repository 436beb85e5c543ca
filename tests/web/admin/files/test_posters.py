"""Pictures of videos and PDFs in the list, the grid and the pane."""

from __future__ import annotations

import html
import re

import pytest

from dashboard.services.files import thumbnails
from tests.media import clips
from tests.web.conftest import Browser, WebConsole

PAGE = "/browse/local-disk?in=clips/"


@pytest.fixture(scope="module", autouse=True)
def _counted(console: WebConsole) -> None:
    folder = console.services.settings.instance / "files" / "clips"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(clips.video())
    (folder / "two pages.pdf").write_bytes(clips.pdf())
    (folder / "table.xlsx").write_bytes(b"PK")
    (folder / "empty.mp4").write_bytes(b"")
    console.services.checks.count_backend(console.services.backends.get("local-disk").id, lambda: False)


def pictures(page: str) -> dict[str, str]:
    """The icon that stands for a file until its picture is there, with the picture's address."""
    found = re.findall(r'<img[^>]*data-icon="(\w+)" src="([^"]+)"', page)
    return {icon: html.unescape(url) for icon, url in found}


def test_videos_and_documents_have_pictures(admin: Browser) -> None:
    listed = pictures(admin.get(f"{PAGE}&view=list").text)
    shown = pictures(admin.get(f"{PAGE}&view=grid").text)
    assert listed.keys() == shown.keys() == {"video", "pdf"}
    for url in (*shown.values(), listed["video"]):
        found = admin.client.get(url)
        assert (found.status_code, found.mimetype.partition("/")[0]) == (200, "image"), found.text
    pane = admin.get(f"{PAGE}&file=clips/clip.mp4").text
    poster = re.search(r'<video class="preview" src="[^"]+" poster="([^"]+)"', pane)
    assert poster
    assert "/thumb/large" in poster[1]


def test_without_the_extras_there_are_icons(admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "_is_installed", lambda module: False)
    assert pictures(admin.get(f"{PAGE}&view=grid").text) == {}
    assert "poster=" not in admin.get(f"{PAGE}&file=clips/clip.mp4").text


def test_a_large_video_is_not_read_for_a_list_unless_its_picture_exists(
    admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "MAX_READ_BYTES", 10)
    # Both were made by the first test, in these sizes.
    assert pictures(admin.get(f"{PAGE}&view=grid").text).keys() == {"video", "pdf"}
    assert pictures(admin.get(f"{PAGE}&view=list").text).keys() == {"video"}
