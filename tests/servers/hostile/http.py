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
"""Bytes after which something without end ends after all."""
_BLOCK = 256 * 1024


class HostileServer:
    """Serves each connection in a thread of its own, for as long as a ``with`` block lasts."""

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
    """What a client asked. Header names are in small letters; the path is decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ScriptedResponse:
    """An answer that could be sent as it is."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    """What Content-Length says where that is not the length of the body, as with HEAD."""

    def head(self, *, without_length: bool = False) -> bytes:
        """Status line and headers, up to and with the empty line."""
        headers = {"Date": "Sat, 21 Nov 2026 09:30:05 GMT", **self.headers}
        if not without_length and self.status != 204:
            headers["Content-Length"] = str(len(self.body) if self.length is None else self.length)
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


Said = ScriptedResponse | Iterable[bytes]
"""An answer, after which the connection serves again, or raw bytes, after which it is closed."""


class HostileHttpServer(HostileServer):
    """Gives each request to ``respond`` and sends what that returns."""

    def __init__(self, respond: Callable[[Request], Said]) -> None:
        super().__init__(self._converse)
        self._respond = respond
        self.host = f"127.0.0.1:{self.port}"
        self.endpoint = f"http://{self.host}"

    def _converse(self, line: socket.socket) -> None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with line.makefile("rb") as heard:
            while (request := _request(heard)) is not None:
                said = self._respond(request)
                if isinstance(said, ScriptedResponse):
                    line.sendall(said.head() + (b"" if request.method == "HEAD" else said.body))
                    continue
                for piece in said:
                    line.sendall(piece)
                return


def _request(heard: Iterable[bytes] | socket.SocketIO) -> Request | None:
    first = heard.readline(65536).split()  # type: ignore[union-attr]
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while each := heard.readline(65536).strip():  # type: ignore[union-attr]
        name, _, value = each.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body: bytes = heard.read(int(headers.get("content-length", 0)))  # type: ignore[union-attr]
    path, _, query = first[1].decode("latin-1").partition("?")
    asked = dict(parse_qsl(query, keep_blank_values=True))
    return Request(first[0].decode("latin-1"), unquote(path), asked, headers, body)


def endless(block: bytes) -> Iterator[bytes]:
    """The block, over and over."""
    block *= max(1, _BLOCK // len(block))
    for _ in range(ENDLESS // len(block)):
        yield block


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def _in_chunks(answer: ScriptedResponse) -> ScriptedResponse:
    return replace(answer, headers={**answer.headers, "Transfer-Encoding": "chunked"})


def _made_bomb() -> bytes:
    packing = zlib.compressobj(1, wbits=31)
    block = bytes(_BLOCK)
    return b"".join([*(packing.compress(block) for _ in range(ENDLESS // _BLOCK)), packing.flush()])


_BOMB = _made_bomb()


# The lies. Each gets the honest answer.


def body_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """The honest body, and after it more of it for ever, in chunks."""
    yield _in_chunks(answer).head(without_length=True)
    yield from _chunks(endless(answer.body or b" "))


def both_lengths(answer: ScriptedResponse) -> Iterator[bytes]:
    """Content-Length says what is true; the chunks that follow never end (RFC 9112, 6.3)."""
    yield _in_chunks(answer).head()
    yield from _chunks(endless(answer.body or b" "))


def body_until_the_end_of_the_connection(answer: ScriptedResponse) -> Iterator[bytes]:
    """No length at all, and the connection is closed half way."""
    yield answer.head(without_length=True)
    yield answer.body[: len(answer.body) // 2]


def body_that_breaks_off(answer: ScriptedResponse) -> Iterator[bytes]:
    """Content-Length says what is true; half of it comes."""
    yield answer.head()
    yield answer.body[: len(answer.body) // 2]


def huge_body(answer: ScriptedResponse) -> Iterator[bytes]:
    """A length of more than a gigabyte, and the bytes for it."""
    yield replace(answer, length=1_300_000_000).head()
    yield from endless(answer.body or b" ")


def tiny_chunks(answer: ScriptedResponse) -> Iterator[bytes]:
    """Two bytes at a time, for ever."""
    yield _in_chunks(answer).head(without_length=True)
    yield from endless(b"2\r\nab\r\n")


def compressed_bomb(answer: ScriptedResponse) -> ScriptedResponse:
    """Compressed though nobody asked: little on the line, much in memory."""
    return replace(answer, headers={**answer.headers, "Content-Encoding": "gzip"}, body=_BOMB)


def headers_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """A head that goes on for ever."""
    yield answer.head()[:-2]
    yield from endless(b"X-More: and more\r\n")


def one_header_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """A single header that goes on for ever."""
    yield answer.head()[:-2] + b"X-More: "
    yield from endless(b"and more ")


def trailers_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """The honest body in chunks, and then fields for ever (RFC 9112, 7.1.2)."""
    yield _in_chunks(answer).head(without_length=True)
    yield from _chunks([answer.body] if answer.body else [])
    yield b"0\r\n"
    yield from endless(b"X-More: and more\r\n")


def interim_answers_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """It is always about to answer (RFC 9110, 15.2)."""
    yield from endless(b"HTTP/1.1 103 Early Hints\r\nLink: </more>\r\n\r\n")


def error_without_end(answer: ScriptedResponse) -> Iterator[bytes]:
    """A refusal whose explanation never ends."""
    yield b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from _chunks(endless(b"<p>No.</p>"))


def drip(answer: ScriptedResponse) -> Iterator[bytes]:
    """Never silent, never done: a byte now and then."""
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
