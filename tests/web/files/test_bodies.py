"""Bodies on the real server: slow clients occupy no thread, and nobody takes half a body for a whole one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.web import server
from dashboard.web.files.bodies import MAX_WINDOW, FetchThreads, IteratedSource, PulledBody, body_iterable
from tests.servers.processes import wait_until
from tests.web.test_server import HELLO, answered, serving

LARGE = 64 * 1024 * 1024


class ScriptedSource:
    """``length`` bytes, each block of 1 KiB its own number; fails at ``fails_at``; waits at ``waits_at``."""

    def __init__(self, length: int, *, fails_at: int = -1, waits_at: int = -1) -> None:
        self.position, self.length = 0, length
        self.fails_at, self.waits_at = fails_at, waits_at
        self.may_go_on = threading.Event()
        self.is_waiting = threading.Event()
        self.closed = threading.Event()
        self.largest = 0

    def read(self, size: int) -> bytes:
        self.largest = max(self.largest, size)
        if 0 <= self.waits_at < self.position + size:
            self.is_waiting.set()
            assert self.may_go_on.wait(120)
            self.waits_at = -1
        if 0 <= self.fails_at <= self.position:
            raise StorageError(Kind.UNREACHABLE, "The line broke.", operation="read")
        end = min(self.position + size, self.length)
        if 0 <= self.fails_at < end:
            end = self.fails_at
        data = content(self.position, end)
        self.position = end
        return data

    def close(self) -> None:
        self.closed.set()


def content(start: int, end: int) -> bytes:
    blocks = b"".join(number.to_bytes(4, "big") * 256 for number in range(start >> 10, (end >> 10) + 1))
    return blocks[start & 1023 : (start & 1023) + end - start]


class BodyApplication:
    """A WSGI application: ``/short`` answers at once, any other path sends the next source."""

    def __init__(self, *sources: ScriptedSource, threads: FetchThreads | None = None) -> None:
        self.sources = list(sources)
        self.threads = threads or FetchThreads()
        self.asked = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/":
            start("200 OK", [("Content-Length", "0")])
            return []
        source = self.sources[self.asked]
        self.asked += 1
        start("200 OK", [("Content-Length", str(source.length))])
        return body_iterable(environ, PulledBody(source, source.length, group="one", threads=self.threads))


def ask(address: tuple[str, int], *paths: str) -> socket.socket:
    connection = socket.create_connection(address, timeout=120)
    connection.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths))
    return connection


def read_body(connection: socket.socket, length: int) -> bytes:
    """The body of one response; shorter if the connection was closed early."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1)
    body = bytearray()
    while len(body) < length and (chunk := connection.recv(min(65_536, length - len(body)))):
        body += chunk
    return bytes(body)


def test_readers_that_do_not_read_leave_every_thread_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "THREADS", 2)
    application = BodyApplication(*(ScriptedSource(LARGE) for _ in range(8)))
    with serving(application, monkeypatch) as address:
        slow = [ask(address, "/large") for _ in range(8)]
        wait_until(lambda: application.asked == 8, seconds=60, what="all asked for")
        assert answered(address)
        # They are not read further than what the system may take unsent, what it receives unread, and two
        # windows: 200 clients that begin together must not have gigabytes fetched for them.
        positions = [0]

        def nothing_more_is_fetched() -> bool:
            before, positions[:] = list(positions), [source.position for source in application.sources]
            return before == positions and min(positions) > 0

        wait_until(nothing_more_is_fetched, seconds=60, what="nothing more is fetched")
        assert max(positions) < 3 * 1024 * 1024
        assert application.threads.buffered < 8 * 2 * MAX_WINDOW
        for each in slow:
            each.close()
        for source in application.sources:
            assert source.closed.wait(120)
    assert application.threads.buffered == 0


def test_a_large_body_arrives_whole_while_others_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    length = 5_000_001
    application = BodyApplication(ScriptedSource(length))
    with serving(application, monkeypatch) as address, ask(address, "/large") as connection:
        assert read_body(connection, length) == content(0, length)
        connection.sendall(HELLO)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert application.sources[0].closed.wait(60)


def test_a_backend_that_is_silent_occupies_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "THREADS", 1)
    monkeypatch.setattr(server, "STALLED_SECONDS", 0.1)
    source = ScriptedSource(300_000, waits_at=150_000)
    application = BodyApplication(source)
    with serving(application, monkeypatch) as address, ask(address, "/large") as connection:
        assert source.is_waiting.wait(120)
        for _ in range(5):
            # The client is not overdue: it waits, and not the other way round.
            assert answered(address)
        monkeypatch.setattr(server, "STALLED_SECONDS", 60.0)
        source.may_go_on.set()
        assert read_body(connection, 300_000) == content(0, 300_000)


@pytest.mark.parametrize("fails_at", [0, 1, 65_536, 150_000, 299_999])
def test_a_body_that_breaks_closes_the_connection(fails_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    application = BodyApplication(ScriptedSource(300_000, fails_at=fails_at))
    with serving(application, monkeypatch) as address, ask(address, "/large") as connection:
        assert read_body(connection, 300_000) == content(0, fails_at)
        assert application.sources[0].closed.wait(120)


def test_requests_sent_together_wait_for_the_first_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "THREADS", 1)
    large = 8_000_000
    application = BodyApplication(ScriptedSource(large), ScriptedSource(1000), ScriptedSource(2000))
    with serving(application, monkeypatch) as address:
        with ask(address, "/large", "/second", "/third") as connection:
            wait_until(lambda: application.asked == 1, seconds=60, what="the first asked for")
            assert answered(address)
            assert application.asked == 1
            assert read_body(connection, large) == content(0, large)
            assert read_body(connection, 1000) == content(0, 1000)
            assert read_body(connection, 2000) == content(0, 2000)
        assert answered(address)


def test_one_slow_group_leaves_threads_for_others() -> None:
    threads = FetchThreads(threads=4, per_group=2)
    slow, done = threading.Event(), threading.Semaphore(0)
    for _ in range(6):
        threads.submit("slow", lambda: [slow.wait(120), done.release()])
    threads.submit("quick", done.release)
    assert done.acquire(timeout=120)
    slow.set()
    assert all(done.acquire(timeout=120) for _ in range(6))


def test_content_that_is_made_while_it_is_sent() -> None:
    closed = []

    def made() -> Iterable[bytes]:
        try:
            yield from (b"", b"abc", b"", b"defg")
        finally:
            closed.append(True)

    source = IteratedSource(made())
    assert [source.read(2) for _ in range(5)] == [b"ab", b"c", b"de", b"fg", b""]
    source = IteratedSource(made())
    source.read(1)
    source.close()
    assert closed == [True, True]
