"""New files that are flushed together: each as complete, as exclusive and as durable as one that is stored
alone."""

from __future__ import annotations

import errno
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.local import grouping, syncing
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import ContainerMissing, Exists, StorageError
from dashboard.storage.types import Written
from tests.storage.drivers.local.disk import get, keys_of, open_descriptors


@pytest.fixture
def driver(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalDriver]:
    """On whatever file system the tests run: what flushes is looked at by tests of its own."""
    if syncing._LIBC is None or not hasattr(os, "O_TMPFILE"):
        pytest.skip("only Linux from 5.17 on flushes files together")
    monkeypatch.setattr(syncing.FileSystem, "flushes", True)
    monkeypatch.setattr(syncing, "sync_file_system", lambda fd: None)
    monkeypatch.setattr(grouping, "SLOW_SECONDS", 3600.0)
    made = LocalDriver(str(root))
    yield made
    made.close()


def prepare(driver: LocalDriver, *keys: str) -> list[Any]:
    found = [driver.prepare(key, key.encode() * 100) for key in keys]
    assert None not in found
    return found


TEN = [f"a/{number % 2}/{number}" for number in range(10)]


def errors_of(found: list[Written | StorageError]) -> list[Kind]:
    assert all(isinstance(each, StorageError) for each in found)
    return [each.kind for each in found if isinstance(each, StorageError)]


def test_a_group_is_flushed_then_named_then_flushed(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    link = os.link
    monkeypatch.setattr(syncing, "sync_file_system", lambda fd: calls.append("sync"))
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append("sync one"))
    monkeypatch.setattr(os, "link", lambda *a, **more: (calls.append("name"), link(*a, **more)))
    prepared = prepare(driver, *TEN)
    assert list(driver.list()) == []
    assert os.listdir(root) == []
    found = driver.publish(prepared)
    assert calls == ["sync", *["name"] * 10, "sync"]
    assert [each.key for each in found if isinstance(each, Written) and each.proven] == TEN
    assert {key: get(driver, key) for key in keys_of(driver)} == {key: key.encode() * 100 for key in TEN}


def test_a_few_files_are_flushed_one_by_one(driver: LocalDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(syncing, "sync_file_system", lambda fd: calls.append("sync"))
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync one"), fsync(fd)))
    assert all(isinstance(each, Written) for each in driver.publish(prepare(driver, "x", "y")))
    # The folder of both, too.
    assert calls == ["sync one"] * 3
    assert driver.publish([]) == []


def test_a_file_gets_its_own_result(driver: LocalDriver, root: Path) -> None:
    driver.put("taken", b"first")
    (root / "folder").mkdir()
    (root / "link").symlink_to(root / "taken")
    before = open_descriptors()
    prepared = prepare(driver, "taken", "folder", "link", "taken/below", "twice", "twice", "new/free")
    found = driver.publish(prepared)
    assert isinstance(found[0], Exists)
    assert errors_of(found[1:4]) == [Kind.CONFLICT] * 3
    assert not any(isinstance(each, Exists) for each in found[1:4])
    assert isinstance(found[4], Written)
    assert isinstance(found[5], Exists)
    assert isinstance(found[6], Written)
    assert get(driver, "taken") == b"first"
    assert keys_of(driver) == ["new/free", "taken", "twice"]
    prepared.clear()
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.EIO, Kind.DAMAGED), (errno.ENOSPC, Kind.FULL), (errno.EDQUOT, Kind.FULL)],
    ids=["EIO", "ENOSPC", "EDQUOT"],
)
def test_what_could_not_be_flushed_gets_no_name(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: Kind
) -> None:
    sync, told = syncing.sync_file_system, []

    def fail_once(fd: int) -> None:
        # As the kernel does: a descriptor is told once.
        if not told:
            told.append(fd)
            raise OSError(code, os.strerror(code))
        sync(fd)

    monkeypatch.setattr(syncing, "sync_file_system", fail_once)
    late = prepare(driver, *(f"late/{number}" for number in range(6)))
    assert errors_of(driver.publish(prepare(driver, *TEN))) == [kind] * 10
    assert os.listdir(root) == []
    # Written since the same moment: the kernel will not say again that it failed.
    assert errors_of(driver.publish(late)) == [kind] * 6
    assert os.listdir(root) == []
    monkeypatch.setattr(syncing, "sync_file_system", sync)
    assert all(isinstance(each, Written) for each in driver.publish(prepare(driver, *TEN)))


def test_a_few_fail_one_by_one(driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, fsync = prepare(driver, "x", "y"), os.fsync

    def fail(fd: int) -> None:
        if fd == prepared[0].file:
            raise OSError(errno.EIO, "lost")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail)
    found = driver.publish(prepared)
    assert errors_of(found[:1]) == [Kind.DAMAGED]
    assert isinstance(found[1], Written)
    assert os.listdir(root) == ["y"]


def test_names_that_could_not_be_flushed_are_not_acknowledged(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fail_second(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(syncing, "sync_file_system", fail_second)
    assert errors_of(driver.publish(prepare(driver, *TEN))) == [Kind.DAMAGED] * 10


def patch_link(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None]) -> None:
    link, calls = os.link, []

    def linked(*args: Any, **more: Any) -> None:
        calls.append(1)
        before(len(calls))
        link(*args, **more)

    monkeypatch.setattr(os, "link", linked)


def test_a_folder_that_is_removed_meanwhile_is_made_again(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_link(monkeypatch, lambda number: shutil.rmtree(root / "a") if number in (1, 2) else None)
    assert all(isinstance(each, Written) for each in driver.publish(prepare(driver, *TEN)))
    assert keys_of(driver) == sorted(TEN)


def test_a_folder_on_another_disk_gets_its_files_too(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def across(number: int) -> None:
        if number == 3:
            raise OSError(errno.EXDEV, "another disk")

    patch_link(monkeypatch, across)
    assert all(isinstance(each, Written) and each.proven for each in driver.publish(prepare(driver, *TEN)))
    assert {get(driver, key) for key in TEN} == {key.encode() * 100 for key in TEN}


def test_a_root_that_was_moved_away_gets_nothing_any_more(driver: LocalDriver, root: Path) -> None:
    prepared = prepare(driver, *TEN)
    root.rename(root.parent / "away")
    missing = driver.publish(prepared)
    assert all(isinstance(each, ContainerMissing) for each in missing)
    assert os.listdir(root.parent / "away") == []
    with pytest.raises(ContainerMissing):
        driver.prepare("x", b"")


def test_what_is_discarded_leaves_nothing(driver: LocalDriver, root: Path) -> None:
    before = open_descriptors()
    prepared = prepare(driver, *TEN)
    for each in prepared[:5]:
        each.discard()
        each.discard()
    # A killed program closes its descriptors, too.
    del prepared, each
    assert open_descriptors() == before
    assert os.listdir(root) == []


@pytest.mark.parametrize("lacks", ["flushing together", "files without a name"])
def test_where_a_disk_cannot_files_are_stored_alone(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    before = open_descriptors()
    if lacks == "flushing together":
        monkeypatch.setattr(syncing.FileSystem, "flushes", False)
    else:
        monkeypatch.setattr("dashboard.storage.drivers.local.tmpfile._TMPFILE_FLAGS", 0)
    assert driver.prepare("x", b"") is None
    assert driver.prepare("x", b"") is None
    assert open_descriptors() == before


def test_a_disk_that_others_keep_busy_is_not_flushed_as_a_whole(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "SLOW_SECONDS", -1.0)
    assert all(isinstance(each, Written) for each in driver.publish(prepare(driver, *TEN)))
    assert driver.prepare("x", b"") is None


@pytest.mark.parametrize(("release", "able"), [("5.16.20-generic", False), ("5.17.0", True), ("odd", False)])
def test_only_kernels_that_report_every_error_are_trusted(
    monkeypatch: pytest.MonkeyPatch, release: str, able: bool
) -> None:
    monkeypatch.setattr(platform, "release", lambda: release)
    monkeypatch.setattr("sys.platform", "linux")
    libc = syncing._load()
    assert (libc is not None) is (able and hasattr(os, "O_TMPFILE"))


def test_only_known_file_systems_are_flushed_together(tmp_path: Path) -> None:
    folder = syncing.FileSystem(os.open(tmp_path, os.O_RDONLY))
    if syncing._LIBC is None:
        assert not folder.flushes
    elif Path("/proc/self").exists():
        # Nothing that is stored.
        assert not syncing.FileSystem(os.open("/proc", os.O_RDONLY)).flushes


def test_a_folder_that_is_no_folder_cannot_be_flushed(tmp_path: Path) -> None:
    if syncing._LIBC is None:
        pytest.skip("only Linux from 5.17 on flushes files together")
    folder = syncing.FileSystem(os.open(tmp_path, os.O_RDONLY))
    folder.flush()
    spare = os.dup(folder.fd)
    os.close(folder.fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        folder.flush()
    os.dup2(spare, folder.fd)
    os.close(spare)
    # What was told once is told again.
    with pytest.raises(OSError, match="Bad file descriptor"):
        folder.flush()
