"""Many files as one zip: complete and of the announced length, or cut off."""

from __future__ import annotations

import http.client
import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from dashboard.errors import StowageError
from dashboard.services.files.zips import zip_downloads
from dashboard.services.permissions import Actor, Role
from dashboard.storage.errors import NotFound
from tests.web.api.conftest import program
from tests.web.files.conftest import HOME, MARIA, FilesConsole
from tests.web.test_server import serving

OTTO = Actor("otto", Role.OPERATOR, "web")


@pytest.fixture
def root(served: FilesConsole) -> Path:
    return served.folder / HOME


def select(served: FilesConsole, *files: str, folders: tuple[str, ...] = (), actor: Actor = MARIA) -> str:
    return "/zip/" + served.console.services.zips.select(actor, HOME, files=files, folders=folders)


def get(served: FilesConsole, path: str) -> TestResponse:
    with served.browser.client.get(path) as response:
        response.get_data()
        return response


def fill(root: Path, folder: str, count: int, size: int = 10) -> dict[str, bytes]:
    (root / folder).mkdir(parents=True, exist_ok=True)
    made = {}
    for number in range(count):
        made[f"{number:03}.bin"] = bytes([number % 256]) * size
        (root / folder / f"{number:03}.bin").write_bytes(made[f"{number:03}.bin"])
    return made


def test_three_hundred_files(served: FilesConsole, root: Path) -> None:
    made = fill(root, "photos/2026", 300, 1000)
    found = get(served, select(served, *(f"photos/2026/{name}" for name in made)))
    assert (found.status_code, found.mimetype) == (200, "application/zip")
    assert 'filename="2026.zip"' in found.headers["Content-Disposition"]
    assert int(found.headers["Content-Length"]) == len(found.data)
    with zipfile.ZipFile(io.BytesIO(found.data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == made


def test_folders_go_in_with_everything_below_them(served: FilesConsole, root: Path) -> None:
    fill(root, "trip/day 1", 2)
    fill(root, "trip/day 2/more", 1)
    (root / "trip" / "notes.txt").write_bytes(b"n")
    found = get(served, select(served, "trip/notes.txt", folders=("trip/day 1/", "trip/day 2/")))
    with zipfile.ZipFile(io.BytesIO(found.data)) as archive:
        expected = ["day 1/000.bin", "day 1/001.bin", "day 2/more/000.bin", "notes.txt"]
        assert sorted(archive.namelist()) == expected
    whole = get(served, select(served, folders=("trip/",)))
    with zipfile.ZipFile(io.BytesIO(whole.data)) as archive:
        assert "trip/notes.txt" in archive.namelist()


def test_what_is_selected_twice_is_in_it_once(served: FilesConsole, root: Path) -> None:
    fill(root, "twice", 2)
    found = get(served, select(served, "twice/000.bin", "twice/000.bin", folders=("twice/", "twice/")))
    with zipfile.ZipFile(io.BytesIO(found.data)) as archive:
        assert sorted(archive.namelist()) == ["twice/000.bin", "twice/001.bin"]


def test_names_that_are_no_text_become_some(served: FilesConsole, root: Path) -> None:
    folder = root / "odd"
    folder.mkdir()
    for name in (b"caf\xe9", b"line\nbreak", b"A", b"a"):
        (folder / name.decode("utf-8", "surrogateescape")).write_bytes(name)
    found = get(served, select(served, folders=("odd/",)))
    with zipfile.ZipFile(io.BytesIO(found.data)) as archive:
        assert sorted(archive.namelist()) == ["odd/A", "odd/a (2)", "odd/caf_", "odd/line_break"]
        assert archive.read("odd/caf_") == b"caf\xe9"


def test_head_says_the_length(served: FilesConsole, root: Path) -> None:
    fill(root, "head", 3)
    path = select(served, folders=("head/",))
    head = served.browser.client.head(path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get(served, path).data))


@pytest.mark.parametrize("change", ["shorter", "longer", "deleted"])
def test_a_file_that_changes_before_its_turn_cuts_the_zip_off(
    served: FilesConsole, root: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first file alone is more than what is read before the response begins.
    fill(root, "changing", 3, 600_000)
    path = select(served, folders=("changing/",))
    response = served.browser.client.get(path, buffered=False)
    last = root / "changing" / "002.bin"
    if change == "deleted":
        last.unlink()
    else:
        last.write_bytes(b"x" * (599_999 if change == "shorter" else 600_001))
    with pytest.raises(StowageError):
        list(response.iter_encoded())
    response.close()


@pytest.fixture
def server(served: FilesConsole, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    with serving(served.console.app, monkeypatch) as address:
        yield address


def test_the_server_sends_it_whole_or_cuts_the_connection(
    served: FilesConsole, root: Path, server: tuple[str, int]
) -> None:
    fill(root, "large", 4, 2_000_000)
    token = program(served.console, ["read_files"]).token
    path = select(served, folders=("large/",))
    headers = {"Host": "localhost", "Authorization": f"Bearer {token}"}

    def download() -> bytes:
        with closing(http.client.HTTPConnection(*server, timeout=120)) as connection:
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as response:
                return response.read()

    with zipfile.ZipFile(io.BytesIO(download())) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 4
    reads = 0

    def breaking(*arguments: object) -> Iterator[bytes]:
        nonlocal reads
        reads += 1
        if reads == 3:
            raise NotFound("large/002.bin")
        yield from content(*arguments)  # type: ignore[arg-type]

    content = zip_downloads._content
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zip_downloads, "_content", breaking)
        with pytest.raises(http.client.IncompleteRead) as cut:
            download()
    assert not zipfile.is_zipfile(io.BytesIO(cut.value.partial))


def test_a_selection_is_for_the_one_who_made_it(served: FilesConsole, root: Path) -> None:
    fill(root, "mine", 1)
    path = select(served, "mine/000.bin", actor=OTTO)
    assert get(served, path).status_code == 404
    assert served.console.app.test_client().get(path).status_code == 303
    with program(served.console, ["read_files"], "otto").get(path) as response:
        assert response.status_code == 200
    assert program(served.console, ["view"], "otto").get(path).status_code == 403
    assert get(served, "/zip/" + "A" * 22).status_code == 404


def test_a_selection_expires(served: FilesConsole, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, "mine", 1)
    monkeypatch.setattr(zip_downloads, "SELECTION_SECONDS", -1.0)
    assert get(served, select(served, "mine/000.bin")).status_code == 404


def test_mistakes_are_said_before_the_first_byte(
    served: FilesConsole, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root, "some", 5)
    assert get(served, select(served, "some/000.bin", "some/nothing")).status_code == 404
    assert get(served, select(served, folders=("nowhere/",))).status_code == 400
    assert get(served, select(served, "../../etc/passwd")).status_code == 400
    monkeypatch.setattr(zip_downloads, "MAX_FILES", 4)
    refused = get(served, select(served, folders=("some/",)))
    assert refused.status_code == 400
    assert "more than 4 files" in refused.text


def test_programs_select_through_the_api(served: FilesConsole, root: Path) -> None:
    made = fill(root, "api", 2)
    client = program(served.console, ["read_files"])
    body = {"backend": HOME, "files": ["api/000.bin"], "folders": ["api/"]}
    created = client.post("/api/v1/zips", body)
    assert created.status_code == 201
    with client.get(created.json["url"].removeprefix("http://localhost")) as found:
        archive = zipfile.ZipFile(io.BytesIO(found.data))
    assert len(archive.namelist()) == len(made)
    for wrong, status in (
        ({"backend": HOME}, 400),
        ({"backend": HOME, "folders": ["api"]}, 400),
        ({"backend": HOME, "files": [""]}, 400),
        ({"backend": "nowhere", "files": ["a"]}, 404),
    ):
        assert client.post("/api/v1/zips", wrong).status_code == status


def test_a_person_downloads_only_so_many_at_once(served: FilesConsole, root: Path) -> None:
    fill(root, "busy", 2, 1_000_000)
    path = select(served, folders=("busy/",))
    running = [served.browser.client.get(path, buffered=False) for _ in range(2)]
    refused = get(served, path)
    assert refused.status_code == 429
    for each in running:
        each.close()
    assert get(served, path).status_code == 200
