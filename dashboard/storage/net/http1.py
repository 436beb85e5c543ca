"""HTTP/1.1 over persistent connections, written for speed: for a small object, HTTP is most of the work.

https://www.rfc-editor.org/rfc/rfc9112. Only what a storage API needs: one request after the other on a
connection, no redirects, no decoding, no cache, no settings from the environment. A response whose end a
server and this client could see in different places is refused.
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

_MAX_IDLE_CONNECTIONS = 256
"""Connections kept open for the next request: as many as a migration has objects at once."""
_ALERT = b"\x15\x03"
_MAX_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024
_MAX_TRAILERS = _MAX_INTERIM_RESPONSES = 50
_MANY_CHUNKS = 50_000
_MIN_MEAN_CHUNK_BYTES = 16
"""Average size that more than ``_MANY_CHUNKS`` chunks must have: smaller ones cost more than they carry."""
_MAX_COALESCED_BYTES = 64 * 1024
"""Up to this size a body is sent together with its head."""
_SEND_BYTES = 1024 * 1024
"""Bytes of a body that a server has the full idle time to accept."""
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LINE_BREAKS = "\r\n\0"


class StreamingResponse:
    """A response whose body has not been read yet. Header names are lowercase. Used by one thread."""

    def __init__(
        self,
        pool: ConnectionPool,
        connection: Connection,
        status: int,
        headers: Mapping[str, str],
        *,
        bodiless: bool,
        reusable: bool,
    ) -> None:
        self.status = status
        self.headers = headers
        self._pool = pool
        self._connection: Connection | None = connection
        self._reusable = reusable
        self._chunked = False
        self._remaining: int | None = 0
        self._chunk_count = self._chunk_bytes = 0
        if not bodiless:
            self._chunked = _is_chunked(headers)
            self._remaining = 0 if self._chunked else _content_length(headers)
            self._reusable = reusable and self._remaining is not None
        if self._remaining == 0 and not self._chunked:
            self._finish()

    def read(self, most: int = _CHUNK_BYTES) -> bytes:
        """Return the next bytes of the body, empty at its end. Raises :class:`TransportError`, also if the
        body ends early."""
        connection = self._connection
        if connection is None:
            return b""
        try:
            if self._chunked and self._remaining == 0 and not self._next_chunk(connection):
                return b""
            limit = min(most, _CHUNK_BYTES)
            chunk = connection.receive(limit if self._remaining is None else min(limit, self._remaining))
            if not chunk:
                self.close()
                if self._remaining is not None:
                    raise TransportError("cut")
            elif self._remaining is not None:
                self._remaining -= len(chunk)
                if self._remaining == 0:
                    self._end_part(connection)
        except OSError as error:
            self.close()
            raise TransportError(classify_error(error)) from error
        except TransportError:
            self.close()
            raise
        return chunk

    def chunks(self) -> Iterator[bytes]:
        """Yield the rest of the body."""
        while chunk := self.read():
            yield chunk

    def close(self) -> None:
        """Discard the unread rest and close the connection. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def _next_chunk(self, connection: Connection) -> bool:
        size = _CHUNK.fullmatch(connection.read_until(b"\r\n", 1024, "cut"))
        if size is None:
            raise TransportError("unreadable")
        self._remaining = int(size[1], 16)
        self._chunk_count += 1
        self._chunk_bytes += self._remaining
        if self._chunk_count > _MANY_CHUNKS and self._chunk_bytes < self._chunk_count * _MIN_MEAN_CHUNK_BYTES:
            raise TransportError("unreadable")
        if self._remaining:
            return True
        for _ in range(_MAX_TRAILERS):
            if not connection.read_until(b"\r\n", _MAX_HEAD_BYTES, "cut"):
                self._finish()
                return False
        raise TransportError("unreadable")

    def _end_part(self, connection: Connection) -> None:
        if not self._chunked:
            self._finish()
        elif connection.read_until(b"\r\n", 2, "cut"):
            raise TransportError("unreadable")

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._reusable:
            self._pool.release(connection)
        elif connection is not None:
            connection.close()


class ConnectionPool:
    """The connections to one origin. Thread-safe. Connects on demand, to addresses that the policy allows."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._generation = 0
        self._protocol_known = context is not None
        # Some drivers are never closed.
        weakref.finalize(self, _close_all, self._idle)

    def request(
        self, method: str, target: str, headers: Mapping[str, str], body: Body = b"", *, idle: float
    ) -> StreamingResponse:
        """Send a request and read the head of its response. ``headers`` contain ``host`` and, with a body,
        its ``content-length``; ``idle`` is the number of seconds that the server may be silent. Raises
        :class:`TransportError`, and ``StorageError`` for a forbidden address; the server may have carried out
        the request anyway."""
        head = _encode_head(method, target, headers)
        connection = self._take_idle()
        try:
            connection.expect_within(idle)
            connection.low_speed.reset()
            send_error = _send(connection, head, body, idle)
            try:
                response = self.read_response(connection, method)
            except (OSError, TransportError):
                if send_error is not None:
                    raise send_error from None
                raise
            if response.status == 400 and self._server_wants_tls():
                raise TransportError("plain")
        except OSError as error:
            connection.close()
            raise self._translate_error(connection, classify_error(error)) from error
        except TransportError as error:
            connection.close()
            raise self._translate_error(connection, error.code) from error
        except BaseException:
            connection.close()
            raise
        self._protocol_known = True
        return response

    def _translate_error(self, connection: Connection, code: str) -> TransportError:
        """A server that expects TLS closes a plain connection, sometimes with an alert."""
        no_reply = not connection.buffer or connection.buffer.startswith(_ALERT)
        return TransportError("plain" if code == "reset" and no_reply and self._server_wants_tls() else code)

    def _server_wants_tls(self) -> bool:
        """Check once, and only before the first valid response."""
        if self._protocol_known:
            return False
        self._protocol_known = True
        return speaks_tls(self._host, self._port)

    def start_request(
        self, method: str, target: str, headers: Mapping[str, str], *, idle: float
    ) -> Connection:
        """Like :meth:`request`, but on a new connection on which the caller sends the body."""
        head = _encode_head(method, target, headers)
        connection = self._connect(self._generation)
        try:
            connection.sock.settimeout(idle)
            connection.sock.sendall(head)
        except OSError as error:
            connection.close()
            raise TransportError(classify_error(error)) from error
        return connection

    def release(self, connection: Connection) -> None:
        """Return a connection that can serve the next request."""
        with self._lock:
            if connection.generation == self._generation and len(self._idle) < _MAX_IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close idle connections now and the others after their response. Idempotent; a later request
        connects again."""
        with self._lock:
            idle = self._idle.copy()
            self._idle.clear()
            self._generation += 1
        _close_all(idle)

    def _take_idle(self) -> Connection:
        while True:
            with self._lock:
                connection, generation = self._idle.pop() if self._idle else None, self._generation
            if connection is None:
                return self._connect(generation)
            if connection.is_clean():
                return connection
            connection.close()

    def _connect(self, generation: int) -> Connection:
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
        return Connection(raw, generation)

    def read_response(self, connection: Connection, method: str) -> StreamingResponse:
        """Read the head of a response. Raises :class:`TransportError` and ``OSError``."""
        for _ in range(_MAX_INTERIM_RESPONSES):
            status, headers, is_http11 = _parse_head(
                connection.read_until(b"\r\n\r\n", _MAX_HEAD_BYTES, "reset")
            )
            if status >= 200:
                break
        else:
            raise TransportError("unreadable")
        closing = "close" in headers.get("connection", "").lower()
        return StreamingResponse(
            self,
            connection,
            status,
            headers,
            bodiless=method == "HEAD" or status in (204, 304),
            reusable=is_http11 and not closing,
        )


def _close_all(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()


def _encode_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    text = "\r\n".join(lines)
    # A line break in a value would start another header.
    if sum(map(text.count, _LINE_BREAKS)) != 2 * len(headers) or " " in target:
        raise ValueError("A header contains a line break, or the target of a request a space.")
    return f"{text}\r\n\r\n".encode("latin-1")


def _send(connection: Connection, head: bytes, body: Body, idle: float) -> OSError | None:
    """Send a request. Returns the error if the server stopped reading the body: it may have responded."""
    if isinstance(body, bytes) and len(body) <= _MAX_COALESCED_BYTES:
        connection.send(head + body, idle)
        return None
    connection.send(head, idle)
    try:
        for chunk in (body,) if isinstance(body, bytes) else body:
            view = memoryview(chunk)
            for start in range(0, len(view), _SEND_BYTES):
                connection.send(view[start : start + _SEND_BYTES], idle)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
        return error
    return None


def _parse_head(head: bytes) -> tuple[int, dict[str, str], bool]:
    """Parse status and headers; the third value is whether the server speaks HTTP/1.1."""
    first, *lines = head.decode("latin-1").split("\r\n")
    match = _STATUS.fullmatch(first)
    if match is None:
        raise TransportError("unreadable")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise TransportError("unreadable")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(match[2]), headers, match[1] == "1"


def _is_chunked(headers: Mapping[str, str]) -> bool:
    coding = headers.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        raise TransportError("unreadable")
    # A proxy may have used the other length (RFC 9112, 6.3: request smuggling).
    if coding is not None and "content-length" in headers:
        raise TransportError("two_lengths")
    return coding is not None


def _content_length(headers: Mapping[str, str]) -> int | None:
    """The length of a body, or None if it ends with the connection. Raises if it is ambiguous."""
    text = headers.get("content-length")
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise TransportError("unreadable")
    return int(text)
