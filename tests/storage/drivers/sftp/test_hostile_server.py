"""What an SFTP server may say that is not true, and that none of it passes for the truth."""

from __future__ import annotations

import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count, repeat

import paramiko
import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.common import walking
from dashboard.storage.drivers.sftp import ssh
from dashboard.storage.drivers.sftp.options import fingerprint
from dashboard.storage.drivers.sftp.protocol import ReplyType, RequestType, Status, string
from dashboard.storage.errors import Damaged, StorageError
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.hostile.http import HostileServer
from tests.servers.hostile.sftp import (
    FOLDER,
    HostileSftpChannel,
    Packets,
    Respond,
    ScriptedSftpDriver,
    attrs,
    names,
    packet,
    status,
)
from tests.storage.objects import get

A, B = (b"a", attrs()), (b"b", attrs(size=2))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "backoff", lambda attempt: None)


def told(
    script: Mapping[RequestType, Respond], *, greeting: bytes | None = None
) -> tuple[Driver, list[HostileSftpChannel]]:
    """A driver, and the connections it has made."""
    lines: list[HostileSftpChannel] = []

    def connect() -> HostileSftpChannel:
        lines.append(HostileSftpChannel(script, greeting=greeting))
        return lines[-1]

    return ScriptedSftpDriver(connect), lines


def listing(*parts: Respond) -> Mapping[RequestType, Respond]:
    """Answers to READDIR: one after the other, from the start again for each folder that is opened."""
    turn = count()

    def opened(number: int, body: bytes) -> bytes:
        nonlocal turn
        turn = count()
        return packet(ReplyType.HANDLE, number, string(b"handle"))

    def read(number: int, body: bytes) -> Packets:
        return parts[next(turn) % len(parts)](number, body)

    return {RequestType.OPENDIR: opened, RequestType.READDIR: read}


def fails(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    assert caught.value.reason.endswith(".")
    return caught.value


def keys_of(driver: Driver) -> list[str]:
    return [entry.key for entry in driver.list()]


def some(number: int, body: bytes) -> Packets:
    return names(number, A, B)


def end(number: int, body: bytes) -> Packets:
    return status(number, Status.EOF)


def test_an_honest_listing_is_read() -> None:
    driver, _ = told(listing(some, end))
    assert keys_of(driver) == ["a", "b"]


BROKEN_LISTINGS: dict[str, Respond] = {
    "a failure": lambda number, body: status(number, Status.FAILURE),
    "no such file": lambda number, body: status(number, Status.NO_SUCH_FILE),
    "not permitted": lambda number, body: status(number, Status.PERMISSION_DENIED),
    "a connection lost": lambda number, body: status(number, Status.CONNECTION_LOST),
    "fine": lambda number, body: status(number, Status.OK),
    "silence": lambda number, body: b"",
    "half a packet": lambda number, body: names(number, A)[:-3],
    "a packet beyond all measure": lambda number, body: struct.pack(">IBI", 1 << 31, ReplyType.NAME, number),
    "a packet of nothing": lambda number, body: struct.pack(">I", 0),
    "a part of no names": lambda number, body: names(number),
    "more names than it holds": lambda number, body: names(number, A, count=1000),
    "a name longer than its packet": lambda number, body: packet(
        ReplyType.NAME, number, struct.pack(">II", 1, 1 << 30)
    ),
    "an answer to another request": lambda number, body: names(number + 7, A),
    "another kind of answer": lambda number, body: packet(ReplyType.DATA, number, string(b"a")),
    "a file without a size": lambda number, body: names(number, (b"c", attrs(size=None))),
    "a path": lambda number, body: names(number, (b"../c", attrs())),
    "no name": lambda number, body: names(number, (b"", attrs())),
    "a name with a zero": lambda number, body: names(number, (b"c\0d", attrs())),
    "a name longer than any": lambda number, body: names(number, (b"x" * 5000, attrs())),
    "a name that comes twice": lambda number, body: names(number, (b"a", attrs(size=3))),
}


@pytest.mark.parametrize("lie", BROKEN_LISTINGS)
def test_a_listing_is_whole_or_an_error(lie: str) -> None:
    driver, lines = told(listing(some, BROKEN_LISTINGS[lie], end))
    seen: list[str] = []
    fails(lambda: seen.extend(keys_of(driver)))
    assert not seen
    assert 1 <= sum(line.asked.count(RequestType.OPENDIR) for line in lines) <= 3


def test_a_listing_that_was_cut_once_is_asked_for_again() -> None:
    cut, failed = BROKEN_LISTINGS["half a packet"], BROKEN_LISTINGS["a failure"]
    turn = iter([some, failed, some, cut, some, end])
    driver, _ = told({RequestType.READDIR: lambda number, body: next(turn)(number, body)})
    assert keys_of(driver) == ["a", "b"]


def test_a_folder_that_is_there_and_cannot_be_opened_is_not_an_empty_one() -> None:
    script = {
        **listing(some, end),
        RequestType.OPENDIR: lambda number, body: status(number, Status.NO_SUCH_FILE),
    }
    fails(lambda: keys_of(told(script)[0]))


def test_folders_that_lead_back_into_themselves_come_to_an_end() -> None:
    driver, _ = told(listing(lambda number, body: names(number, (b"round" * 50, attrs(FOLDER))), end))
    assert "circle" in fails(lambda: keys_of(driver)).reason


def _many(number: int, body: bytes, *, mode: int) -> bytes:
    at = next(_NUMBERS)
    return names(number, *((b"%d-%d-%s" % (at, each, b"x" * 200), attrs(mode)) for each in range(200)))


_NUMBERS = count()
ENDLESS: dict[str, Respond] = {
    "files": lambda number, body: _many(number, body, mode=0o100644),
    "folders": lambda number, body: _many(number, body, mode=FOLDER),
    "the folder itself": lambda number, body: names(number, *[(b".", attrs(FOLDER))] * 200),
    "answers nobody asked for": lambda number, body: (
        status(number + each, Status.OK) for each in range(1, 1_000_000)
    ),
    "one answer, over and over": lambda number, body: repeat(names(number, A)),
}


@pytest.mark.parametrize("lie", ENDLESS)
def test_a_listing_without_end_costs_little(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "RUN_LENGTH", 500)
    monkeypatch.setattr(walking, "MAX_RUNS", 8)
    monkeypatch.setattr(walking, "MAX_LISTED", 6_000)
    monkeypatch.setattr(walking, "MAX_COLLECTED_BYTES", 1 << 20)
    driver, lines = told(listing(ENDLESS[lie]))
    tracemalloc.start()
    try:
        for look in (lambda: keys_of(driver), lambda: driver.folders("")):  # type: ignore[attr-defined]
            fails(look)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert sum(line.sent for line in lines) < 64 * 1024 * 1024


# Files


@pytest.mark.parametrize(
    "data",
    [
        lambda number, body: packet(ReplyType.DATA, number, string(bytes(9))),
        lambda number, body: packet(ReplyType.DATA, number, string(bytes(11))),
        lambda number, body: packet(ReplyType.DATA, number, string(b"")),
        lambda number, body: status(number, Status.EOF),
        lambda number, body: status(number, Status.OK),
        lambda number, body: status(number, Status.FAILURE),
        lambda number, body: packet(ReplyType.HANDLE, number, string(bytes(10))),
        lambda number, body: b"",
    ],
)
def test_another_file_than_was_announced_is_an_error(data: Respond) -> None:
    turn = iter([data])
    script = {RequestType.READ: lambda number, body: next(turn, end)(number, body)}
    assert fails(lambda: get(told(script)[0], "a")).retryable


def test_an_honest_file_is_read() -> None:
    script = {RequestType.READ: lambda number, body: packet(ReplyType.DATA, number, string(bytes(10)))}
    assert get(told(script)[0], "a") == bytes(10)


def test_a_write_is_as_large_as_the_server_says_afterwards() -> None:
    assert isinstance(fails(lambda: told({})[0].put("a", b"eleven bytes")), Damaged)


def test_names_in_a_refusal_are_not_taken_for_the_servers_words() -> None:
    script = {
        RequestType.OPEN: lambda number, body: status(number, Status.FAILURE, b"open /home/quota: busy")
    }
    error = fails(lambda: told(script)[0].put("quota", b"x"))
    assert error.kind is Kind.DENIED


@pytest.mark.parametrize(
    "greeting",
    [
        b"Welcome to the server\r\n",
        struct.pack(">IBI", 5, ReplyType.STATUS, 3),
        struct.pack(">IB", 1, ReplyType.VERSION),
        struct.pack(">IBII", 9, ReplyType.VERSION, 3, 1 << 30),
        struct.pack(">IBI", 5 + 8, ReplyType.VERSION, 3) + string(b"a") + b"\0\0\0",
    ],
)
def test_a_greeting_that_is_none_is_told(greeting: bytes) -> None:
    fails(lambda: told({}, greeting=greeting)[0].stat("a"))


# SSH


def banner_without_end() -> Iterator[bytes]:
    yield from repeat(b"Welcome " * 1000, 2000)


def lines_without_end() -> Iterator[bytes]:
    yield from repeat(b"Welcome\r\n" * 1000, 2000)


def packet_without_end() -> Iterator[bytes]:
    yield b"SSH-2.0-HostileServer\r\n"
    yield struct.pack(">IB", (1 << 30) + 4, 4)
    yield from repeat(bytes(65536), 2000)


@pytest.mark.parametrize("said", [banner_without_end, lines_without_end, packet_without_end])
def test_what_comes_before_the_handshake_is_bounded(said: Callable[[], Iterator[bytes]]) -> None:
    sent = 0

    def serve(line: socket.socket) -> None:
        nonlocal sent
        for piece in said():
            line.sendall(piece)
            sent += len(piece)

    with HostileServer(serve) as liar:
        options = {"host": "127.0.0.1", "port": str(liar.port), "user": "u", "host_key": "SHA256:" + "A" * 43}
        driver = build("sftp", check_options("sftp", options), {"password": Secret("p")})
        error = fails(lambda: driver.stat("a"))
        assert "SSH" in error.reason
        driver.close()
    assert sent < 32 * 1024 * 1024


class _Flood(paramiko.ServerInterface):
    """Lets everybody in, and sends without leave as soon as a subsystem is asked for."""

    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        channel.out_window_size = 1 << 40
        threading.Thread(target=_flood, args=(channel,), daemon=True).start()
        return True


def _flood(channel: paramiko.Channel) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):
        # A packet that never ends is never taken off the channel's buffer before it is full.
        channel.sendall(struct.pack(">IB", 1 << 20, ReplyType.VERSION))
        while True:
            channel.sendall_stderr(bytes(1 << 20))


def test_data_for_which_there_was_no_leave_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_WINDOW_BYTES", 1 << 20)
    key = paramiko.ECDSAKey.generate()

    def serve(line: socket.socket) -> None:
        transport = paramiko.Transport(line)
        transport.set_log_channel("quiet")
        transport.add_server_key(key)
        transport.start_server(server=_Flood())
        transport.join(30)
        transport.close()

    with HostileServer(serve) as liar:
        options = {"host": "127.0.0.1", "port": str(liar.port), "user": "u"}
        options["host_key"] = fingerprint(key.asbytes())
        driver = build("sftp", check_options("sftp", options), {"password": Secret("p")})
        tracemalloc.start()
        try:
            fails(lambda: driver.stat("a"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        driver.close()
    assert peak < 32 * 1024 * 1024
