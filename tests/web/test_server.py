"""The web server itself: connections that keep it waiting are given up, and there is room for one more."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dashboard.web import server
from dashboard.web.files.bodies import CLIENT_IS_GONE

HELLO = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def serving(
    application: Callable[..., Iterable[bytes]], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Iterator[tuple[str, int]]:
    """The server on a free port, ended as a signal ends it."""
    stop, ending = socket.socketpair()
    monkeypatch.setattr(server, "CLEANUP_SECONDS", 0)
    ready = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        thread = threading.Thread(
            target=server.run,
            args=(application, [listening]),
            kwargs={"stop": stop, "behind_proxy": False, "ready": ready.set, **options},
        )
        thread.start()
        try:
            assert ready.wait(60)
            yield address
        finally:
            ending.send(b"x")
            thread.join(60)
            stop.close()
            ending.close()


def short(_environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "0")])
    return []


def answered(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=60) as asking:
        return answers(asking)


def answers(connection: socket.socket) -> bool:
    connection.sendall(HELLO)
    return connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def closed(connection: socket.socket) -> bool:
    connection.settimeout(60)
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_an_answer_that_nobody_reads_frees_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STALLED_SECONDS", 0.2)
    monkeypatch.setattr(server, "THREADS", 2)
    ended = threading.Semaphore(0)

    def endless(_environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        start("200 OK", [])
        try:
            while True:
                yield b"x" * 65_536
        finally:
            ended.release()

    with serving(endless, monkeypatch) as address:
        unread = [socket.create_connection(address, timeout=60) for _ in range(3)]
        for each in unread:
            each.sendall(HELLO)
        # Three for two threads: the last one was waiting for a thread. A byte now and then is no reading.
        done, deadline = 0, time.monotonic() + 60
        while done < len(unread) and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                unread[0].recv(1)
            done += ended.acquire(timeout=0.05)
        assert done == len(unread)
        for each in unread:
            each.close()


def test_an_application_learns_that_its_client_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, learned = threading.Event(), threading.Event()

    def patient(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        gone, deadline = environ[CLIENT_IS_GONE], time.monotonic() + 60
        if not gone():
            asked.set()
        while time.monotonic() < deadline and not learned.is_set():
            if gone():
                learned.set()
        return short(environ, start)

    with serving(patient, monkeypatch) as address:
        with socket.create_connection(address, timeout=60) as leaving:
            leaving.sendall(HELLO)
            assert asked.wait(60)
        assert learned.wait(60)
        assert answered(address)


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nContent-Le"])
def test_a_connection_on_which_nothing_comes_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(server, "RECEIVE_SECONDS", 0.1)
    with serving(short, monkeypatch) as address, socket.create_connection(address, timeout=60) as silent:
        silent.sendall(sent)
        assert closed(silent)
        # On a busy machine the next client is not as quick as that either.
        monkeypatch.setattr(server, "IDLE_SECONDS", 60.0)
        monkeypatch.setattr(server, "RECEIVE_SECONDS", 60.0)
        assert answered(address)


def test_a_new_connection_gets_no_events_of_one_that_was_just_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.1)
    maintenance = server._Listener.maintenance
    arrived: list[socket.socket] = []

    def maintain(listener: Any, now: float) -> None:
        # The new connection is accepted in the same turn of the loop, and with the lowest free descriptor.
        if not arrived and any(channel.is_overdue(now) for channel in listener.active_channels.values()):
            arrived.append(socket.create_connection(address, timeout=60))
        maintenance(listener, now)

    monkeypatch.setattr(server._Listener, "maintenance", maintain)
    with serving(short, monkeypatch) as address, socket.create_connection(address, timeout=60) as silent:
        assert closed(silent)
        monkeypatch.setattr(server, "IDLE_SECONDS", 60.0)
        assert answers(arrived[0])
        arrived[0].close()


def test_the_connection_idle_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS_PER_ADDRESS", 4)
    with serving(short, monkeypatch) as address:
        first, *others = [socket.create_connection(address, timeout=60) for _ in range(4)]
        for each in others:
            assert answers(each)
        assert answered(address)
        assert closed(first)
        for each in others:
            assert answers(each)
            each.close()
        first.close()


def test_a_small_limit_of_open_files_leaves_room_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.resource, "getrlimit", lambda _: (1024, 1024))
    assert server.connection_limit() == 412
    monkeypatch.setattr(server.resource, "getrlimit", lambda _: (64, 64))
    assert server.connection_limit() == 8
