"""Files through the API: looking, changing, deleting and undoing, on odd keys too."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import WebConsole

_numbers = count()


@pytest.fixture(scope="module")
def program(new_program: NewProgram) -> ApiProgram:
    return new_program("view", "configure", "read_files", "write_files")


@pytest.fixture
def disk(program: ApiProgram, tmp_path: Path) -> tuple[str, Path]:
    name = f"disk-{next(_numbers)}"
    added = program.post(
        "/api/v1/backends", {"name": name, "preset": "local", "options": {"root": str(tmp_path)}}
    )
    assert added.status_code == 201, added.text
    for key in ("a.txt", "b.jpg", "d/c"):
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_text(key)
    return f"/api/v1/backends/{name}/files", tmp_path


def keys(program: ApiProgram, path: str, query: str = "") -> list[str]:
    response = program.get(path + query)
    assert response.status_code == 200, response.text
    return [entry["key"] for entry in response.json["entries"]]


def test_a_folder_is_listed_page_by_page(program: ApiProgram, disk: tuple[str, Path]) -> None:
    path, _ = disk
    assert keys(program, path) == ["d/", "a.txt", "b.jpg"]
    assert keys(program, path, "?prefix=d/") == ["d/c"]
    first = program.get(f"{path}?limit=2&sort=size&descending=true").json
    assert not first["complete"]
    rest = program.get(f"{path}?limit=2&sort=size&descending=true&cursor={first['next_cursor']}").json
    assert [entry["key"] for page in (first, rest) for entry in page["entries"]] == ["d/", "a.txt", "b.jpg"]
    assert rest["next_cursor"] is None
    for wrong in ("?prefix=d", "?cursor=x", "?sort=colour", "?other=1"):
        assert program.get(path + wrong).status_code == 400


def test_a_file_is_described_moved_and_never_over_another(
    program: ApiProgram, disk: tuple[str, Path]
) -> None:
    path, root = disk
    seen = program.get(f"{path}/details?key=a.txt").json
    assert (seen["size"], seen["kind"], seen["actions"]["move"]) == (5, "text", "")
    assert program.get(f"{path}/details?key=missing").status_code == 404
    moved = program.post(
        f"{path}/move", {"files": [{"key": "a.txt", "to": "x/y", "version": seen["version"]}]}
    )
    assert moved.json["outcomes"][0]["to"] == "x/y"
    taken = program.post(f"{path}/copy", {"files": [{"key": "x/y", "to": "b.jpg"}]})
    assert taken.status_code == 409
    both = program.post(f"{path}/copy", {"files": [{"key": "x/y", "to": "b.jpg"}], "on_taken": "keep_both"})
    assert both.json["outcomes"][0]["to"] == "b (2).jpg"
    mixed = program.post(f"{path}/move", {"files": [{"key": "x/y", "to": "z"}, {"key": "no", "to": "q"}]})
    assert [each["kind"] for each in mixed.json["outcomes"]] == ["", "not_found"]
    (root / "z").write_text("newer")
    stale = program.post(f"{path}/move", {"files": [{"key": "z", "to": "w", "version": seen["version"]}]})
    assert (stale.status_code, stale.json["error"]["kind"]) == (409, "changed")
    assert program.post(f"{path}/move", {"files": []}).status_code == 400


def test_a_deletion_is_undone(program: ApiProgram, disk: tuple[str, Path]) -> None:
    path, root = disk
    deleted = program.post(f"{path}/delete", {"files": [{"key": "a.txt"}, {"key": "d/c"}]})
    assert all(each["done"] for each in deleted.json["outcomes"])
    assert keys(program, path) == ["b.jpg"]
    undo = f"/api/v1/deletions/{deleted.json['undo_id']}/undo"
    (root / "a.txt").write_text("new")
    outcomes = program.post(undo).json["outcomes"]
    assert [each["kind"] for each in outcomes] == ["conflict", ""]
    assert (root / "a.txt").read_text() == "new"
    assert program.post("/api/v1/deletions/unknown/undo").status_code == 404
    wrong = program.post(f"{path}/delete", {"files": [{"key": "b.jpg"}], "confirmed": 2})
    assert (wrong.status_code, wrong.json["error"]["subject"]) == (400, "confirmed")


def test_keys_that_are_no_text_are_reached_and_not_fused(program: ApiProgram, disk: tuple[str, Path]) -> None:
    path, root = disk
    for name in (b"x\xff", "x\ufffd".encode(), b"x%FF"):
        (Path(str(root)) / name.decode("utf-8", "surrogateescape")).write_bytes(name)
    odd = [key for key in keys(program, path) if key.startswith("x")]
    assert sorted(odd) == ["x%FF", "x\udcff", "x\ufffd"]
    sizes = [
        program.get(f"{path}/details?key={text}").json["size"] for text in ("x%ff", "x%ef%bf%bd", "x%25FF")
    ]
    assert sizes == [2, 4, 4]
    moved = program.post(f"{path}/move", {"files": [{"key": "x\udcff", "to": "plain"}]})
    assert moved.json["outcomes"][0]["done"]
    assert (root / "plain").read_bytes() == b"x\xff"
    half = program.post(f"{path}/move", {"files": [{"key": "\ud800", "to": "plain"}]})
    assert half.status_code == 400


def test_folders_and_what_a_disk_cannot_keep(program: ApiProgram, disk: tuple[str, Path]) -> None:
    path, _ = disk
    assert program.post(f"{path}/folder", {"folder": "new"}).status_code == 201
    assert program.post(f"{path}/folder", {"folder": "new"}).status_code == 409
    for change in ({"tags": {"a": "b"}}, {"headers": {"content_type": "text/html"}}, {"tier": "X"}):
        assert program.send("PATCH", path, {"key": "a.txt", **change}).status_code == 422
    assert program.send("PATCH", path, {"key": "a.txt"}).status_code == 400
    assert program.post(f"{path}/restore", {"key": "a.txt", "version_id": "1"}).status_code == 422


def test_a_viewers_token_changes_nothing(
    program: ApiProgram, disk: tuple[str, Path], new_program: NewProgram
) -> None:
    path, _ = disk
    viewer = new_program("read_files", username="vera")
    assert viewer.get(path).status_code == 200
    for action in ("move", "copy", "delete", "folder", "restore"):
        assert viewer.post(f"{path}/{action}", {"files": []}).status_code == 403


def test_the_catalogue_is_searched(program: ApiProgram, disk: tuple[str, Path]) -> None:
    path, _ = disk
    name = path.split("/")[4]
    program.post(f"{path}/move", {"files": [{"key": "b.jpg", "to": "photo.jpg"}]})
    found = program.get(f"/api/v1/files?backend={name}&kind=image").json["files"]
    assert [file["key"] for file in found] == ["photo.jpg"]
    one = program.get(f"/api/v1/files/{found[0]['id']}")
    assert one.json == found[0]
    assert program.get("/api/v1/files/999999").status_code == 404
    assert program.get("/api/v1/files?backend=nowhere").status_code == 404


def test_a_whole_folder_is_changed_in_the_background(
    program: ApiProgram, disk: tuple[str, Path], console: WebConsole
) -> None:
    path, root = disk
    changes = path.replace("/files", "/folder-changes")
    assert program.get(f"{path}/count?prefix=d/").json == {"files": 1, "complete": True}
    begun = program.post(changes, {"action": "move", "prefix": "d/", "target": "e/"})
    assert (begun.status_code, begun.json["state"]) == (202, "waiting")
    one = f"/api/v1/folder-changes/{begun.json['id']}"
    assert program.post(changes, {"action": "delete", "prefix": "d/"}).status_code == 409
    assert program.post(f"{one}/cancel").json["state"] == "cancelled"
    assert program.post(f"{one}/resume").json["state"] == "waiting"
    console.services.folder_changes.run(lambda: False)
    shown = program.get(one).json
    assert (shown["state"], shown["done"], shown["problems"]) == ("done", 1, [])
    assert [each["id"] for each in program.get(changes).json["changes"]] == [shown["id"]]
    assert (root / "e" / "c").read_text() == "d/c"
    assert program.get("/api/v1/folder-changes/unknown").status_code == 404
    assert program.post(changes, {"action": "move", "prefix": "e/", "target": "e/f/"}).status_code == 400


def test_files_are_sent_to_another_backend(
    program: ApiProgram, disk: tuple[str, Path], new_program: NewProgram
) -> None:
    path, _ = disk
    send = {"destination": "local-disk", "keys": ["a.txt", "d/"]}
    assert program.post(f"{path}/send", send).status_code == 403, "it lacks the scope “migrate”"
    allowed = new_program("write_files", "migrate")
    sent = allowed.post(f"{path}/send", send)
    assert sent.status_code == 202, sent.text
    assert sent.json["migration_id"] > 0
    assert allowed.post(f"{path}/send", {**send, "destination": "nowhere"}).status_code == 400
