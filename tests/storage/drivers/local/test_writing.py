"""The local driver: writes are whole or nothing, and failures are told in words."""

from __future__ import annotations

import errno
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import (
    ContainerMissing,
    Exists,
    StorageError,
    Unsupported,
)
from tests.storage.drivers.local.disk import TMP, get, keys_of


@pytest.fixture
def driver(root: Path) -> Iterator[LocalDriver]:
    made = LocalDriver(str(root))
    yield made
    made.close()


def test_a_file_and_a_folder_of_one_name_are_refused_in_words(driver: LocalDriver) -> None:
    driver.put("a", b"file")
    driver.put("b/c", b"in a folder")
    for key in ("a/b", "a/b/c", "b"):
        with pytest.raises(StorageError) as caught:
            driver.put(key, b"x")
        assert caught.value.kind is Kind.CONFLICT
        assert not isinstance(caught.value, Exists)
        assert not caught.value.retryable
        assert caught.value.remedy
    assert keys_of(driver) == ["a", "b/c"]


def test_bytes_are_synced_before_they_are_named_and_the_folder_after(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def watched_fsync(fd: int) -> None:
        calls.append(("sync", os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(root))))
        fsync(fd)

    def watched_rename(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        calls.append(("rename", os.fsdecode(target)))
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    driver.put("one/two/x", b"1")
    kinds = [(what, re.sub(f"/{TMP}/.*", "/tmp", where)) for what, where in calls]
    assert kinds == [("sync", "/tmp"), ("sync", ""), ("sync", "/one"), ("rename", "x"), ("sync", "/one/two")]
    calls.clear()
    driver.put("one/two/y", b"1")
    assert [what for what, _ in calls] == ["sync", "rename", "sync"]


def test_a_folder_made_again_is_made_durable_again(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.put("one/x", b"1")
    driver.delete("one/x")
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1]
    )
    driver.put("one/x", b"1")
    assert len(synced) == 3


def test_a_stream_of_another_length_than_announced_is_not_stored(driver: LocalDriver) -> None:
    for content in (b"short", b"too long by far"):
        with driver.write("a", size=10) as writing:
            writing.write(content)
            with pytest.raises(StorageError, match="10 bytes") as caught:
                writing.commit()
        assert caught.value.kind is Kind.DAMAGED
    assert keys_of(driver) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, Kind.FULL),
        (errno.EDQUOT, Kind.FULL),
        (errno.EFBIG, Kind.TOO_LARGE),
        (errno.EROFS, Kind.DENIED),
        (errno.EACCES, Kind.DENIED),
        (errno.ESTALE, Kind.UNREACHABLE),
        (errno.EMFILE, Kind.THROTTLED),
        (errno.EIO, Kind.DAMAGED),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failing_disk_is_told_in_words_and_leaves_nothing(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: Kind, call: str
) -> None:
    driver.put("a", b"old")
    with monkeypatch.context() as patch:

        def fail(*args: object, **kwargs: object) -> int:
            raise OSError(code, os.strerror(code))

        patch.setattr(os, call, fail)
        with pytest.raises(StorageError) as caught:
            driver.put("a", b"new content")
    error = caught.value
    assert error.kind is kind
    assert error.remedy
    assert error.subject == "a"
    assert isinstance(error.__cause__, OSError)
    assert get(driver, "a") == b"old"
    assert os.listdir(root / TMP) == []


def test_a_file_system_that_takes_no_file_this_large_is_not_full(driver: LocalDriver) -> None:
    """The kernel's own limit on file size stands in for that of a file system."""
    script = (
        "import resource, signal, sys\n"
        "from dashboard.storage.drivers.local.driver import LocalDriver\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: LocalDriver(sys.argv[1]).put('big', bytes(200_000))\n"
        "except Exception as error: print(error.kind, error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", script, driver._tree.root.decode()], capture_output=True, text=True, check=True
    ).stdout
    assert out.startswith("too_large ")
    assert keys_of(driver) == []


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder of one's own, and no rights beyond it: root, who may do everything, steps down."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_a_folder_without_permission_is_denied(as_nobody: Path) -> None:
    driver = LocalDriver(str(as_nobody))
    driver.put("a/b", b"x")
    (as_nobody / "a").chmod(0o000)
    calls = [lambda: get(driver, "a/b"), lambda: keys_of(driver), lambda: driver.put("a/c", b"")]
    for call in [*calls, lambda: driver.stat("a/b"), lambda: driver.delete("a/b")]:
        with pytest.raises(StorageError, match="may not") as caught:
            call()
        assert caught.value.kind is Kind.DENIED
    (as_nobody / "a").chmod(0o500)
    assert get(driver, "a/b") == b"x"
    for call in [lambda: driver.put("a/c", b""), lambda: driver.delete("a/b")]:
        with pytest.raises(StorageError, match="may not"):
            call()
    (as_nobody / "a").chmod(0o700)
    driver.close()


def test_a_missing_root_is_not_a_missing_object(tmp_path: Path) -> None:
    driver = LocalDriver(str(tmp_path / "gone" / "away"))
    for call in (
        lambda: driver.read("a"),
        lambda: driver.stat("a"),
        lambda: driver.put("a", b""),
        lambda: driver.delete("a"),
        lambda: keys_of(driver),
        lambda: keys_of(driver, "a/b//c"),
    ):
        with pytest.raises(ContainerMissing) as caught:
            call()
        assert caught.value.kind is Kind.NOT_FOUND
        assert "mount" in caught.value.remedy
    assert driver.bucket_exists() is False
    driver.create_bucket()
    driver.create_bucket()
    assert driver.bucket_exists()
    driver.put("a", b"x")
    driver.close()


def test_a_file_in_the_roots_place_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        driver = LocalDriver(str(path))
        with pytest.raises(StorageError, match="is a file or lies below one"):
            driver.create_bucket()
        with pytest.raises(ContainerMissing):
            keys_of(driver)


def test_a_disk_without_hard_links_says_that_it_cannot_create_only(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(Unsupported):
        driver.put("a", b"x", create_only=True)
    assert keys_of(driver) == []


@pytest.mark.parametrize("create_only", [False, True])
def test_a_folder_on_another_file_system_is_written_within_it(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch, create_only: bool
) -> None:
    """Mounting needs rights a test has not, so the kernel's EXDEV is played for the root's own folder."""
    rename, link = os.rename, os.link
    top = os.stat(root)

    def far(call: Callable[..., None]) -> Callable[..., None]:
        def crossing(
            source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int, **more: object
        ) -> None:
            if os.path.samestat(os.stat("..", dir_fd=src_dir_fd), top):
                raise OSError(errno.EXDEV, "cross-device")
            call(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **more)

        return crossing

    monkeypatch.setattr(os, "rename", far(rename))
    monkeypatch.setattr(os, "link", far(link))
    content = random.Random(3).randbytes(3_000_000)
    with driver.write("mount/x", create_only=create_only) as writing:
        writing.write(content)
        assert writing.commit().proven
    assert get(driver, "mount/x") == content
    assert keys_of(driver) == ["mount/x"]
    assert os.listdir(root / TMP) == os.listdir(root / "mount" / TMP) == []
    (root / "mount" / TMP / "stale").write_text("not ours")
    driver.sweep(["mount/y"], since=0)
    assert (root / "mount" / TMP / "stale").exists()
