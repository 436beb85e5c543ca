"""A network in between: a proxy that holds everything back for half a round trip each way.

It runs as a process of its own, knows no protocol above TCP, and limits no bandwidth. What arrives is passed
on a fixed time later; a connection is opened a whole round trip after it was asked for, as a handshake takes.
Run as ``python -m bench.network.delay HOST:PORT --round-trip 20``: prints its port and ends with its parent.
"""

from __future__ import annotations

import argparse
import select
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

READ_BYTES = 1 << 18
MAX_HELD_BYTES = 16 << 20
"""Of one direction of one connection: 16 MiB in 10 ms are 1.6 GB/s."""


@dataclass(eq=False)
class _Side:
    """One of the two sockets of a connection."""

    socket: socket.socket
    peer: _Side | None = None
    held: int = 0
    """Bytes on their way to this side."""
    unsent: deque[memoryview] = field(default_factory=deque)
    ending: bool = False
    """Nothing more will come for this side."""
    ended: bool = False
    mask: int = 0


class Relay:
    """Passes on what arrives, ``one_way`` seconds later. Used by one thread."""

    def __init__(self, upstream: tuple[str, int], one_way: float) -> None:
        self._upstream = upstream
        self._one_way = one_way
        self._poll = select.epoll()
        self._sides: dict[int, _Side] = {}
        # Each of the two delays is always the same, so what is due first was added first.
        self._opening: deque[tuple[float, socket.socket]] = deque()
        self._travelling: deque[tuple[float, _Side, bytes]] = deque()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.EPOLLIN)
        self.address: tuple[str, int] = self._listener.getsockname()

    def run(self) -> None:
        """Never returns."""
        while True:
            for number, events in self._poll.poll(self._wait()):
                if number == self._listener.fileno():
                    self._accept()
                elif side := self._sides.get(number):
                    if events & select.EPOLLOUT:
                        self._flush(side)
                    # After its end a socket reports nothing but that.
                    if events & ~select.EPOLLOUT and side.peer and not side.peer.ending:
                        self._receive(side)
            now = time.monotonic()
            while self._opening and self._opening[0][0] <= now:
                self._open(self._opening.popleft()[1])
            while self._travelling and self._travelling[0][0] <= now:
                _, side, data = self._travelling.popleft()
                self._arrive(side, data)

    def _wait(self) -> float:
        due = [queue[0][0] for queue in (self._opening, self._travelling) if queue]
        return max(0.0, min(due) - time.monotonic()) if due else -1

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                accepted, _ = self._listener.accept()
                self._opening.append((time.monotonic() + 2 * self._one_way, accepted))

    def _open(self, accepted: socket.socket) -> None:
        try:
            connected = socket.create_connection(self._upstream)
        except OSError:
            accepted.close()
            return
        one, other = _Side(accepted), _Side(connected)
        one.peer, other.peer = other, one
        for side in (one, other):
            side.socket.setblocking(False)
            side.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sides[side.socket.fileno()] = side
            side.mask = select.EPOLLIN
            self._poll.register(side.socket, side.mask)

    def _receive(self, side: _Side) -> None:
        peer = side.peer
        assert peer is not None
        try:
            data = side.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(side)
            return
        peer.held += len(data)
        self._travelling.append((time.monotonic() + self._one_way, peer, data))
        if not data:
            peer.ending = True
        self._watch(side)

    def _arrive(self, side: _Side, data: bytes) -> None:
        if side.socket.fileno() < 0:
            return
        if data:
            side.unsent.append(memoryview(data))
            self._flush(side)
        else:
            side.ended = True
            self._flush(side)

    def _flush(self, side: _Side) -> None:
        peer = side.peer
        assert peer is not None
        try:
            while side.unsent:
                sent = side.socket.send(side.unsent[0])
                side.held -= sent
                if sent < len(side.unsent[0]):
                    side.unsent[0] = side.unsent[0][sent:]
                    break
                side.unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._drop(side)
            return
        if side.ended and not side.unsent:
            with suppress(OSError):
                side.socket.shutdown(socket.SHUT_WR)
            if peer.ended and not peer.unsent:
                self._drop(side)
                return
        self._watch(side)
        self._watch(peer)

    def _watch(self, side: _Side) -> None:
        """Ask for the events that matter now."""
        peer = side.peer
        assert peer is not None
        mask = 0
        if not peer.ending and peer.held < MAX_HELD_BYTES:
            mask |= select.EPOLLIN
        if side.unsent:
            mask |= select.EPOLLOUT
        if mask != side.mask and side.socket.fileno() >= 0:
            side.mask = mask
            self._poll.modify(side.socket, mask)

    def _drop(self, side: _Side) -> None:
        for each in (side, side.peer):
            if each is not None and each.socket.fileno() >= 0:
                del self._sides[each.socket.fileno()]
                self._poll.unregister(each.socket)
                each.socket.close()


class DelayingProxy:
    """The proxy as a process, for as long as a ``with`` block lasts. ``round_trip`` in seconds."""

    def __init__(self, host: str, port: int, round_trip: float) -> None:
        self._command = [sys.executable, "-m", "bench.network.delay", f"{host}:{port}"]
        self._command += ["--round-trip", str(round_trip * 1000)]
        self._process: subprocess.Popen[str] | None = None
        self.host, self.port = "127.0.0.1", 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def process(self) -> psutil.Process:
        """For its CPU time."""
        assert self._process is not None
        return psutil.Process(self._process.pid)


@dataclass(frozen=True)
class Capacity:
    """What the proxy alone can pass on. ``round_trip`` in milliseconds, as measured with one connection."""

    round_trip: float
    exchanges: float
    """A second, over 64 connections."""
    mib: float
    """A second, over 4 connections."""

    def __str__(self) -> str:
        return (
            f"one exchange takes {self.round_trip:.1f} ms; {self.exchanges:,.0f} exchanges/s over 64 "
            f"connections; {self.mib:,.0f} MiB/s over 4"
        )


def capacity(round_trip: float, *, seconds: float = 0.5, megabytes: int = 64) -> Capacity:
    """Measure a proxy in front of a server that echoes, which is in this process."""
    echo = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(READ_BYTES):
                # What is long is only counted.
                connection.sendall(data if len(data) < 100 else b"")

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(echo.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        with DelayingProxy(*echo.getsockname(), round_trip) as proxy:
            alone = min(_exchanges(proxy, 1, 0.2)[1] for _ in range(3))
            return Capacity(alone * 1000, _exchanges(proxy, 64, seconds)[0], _stream(proxy, 4, megabytes))
    finally:
        echo.close()


def _exchanges(proxy: DelayingProxy, connections: int, seconds: float) -> tuple[float, float]:
    """Exchanges a second, and seconds for one; from one thread."""
    opened = [socket.create_connection((proxy.host, proxy.port)) for _ in range(connections)]
    for each in opened:
        each.sendall(b"hello")
        each.recv(100)
    poll, begun, done = select.epoll(), time.monotonic(), 0
    for each in opened:
        poll.register(each, select.EPOLLIN)
        each.sendall(b"hello")
    by_number = {each.fileno(): each for each in opened}
    while time.monotonic() < begun + seconds:
        for number, _ in poll.poll(0.1):
            by_number[number].recv(100)
            by_number[number].sendall(b"hello")
            done += 1
    took = time.monotonic() - begun
    for each in opened:
        each.close()
    return done / took, took * connections / max(done, 1)


def _stream(proxy: DelayingProxy, connections: int, megabytes: int) -> float:
    block = bytes(1 << 20)

    def send() -> None:
        with socket.create_connection((proxy.host, proxy.port)) as connection:
            for _ in range(megabytes):
                connection.sendall(block)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)

    threads = [threading.Thread(target=send) for _ in range(connections)]
    begun = time.monotonic()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return connections * megabytes / (time.monotonic() - begun)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m bench.network.delay", description=__doc__)
    parser.add_argument("upstream", metavar="HOST:PORT")
    parser.add_argument("--round-trip", type=float, default=20.0, help="milliseconds (20)")
    given = parser.parse_args()
    host, _, port = given.upstream.rpartition(":")
    relay = Relay((host, int(port)), given.round_trip / 2000)
    print(relay.address[1], flush=True)
    threading.Thread(target=relay.run, daemon=True).start()
    # The parent holds the other end: it is over when that is gone.
    sys.stdin.read()


if __name__ == "__main__":
    main()
