"""Deleting with and without a way back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.catalogue import deletions as table
from dashboard.services.files.changing.deletions import Deletions
from dashboard.services.files.changing.outcomes import FileRef
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Entry
from tests.servers.moto import MotoS3
from tests.services.console import ADMIN, OPERATOR, VIEWER, ServiceConsole
from tests.services.files.places import add_local, add_s3

FILES = ["a", "d/b", "d/c"]


@pytest.fixture
def disk(console: ServiceConsole, tmp_path: Path) -> Path:
    root = add_local(console, tmp_path, "disk")
    (root / "d").mkdir()
    for name in FILES:
        (root / name).write_bytes(name.encode())
    return root


@pytest.fixture
def deletions(console: ServiceConsole, disk: Path) -> Deletions:
    return console.services.deletions


def refs(*keys: str) -> list[FileRef]:
    return [FileRef(key) for key in keys]


def listed(console: ServiceConsole, backend: str = "disk") -> list[str]:
    return [entry.key for entry in console.services.backends.driver(backend, label="test").list()]


def test_on_a_disk_it_can_be_undone(deletions: Deletions, disk: Path, console: ServiceConsole) -> None:
    catalogue, info = console.services.catalogue, console.services.backends.get("disk")
    catalogue.observe(info.id, [Entry("a", 1, (disk / "a").stat().st_mtime)])
    assert deletions.can_undo(OPERATOR, "disk")
    done = deletions.delete(OPERATOR, "disk", refs(*FILES))
    assert all(outcome.done for outcome in done.outcomes)
    assert listed(console) == []
    assert not (disk / "d").exists()
    assert catalogue.find("disk", "a") is None
    assert all(outcome.done for outcome in deletions.undo(OPERATOR, done.undo_id))
    assert listed(console) == FILES
    assert (disk / "d" / "b").read_bytes() == b"d/b"
    assert catalogue.find("disk", "a") is not None
    assert not (disk / ".stowage-tmp").exists()
    with pytest.raises(StowageError):
        deletions.undo(OPERATOR, done.undo_id)


def test_undoing_never_overwrites(deletions: Deletions, disk: Path, console: ServiceConsole) -> None:
    done = deletions.delete(OPERATOR, "disk", refs("a", "d/b"))
    (disk / "a").write_bytes(b"new")
    outcomes = deletions.undo(OPERATOR, done.undo_id)
    assert [outcome.kind for outcome in outcomes] == [Kind.CONFLICT, None]
    assert (disk / "a").read_bytes() == b"new"
    (disk / "a").rename(disk / "z")
    assert all(outcome.done for outcome in deletions.undo(OPERATOR, done.undo_id))
    assert (disk / "a").read_bytes() == b"a"


def test_a_file_that_was_changed_since_it_was_seen_stays(
    deletions: Deletions, disk: Path, console: ServiceConsole
) -> None:
    seen = console.services.file_details.of(ADMIN, "disk", "a").info.version
    (disk / "a").write_bytes(b"newer")
    done = deletions.delete(OPERATOR, "disk", [FileRef("a", seen), FileRef("missing")])
    assert [outcome.kind for outcome in done.outcomes] == [Kind.CHANGED, Kind.NOT_FOUND]
    assert (done.undo_id, (disk / "a").read_bytes()) == ("", b"newer")


def test_a_kill_between_record_and_deletion_leaves_the_file_or_the_way_back(
    deletions: Deletions, disk: Path, console: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    real = LocalDriver.move_to_trash

    def dying(self: LocalDriver, key: str, name: str, *, if_version: str | None = None) -> None:
        if key == "d/c":
            raise Killed
        real(self, key, name, if_version=if_version)

    monkeypatch.setattr(LocalDriver, "move_to_trash", dying)
    with pytest.raises(Killed):
        deletions.delete(OPERATOR, "disk", refs(*FILES))
    with console.database.work_read() as connection:
        (undo_id,) = connection.scalars(select(table.c.id))
    assert listed(console) == ["d/c"]
    outcomes = deletions.undo(OPERATOR, undo_id)
    assert [outcome.kind for outcome in outcomes] == [None, None, Kind.CONFLICT]
    assert listed(console) == FILES


def test_what_expired_is_gone_for_good(deletions: Deletions, disk: Path, console: ServiceConsole) -> None:
    done = deletions.delete(OPERATOR, "disk", refs("a"))
    assert deletions.expire() == 0
    assert len(os.listdir(disk / ".stowage-tmp")) == 1
    with console.database.work_write() as connection:
        connection.execute(update(table).values(expires_at=1.0))
    with pytest.raises(StowageError):
        deletions.undo(OPERATOR, done.undo_id)
    assert deletions.expire() == 1
    assert not (disk / ".stowage-tmp").exists()


def test_a_bucket_without_versions_wants_the_number(
    deletions: Deletions, console: ServiceConsole, moto_s3: MotoS3
) -> None:
    add_s3(console, moto_s3, "bucket")
    driver = console.services.backends.driver("bucket", label="test")
    for key in ("a", "b"):
        driver.put(key, b"x")
    assert not deletions.can_undo(OPERATOR, "bucket")
    for wrong in (None, 1, 3):
        with pytest.raises(InvalidInput) as caught:
            deletions.delete(OPERATOR, "bucket", refs("a", "b"), confirmed=wrong)
        assert caught.value.subject == "confirmed"
    done = deletions.delete(OPERATOR, "bucket", refs("a", "b"), confirmed=2)
    assert (done.undo_id, listed(console, "bucket")) == ("", [])


def test_a_bucket_with_versions_gives_the_newest_back(
    deletions: Deletions, console: ServiceConsole, moto_s3: MotoS3
) -> None:
    add_s3(console, moto_s3, "bucket", versions=True)
    driver: Any = console.services.backends.driver("bucket", label="test")
    for text in (b"1", b"22"):
        driver.put("a", text)
    done = deletions.delete(OPERATOR, "bucket", refs("a"))
    assert listed(console, "bucket") == []
    driver.put("a", b"333")
    (outcome,) = deletions.undo(OPERATOR, done.undo_id)
    assert outcome.kind is Kind.CONFLICT
    driver.delete("a")
    (outcome,) = deletions.undo(OPERATOR, done.undo_id)
    assert outcome.done
    with driver.read("a") as reading:
        assert reading.read_all() == b"22"


def test_without_the_right_to_list_versions_nothing_is_promised(
    deletions: Deletions, console: ServiceConsole, moto_s3: MotoS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: S3Driver, prefix: str = "") -> Any:
        raise StorageError(Kind.DENIED, "These credentials may not list versions.")

    add_s3(console, moto_s3, "bucket", versions=True)
    console.services.backends.driver("bucket", label="test").put("a", b"1")
    monkeypatch.setattr(S3Driver, "versions", denied)
    assert not deletions.can_undo(OPERATOR, "bucket")
    assert deletions.delete(OPERATOR, "bucket", refs("a"), confirmed=1).undo_id == ""
    assert listed(console, "bucket") == []


def test_who_may_not(deletions: Deletions, console: ServiceConsole, tmp_path: Path) -> None:
    add_local(console, tmp_path, "frozen", read_only="true")
    for actor, backend in ((VIEWER, "disk"), (ADMIN, "frozen")):
        with pytest.raises(StowageError) as caught:
            deletions.delete(actor, backend, refs("a"), confirmed=1)
        assert caught.value.kind is Kind.FORBIDDEN
