"""``stowage files ls`` and its neighbours: files listed, read, stored, moved and deleted from a shell."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dashboard.cli import arguments
from dashboard.cli.files import file_changing
from dashboard.services.backends.backends import Backends
from dashboard.storage.drivers.memory import MemoryDriver
from tests.cli.conftest import Cli, command_line, set_up


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("file-commands")


@pytest.fixture(scope="module")
def console(home: Path) -> Cli:
    """One for all of these tests: what they change are files."""
    return set_up(command_line(home / "instance"), home / "other")


@pytest.fixture
def other(home: Path) -> Path:
    """The empty folder of ``other``."""
    return emptied(home / "other")


@pytest.fixture
def disk(home: Path, console: Cli) -> Path:
    """The folder of ``local-disk``, with odd names in it."""
    folder = emptied(home / "instance" / "files")
    for name in ("a.txt", "in/b.txt", "in/deep/c.txt", "in/colon: 100 %.txt", "in/bell\x07.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def emptied(folder: Path) -> Path:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return folder


def found(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".stowage") for part in path.parts)
    }


def keys(console: Cli, *arguments: str) -> list[str]:
    return [entry["key"] for entry in console("files", "ls", *arguments, "--json").document["entries"]]


def test_a_backend_is_listed_like_folders(console: Cli, disk: Path) -> None:
    assert keys(console, "local-disk:") == ["in/", "a.txt"]
    inside = ["in/deep/", "in/b.txt", "in/bell\x07.txt", "in/colon: 100 %.txt"]
    assert keys(console, "local-disk:in/") == inside
    assert keys(console, "local-disk:in") == inside
    assert keys(console, "local-disk:in/colon: 100 %.txt") == ["in/colon: 100 %.txt"]
    assert keys(console, "local-disk:in/", "-r")[-1] == "in/deep/c.txt"
    shown = console("files", "ls", "local-disk:", "--limit", "1")
    assert "in/" in shown.out
    assert "a.txt" not in shown.out
    assert "more than 1" in shown.err
    assert "\x07" not in console("files", "ls", "local-disk:in/").out
    nothing = console("files", "ls", "local-disk:nowhere/")
    assert (nothing.code, "There is no object" in nothing.err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "local-disk"),
        ("ls", ":a"),
        ("ls", "a/b:c"),
        ("ls", "nowhere:"),
        ("cat", "local-disk:a.txt", "--json"),
        ("rm", "local-disk:in/"),
        ("rm", "local-disk:", "--recursive", "--yes"),
        ("rm", "local-disk:a", "other:a", "--yes"),
        ("rm", "local-disk:a", "local-disk:b"),
        ("mv", "local-disk:in/", "local-disk:out"),
        ("mv", "local-disk:in/", "other:out/"),
        ("cp", "local-disk:a.txt", "other:b.txt"),
        ("cp", "local-disk:", "other:"),
        ("put", "no/such/file", "local-disk:"),
    ],
)
def test_what_means_nothing_is_wrong_use(untouched: Cli, arguments: tuple[str, ...]) -> None:
    refused = untouched("files", *arguments)
    assert refused.code == 2, refused.err
    assert refused.err or refused.out


def test_a_file_is_described_and_read(console: Cli, disk: Path) -> None:
    described = console("files", "stat", "local-disk:a.txt", "--json").document
    assert (described["key"], described["size"], described["served_by"]) == ("a.txt", 5, "local-disk")
    assert "5 bytes" in console("files", "stat", "local-disk:a.txt").out
    assert console("files", "cat", "local-disk:in/deep/c.txt").out == "in/deep/c.txt"
    for command in ("stat", "cat", "get"):
        missing = console("files", command, "local-disk:missing")
        assert (missing.code, "There is no object “missing”." in missing.err) == (1, True), command


def test_files_go_to_a_backend_and_come_back(console: Cli, disk: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    (here / "one.bin").write_bytes(bytes(range(256)))
    (here / "sub" / "ü.txt").write_text("two")
    assert console("files", "put", str(here / "one.bin"), "local-disk:new/").code == 0
    assert (disk / "new" / "one.bin").read_bytes() == bytes(range(256))
    assert console("files", "put", str(here / "one.bin"), "local-disk:exact name").code == 0
    stored = console("files", "put", str(here), "local-disk:all/", "--json").document["files"]
    assert sorted((each["key"], each["to"]) for each in stored) == [
        ("one.bin", "all/one.bin"),
        ("sub/ü.txt", "all/sub/ü.txt"),
    ]
    assert console("files", "find", "all/", "--json").document["files"], "the catalogue knows them"
    (here / "one.bin").write_bytes(b"other")
    taken = console("files", "put", str(here / "one.bin"), "local-disk:new/")
    assert (taken.code, "There is already an object “new/one.bin”." in taken.err) == (1, True)
    assert (disk / "new" / "one.bin").read_bytes() == bytes(range(256))
    assert console("files", "put", str(here / "one.bin"), "local-disk:new/", "--replace").code == 0
    assert (disk / "new" / "one.bin").read_bytes() == b"other"

    there = tmp_path / "there"
    assert console("files", "get", "local-disk:all/", str(there)).code == 0
    assert found(there) == {"one.bin", "sub/ü.txt"}
    again = console("files", "get", "local-disk:all/one.bin", str(there))
    assert (again.code, "There is already an object “one.bin”." in again.err) == (1, True)
    assert console("files", "get", "local-disk:a.txt", str(there / "renamed")).code == 0
    assert (there / "renamed").read_text() == "a.txt"
    assert console("files", "get", "local-disk:a.txt", str(tmp_path / "no" / "folder")).code == 2
    assert console("files", "get", "local-disk:nothing/", str(there)).code == 1


def test_a_key_that_leads_out_of_the_folder_is_not_written(
    console: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying = MemoryDriver()
    for key in ("in/../../evil", "in//absolute", "in/./x", "in/good", "in/nul\0"):
        lying.put(key, b"x")
    monkeypatch.setattr(Backends, "driver_with_waiting", lambda *_, **__: lying)
    target = tmp_path / "deep" / "target"
    done = console("files", "get", "other:in/", str(target), "--json")
    assert done.code == 1
    assert found(tmp_path / "deep") == {"target/good"}
    assert sum(each["error"] is not None for each in done.document["files"]) == 4


def test_files_and_folders_are_moved_and_copied(console: Cli, disk: Path) -> None:
    assert console("files", "mv", "local-disk:a.txt", "local-disk:z.txt").code == 0
    assert console("files", "cp", "local-disk:z.txt", "local-disk:in/").code == 0
    taken = console("files", "cp", "local-disk:z.txt", "local-disk:in/")
    assert (taken.code, "already an object" in taken.err) == (1, True)
    both = console("files", "cp", "local-disk:z.txt", "local-disk:in/", "--if-taken", "keep_both", "--json")
    assert both.document["files"][0]["to"] == "in/z (2).txt"
    moved = console("files", "mv", "local-disk:in/deep/", "local-disk:out/", "--json")
    assert (moved.code, moved.document["folders"][0]["state"]) == (0, "done")
    assert found(disk) >= {"z.txt", "in/z.txt", "in/z (2).txt", "out/c.txt"}
    assert "in/deep/c.txt" not in found(disk)


def test_to_another_backend_it_is_a_migration(console: Cli, disk: Path, other: Path) -> None:
    copied = console("files", "cp", "local-disk:in/deep/", "other:", "--json")
    assert copied.code == 0, copied.err
    assert (copied.document["outcome"], copied.document["counters"]["verified"]) == ("clean", 1)
    assert (other / "in" / "deep" / "c.txt").read_text() == "in/deep/c.txt"
    moved = console("files", "mv", "local-disk:a.txt", "other:a.txt")
    assert moved.code == 0, moved.err
    assert not (disk / "a.txt").exists()
    assert (other / "a.txt").read_text() == "a.txt"
    assert console("files", "cp", "local-disk:missing", "other:").code == 1


def test_deleting_several_asks_and_can_be_undone(
    console: Cli, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = found(disk)
    asked = console("files", "rm", "local-disk:in/", "--recursive")
    assert (asked.code, "add --yes" in asked.err) == (2, True)
    assert found(disk) == before
    monkeypatch.setattr(arguments, "require_terminal", lambda: None)
    refused = console("files", "rm", "local-disk:in/", "--recursive", input="n\n")
    assert (refused.code, "Nothing was deleted." in refused.err) == (1, True)
    done = console("files", "rm", "local-disk:in/", "local-disk:a.txt", "-r", "--yes", "--json")
    assert done.code == 0, done.err
    assert found(disk) == set()
    assert len(done.document["undo"]) == 2
    back = console("files", "undo", *done.document["undo"])
    assert (back.code, "5 files restored." in back.err) == (0, True)
    assert found(disk) == before
    assert console("files", "undo", "0" * 32).code == 2
    one = console("files", "rm", "local-disk:a.txt")
    assert (one.code, "stowage files undo" in one.err) == (0, True)


def test_what_cannot_be_undone_needs_the_typed_number(
    console: Cli, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.services.files.changing.deletions._keeping", lambda driver: None)
    monkeypatch.setattr(file_changing, "require_terminal", lambda: None)
    for typed in ("\n", "4\n", "y\n"):
        refused = console("files", "rm", "local-disk:in/", "local-disk:a.txt", "-r", input=typed)
        assert refused.code == 1
        assert len(found(disk)) == 5
    done = console("files", "rm", "local-disk:in/", "local-disk:a.txt", "-r", input="5\n")
    assert (done.code, "undo" in done.err) == (0, False), done.err
    assert found(disk) == set()


def test_keys_that_are_no_text_are_named_as_they_are(console: Cli, disk: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (disk / name).write_text("odd")
    assert keys(console, f"local-disk:{name}") == [name]
    assert console("files", "get", f"local-disk:{name}", str(tmp_path / "got")).code == 0
    assert (tmp_path / "got").read_text() == "odd"
