"""Folders that are moved, copied and deleted whole, also by runs that are killed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files.changing import folder_changes as module
from dashboard.services.files.changing.folder_changes import FolderAction, FolderChange, FolderChanges
from dashboard.services.files.changing.moving_objects import OnTaken
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import StorageError, Unsupported
from tests.servers.moto import MotoS3
from tests.services.console import ADMIN, OPERATOR, VIEWER, ServiceConsole
from tests.services.files.places import add_local, add_s3


class RunKilled(BaseException):
    """Like SIGKILL: nothing handles it."""


@pytest.fixture
def disk(console: ServiceConsole, tmp_path: Path) -> Path:
    return add_local(console, tmp_path, "disk")


@pytest.fixture
def changes(console: ServiceConsole, disk: Path) -> FolderChanges:
    return console.services.folder_changes


def fill(root: Path, names: list[str]) -> dict[str, bytes]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return content(root)


def content(root: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(".stowage-tmp")}


def run(changes: FolderChanges, change: FolderChange) -> FolderChange:
    changes.run(lambda: False)
    return changes.get(VIEWER, change.id)


def test_a_folder_is_renamed_with_all_that_is_in_it(changes: FolderChanges, disk: Path) -> None:
    before = fill(disk, ["a/1", "a/b/2", "a-c", "other/a/1"])
    (disk / "a" / "empty").mkdir()
    done = run(changes, changes.begin(OPERATOR, "disk", FolderAction.MOVE, "a/", "new/place/"))
    assert (done.state, done.done, done.failed) == ("done", 2, 0)
    assert content(disk) == {
        "new/place/1": before["a/1"],
        "new/place/b/2": before["a/b/2"],
        "a-c": before["a-c"],
        "other/a/1": before["other/a/1"],
    }
    assert (disk / "new/place/empty").is_dir()
    assert not (disk / "a").exists()


def test_what_is_taken_stays_and_is_named(changes: FolderChanges, disk: Path) -> None:
    fill(disk, ["a/1", "a/2", "b/1"])
    done = run(changes, changes.begin(OPERATOR, "disk", FolderAction.MOVE, "a/", "b/"))
    assert (done.state, done.done, done.failed) == ("done", 1, 1)
    assert done.problems[0][0] == "a/1"
    assert content(disk) == {"a/1": b"a/1", "b/1": b"b/1", "b/2": b"a/2"}
    both = changes.begin(OPERATOR, "disk", FolderAction.COPY, "a/", "b/", on_taken=OnTaken.KEEP_BOTH)
    run(changes, both)
    assert content(disk)["b/1 (2)"] == b"a/1"


def test_a_file_that_would_land_in_the_moved_folder_is_left(changes: FolderChanges, disk: Path) -> None:
    fill(disk, ["a/b/b/x", "a/b/y"])
    done = run(changes, changes.begin(OPERATOR, "disk", FolderAction.MOVE, "a/b/", "a/"))
    assert content(disk) == {"a/b/b/x": b"a/b/b/x", "a/y": b"a/b/y"}
    assert (done.failed, done.problems[0][0]) == (1, "a/b/b/x")


def test_a_deleted_folder_comes_back(
    changes: FolderChanges, disk: Path, console: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELETED_BATCH", 2)
    before = fill(disk, ["a/1", "a/b/2", "a/b/3", "c"])
    done = run(changes, changes.begin(OPERATOR, "disk", FolderAction.DELETE, "a/"))
    assert content(disk) == {"c": b"c"}
    assert len(done.undo_ids) == 2
    for undo_id in done.undo_ids:
        console.services.deletions.undo(OPERATOR, undo_id)
    assert content(disk) == before


def killed_runs(
    changes: FolderChanges, change: FolderChange, kill: Callable[[], None], allowed: int
) -> FolderChange:
    """Run until it is done, however often it is killed."""
    for _ in range(allowed):
        try:
            changes.run(lambda: False)
        except RunKilled:
            kill()
            continue
        return changes.get(VIEWER, change.id)
    raise AssertionError("it does not get on")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", [60, pytest.param(10_000, marks=pytest.mark.torture)])
def test_kills_at_any_step_lose_nothing_and_it_gets_on(
    changes: FolderChanges,
    disk: Path,
    console: ServiceConsole,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """Between copy and deletion, before and after the catalogue's row: the copying way, as in a bucket."""
    chance = random.Random(7)
    names = [f"a/{chance.randrange(9)}/{index}" for index in range(number)]
    before = {f"b/{name[2:]}": data for name, data in fill(disk, names).items()}
    rate = 4 / number

    def perhaps_killed(real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            if chance.random() < rate:
                raise RunKilled
            result = real(*args, **more)
            if chance.random() < rate:
                raise RunKilled
            return result

        return call

    def by_copying(*args: object, **more: object) -> None:
        raise Unsupported("move", "This disk only copies.")

    monkeypatch.setattr(LocalDriver, "move_within", by_copying)
    for name in ("put", "delete_unchanged"):
        monkeypatch.setattr(LocalDriver, name, perhaps_killed(getattr(LocalDriver, name)))
    kills = []

    def check() -> None:
        kills.append(1)
        left = {f"b/{name[2:]}" if name[0] == "a" else name: data for name, data in content(disk).items()}
        assert left == before

    change = changes.begin(OPERATOR, "disk", FolderAction.MOVE, "a/", "b/")
    done = killed_runs(changes, change, check, 200)
    assert kills
    assert (done.state, done.failed) == ("done", 0)
    assert content(disk) == before
    known = [file.key for file in console.services.catalogue.find_many("disk", list(before)).values()]
    assert sorted(known) == sorted(before)


def test_a_backend_that_dies_is_waited_for(
    changes: FolderChanges, console: ServiceConsole, moto_s3: MotoS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_s3(console, moto_s3, "bucket")
    driver = console.services.backends.driver("bucket", label="test")
    for name in ("a/", "a/1", "a/2"):
        driver.put(name, b"x")
    real, calls = S3Driver.stat, []

    def stat(self: S3Driver, key: str) -> Any:
        calls.append(key)
        if len(calls) > 3:
            raise StorageError(Kind.UNREACHABLE, "The line is cut.")
        return real(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(S3Driver, "stat", stat)
        change = changes.begin(OPERATOR, "bucket", FolderAction.MOVE, "a/", "b/")
        failed = run(changes, change)
    assert failed.state == "failed"
    assert "The line is cut" in failed.message
    with pytest.raises(StowageError) as caught:
        changes.begin(OPERATOR, "bucket", FolderAction.MOVE, "a/", "c/")
    assert caught.value.kind is Kind.CONFLICT
    changes.resume(OPERATOR, change.id)
    assert run(changes, change).state == "done"
    assert [entry.key for entry in driver.list()] == ["b/", "b/1", "b/2"]


def test_a_bucket_that_keeps_nothing_wants_the_number(
    changes: FolderChanges, console: ServiceConsole, moto_s3: MotoS3
) -> None:
    add_s3(console, moto_s3, "bucket")
    driver = console.services.backends.driver("bucket", label="test")
    for name in ("a/1", "a/2"):
        driver.put(name, b"x")
    assert changes.count(OPERATOR, "bucket", "a/") == 2
    for wrong in (None, 1):
        with pytest.raises(InvalidInput):
            changes.begin(OPERATOR, "bucket", FolderAction.DELETE, "a/", confirmed=wrong)
    run(changes, changes.begin(OPERATOR, "bucket", FolderAction.DELETE, "a/", confirmed=2))
    assert list(driver.list()) == []


def test_cancelled_before_it_began(changes: FolderChanges, disk: Path) -> None:
    before = fill(disk, ["a/1"])
    change = changes.begin(OPERATOR, "disk", FolderAction.MOVE, "a/", "b/")
    changes.cancel(OPERATOR, change.id)
    assert run(changes, change).state == "cancelled"
    assert content(disk) == before
    assert [each.id for each in changes.recent(VIEWER, "disk")] == [change.id]


def test_paths_that_cannot_be(changes: FolderChanges) -> None:
    for prefix, target in (("", "b/"), ("a", "b/"), ("a/", "a/"), ("a/", "a/b/"), ("a/", "b"), ("a/", "/")):
        with pytest.raises(InvalidInput):
            changes.begin(ADMIN, "disk", FolderAction.MOVE, prefix, target)
    with pytest.raises(StowageError) as caught:
        changes.begin(VIEWER, "disk", FolderAction.MOVE, "a/", "b/")
    assert caught.value.kind is Kind.FORBIDDEN
