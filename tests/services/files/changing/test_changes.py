"""Copying, moving and renaming: what is there afterwards, and who else may have written meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files.changing.file_changes import Changes
from dashboard.services.files.changing.moving_objects import OnTaken, Transfer
from dashboard.services.files.changing.outcomes import MAX_FILES, FileRef
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import Exists, StorageError
from dashboard.storage.types import Entry
from tests.servers.moto import MotoS3
from tests.services.console import ADMIN, OPERATOR, VIEWER, ServiceConsole
from tests.services.files.places import add_local, add_s3


@pytest.fixture
def disk(console: ServiceConsole, tmp_path: Path) -> Path:
    root = add_local(console, tmp_path, "disk")
    (root / "a.txt").write_bytes(b"one")
    (root / "b.txt").write_bytes(b"two!")
    return root


@pytest.fixture
def changes(console: ServiceConsole, disk: Path) -> Changes:
    return console.services.file_changes


def transfer(key: str, to: str, version: str | None = None) -> Transfer:
    return Transfer(FileRef(key, version), to)


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_file_is_moved_copied_and_never_over_another(changes: Changes, disk: Path) -> None:
    (moved,) = changes.move(OPERATOR, "disk", [transfer("a.txt", "deep/er/c.txt")])
    assert moved.done
    assert moved.to == "deep/er/c.txt"
    assert content(disk) == {"b.txt": b"two!", "deep/er/c.txt": b"one"}
    (refused,) = changes.move(OPERATOR, "disk", [transfer("deep/er/c.txt", "b.txt")])
    assert (refused.kind, refused.to) == (Kind.CONFLICT, "")
    (copied,) = changes.copy(OPERATOR, "disk", [transfer("b.txt", "d.txt")])
    assert copied.done
    (replaced,) = changes.move(
        OPERATOR, "disk", [transfer("deep/er/c.txt", "b.txt")], on_taken=OnTaken.REPLACE
    )
    assert replaced.done
    (both,) = changes.copy(OPERATOR, "disk", [transfer("d.txt", "b.txt")], on_taken=OnTaken.KEEP_BOTH)
    assert both.to == "b (2).txt"
    assert content(disk) == {"b.txt": b"one", "d.txt": b"two!", "b (2).txt": b"two!"}
    assert not (disk / "deep").exists()


def test_each_file_has_its_own_outcome(changes: Changes, disk: Path, console: ServiceConsole) -> None:
    requests = [
        transfer("missing", "x"),
        transfer("a.txt", "y"),
        transfer("b.txt", "b.txt"),
        transfer("b.txt", "../z"),
    ]
    outcomes = changes.move(OPERATOR, "disk", requests)
    assert [outcome.kind for outcome in outcomes] == [
        Kind.NOT_FOUND,
        None,
        Kind.INVALID,
        Kind.INVALID_KEY,
    ]
    assert content(disk) == {"y": b"one", "b.txt": b"two!"}
    rows = console.services.audit.rows(action="file.move")
    assert [(row.outcome, row.detail["files"]) for row in rows] == [("refused", "3"), ("done", "4")]


def test_what_somebody_else_changed_stays(changes: Changes, disk: Path, console: ServiceConsole) -> None:
    seen = console.services.file_details.of(ADMIN, "disk", "a.txt").info.version
    (disk / "a.txt").write_bytes(b"newer")
    for outcome in (
        *changes.move(OPERATOR, "disk", [transfer("a.txt", "c", seen)]),
        *changes.copy(OPERATOR, "disk", [transfer("a.txt", "c", seen)]),
    ):
        assert outcome.kind is Kind.CHANGED
        assert "somebody else" in outcome.reason
    assert content(disk) == {"a.txt": b"newer", "b.txt": b"two!"}


def test_the_catalogues_row_follows(changes: Changes, disk: Path, console: ServiceConsole) -> None:
    catalogue, info = console.services.catalogue, console.services.backends.get("disk")
    stat = (disk / "a.txt").stat()
    catalogue.observe(info.id, [Entry("a.txt", 3, stat.st_mtime), Entry("b.txt", 99, 1.0)])
    before = catalogue.find("disk", "a.txt")
    stale = catalogue.find("disk", "b.txt")
    assert before is not None
    assert stale is not None
    changes.move(OPERATOR, "disk", [transfer("a.txt", "new"), transfer("b.txt", "other")])
    after, replaced = catalogue.find("disk", "new"), catalogue.find("disk", "other")
    assert after is not None
    assert replaced is not None
    assert after.id == before.id
    assert (replaced.id != stale.id, replaced.size) == (True, 4)
    assert catalogue.find("disk", "a.txt") is None
    assert catalogue.find("disk", "b.txt") is None
    changes.copy(OPERATOR, "disk", [transfer("new", "newer")])
    copy = catalogue.find("disk", "newer")
    assert copy is not None
    assert copy.id != after.id


def test_who_may_not_and_what_cannot_be(changes: Changes, console: ServiceConsole, tmp_path: Path) -> None:
    add_local(console, tmp_path, "frozen", read_only="true")
    for actor, backend in ((VIEWER, "disk"), (ADMIN, "frozen")):
        with pytest.raises(StowageError) as caught:
            changes.move(actor, backend, [transfer("a.txt", "c")])
        assert caught.value.kind is Kind.FORBIDDEN
    for requests in ([], [transfer("a", "b")] * (MAX_FILES + 1)):
        with pytest.raises(InvalidInput):
            changes.move(ADMIN, "disk", requests)


def test_a_backend_that_dies_midway_is_not_asked_again(
    changes: Changes, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalDriver.stat
    calls = []

    def stat(self: LocalDriver, key: str) -> Any:
        calls.append(key)
        if key == "b.txt":
            raise StorageError(Kind.UNREACHABLE, "The line is cut.")
        return real(self, key)

    monkeypatch.setattr(LocalDriver, "stat", stat)
    requests = [transfer("a.txt", "1"), transfer("b.txt", "2"), transfer("c", "3"), transfer("d", "4")]
    outcomes = changes.move(ADMIN, "disk", requests)
    assert [outcome.kind for outcome in outcomes] == [None, *[Kind.UNREACHABLE] * 3]
    assert "not touched" in outcomes[3].reason
    assert "c" not in calls


def test_new_folders(changes: Changes, disk: Path, console: ServiceConsole, moto_s3: MotoS3) -> None:
    assert changes.make_folder(OPERATOR, "disk", "new/er/") == "The folder “new/er” was created."
    assert (disk / "new" / "er").is_dir()
    with pytest.raises(Exists):
        changes.make_folder(OPERATOR, "disk", "new/er")
    for name in ("", "/", "a//"):
        with pytest.raises(StowageError):
            changes.make_folder(OPERATOR, "disk", name)
    add_s3(console, moto_s3, "bucket")
    assert "an empty object" in changes.make_folder(OPERATOR, "bucket", "new")
    assert [entry.key for entry in console.services.browse.folder(VIEWER, "bucket").entries] == ["new/"]


def test_in_a_bucket_by_copies(changes: Changes, console: ServiceConsole, moto_s3: MotoS3) -> None:
    add_s3(console, moto_s3, "bucket")
    driver = console.services.backends.driver("bucket", label="test")
    driver.put("a", b"1")
    driver.put("b", b"2")
    (refused, moved) = changes.move(ADMIN, "bucket", [transfer("a", "b"), transfer("a", "c/a")])
    assert (refused.kind, moved.done) == (Kind.CONFLICT, True)
    (both,) = changes.move(ADMIN, "bucket", [transfer("c/a", "b")], on_taken=OnTaken.KEEP_BOTH)
    assert both.to == "b (2)"
    assert [entry.key for entry in driver.list()] == ["b", "b (2)"]


def test_a_second_writer_between_copy_and_deletion_loses_nothing(
    changes: Changes, console: ServiceConsole, moto_s3: MotoS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.services.files.changing import file_changes as module

    add_s3(console, moto_s3, "bucket")
    driver = console.services.backends.driver("bucket", label="test")
    driver.put("a", b"old")
    real = module.delete_original

    def late(given: Any, info: Any) -> None:
        driver.put("a", b"new")
        real(given, info)

    monkeypatch.setattr(module, "delete_original", late)
    (outcome,) = changes.move(ADMIN, "bucket", [transfer("a", "b")])
    assert (outcome.kind, outcome.to) == (Kind.CHANGED, "b")
    assert "was copied" in outcome.reason
    with driver.read("a") as kept, driver.read("b") as copied:
        assert (kept.read_all(), copied.read_all()) == (b"new", b"old")
