"""Disks unlike the one the tests run on: full ones, and those that take two names for one."""

from __future__ import annotations

import errno
import json
import os
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import Exists, NotFound, StorageError
from tests.storage.drivers.local.small_disks import run_on
from tests.storage.objects import get, keys_of, stream

Folding = Callable[[bytes], bytes]


class OneName:
    """Stands in for a disk that takes two names for one; no machine at hand has one to mount. The first
    name that came is the one that is kept, as on FAT, NTFS and APFS."""

    def __init__(self, root: Path, folding: Folding, patch: pytest.MonkeyPatch) -> None:
        self._fold = folding
        self._lock = threading.RLock()
        self._listdir = os.listdir
        for name in ("open", "stat", "mkdir", "unlink", "rmdir"):
            patch.setattr(os, name, self._with_folder(getattr(os, name)))
        for name in ("link", "rename"):
            patch.setattr(os, name, self._with_two(getattr(os, name)))

    def _kept(self, name: Any, folder: int | None) -> Any:
        if folder is None or not isinstance(name, bytes) or name in (b".", b".."):
            return name
        names = [os.fsencode(each) for each in self._listdir(folder)]
        return next((each for each in names if self._fold(each) == self._fold(name)), name)

    def _with_folder(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def folded(path: Any, *rest: Any, dir_fd: int | None = None, **named: Any) -> Any:
            with self._lock:
                return call(self._kept(path, dir_fd), *rest, dir_fd=dir_fd, **named)

        return folded

    def _with_two(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def folded(source: Any, target: Any, *, dst_dir_fd: int | None = None, **named: Any) -> Any:
            with self._lock:
                return call(source, self._kept(target, dst_dir_fd), dst_dir_fd=dst_dir_fd, **named)

        return folded


def ignores_normalization(name: bytes) -> bytes:
    return unicodedata.normalize("NFC", name.decode()).encode()


@pytest.fixture
def ignores_case(root: Path, monkeypatch: pytest.MonkeyPatch) -> LocalDriver:
    """A driver on a disk that takes “A” and “a” for one name."""
    OneName(root, bytes.lower, monkeypatch)
    return LocalDriver(root)


def ways_to_write(driver: LocalDriver) -> list[Callable[[str, bytes], object]]:
    return [
        driver.put,
        lambda key, data: driver.put(key, data, create_only=True),
        lambda key, data: stream(driver, key, data),
        lambda key, data: stream(driver, key, data, create_only=True),
    ]


def refused(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    assert caught.value.kind is Kind.CONFLICT
    assert caught.value.remedy
    assert not caught.value.retryable
    return caught.value


@pytest.mark.parametrize("way", range(4))
def test_the_second_of_two_names_that_are_one_is_refused(ignores_case: LocalDriver, way: int) -> None:
    ignores_case.put("Photo.JPG", b"the first", create_only=way % 2 == 1)
    error = refused(lambda: ways_to_write(ignores_case)[way]("photo.jpg", b"the second"))

    assert "“photo.jpg” cannot be written: “Photo.JPG” exists" in error.reason
    assert get(ignores_case, "Photo.JPG") == b"the first"
    assert keys_of(ignores_case) == ["Photo.JPG"]
    ignores_case.close()
    assert os.listdir(ignores_case._tree.root) == [b"Photo.JPG"]


def test_what_has_another_case_is_not_there(ignores_case: LocalDriver) -> None:
    ignores_case.put("Folder/File", b"x")
    for key in ("Folder/file", "folder/File", "FOLDER/FILE"):
        ignores_case.delete(key)
        for call in (ignores_case.read, ignores_case.stat):
            with pytest.raises(NotFound):
                call(key)
    assert keys_of(ignores_case, "folder/") == keys_of(ignores_case, "Folder/f") == []
    assert list(ignores_case.folders("folder")) == []
    assert get(ignores_case, "Folder/File") == b"x"


@pytest.mark.parametrize("way", range(4))
def test_a_folder_of_another_case_takes_nothing_in(ignores_case: LocalDriver, way: int) -> None:
    ignores_case.put("Folder/a", b"x")
    error = refused(lambda: ways_to_write(ignores_case)[way]("folder/b", b"y"))

    assert "“Folder” exists" in error.reason
    refused(lambda: ignores_case.make_folder("FOLDER/new"))
    ignores_case.remove_folder("folder")
    assert keys_of(ignores_case) == ["Folder/a"]


def test_an_empty_folder_of_another_case_stays(ignores_case: LocalDriver) -> None:
    ignores_case.make_folder("Folder")
    refused(lambda: ignores_case.put("folder/b", b"y", create_only=True))
    ignores_case.remove_folder("folder")
    assert list(ignores_case.folders("")) == ["Folder"]


def test_what_is_there_exactly_is_replaced_read_and_deleted(ignores_case: LocalDriver) -> None:
    for data in (b"one", b"two", b"three"):
        ignores_case.put("Folder/File.txt", data)
        assert get(ignores_case, "Folder/File.txt") == data
    with pytest.raises(Exists):
        ignores_case.put("Folder/File.txt", b"x", create_only=True)
    ignores_case.delete("Folder/File.txt")
    assert keys_of(ignores_case) == []
    ignores_case.put("folder/file.txt", b"now this is free")
    assert keys_of(ignores_case) == ["folder/file.txt"]


def test_of_two_at_once_one_is_kept_and_one_refused(ignores_case: LocalDriver) -> None:
    for number in range(20):
        keys = [f"File-{number}", f"fILE-{number}"]
        together, outcomes = threading.Barrier(2), dict[str, str]()

        def put(key: str, together: threading.Barrier = together, said: dict[str, str] = outcomes) -> None:
            together.wait(60)
            try:
                ignores_case.put(key, key.encode())
                said[key] = "kept"
            except StorageError as error:
                said[key] = error.kind.value

        threads = [threading.Thread(target=put, args=(key,)) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes.values()) == ["conflict", "kept"]
        kept = next(key for key, outcome in outcomes.items() if outcome == "kept")
        assert get(ignores_case, kept) == kept.encode()
        assert [key for key in keys_of(ignores_case) if key in keys] == [kept]


def test_two_spellings_of_one_word_are_two_keys(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OneName(root, ignores_normalization, monkeypatch)
    driver = LocalDriver(root)
    composed, taken_apart = "caf\u00e9", "cafe\u0301"
    driver.put(composed, b"composed")
    driver.put("a", b"x")
    driver.put("A", b"on this disk another file")

    refused(lambda: driver.put(taken_apart, b"taken apart"))
    with pytest.raises(NotFound):
        driver.stat(taken_apart)
    assert keys_of(driver) == ["A", "a", composed]
    assert get(driver, composed) == b"composed"


def test_a_link_of_the_other_case_is_no_sign_of_such_a_disk(root: Path) -> None:
    driver = LocalDriver(root)
    (root / "a").write_bytes(b"x")
    os.link(root / "a", root / "A")

    assert get(driver, "a") == get(driver, "A") == b"x"
    driver.put("a", b"y")
    driver.put("b", b"z")
    driver.put("B", b"Z")
    assert [get(driver, key) for key in keys_of(driver)] == [b"x", b"Z", b"y", b"z"]


def test_our_own_folder_is_no_key_in_any_case(root: Path) -> None:
    driver = LocalDriver(root)
    for key in (".stowage-tmp/a", ".Stowage-TMP/a", "deep/.STOWAGE-tmp"):
        with pytest.raises(StorageError, match="unfinished writes"):
            driver.put(key, b"x")


ON_ONE_CASE = """
import json, os, sys
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
folder = os.path.join(sys.argv[1], "f")
os.mkdir(folder)
if os.system(f"chattr +F '{folder}'"): raise SystemExit("chattr +F failed")
driver, said = LocalDriver(folder), []
driver.put("Photo", b"first")
for create_only in (False, True):
    try: driver.put("photo", b"second", create_only=create_only)
    except StorageError as error: said.append(error.kind.value)
with driver.read("Photo") as reading: said.append(reading.read_all().decode())
print(json.dumps(said))
"""


def test_a_real_disk_that_ignores_case(tmp_path: Path) -> None:
    assert json.loads(run_on("casefold", tmp_path, ON_ONE_CASE)) == ["conflict", "conflict", "first"]


ON_A_FULL_DISK = """
import json, os, sys
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
driver, said = LocalDriver(sys.argv[1]), []
driver.put("kept", b"k" * 100_000)

def refused(call):
    try: call()
    except StorageError as error: said.append([error.kind.value, error.reason, error.remedy])

def write(key):
    with driver.write(key) as writing:
        for _ in range(40): writing.write(bytes(50_000))
        writing.commit()

refused(lambda: driver.put("large", bytes(2_000_000)))
refused(lambda: driver.put("new", bytes(2_000_000), create_only=True))
refused(lambda: write("streamed"))
refused(lambda: driver.put("kept", bytes(2_000_000)))
driver.put("still fits", bytes(100_000))
with driver.read("kept") as reading: assert reading.read_all() == b"k" * 100_000
driver.close()
print(json.dumps([said, sorted(os.listdir(sys.argv[1]))]))
"""


def test_a_disk_that_is_full_keeps_what_it_has(tmp_path: Path) -> None:
    said, there = json.loads(run_on("size=1m", tmp_path, ON_A_FULL_DISK))

    assert [kind for kind, _, _ in said] == ["full"] * 4
    assert all(
        reason.endswith("the disk is full.") and "Free some space" in remedy for _, reason, remedy in said
    )
    assert there == ["kept", "still fits"]


def test_a_disk_without_nameless_files_is_no_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OneName(root, bytes.lower, monkeypatch)
    opened = os.open

    def without(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if path == b".":
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", without)
    driver = LocalDriver(root)
    driver.put("A", b"first", create_only=True)
    refused(lambda: driver.put("a", b"second", create_only=True))
    assert get(driver, "A") == b"first"
