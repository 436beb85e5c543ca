"""The local driver: keys, the walls of the root, and reading."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import (
    Changed,
    InvalidKey,
    NotFound,
    StorageError,
)
from dashboard.storage.paths import key_bytes
from dashboard.storage.registry import check_options
from tests.storage.drivers.local.disk import TMP, get, keys_of, open_descriptors


@pytest.fixture
def driver(root: Path) -> Iterator[LocalDriver]:
    made = LocalDriver(str(root))
    yield made
    made.close()


def refusals(driver: LocalDriver, key: str) -> list[Callable[[], object]]:
    return [lambda: driver.read(key), lambda: driver.stat(key), lambda: driver.put(key, b"x")]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "empty"),
        ("a//b", "//"),
        ("/a", "begins"),
        ("a/", "ends"),
        ("..", "“..”"),
        ("a/../../b", "“..”"),
        ("a/./b", "“.”"),
        ("a\0b", "NUL"),
        ("é" * 128, "256 bytes"),
        (f"{TMP}/x", "unfinished"),
        (f"a/{TMP}/x", "unfinished"),
        ("\ud800", "surrogate"),
        ("\udcc3\udca9", "escaped"),
    ],
)
def test_a_key_the_disk_cannot_hold_is_named(driver: LocalDriver, key: str, says: str) -> None:
    with pytest.raises(InvalidKey, match=re.escape(says)) as caught:
        driver.check_key(key)
    assert caught.value.subject == key


def test_names_that_are_not_utf8_round_trip_as_the_same_bytes(driver: LocalDriver, root: Path) -> None:
    for raw in (b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"ok-\xc3\xa9\xc3"):
        (Path(os.fsdecode(os.fsencode(root) + b"/" + raw))).write_bytes(raw)
    for key in keys_of(driver):
        assert get(driver, key) == key_bytes(key)
        driver.put("copy/" + key, b"x")
        assert os.path.exists(os.fsencode(root) + b"/copy/" + key_bytes(key))
        driver.delete(key)
    assert len(keys_of(driver)) == 4


def test_a_name_this_file_system_refuses_is_an_invalid_key(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EILSEQ, "no such letters here")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(InvalidKey) as caught:
        driver.put("a", b"x")
    assert isinstance(caught.value.__cause__, OSError)


# -- never outside the root ---------------------------------------------------------------------------


def test_symbolic_links_are_no_objects(driver: LocalDriver, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "dangling").symlink_to(outside / "made-by-us")
    (root / "up").symlink_to("..")
    assert keys_of(driver) == []
    assert keys_of(driver, "folder/") == []
    for key in ("folder/secret", "file", "up/outside/secret", "dangling"):
        for call in (driver.read, driver.stat):
            with pytest.raises(NotFound):
                call(key)
        for create_only in (False, True):
            with pytest.raises(StorageError) as caught:
                driver.put(key, b"planted", create_only=create_only)
            assert caught.value.kind is Kind.CONFLICT
        driver.delete(key)
    assert sorted(p.name for p in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    assert sorted(p.name for p in root.iterdir() if p.name != TMP) == ["dangling", "file", "folder", "up"]


def test_special_files_are_no_objects_and_do_not_block(driver: LocalDriver, root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert keys_of(driver) == []
    for call in (driver.read, driver.stat):
        with pytest.raises(NotFound):
            call("pipe")
    driver.delete("pipe")
    with pytest.raises(StorageError):
        driver.put("pipe", b"x")
    assert (root / "pipe").is_fifo()


def test_a_folder_swapped_for_a_link_under_way_leads_nowhere(
    driver: LocalDriver, root: Path, tmp_path: Path
) -> None:
    """A folder flips between itself and a link to the outside, thousands of times, under every call."""
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "x").write_text("outside")
    driver.put("a/inner/x", b"inside")
    stop = threading.Event()

    def flip() -> None:
        aside, link = root / "aside", root / "a-link"
        while not stop.is_set():
            os.rename(root / "a", aside)
            os.symlink(outside, link)
            put_in_place(link, root / "a")
            os.unlink(root / "a")
            put_in_place(aside, root / "a")

    def put_in_place(source: Path, target: Path) -> None:
        """A write may have made the folder anew in the gap; that one goes."""
        while True:
            try:
                os.rename(source, target)
            except OSError:
                shutil.rmtree(target, ignore_errors=True)
            else:
                return

    seen: set[bytes] = set()
    actions: list[Callable[[], object]] = [
        lambda: seen.add(get(driver, "a/inner/x")),
        lambda: driver.put("a/inner/y", b"inside"),
        lambda: driver.delete("a/inner/y"),
        lambda: seen.update(get(driver, key) for key in keys_of(driver, "a/")),
    ]
    thread = threading.Thread(target=flip)
    thread.start()
    try:
        began = time.monotonic()
        # On a busy machine the folder may be a link at every look for quite a while.
        while time.monotonic() - began < 1.5 or (not seen and time.monotonic() - began < 60):
            for action in actions:
                with contextlib.suppress(StorageError):
                    action()
    finally:
        stop.set()
        thread.join()
    assert seen == {b"inside"}
    assert sorted(str(p.relative_to(outside)) for p in outside.rglob("*")) == ["inner", "inner/x"]
    assert (outside / "inner" / "x").read_text() == "outside"


def test_a_file_that_changes_under_the_read_is_told(driver: LocalDriver, root: Path) -> None:
    size = 3 << 20

    def grow() -> None:
        with (root / "a").open("ab") as file:
            file.write(b"more")

    def cut() -> None:
        os.truncate(root / "a", 5)

    def rewrite() -> None:
        with (root / "a").open("r+b") as file:
            file.write(b"X" * size)
        os.utime(root / "a", ns=(1, 1))

    def rewrite_quietly() -> None:
        times = (root / "a").stat()
        rewrite()
        os.utime(root / "a", ns=(times.st_atime_ns, times.st_mtime_ns))

    for change in (
        grow,
        cut,
        rewrite,
        rewrite_quietly,
        lambda: driver.put("a", b"new"),
        lambda: driver.delete("a"),
    ):
        driver.put("a", b"x" * size)
        with driver.read("a") as reading:
            pieces = reading.chunks()
            next(pieces)
            change()
            with pytest.raises(Changed):
                list(pieces)


def test_content_types_come_from_the_name_and_from_nothing_else(driver: LocalDriver) -> None:
    for key, expected in {
        "a.html": "text/html",
        "a.JPG": "image/jpeg",
        "x/a.webp": "image/webp",
        "a.tar.gz": "application/gzip",
        "a": None,
        ".html": None,
        "data:text/html,x": None,
        "dir.html/a": None,
    }.items():
        driver.put(key, b"x")
        assert driver.stat(key).attributes.content_type == expected
        assert driver.stat(key).attributes.content_encoding is None


def test_no_descriptor_stays_open(driver: LocalDriver, root: Path) -> None:
    driver.put("a/b/c", b"x")
    before = open_descriptors()
    for _ in range(3):
        driver.put("a/b/c", b"x")
        get(driver, "a/b/c")
        keys_of(driver)
        for key in ("a/b/c/d", "a", "a/x", "..", "a/b"):
            for call in refusals(driver, key):
                try:
                    call()
                except StorageError:
                    continue
                driver.delete(key)
        with driver.write("a/z") as writing:
            writing.write(b"x")
        driver.read("a/b/c")
    assert open_descriptors() == before


# A share that may not be mounted

ELSEWHERE = Path("/dev/shm")


def test_nothing_is_written_below_a_share_that_is_not_mounted(tmp_path: Path) -> None:
    if tmp_path.stat().st_dev != Path("/").stat().st_dev:
        pytest.skip("temporary folders are on a disk of their own here")
    driver = LocalDriver(tmp_path / "share" / "files", mounted=True)
    with pytest.raises(StorageError) as caught:
        driver.create_bucket()
    assert caught.value.kind is Kind.UNREACHABLE
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "share" / "files").mkdir(parents=True)
    (tmp_path / "share" / "files" / "a").write_bytes(b"below the share")
    for call in (
        lambda: driver.put("b", b"x"),
        lambda: get(driver, "a"),
        lambda: driver.stat("a"),
        lambda: list(driver.list()),
        lambda: driver.delete("a"),
        driver.bucket_exists,
        driver.create_bucket,
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert (caught.value.kind, caught.value.retryable) == (Kind.UNREACHABLE, True)
        assert "Nothing is mounted" in caught.value.reason
    driver.close()
    assert [path.name for path in (tmp_path / "share" / "files").iterdir()] == ["a"]


def test_a_mounted_share_is_used_like_any_folder() -> None:
    if not ELSEWHERE.is_dir() or ELSEWHERE.stat().st_dev == Path("/").stat().st_dev:
        pytest.skip("there is no other file system to take for a share here")
    with tempfile.TemporaryDirectory(dir=ELSEWHERE) as folder:
        driver = LocalDriver(f"{folder}/new/files", mounted=True)
        driver.create_bucket()
        driver.put("a/b", b"x")
        assert get(driver, "a/b") == b"x"
        driver.close()


def test_the_preset_for_shares_wants_one_mounted() -> None:
    options = check_options("share", {"root": "/mnt/nas"})
    assert options["mounted"] == "true"
    assert check_options("share", {"root": "/mnt/nas", "mounted": "false"})["mounted"] == "false"
    assert check_options("local", {"root": "/srv/files"})["mounted"] == "false"
