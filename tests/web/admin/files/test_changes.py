"""Changing files on the Files page: rename, move, copy, delete and back, new folders; without JavaScript."""

from __future__ import annotations

import html
import io
import re
import zipfile
from pathlib import Path

import pytest

from dashboard.services.backends.values import Draft
from dashboard.web.admin.files.browser_view import to_token
from tests.services.console import ADMIN
from tests.web.conftest import Browser, WebConsole


@pytest.fixture
def folder(console: WebConsole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new backend, which is called after it."""
    path = tmp_path_factory.mktemp("changes")
    console.services.backends.add(ADMIN, Draft(path.name, "local", {"root": str(path)}, {}))
    for name in ("a.txt", "b.txt", "in/c.txt", "in/deep/d.txt", "line\nbreak.txt"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def found(folder: Path) -> set[str]:
    """The keys that are there."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".stowage") for part in path.parts)
    }


def sentences(page: str) -> str:
    """All that is said in notices."""
    notices = re.findall(r'<div class="notice [^>]*>.*?<div>(.*?)</div>', page, re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", each)).strip() for each in notices)


def test_a_file_is_renamed(admin: Browser, folder: Path) -> None:
    page = admin.get(f"/browse/{folder.name}/rename?key=a.txt").text
    assert 'value="a.txt"' in page
    answer = admin.post(f"/browse/{folder.name}/rename", key="a.txt", to="new name.txt")
    assert answer.status_code == 303
    assert "“a.txt” was renamed to “new name.txt”." in sentences(admin.get(answer.headers["Location"]).text)
    assert found(folder) == {"new name.txt", "b.txt", "in/c.txt", "in/deep/d.txt", "line\nbreak.txt"}


def test_a_name_that_is_taken_is_asked_for_again(admin: Browser, folder: Path) -> None:
    answer = admin.post(f"/browse/{folder.name}/rename", key="a.txt", to="b.txt")
    assert answer.status_code == 409
    assert "There is already an object “b.txt”." in sentences(answer.text)
    assert 'name="to" value="b.txt"' in answer.text
    assert (folder / "a.txt").read_text() == "a.txt"
    assert (folder / "b.txt").read_text() == "b.txt"


def test_a_file_that_somebody_else_changed_keeps_its_name(admin: Browser, folder: Path) -> None:
    page = admin.get(f"/browse/{folder.name}/rename?key=a.txt").text
    version = re.search(r'name="version" value="([^"]+)"', page)
    assert version
    (folder / "a.txt").write_text("written by another program")
    answer = admin.post(
        f"/browse/{folder.name}/rename", key="a.txt", to="c.txt", version=html.unescape(version[1])
    )
    assert answer.status_code == 409
    assert "changed by somebody else" in sentences(answer.text)
    assert (folder / "a.txt").exists()


def test_a_folder_is_renamed_with_all_that_is_in_it(admin: Browser, folder: Path) -> None:
    answer = admin.post(f"/browse/{folder.name}/rename", key="in/", to="out")
    assert answer.status_code == 303
    assert found(folder) == {"a.txt", "b.txt", "out/c.txt", "out/deep/d.txt", "line\nbreak.txt"}


def test_files_and_folders_are_moved_and_copied_together(admin: Browser, folder: Path) -> None:
    keys = ["a.txt", to_token("line\nbreak.txt"), "in/deep/"]
    page = admin.post(f"/browse/{folder.name}/selected", act="move", key=keys)
    assert page.status_code == 200
    assert "line\\x0abreak.txt" in page.text
    answer = admin.post(f"/browse/{folder.name}/move", key=keys, to="/archive/2026/")
    assert answer.status_code == 303
    assert "3 files were moved to “archive/2026/”." in sentences(admin.get(answer.headers["Location"]).text)
    moved = {"archive/2026/a.txt", "archive/2026/line\nbreak.txt", "archive/2026/deep/d.txt"}
    assert found(folder) == {"b.txt", "in/c.txt"} | moved
    answer = admin.post(f"/browse/{folder.name}/copy", key="in/", to="")
    assert answer.status_code == 400
    for _ in range(2):
        answer = admin.post(f"/browse/{folder.name}/copy", key="b.txt", to="in", on_taken="keep_both")
        assert answer.status_code == 303
    assert (folder / "in" / "b (2).txt").read_text() == "b.txt"


def test_a_deletion_is_undone(admin: Browser, folder: Path) -> None:
    answer = admin.post(f"/browse/{folder.name}/selected", act="delete", key=["a.txt", "in/"])
    assert answer.status_code == 303
    page = admin.get(answer.headers["Location"]).text
    assert "3 files were deleted." in sentences(page)
    assert found(folder) == {"b.txt", "line\nbreak.txt"}
    form = re.search(r'<form class="inline act" method="post" action="([^"]+)">(.*?)</form>', page, re.DOTALL)
    assert form
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[2]))
    answer = admin.post(form[1], **{name: value for name, value in fields.items() if name != "csrf_token"})
    assert "3 files were restored." in sentences(admin.get(answer.headers["Location"]).text)
    assert found(folder) == {"a.txt", "b.txt", "in/c.txt", "in/deep/d.txt", "line\nbreak.txt"}


def test_what_cannot_be_undone_needs_the_typed_number(
    admin: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.services.files.changing.deletions._keeping", lambda driver: None)
    page = admin.post(f"/browse/{folder.name}/selected", act="delete", key=["a.txt", "in/"])
    assert page.status_code == 200
    assert "Type 3 to delete for good" in page.text
    assert f'<form method="post" action="/browse/{folder.name}/delete">' in page.text
    for typed in ("", "2", "nonsense"):
        answer = admin.post(f"/browse/{folder.name}/delete", key=["a.txt", "in/"], confirmed=typed)
        assert answer.status_code == 400
        assert len(found(folder)) == 5
    answer = admin.post(f"/browse/{folder.name}/delete", key=["a.txt", "in/"], confirmed="3")
    assert answer.status_code == 303
    assert found(folder) == {"b.txt", "line\nbreak.txt"}


def test_a_folder_is_made_and_a_bad_name_is_asked_for_again(admin: Browser, folder: Path) -> None:
    page = admin.get(f"/browse/{folder.name}/new-folder?in=in/").text
    assert "New folder in <bdi>in</bdi>" in page
    answer = admin.post(f"/browse/{folder.name}/new-folder", **{"in": "in/"}, to="fresh")
    assert answer.status_code == 303
    assert (folder / "in" / "fresh").is_dir()
    assert admin.post(f"/browse/{folder.name}/new-folder", **{"in": "in/"}, to="fresh").status_code == 409
    assert admin.post(f"/browse/{folder.name}/new-folder", to=" / ").status_code == 400


def test_nothing_selected_says_so(admin: Browser, folder: Path) -> None:
    answer = admin.post(f"/browse/{folder.name}/selected", act="delete")
    assert answer.status_code == 400
    assert "Nothing is selected." in answer.text


def test_a_share_goes_to_the_form_of_links(admin: Browser, folder: Path) -> None:
    answer = admin.post(f"/browse/{folder.name}/selected", act="link", key="a.txt")
    assert answer.headers["Location"] == f"/links/new?backend={folder.name}&file=a.txt"


def test_what_is_selected_is_downloaded_as_one_zip(admin: Browser, folder: Path) -> None:
    keys = ["in/", to_token("line\nbreak.txt")]
    answer = admin.post(f"/browse/{folder.name}/selected", act="zip", key=keys)
    assert answer.status_code == 303
    sent = admin.client.get(answer.headers["Location"])
    assert sent.mimetype == "application/zip"
    with zipfile.ZipFile(io.BytesIO(sent.data)) as packed:
        assert len(packed.namelist()) == 3
        assert packed.testzip() is None


def test_a_viewer_changes_nothing(signed_in: object, console: WebConsole, folder: Path) -> None:
    viewer = console.browser()
    viewer.sign_in("vera")
    page = viewer.get(f"/browse/{folder.name}").text
    assert "New folder" not in page
    for action in ("rename", "move", "copy", "delete", "new-folder", "undo", "edit", "restore"):
        assert viewer.post(f"/browse/{folder.name}/{action}", key="a.txt", to="x").status_code == 403, action
    for action in ("move", "copy", "delete"):
        answer = viewer.post(f"/browse/{folder.name}/selected", act=action, key="a.txt")
        assert answer.status_code == 403
    assert "a.txt" in found(folder)


def test_files_go_to_another_backend_as_a_small_migration(
    admin: Browser, console: WebConsole, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    console.services.backends.add(ADMIN, Draft(other.name, "local", {"root": str(other)}, {}))
    answer = admin.post(f"/browse/{folder.name}/selected", act="copy", key=["a.txt", "in/"])
    assert f'<option value="{other.name}">' in answer.text
    refused = admin.post(f"/browse/{folder.name}/copy", key="a.txt", to="elsewhere", to_backend=other.name)
    assert refused.status_code == 400
    assert "files keep their names and folders" in sentences(refused.text)
    answer = admin.post(f"/browse/{folder.name}/copy", key=["a.txt", "in/"], to="", to_backend=other.name)
    assert re.fullmatch(r"/migrations/\d+", answer.headers["Location"])
    assert admin.get(answer.headers["Location"]).status_code == 200


def test_a_folder_of_many_files_is_changed_by_the_runner(
    admin: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.web.admin.files.file_selection.MAX_FILES", 1)
    answer = admin.post(f"/browse/{folder.name}/move", key="in/", to="archive")
    assert answer.status_code == 303
    page = admin.get(answer.headers["Location"]).text
    assert "The runner has begun." in sentences(page)
    assert "data-running" in page
    assert "<b>Moving <bdi>in/</bdi> → <bdi>archive/in/</bdi></b>" in page
    job = re.search(r'name="job" value="(\w+)"', page)
    assert job
    answer = admin.post(f"/browse/{folder.name}/folder-job", job=job[1], act="cancel")
    assert "It stops soon." in sentences(admin.get(answer.headers["Location"]).text)
    answer = admin.post(f"/browse/{folder.name}/move", key=["in/", "in/deep/"], to="archive")
    assert answer.status_code == 400
