"""A client for one HTTP server: no redirects, bounded time, only addresses that the policy allows."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from dashboard.storage.errors import StorageError
from dashboard.storage.net.connecting import make_tls_context
from dashboard.storage.net.http1 import Body, ConnectionPool, StreamingResponse, TransportError
from dashboard.storage.net.parsing import MAX_DOCUMENT_BYTES, join_chunks
from dashboard.storage.net.transport_errors import classify_error

IDLE_SECONDS = 90.0
_CLOSE_SECONDS = 2.0
_CLOSE_READS = 16
_MAX_ERROR_BODY_BYTES = 64 * 1024
_WITH_BODIES = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its complete body. Header names are lowercase."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str | None:
        """The ETag without quotes, or None."""
        return self.headers.get("etag", "").strip('"') or None


class HttpClient:
    """One server and the connections to it. Thread-safe; connects on first use.

    Every status is returned to the caller; a redirect is never followed.
    """

    def __init__(self, origin: str, *, tls_verify: bool = True, authority: str = "") -> None:
        parts = urlsplit(origin)
        self.tls = parts.scheme == "https"
        self.address = (parts.hostname or "", parts.port or (443 if self.tls else 80))
        self.host = _host(*self.address, tls=self.tls)
        """As in URLs and the ``Host`` header."""
        self._default_headers = {"host": self.host, "user-agent": "stowage", "accept-encoding": "identity"}
        self._tls_options = (tls_verify, authority)
        self._lock = threading.Lock()
        self._pool: ConnectionPool | None = None

    def open(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        idle: float = IDLE_SECONDS,
    ) -> StreamingResponse:
        """Send a request, without retries. ``target`` is the encoded path and query. The caller reads the
        response to its end or closes it. A body that can be iterated only once needs its ``content-length``
        in ``headers``, whose names are lowercase. Raises :class:`TransportError`, and ``StorageError`` for a
        forbidden address."""
        sent = {**self._default_headers, **headers}
        if (body is not None or method in _WITH_BODIES) and "content-length" not in sent:
            length = len(body) if isinstance(body, bytes) else sum(len(part) for part in body or ())
            sent["content-length"] = str(length)
        return self._open_pool().request(method, target, sent, body or b"", idle=idle)

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        idle: float = IDLE_SECONDS,
    ) -> Response:
        """Like :meth:`open`, but read the complete response."""
        return read_whole(self.open(method, target, headers=headers, body=body, idle=idle))

    def start_request(
        self, method: str, target: str, *, headers: Mapping[str, str], idle: float = IDLE_SECONDS
    ) -> StreamingRequest:
        """Send the head of a request whose body follows in parts. ``headers`` contain its length, or say that
        it is chunked; then the caller encodes the chunks. Raises what :meth:`open` raises."""
        pool = self._open_pool()
        connection = pool.start_request(method, target, {**self._default_headers, **headers}, idle=idle)
        return StreamingRequest(connection.sock, lambda: pool.read_response(connection, method))

    def tls_context(self) -> ssl.SSLContext:
        """The TLS settings of its connections. Makes no network call."""
        tls_verify, authority = self._tls_options
        return make_tls_context(tls_verify=tls_verify, authority=authority)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()

    def _open_pool(self) -> ConnectionPool:
        if self._pool is None:
            with self._lock:
                if self._pool is None:
                    self._pool = ConnectionPool(*self.address, self.tls_context() if self.tls else None)
        return self._pool


def _host(name: str, port: int, *, tls: bool) -> str:
    named = f"[{name}]" if ":" in name else name
    return named if port == (443 if tls else 80) else f"{named}:{port}"


class StreamingRequest:
    """A request whose body is being sent, on its own connection. Used by one thread."""

    def __init__(self, sock: socket.socket, receive: Callable[[], StreamingResponse]) -> None:
        self._sock = sock
        self._receive = receive

    def send(self, data: bytes) -> None:
        """Send more of the body. Raises :class:`TransportError`; if the server stopped reading, its code is
        ``reset``, and :meth:`response` may return the reason."""
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
            raise TransportError("reset") from error
        except OSError as error:
            self._sock.close()
            raise TransportError(classify_error(error)) from error

    def response(self) -> StreamingResponse:
        """Return the response, after the complete body. Raises :class:`TransportError`."""
        try:
            return self._receive()
        except OSError as error:
            self._sock.close()
            raise TransportError(classify_error(error)) from error
        except TransportError:
            self._sock.close()
            raise

    def interrupt(self) -> None:
        """End the connection from another thread: whatever waits for it, raises. Idempotent."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """Abandon the request, and give the server a moment to notice. Idempotent."""
        with suppress(OSError):
            self._sock.settimeout(_CLOSE_SECONDS)
            self._sock.shutdown(socket.SHUT_WR)
            for _ in range(_CLOSE_READS):
                if not self._sock.recv(64 * 1024):
                    break
        self._sock.close()


def read_whole(response: StreamingResponse, *, encoded: bool = False) -> Response:
    """Read a response to its end and release its connection. Raises :class:`TransportError` if it is larger
    than a document can be, or has a content encoding without ``encoded``, which is for content of objects."""
    # Without a body, as with HEAD, the header describes the object.
    is_identity = encoded or response.headers.get("content-encoding", "identity").lower() == "identity"

    def chunks() -> Iterator[bytes]:
        size = 0
        for chunk in response.chunks():
            size += len(chunk)
            if not is_identity:
                raise TransportError("unreadable")
            if size > MAX_DOCUMENT_BYTES:
                raise TransportError("endless")
            yield chunk

    try:
        return Response(response.status, response.headers, join_chunks(chunks()))
    finally:
        response.close()


def read_error_body(response: StreamingResponse) -> Response:
    """Read the first 64 KiB of an error response and release its connection. The body is empty if the
    connection fails: the status is enough."""
    body = b""
    try:
        while len(body) < _MAX_ERROR_BODY_BYTES and (chunk := response.read()):
            body += chunk
    except TransportError:
        body = b""
    finally:
        response.close()
    return Response(response.status, response.headers, body)


class ResponseBody:
    """The body of a streaming response. Closing it releases the connection, even if part of it is unread."""

    def __init__(
        self, response: StreamingResponse, to_error: Callable[[TransportError], StorageError]
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._to_error = to_error

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in chunks of at most 256 KiB. Can be iterated once. Raises what ``to_error`` returns
        if the connection fails."""
        try:
            yield from self._response.chunks()
        except TransportError as error:
            raise self._to_error(error) from error

    def close(self) -> None:
        """Idempotent. The connection is reused if the body was read to its end."""
        self._response.close()
