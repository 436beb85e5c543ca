"""What SFTP and FTP share: the folder on the server, and what happens when the server or the line fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.ftp import connection as ftp_connection
from dashboard.storage.drivers.sftp import protocol as sftp_protocol
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.library.backend import Backend
from tests.servers.drivers import ftp_on, sftp_on
from tests.servers.ftp import FtpServer
from tests.servers.sftp import SftpServer
from tests.storage.objects import content_of, get, keys_of, leftovers, stream
from tests.storage.probing import failed_step, run

FileServer = SftpServer | FtpServer


@pytest.fixture(params=[SftpServer, FtpServer], ids=["sftp", "ftp"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileServer]:
    """A server of this test alone, to be broken."""
    (tmp_path / "files").mkdir()
    made: FileServer = request.param(tmp_path / "files")
    yield made
    made.close()


def driver_on(server: FileServer, **more: str) -> Driver:
    return sftp_on(server, **more) if isinstance(server, SftpServer) else ftp_on(server, **more)


@pytest.fixture
def driver(server: FileServer) -> Iterator[Driver]:
    driver = driver_on(server)
    yield driver
    driver.close()


# ---- the folder


def test_a_missing_folder_can_be_made(server: FileServer) -> None:
    driver = driver_on(server, root="deep/er")
    result = run(driver)
    assert failed_step(result, "bucket")
    assert result.can_create_bucket
    for call in (lambda: driver.stat("a"), lambda: driver.put("a", b"x"), lambda: keys_of(driver)):
        with pytest.raises(ContainerMissing):
            call()
    driver.create_bucket()  # type: ignore[attr-defined]
    assert run(driver).passed
    assert (server.root / "deep/er").is_dir()
    driver.close()


def test_a_file_in_the_folders_place_is_a_conflict(server: FileServer) -> None:
    (server.root / "file").write_bytes(b"")
    driver = driver_on(server, root="/file")
    assert "is a file" in failed_step(run(driver), "bucket").message
    driver.close()


# ---- faults


def test_a_full_disk_is_told_and_leaves_nothing(server: FileServer, driver: Driver) -> None:
    driver.put("old", b"kept")
    server.faults.full_after = 3 << 20
    for key in ("old", "new/one"):
        with pytest.raises(StorageError) as caught:
            stream(driver, key, content_of(6 << 20))
        assert caught.value.kind is Kind.FULL
        assert caught.value.subject == key
        assert ".stowage-tmp" not in caught.value.reason
        assert not caught.value.retryable
    server.reset()
    assert get(driver, "old") == b"kept"
    assert keys_of(driver) == ["old"]
    assert leftovers(server.root) == []


def test_a_line_that_breaks_in_a_write_loses_nothing(server: FileServer, driver: Driver) -> None:
    driver.put("old", b"kept")
    began = time.time() - 1
    server.faults.drop_after = 2 << 20
    with pytest.raises(StorageError) as caught:
        stream(driver, "old", content_of(12 << 20))
    assert caught.value.kind is Kind.UNREACHABLE
    assert caught.value.retryable
    server.reset()
    assert get(driver, "old") == b"kept"
    driver.sweep(["old"], since=began)
    assert leftovers(server.root) == []


def test_a_line_that_breaks_in_a_read_is_unreachable(server: FileServer, driver: Driver) -> None:
    driver.put("big", content_of(12 << 20))
    server.reset()
    server.faults.drop_after = 6 << 20
    with pytest.raises(StorageError) as caught:
        get(driver, "big")
    assert caught.value.kind is Kind.UNREACHABLE
    server.reset()
    assert len(get(driver, "big")) == 12 << 20


def test_what_a_killed_program_left_is_swept(server: FileServer, driver: Driver) -> None:
    driver.put("a/other", b"x")
    began = time.time() - 1
    held = driver.write("a/b", size=10)
    later = driver.write("a/c", size=10)
    assert len(leftovers(server.root)) == 2
    assert driver.sweep(["a/b"], since=time.time() + 60) == 0
    assert driver.sweep(["a/b", "a//b"], since=began) == 1
    assert len(leftovers(server.root)) == 1
    held.write(b"0123456789")
    with pytest.raises(StorageError) as caught:
        held.commit()
    assert caught.value.retryable
    later.__exit__(None, None, None)
    assert leftovers(server.root) == []
    assert keys_of(driver) == ["a/other"]


def test_a_silent_server_times_out(
    server: FileServer, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = sftp_protocol if isinstance(server, SftpServer) else ftp_connection
    monkeypatch.setattr(timed, "TIMEOUT_SECONDS", 0.4)
    driver.put("a", b"x")
    server.faults.stall = True
    with pytest.raises(StorageError) as caught:
        get(driver, "a")
    assert caught.value.kind is Kind.TIMEOUT
    assert caught.value.retryable
    server.reset()
    assert get(driver, "a") == b"x"


def test_a_file_changed_under_a_read_is_told(server: FileServer, driver: Driver) -> None:
    driver.put("big", content_of(6 << 20))
    with driver.read("big") as reading:
        pieces = reading.chunks()
        next(pieces)
        (server.root / "big").write_bytes(b"other")
        with pytest.raises(StorageError) as caught:
            list(pieces)
    assert caught.value.kind is Kind.CHANGED


# ---- connections


def test_copies_within_a_backend_do_not_wait_for_themselves(server: FileServer) -> None:
    driver = driver_on(server, connections="2")
    data = content_of(9 << 20)
    driver.put("from", data)
    backend = Backend("files", driver)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: backend.copy("from", f"to-{n}"), range(4)))
    assert all(get(driver, f"to-{n}") == data for n in range(4))
    driver.close()
