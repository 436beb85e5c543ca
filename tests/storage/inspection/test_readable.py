"""Folders that may not be read: ``list`` raises, ``list_readable`` tells of them and goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver, ListsReadable
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.listing import list_readable
from dashboard.storage.probe import probe
from dashboard.storage.wrappers.compressed.driver import Compressed
from dashboard.storage.wrappers.encrypted.driver import Encrypted
from dashboard.storage.wrappers.read_only import ReadOnly
from tests.servers.drivers import ftp_on, sftp_on, webdav_at
from tests.servers.faults import FaultProxy
from tests.servers.ftp import FtpServer
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebDAV
from tests.storage.locked import LOCKED, Locked

KEYS = ["a", f"{LOCKED}/b", f"{LOCKED}/deep/c", "z/d"]
READABLE = ["a", "z/d"]


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch, root: Path) -> tuple[LocalDriver, Locked]:
    driver = LocalDriver(str(root))
    fill(driver)
    return driver, Locked(monkeypatch)


def fill(driver: Driver) -> None:
    for key in KEYS:
        driver.put(key, b"x" * len(key))


def readable(
    driver: Driver, prefix: str = "", enters: Callable[[str], bool] = lambda folder: True
) -> tuple[list[str], list[tuple[str, Kind]]]:
    told: list[tuple[str, Kind]] = []
    entries = list_readable(
        driver, prefix, unreadable=lambda folder, error: told.append((folder, error.kind)), enters=enters
    )
    return [entry.key for entry in entries], told


def check(driver: Driver) -> None:
    """What every driver that has folders promises, with ``LOCKED`` locked."""
    assert isinstance(driver, ListsReadable)
    with pytest.raises(StorageError) as caught:
        list(driver.list())
    assert caught.value.kind is Kind.DENIED
    assert readable(driver) == (READABLE, [(f"{LOCKED}/", Kind.DENIED)])
    assert readable(driver, f"{LOCKED}/") == ([], [(f"{LOCKED}/", Kind.DENIED)])
    assert readable(driver, enters=lambda folder: folder != f"{LOCKED}/") == (READABLE, [])


def test_of_a_disk(locked: tuple[LocalDriver, Locked]) -> None:
    driver, lock = locked
    check(driver)
    lock.tried = 0
    readable(driver, enters=lambda folder: False)
    assert lock.tried == 0


def test_of_a_disk_that_is_broken_in_one_place(locked: tuple[LocalDriver, Locked]) -> None:
    driver, lock = locked
    lock.code = errno.EIO
    assert readable(driver) == (READABLE, [(f"{LOCKED}/", Kind.DAMAGED)])


def test_a_share_that_is_gone_is_no_matter_of_one_folder(locked: tuple[LocalDriver, Locked]) -> None:
    driver, lock = locked
    lock.code = errno.ESTALE
    with pytest.raises(StorageError) as caught:
        readable(driver)
    assert caught.value.kind is Kind.UNREACHABLE


def test_a_place_that_may_not_be_read_raises(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / LOCKED).mkdir()
    Locked(monkeypatch)
    monkeypatch.chdir(root)
    with pytest.raises(StorageError):
        readable(LocalDriver(LOCKED))


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[SftpServer]:
    (tmp_path / "sftp").mkdir()
    server = SftpServer(tmp_path / "sftp")
    yield server
    server.close()


def test_of_an_sftp_server(sftp: SftpServer) -> None:
    driver = sftp_on(sftp)
    fill(driver)
    sftp.faults.locked = LOCKED.encode()
    check(driver)
    driver.close()


@pytest.mark.parametrize("lacks", [(), ("MLSD", "MLST")], ids=["MLSD", "LIST"])
def test_of_an_ftp_server(tmp_path: Path, lacks: tuple[str, ...]) -> None:
    (tmp_path / "ftp").mkdir()
    server = FtpServer(tmp_path / "ftp", lacks=lacks)
    driver = ftp_on(server)
    fill(driver)
    server.faults.locked = LOCKED
    check(driver)
    driver.close()
    server.close()


def test_of_a_webdav_server(webdav_server: WebDAV) -> None:
    with FaultProxy(webdav_server.server) as proxy:
        driver = webdav_at(f"{proxy.endpoint}/files", "unreadable")
        driver.create_bucket()  # type: ignore[attr-defined]
        fill(driver)
        proxy.answer(403, "", key=f"{LOCKED}/", method="PROPFIND", times=None)
        check(driver)
        driver.close()


def test_through_wrappers(locked: tuple[LocalDriver, Locked]) -> None:
    driver, _ = locked
    for wrapped in (ReadOnly(driver), ReadOnly(ReadOnly(driver)), Compressed(driver, frozenset({"txt"}))):
        check(wrapped)
    sealed = Encrypted(driver, b"k" * 32)
    sealed.put("m/sealed", b"12345")
    assert isinstance(sealed, ListsReadable)
    told: list[str] = []
    listed = sealed.list_readable("m/", unreadable=lambda folder, error: told.append(folder))
    assert [(entry.key, entry.size) for entry in listed] == [("m/sealed", 5)]
    listed = sealed.list_readable(LOCKED, unreadable=lambda folder, error: told.append(folder))
    assert [entry.key for entry in listed] == []
    assert told == [f"{LOCKED}/"]


def test_what_has_no_folders_is_simply_listed() -> None:
    driver = MemoryDriver()
    fill(driver)
    assert not isinstance(driver, ListsReadable)
    assert readable(driver) == (sorted(KEYS), [])


def test_the_connection_test_passes_beside_such_a_folder(locked: tuple[LocalDriver, Locked]) -> None:
    steps = {step.name: step.state for step in probe(ReadOnly(locked[0]))}
    assert steps["list"] == "passed"
