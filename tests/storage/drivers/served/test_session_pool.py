"""The pool under the drivers for file servers: bounded, and nobody waits for themselves or for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.served import session_pool
from dashboard.storage.drivers.served.session_pool import SessionPool
from dashboard.storage.errors import StorageError


class CountingServer:
    """Counts the connections it has and had."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open = self.most = self.made = 0

    def connect(self) -> FakeConnection:
        with self.lock:
            self.made += 1
            self.open += 1
            self.most = max(self.most, self.open)
        return FakeConnection(self)


class FakeConnection:
    """A connection that works until it is told otherwise."""

    def __init__(self, server: CountingServer) -> None:
        self.server = server
        self.broken = False
        self.alive = True
        self.closed = False

    def is_alive(self, idle: float) -> bool:
        return self.alive

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with self.server.lock:
                self.server.open -= 1


@pytest.fixture
def server() -> CountingServer:
    return CountingServer()


@pytest.fixture
def pool(server: CountingServer) -> SessionPool[FakeConnection]:
    return SessionPool(server.connect, 2)


def elsewhere(act: Callable[[], object]) -> object:
    """In a thread of its own."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(act).result(20)


def test_many_threads_share_few_connections(
    server: CountingServer, pool: SessionPool[FakeConnection]
) -> None:
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: pool.run(lambda line: line.alive), range(500)))
    assert server.most <= 2
    pool.close()
    assert server.open == 0


def test_a_thread_that_holds_one_gets_a_second_at_once(
    server: CountingServer, pool: SessionPool[FakeConnection]
) -> None:
    together = threading.Barrier(2)

    def copy(number: int) -> None:
        with pool.lease():
            together.wait(120)
            with pool.lease():
                pass

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(copy, range(2)))
    assert server.most <= 4
    assert server.open <= 2


def test_waiting_ends_in_throttled(
    pool: SessionPool[FakeConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_pool, "WAIT_SECONDS", 0.05)

    def asks() -> None:
        with pytest.raises(StorageError) as caught:
            pool.lease()
        assert caught.value.kind is Kind.THROTTLED
        assert caught.value.retryable

    def takes_another() -> None:
        with pool.lease():
            elsewhere(asks)

    with pool.lease():
        elsewhere(takes_another)


def test_who_holds_a_connection_elsewhere_waits_less(
    server: CountingServer, pool: SessionPool[FakeConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two migrations in opposite directions would wait for each other."""
    monkeypatch.setattr(session_pool, "WAIT_HOLDING_SECONDS", 0.05)
    here, there = SessionPool(server.connect, 1), SessionPool(server.connect, 1)
    both = threading.Barrier(2)

    def move(source: SessionPool[FakeConnection], destination: SessionPool[FakeConnection]) -> bool:
        with source.lease():
            both.wait(120)
            try:
                destination.lease().release()
            except StorageError:
                return False
            return True

    with ThreadPoolExecutor(2) as threads:
        moved = list(threads.map(lambda pair: move(*pair), [(here, there), (there, here)]))
    assert False in moved
    here.run(lambda line: line)
    there.run(lambda line: line)


def test_an_idle_connection_that_died_is_replaced(
    server: CountingServer, pool: SessionPool[FakeConnection]
) -> None:
    line = pool.run(lambda line: line)
    line.alive = False
    assert pool.run(lambda line: line) is not line
    assert line.closed
    assert server.open == 1


def test_a_line_lost_in_use_is_tried_once_more_on_a_new_one(
    server: CountingServer, pool: SessionPool[FakeConnection]
) -> None:
    first = pool.run(lambda line: line)

    def act(line: FakeConnection) -> FakeConnection:
        if line is first:
            line.broken = True
            raise StorageError(Kind.UNREACHABLE, "The line is lost.")
        return line

    assert pool.run(act) is not first
    assert first.closed

    def always(line: FakeConnection) -> None:
        line.broken = True
        raise StorageError(Kind.UNREACHABLE, "The line is lost.")

    with pytest.raises(StorageError):
        pool.run(always)
    assert server.open == 0


def test_a_connection_that_cannot_be_made_takes_no_place(pool: SessionPool[FakeConnection]) -> None:
    def refuse() -> FakeConnection:
        raise StorageError(Kind.UNREACHABLE, "Nobody is there.")

    closed = SessionPool(refuse, 1)
    for _ in range(3):
        with pytest.raises(StorageError, match="Nobody"):
            closed.lease()


def test_what_is_in_use_at_closing_is_closed_when_it_comes_back(
    server: CountingServer, pool: SessionPool[FakeConnection]
) -> None:
    lease = pool.lease()
    pool.close()
    assert server.open == 1
    lease.release()
    lease.release()
    assert server.open == 0
