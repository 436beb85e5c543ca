"""Hostile servers, which respond to requests as a script says.

``HostileServer`` is the listening socket, for any protocol. ``HostileHttpServer`` speaks HTTP: a function
returns the response to each request, honest or not. ``WIRE`` are the ways to break an HTTP response that do
not depend on its content. Endless responses stop after ``ENDLESS`` bytes, so that a client without bounds
fails the test and not the machine.
"""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote

ENDLESS = 160 * 1024 * 1024
"""Bytes after which an endless response ends anyway."""
_BLOCK = 256 * 1024


class HostileServer:
    """A listening socket that serves each connection in its own thread, inside a ``with`` block."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._over = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True
            lines = list(self._open)
        for line in lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(10)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with self._lock:
            if self._over:
                line.close()
                return
            self._open.add(line)
        try:
            with suppress(OSError):
                self._serve(line)
        finally:
            with self._lock:
                self._open.discard(line)
            line.close()


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Header names are lowercase; the path is decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ScriptedResponse:
    """A well-formed response."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    """The Content-Length if it differs from the length of the body, as with HEAD."""

    def head(self, *, without_length: bool = False) -> bytes:
        """Return status line and headers, including the empty line."""
        headers = {"Date": "Sat, 21 Nov 2026 09:30:05 GMT", **self.headers}
        if not without_length and self.status != 204:
            headers["Content-Length"] = str(len(self.body) if self.length is None else self.length)
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


Said = ScriptedResponse | Iterable[bytes]
"""A response, after which the connection is reused, or raw bytes, after which it is closed."""


class HostileHttpServer(HostileServer):
    """Sends what ``respond`` returns for each request."""

    def __init__(self, respond: Callable[[Request], Said]) -> None:
        super().__init__(self._serve_requests)
        self._respond = respond
        self.host = f"127.0.0.1:{self.port}"
        self.endpoint = f"http://{self.host}"

    def _serve_requests(self, line: socket.socket) -> None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with line.makefile("rb") as stream:
            while (request := _request(stream)) is not None:
                response = self._respond(request)
                if isinstance(response, ScriptedResponse):
                    line.sendall(response.head() + (b"" if request.method == "HEAD" else response.body))
                    continue
                for piece in response:
                    line.sendall(piece)
                return


def _request(stream: Iterable[bytes] | socket.SocketIO) -> Request | None:
    first = stream.readline(65536).split()  # type: ignore[union-attr]
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while line := stream.readline(65536).strip():  # type: ignore[union-attr]
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body: bytes = stream.read(int(headers.get("content-length", 0)))  # type: ignore[union-attr]
    path, _, query = first[1].decode("latin-1").partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    return Request(first[0].decode("latin-1"), unquote(path), parameters, headers, body)


def endless(block: bytes) -> Iterator[bytes]:
    """Repeat the block."""
    block *= max(1, _BLOCK // len(block))
    for _ in range(ENDLESS // len(block)):
        yield block


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def _in_chunks(answer: ScriptedResponse) -> ScriptedResponse:
    return replace(answer, headers={**answer.headers, "Transfer-Encoding": "chunked"})


def _build_bomb() -> bytes:
    compressor = zlib.compressobj(1, wbits=31)
    block = bytes(_BLOCK)
    return b"".join([*(compressor.compress(block) for _ in range(ENDLESS // _BLOCK)), compressor.flush()])


_BOMB = _build_bomb()


# Ways to break a response. Each gets the honest one.


def body_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """The honest body, repeated forever in chunks."""
    yield _in_chunks(answer).head(without_length=True)
    yield from _chunks(endless(answer.body or b" "))


def both_lengths(answer: ScriptedResponse) -> Iterator[bytes]:
    """A correct Content-Length, followed by endless chunks (RFC 9112, 6.3)."""
    yield _in_chunks(answer).head()
    yield from _chunks(endless(answer.body or b" "))


def body_until_the_end_of_the_connection(answer: ScriptedResponse) -> Iterator[bytes]:
    """No length, and the connection is closed halfway."""
    yield answer.head(without_length=True)
    yield answer.body[: len(answer.body) // 2]


def body_that_breaks_off(answer: ScriptedResponse) -> Iterator[bytes]:
    """A correct Content-Length, but only half of the body."""
    yield answer.head()
    yield answer.body[: len(answer.body) // 2]


def huge_body(answer: ScriptedResponse) -> Iterator[bytes]:
    """A length of more than a gigabyte, and the bytes for it."""
    yield replace(answer, length=1_300_000_000).head()
    yield from endless(answer.body or b" ")


def tiny_chunks(answer: ScriptedResponse) -> Iterator[bytes]:
    """Two bytes at a time, forever."""
    yield _in_chunks(answer).head(without_length=True)
    yield from endless(b"2\r\nab\r\n")


def compressed_bomb(answer: ScriptedResponse) -> ScriptedResponse:
    """Compressed unasked: few bytes on the network, many in memory."""
    return replace(answer, headers={**answer.headers, "Content-Encoding": "gzip"}, body=_BOMB)


def headers_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """An endless head."""
    yield answer.head()[:-2]
    yield from endless(b"X-More: and more\r\n")


def one_header_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """A single endless header."""
    yield answer.head()[:-2] + b"X-More: "
    yield from endless(b"and more ")


def trailers_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """The honest body in chunks, then endless trailer fields (RFC 9112, 7.1.2)."""
    yield _in_chunks(answer).head(without_length=True)
    yield from _chunks([answer.body] if answer.body else [])
    yield b"0\r\n"
    yield from endless(b"X-More: and more\r\n")


def interim_answers_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """Endless interim responses (RFC 9110, 15.2)."""
    yield from endless(b"HTTP/1.1 103 Early Hints\r\nLink: </more>\r\n\r\n")


def error_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """An error with an endless body."""
    yield b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from _chunks(endless(b"<p>No.</p>"))


def drip(answer: ScriptedResponse) -> Iterator[bytes]:
    """A byte now and then, never complete."""
    yield _in_chunks(answer).head(without_length=True)
    for _ in range(400):
        yield b"1\r\n \r\n"
        time.sleep(0.05)


WIRE: Mapping[str, Callable[[ScriptedResponse], Said]] = {
    "a body without end": body_without_end,
    "both lengths": both_lengths,
    "no length, and half of it": body_until_the_end_of_the_connection,
    "half of what was announced": body_that_breaks_off,
    "a gigabyte": huge_body,
    "tiny chunks without end": tiny_chunks,
    "compressed, and inflates without end": compressed_bomb,
    "headers without end": headers_without_end,
    "one header without end": one_header_without_end,
    "trailers without end": trailers_without_end,
    "interim answers without end": interim_answers_without_end,
    "an error without end": error_without_end,
    "a byte now and then": drip,
}
