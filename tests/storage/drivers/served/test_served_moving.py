"""Renaming on file servers: never over another file, and never lost, wherever the connection breaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.sftp.session import SftpSession
from dashboard.storage.errors import Exists, StorageError, Unsupported
from dashboard.storage.object_powers import MovesWithin
from tests.servers.drivers import sftp_on
from tests.servers.faults import FaultProxy
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebDAV
from tests.storage.drivers.webdav.test_driver import webdav_at
from tests.storage.objects import get, keys_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    (tmp_path / "sftp").mkdir()
    made = SftpServer(tmp_path / "sftp")
    yield made
    made.close()


def moving(driver: Driver) -> MovesWithin:
    assert isinstance(driver, MovesWithin)
    return driver


def lose_answer_of(monkeypatch: pytest.MonkeyPatch, name: str, *, first: bool = True) -> None:
    """The connection breaks after (or before) the server has done the first call of this name."""
    original, calls = getattr(SftpSession, name), []

    def lost(self: SftpSession, *paths: bytes) -> None:
        calls.append(paths)
        if len(calls) > 1:
            return original(self, *paths)
        if first:
            original(self, *paths)
        self.broken = True
        raise StorageError(Kind.UNREACHABLE, "The connection was lost.", operation=name)

    monkeypatch.setattr(SftpSession, name, lost)


def test_sftp_a_lost_answer_to_the_removal_is_no_failure(
    server: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = sftp_on(server)
    driver.put("in/a", b"one")
    lose_answer_of(monkeypatch, "remove")
    moving(driver).move_within("in/a", "out/a")
    assert keys_of(driver) == ["out/a"]
    assert get(driver, "out/a") == b"one"


@pytest.mark.parametrize(("name", "first"), [("remove", False), ("link", True), ("link", False)])
def test_sftp_a_connection_that_breaks_leaves_the_file_under_at_least_one_name(
    server: SftpServer, monkeypatch: pytest.MonkeyPatch, name: str, first: bool
) -> None:
    driver = sftp_on(server)
    driver.put("a", b"one")
    lose_answer_of(monkeypatch, name, first=first)
    with pytest.raises(StorageError) as caught:
        moving(driver).move_within("a", "b")
    assert caught.value.kind is Kind.UNREACHABLE
    assert "a" in keys_of(driver)
    assert get(driver, "a") == b"one"
    assert all(get(driver, key) == b"one" for key in keys_of(driver))


def test_sftp_another_writer_wins_the_name(server: SftpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, other = sftp_on(server), sftp_on(server)
    driver.put("a", b"one")
    original = SftpSession.link

    def beaten(self: SftpSession, path: bytes, to: bytes) -> None:
        monkeypatch.undo()
        other.put("b", b"theirs")
        original(self, path, to)

    monkeypatch.setattr(SftpSession, "link", beaten)
    with pytest.raises(Exists):
        moving(driver).move_within("a", "b")
    assert (get(driver, "a"), get(driver, "b")) == (b"one", b"theirs")


def test_sftp_what_somebody_writes_meanwhile_is_not_removed(
    server: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, other = sftp_on(server), sftp_on(server)
    driver.put("a", b"one")
    original = SftpSession.link

    def overtaken(self: SftpSession, path: bytes, to: bytes) -> None:
        monkeypatch.undo()
        original(self, path, to)
        other.put("a", b"written meanwhile")

    monkeypatch.setattr(SftpSession, "link", overtaken)
    with pytest.raises(StorageError) as caught:
        moving(driver).move_within("a", "b")
    assert "was changed by somebody else" in caught.value.reason
    assert (get(driver, "a"), get(driver, "b")) == (b"written meanwhile", b"one")


def test_sftp_a_file_replaces_its_own_second_name(server: SftpServer, tmp_path: Path) -> None:
    """What an interrupted move has left."""
    driver = sftp_on(server)
    driver.put("a", b"one")
    (tmp_path / "sftp" / "b").hardlink_to(tmp_path / "sftp" / "a")
    moving(driver).move_within("a", "b", replace=True)
    assert keys_of(driver) == ["b"]
    assert sorted(path.name for path in (tmp_path / "sftp").iterdir()) == ["b"]


def test_sftp_without_hard_links_files_are_copied(
    server: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SftpSession, "supports_create_only", lambda self: False)
    driver = sftp_on(server)
    driver.put("a", b"one")
    with pytest.raises(Unsupported):
        moving(driver).move_within("a", "b")
    assert keys_of(driver) == ["a"]


@pytest.fixture
def proxy(webdav_server: WebDAV) -> Iterator[FaultProxy]:
    with FaultProxy(webdav_server.server) as proxy:
        yield proxy


@pytest.fixture
def watched(webdav_server: WebDAV, proxy: FaultProxy) -> Iterator[Driver]:
    driver = webdav_at(f"{proxy.endpoint}/files", webdav_server.new_folder())
    yield driver
    driver.close()


def test_webdav_a_move_whose_answer_is_lost_has_happened(watched: Driver, proxy: FaultProxy) -> None:
    watched.put("a", b"one")
    lost = proxy.lose_answer(method="MOVE")
    moving(watched).move_within("a", "deep/b")
    assert lost.hits == 1
    assert keys_of(watched) == ["deep/b"]
    assert get(watched, "deep/b") == b"one"


def test_webdav_a_replacing_move_whose_answers_are_lost_loses_nothing(
    watched: Driver, proxy: FaultProxy
) -> None:
    watched.put("a", b"one")
    watched.put("deep/b", b"older")
    # The first MOVE is refused by the server, because the name is taken; the second one replaces.
    for _ in range(2):
        proxy.lose_answer(method="MOVE")
        with suppress(StorageError):
            moving(watched).move_within("a", "deep/b", replace=True)
        found = {key: get(watched, key) for key in keys_of(watched)}
        assert b"one" in found.values()
    proxy.clear()
    if "a" in found:
        moving(watched).move_within("a", "deep/b", replace=True)
    assert get(watched, "deep/b") == b"one"
    assert keys_of(watched) == ["deep/b"]


def test_webdav_a_move_that_never_arrived_is_an_error(watched: Driver, proxy: FaultProxy) -> None:
    watched.put("a", b"one")
    proxy.answer(500, "", method="MOVE", times=None)
    with pytest.raises(StorageError):
        moving(watched).move_within("a", "b")
    proxy.clear()
    assert keys_of(watched) == ["a"]


def test_webdav_another_writer_wins_the_name(watched: Driver, proxy: FaultProxy) -> None:
    watched.put("a", b"one")
    proxy.then(lambda: watched.put("b", b"theirs"), method="PROPFIND", key="/b")
    with pytest.raises(Exists):
        moving(watched).move_within("a", "b")
    assert (get(watched, "a"), get(watched, "b")) == (b"one", b"theirs")
