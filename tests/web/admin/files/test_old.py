"""The page of old files: a dry run, the typed number, the deletion."""

from __future__ import annotations

import html
import os
import re
import time
from pathlib import Path

import pytest

from tests.web.conftest import Browser, WebConsole


@pytest.fixture
def folder(console: WebConsole, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three old files with odd names, and a new one; counted."""
    monkeypatch.setattr("dashboard.storage.drivers.local.versions._SETTLE_SECONDS", 0.0)
    folder = console.services.settings.instance / "files" / "aged"
    folder.mkdir(exist_ok=True)
    for name in ("<b>one.txt", "two\n.txt", "three.txt"):
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time() - 9_000_000,) * 2)
    (folder / "new.txt").write_text("x")
    number = console.services.backends.get("local-disk").id
    console.services.checks.count_backend(number, lambda: False)
    return folder


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the confirmation."""
    found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found if name != "csrf_token"}


def test_old_files_are_shown_and_deleted_for_their_number(
    console: WebConsole, admin: Browser, folder: Path
) -> None:
    page = admin.get("/files/old?days=90&backend=local-disk").text
    assert "3 files" in page
    assert "&lt;b&gt;one.txt" in page
    fields = hidden(page)
    wrong = admin.post("/files/old", **fields, files="4")
    assert wrong.status_code == 400
    assert "3 files would be deleted, not 4." in wrong.text
    assert 'id="files-error"' in wrong.text
    assert console.services.old_files.list() == ()
    done = admin.post("/files/old", **hidden(wrong.text), files=" 3 ")
    assert done.status_code == 303
    page = admin.get("/files/old").text
    assert "3 files deleted" in page or "of 3 files" in page
    assert 'hx-trigger="every 1s, wake"' in admin.get("/files/old?live=1").text
    from dashboard.services.files.cleanup.old_file_deletion import OldFileDeletion

    services = console.services
    OldFileDeletion(services.database, services.audit, services.backends).run(lambda: False)
    assert sorted(path.name for path in folder.iterdir()) == ["new.txt"]
    live = admin.get("/files/old?live=1").text
    assert "3 of 3 files deleted" in live
    assert 'hx-trigger="every 15s, wake"' in live
    assert "Nothing is that old" in admin.get("/files/old?days=90").text


@pytest.mark.parametrize(
    "query",
    ["days=", "days=-1", "days=soon", "days=0", "days=99999999999999999999", "days=1&backend=nowhere"],
)
def test_what_is_no_age_is_said_at_its_field(admin: Browser, query: str) -> None:
    page = admin.get(f"/files/old?{query}")
    assert page.status_code in (400, 404)
    assert 'id="days-error"' in page.text or "no backend" in page.text


def test_a_made_up_plan_deletes_nothing(console: WebConsole, admin: Browser, folder: Path) -> None:
    for before in ("1e300", "nan", "x", ""):
        refused = admin.post("/files/old", days="90", before=before, planned_at="1", last_id="1", files="1")
        assert refused.status_code == 400
    assert len(list(folder.iterdir())) == 4


def test_a_viewer_sees_but_does_not_delete(viewer: Browser, folder: Path) -> None:
    page = viewer.get("/files/old?days=90").text
    assert "3 files" in page
    assert "Delete them" not in page
    assert viewer.post("/files/old", days="90", files="3").status_code == 403
