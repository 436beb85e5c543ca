"""New files without a name before they are whole, and what happens where a disk has none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import Exists, StorageError
from tests.storage.drivers.local.disk import TMP, get, keys_of, open_descriptors

pytestmark = pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has nameless files")


@pytest.fixture
def driver(root: Path) -> Iterator[LocalDriver]:
    made = LocalDriver(str(root))
    yield made
    made.close()


def test_a_new_file_is_synced_then_named_then_its_folder_synced(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, link = os.fsync, os.link

    def watched_fsync(fd: int) -> None:
        where = os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(root))
        calls.append("sync file" if "(deleted)" in where else f"sync {where or '/'}")
        fsync(fd)

    def watched_link(source: str, target: bytes, **how: Any) -> None:
        calls.append(f"name {os.fsdecode(target)}")
        link(source, target, **how)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "link", watched_link)
    written = driver.put("one/x", b"content", create_only=True)
    assert written.proven
    assert calls == ["sync /", "sync file", "name x", "sync /one"]
    assert get(driver, "one/x") == b"content"
    assert os.listdir(root) == ["one"], "not even a folder of unfinished writes was needed"


def test_a_taken_key_is_left_alone_whatever_holds_it(driver: LocalDriver, root: Path) -> None:
    driver.put("file", b"first")
    (root / "folder").mkdir()
    (root / "link").symlink_to(root / "file")
    before = open_descriptors()
    with pytest.raises(Exists):
        driver.put("file", b"second", create_only=True)
    for key in ("folder", "link"):
        with pytest.raises(StorageError) as caught:
            driver.put(key, b"second", create_only=True)
        assert caught.value.kind is Kind.CONFLICT
    assert get(driver, "file") == b"first"
    assert open_descriptors() == before


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def test_a_disk_without_nameless_files_is_asked_once(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    asked: list[bytes] = []
    really = os.open

    def refusing(path: Any, flags: int, *rest: Any, **how: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            asked.append(path)
            raise OSError(code, os.strerror(code))
        return really(path, flags, *rest, **how)

    monkeypatch.setattr(os, "open", refusing)
    for number in range(3):
        assert driver.put(f"a/{number}", b"x", create_only=True).proven
    with pytest.raises(Exists):
        driver.put("a/1", b"y", create_only=True)
    assert len(asked) == 1
    assert keys_of(driver) == ["a/0", "a/1", "a/2"]
    assert os.listdir(root / TMP) == []


def test_a_disk_that_names_nothing_afterwards_is_written_the_other_way(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a container without ``/proc``, or a file system that forbids this link."""
    link = os.link

    def refusing(source: Any, target: Any, **how: Any) -> None:
        if isinstance(source, str):
            raise OSError(errno.EPERM, "not this way")
        link(source, target, **how)

    monkeypatch.setattr(os, "link", refusing)
    assert driver.put("a/b", b"x", create_only=True).proven
    assert get(driver, "a/b") == b"x"


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_failing_disk_leaves_neither_file_nor_folder(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*args: object, **kwargs: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # The folder's own sync comes first and is not what fails here.
    (root / "new").mkdir()
    driver.put("new/before", b"")
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StorageError) as caught:
            driver.put("new/a", b"content", create_only=True)
    assert caught.value.kind is Kind.FULL
    assert keys_of(driver) == ["new/before"]
    assert open_descriptors() == before
    driver.delete("new/before")
    assert not (root / "new").exists()


def test_a_folder_that_is_removed_in_between_is_made_again(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, removed = os.link, []

    def racing(source: str, target: bytes, **how: Any) -> None:
        if not removed:
            removed.append(os.rmdir(root / "f"))
        link(source, target, **how)

    monkeypatch.setattr(os, "link", racing)
    assert driver.put("f/x", b"1", create_only=True).proven
    assert get(driver, "f/x") == b"1"
    assert removed
