"""A TCP server whose every connection is handled by a function of the test: for lies no real server tells."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

Handler = Callable[[socket.socket], None]


class Scripted:
    """Listens on a free port of 127.0.0.1 for as long as a ``with`` block lasts. The handler gets each
    connection in a thread of its own; it may end in ``OSError`` when the other side hangs up."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A listener that is only closed stays open below a thread that waits for a connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._open:
            each.close()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self._start(lambda connection=connection: self._handle(connection))  # type: ignore[misc]

    def _handle(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._handler(connection)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def http_requests(connection: socket.socket) -> Iterator[tuple[str, str]]:
    """Method and target of each request on a connection; bodies of known length are passed over."""
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            more = connection.recv(65536)
            if not more:
                return
            buffer += more
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        left = int(headers.get("content-length", "0"))
        while len(buffer) < left:
            more = connection.recv(65536)
            if not more:
                return
            buffer += more
        buffer = buffer[left:]
        method, target, _ = first.split(" ")
        yield method, target


def http_answer(status: str, body: bytes, **headers: str) -> bytes:
    """An honest answer; ``content_type="text/html"`` becomes that header."""
    sent = {"content_length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in sent.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
