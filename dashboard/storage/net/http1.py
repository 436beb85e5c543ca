"""HTTP/1.1 over kept connections, written for speed: of a small object, HTTP is most of the work.

https://www.rfc-editor.org/rfc/rfc9112. Only what a storage API needs: one request after the other on a
connection, bodies of known length on the way out; nothing is followed, decoded, cached or read from the
environment. Where a server and this client could disagree about where an answer ends, the answer is refused.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping

from dashboard.storage.net.connecting import (
    CONNECT_SECONDS,
    ConnectError,
    classify_handshake_error,
    connect,
    resolve,
    speaks_tls,
)
from dashboard.storage.net.http_connection import Connection
from dashboard.storage.net.transport_errors import TransportError, classify_error

__all__ = ["Body", "ConnectionPool", "StreamingResponse", "TransportError"]

Body = bytes | Iterable[bytes | memoryview]

_KEPT = 64
"""Connections that wait for the next request."""
_ALERT = b"\x15\x03"
_LONGEST_HEAD = 64 * 1024
_PIECE = 256 * 1024
_MOST_TRAILERS = _MOST_INTERIM = 50
_MANY_CHUNKS = 50_000
_LEAST_CHUNK = 16
"""Bytes that so many chunks must carry on average: each costs more to read than it brings."""
_TOGETHER = 64 * 1024
"""Up to this size a body goes out with its head."""
_SLICE = 1024 * 1024
"""Bytes for which the server gets the whole idle time."""
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_BREAKS = re.compile(r"[\r\n\0]")


class StreamingResponse:
    """An answer whose body is still to be read. Header names are in small letters. Used by one thread."""

    def __init__(
        self,
        exchange: ConnectionPool,
        line: Connection,
        status: int,
        headers: Mapping[str, str],
        *,
        bodiless: bool,
        keep: bool,
    ) -> None:
        self.status = status
        self.headers = headers
        self._exchange = exchange
        self._line: Connection | None = line
        self._keep = keep
        self._chunked = False
        self._left: int | None = 0
        self._chunks = self._carried = 0
        if not bodiless:
            self._chunked = _is_chunked(headers)
            self._left = 0 if self._chunked else _length(headers)
            self._keep = keep and self._left is not None
        if self._left == 0 and not self._chunked:
            self._finish()

    def read(self, most: int = _PIECE) -> bytes:
        """The next bytes of the body, empty at its end. Raises :class:`TransportError`, also if it ends
        early."""
        line = self._line
        if line is None:
            return b""
        try:
            if self._chunked and self._left == 0 and not self._next_chunk(line):
                return b""
            wanted = min(most, _PIECE)
            piece = line.receive(wanted if self._left is None else min(wanted, self._left))
        except OSError as error:
            self.close()
            raise TransportError(classify_error(error)) from error
        except TransportError:
            self.close()
            raise
        if not piece:
            self.close()
            if self._left is not None:
                raise TransportError("cut")
        elif self._left is not None:
            self._left -= len(piece)
            if self._chunked and self._left == 0:
                self._end_chunk(line)
            elif self._left == 0:
                self._finish()
        return piece

    def pieces(self) -> Iterator[bytes]:
        """The rest of the body."""
        while piece := self.read():
            yield piece

    def close(self) -> None:
        """Give up what was not read, and the connection with it. Idempotent."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def __del__(self) -> None:
        self.close()

    def _next_chunk(self, line: Connection) -> bool:
        size = _CHUNK.fullmatch(line.until(b"\r\n", 1024, "cut"))
        if size is None:
            raise TransportError("unreadable")
        self._left = int(size[1], 16)
        self._chunks += 1
        self._carried += self._left
        if self._chunks > _MANY_CHUNKS and self._carried < self._chunks * _LEAST_CHUNK:
            raise TransportError("unreadable")
        if self._left:
            return True
        for _ in range(_MOST_TRAILERS):
            if not line.until(b"\r\n", _LONGEST_HEAD, "cut"):
                self._finish()
                return False
        raise TransportError("unreadable")

    def _end_chunk(self, line: Connection) -> None:
        try:
            if line.until(b"\r\n", 2, "cut"):
                raise TransportError("unreadable")
        except OSError as error:
            self.close()
            raise TransportError(classify_error(error)) from error
        except TransportError:
            self.close()
            raise

    def _finish(self) -> None:
        line, self._line = self._line, None
        if line is not None and self._keep:
            self._exchange.keep(line)
        elif line is not None:
            line.close()


class ConnectionPool:
    """Requests to one server. Thread-safe; connects when it has to, to addresses the policy allows."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._lock = threading.Lock()
        self._kept: list[Connection] = []
        self._age = 0
        self._understood = context is not None
        # For drivers that nobody closes.
        weakref.finalize(self, _close_all, self._kept)

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: Body = b"", *, idle: float
    ) -> StreamingResponse:
        """Send a request and read the head of its response. ``headers`` contain ``host`` and, with a body,
        its ``content-length``; ``idle`` is the number of seconds that the server may be silent. Raises
        :class:`TransportError`, and ``StorageError`` for a forbidden address; the server may have carried out
        the request anyway."""
        head = _head_of(method, target, headers)
        line = self._take()
        try:
            line.sock.settimeout(idle)
            line.low_speed.reset()
            cut_off = _send(line.sock, head, body)
            try:
                answering = self.answer(line, method)
            except (OSError, TransportError):
                if cut_off is not None:
                    raise cut_off from None
                raise
            if answering.status == 400 and self._wants_tls():
                raise TransportError("plain")
        except OSError as error:
            line.close()
            raise self._failed(line, classify_error(error)) from error
        except TransportError as error:
            line.close()
            raise self._failed(line, error.code) from error
        except BaseException:
            line.close()
            raise
        self._understood = True
        return answering

    def _failed(self, line: Connection, code: str) -> TransportError:
        """A server that was spoken to without TLS and wants it hangs up, some with an alert."""
        said_nothing = not line.buffer or line.buffer.startswith(_ALERT)
        return TransportError("plain" if code == "reset" and said_nothing and self._wants_tls() else code)

    def _wants_tls(self) -> bool:
        """Looked at once, and only while nothing has been understood."""
        if self._understood:
            return False
        self._understood = True
        return speaks_tls(self._host, self._port)

    def begin(self, method: str, target: str, headers: Mapping[str, str], *, idle: float) -> Connection:
        """As :meth:`ask` up to the body, which the caller sends on this new connection."""
        head = _head_of(method, target, headers)
        line = self._connected(self._age)
        try:
            line.sock.settimeout(idle)
            line.sock.sendall(head)
        except OSError as error:
            line.close()
            raise TransportError(classify_error(error)) from error
        return line

    def keep(self, line: Connection) -> None:
        """Take back a connection on which the next request may follow."""
        with self._lock:
            if line.age == self._age and len(self._kept) < _KEPT:
                self._kept.append(line)
                return
        line.close()

    def close(self) -> None:
        """Close what waits, and what is in use at its end. Idempotent; a later request connects anew."""
        with self._lock:
            kept = self._kept.copy()
            self._kept.clear()
            self._age += 1
        _close_all(kept)

    def _take(self) -> Connection:
        while True:
            with self._lock:
                line, age = self._kept.pop() if self._kept else None, self._age
            if line is None:
                return self._connected(age)
            if line.is_quiet():
                return line
            line.close()

    def _connected(self, age: int) -> Connection:
        try:
            raw = connect(self._host, self._port, resolve(self._host, self._port))
        except ConnectError as error:
            raise TransportError(error.code) from error
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(CONNECT_SECONDS)
            if self._context is not None:
                raw = self._context.wrap_socket(raw, server_hostname=self._host)
        except OSError as error:
            raw.close()
            raise TransportError(classify_handshake_error(error)) from error
        return Connection(raw, age)

    def answer(self, line: Connection, method: str) -> StreamingResponse:
        """The head of the answer to what went out. Raises :class:`TransportError`, and ``OSError``."""
        for _ in range(_MOST_INTERIM):
            status, headers, newest = _parsed(line.until(b"\r\n\r\n", _LONGEST_HEAD, "reset"))
            if status >= 200:
                break
        else:
            raise TransportError("unreadable")
        closing = "close" in headers.get("connection", "").lower()
        return StreamingResponse(
            self,
            line,
            status,
            headers,
            bodiless=method == "HEAD" or status in (204, 304),
            keep=newest and not closing,
        )


def _close_all(lines: list[Connection]) -> None:
    for line in lines:
        line.close()


def _head_of(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    text = "\r\n".join(lines)
    # One break for each header: a value that holds another one would begin a header of its own.
    if len(_BREAKS.findall(text)) != 2 * len(headers) or " " in target:
        raise ValueError("A header or the target of a request holds a line break or a space.")
    return f"{text}\r\n\r\n".encode("latin-1")


def _send(sock: socket.socket, head: bytes, body: Body) -> OSError | None:
    """The error with which the server stopped listening to the body; it may have answered before."""
    if isinstance(body, bytes) and len(body) <= _TOGETHER:
        sock.sendall(head + body)
        return None
    sock.sendall(head)
    try:
        for piece in (body,) if isinstance(body, bytes) else body:
            view = memoryview(piece)
            for start in range(0, len(view), _SLICE):
                sock.sendall(view[start : start + _SLICE])
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
        return error
    return None


def _parsed(head: bytes) -> tuple[int, dict[str, str], bool]:
    """Status, headers, and whether the server speaks HTTP/1.1."""
    first, *lines = head.decode("latin-1").split("\r\n")
    said = _STATUS.fullmatch(first)
    if said is None:
        raise TransportError("unreadable")
    headers: dict[str, str] = {}
    for each in lines:
        name, colon, value = each.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise TransportError("unreadable")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(said[2]), headers, said[1] == "1"


def _is_chunked(headers: Mapping[str, str]) -> bool:
    coding = headers.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        raise TransportError("unreadable")
    # Of two lengths a server between may have believed the other one (RFC 9112, 6.3).
    if coding is not None and "content-length" in headers:
        raise TransportError("two_lengths")
    return coding is not None


def _length(headers: Mapping[str, str]) -> int | None:
    """None where the body ends with the connection. Raises for what can be read in two ways."""
    text = headers.get("content-length")
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise TransportError("unreadable")
    return int(text)
