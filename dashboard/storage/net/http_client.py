"""Requests to one HTTP server: no redirects, bounded time, only where the address policy allows."""

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
_FAREWELL_SECONDS = 2.0
_FAREWELL_PIECES = 16
_LONGEST_EXPLANATION = 64 * 1024
_WITH_BODIES = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read whole. Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str | None:
        """The ETag without its quotes, None when there is none."""
        return self.headers.get("etag", "").strip('"') or None


class HttpClient:
    """One server and the connections to it. Thread-safe; connects on first use.

    Statuses are the caller's business: a redirect, too, is returned and never followed.
    """

    def __init__(self, origin: str, *, tls_verify: bool = True, authority: str = "") -> None:
        parts = urlsplit(origin)
        self.tls = parts.scheme == "https"
        self.address = (parts.hostname or "", parts.port or (443 if self.tls else 80))
        self.host = _host(*self.address, tls=self.tls)
        """As people write it, and as requests name it."""
        self._always = {"host": self.host, "user-agent": "stowage", "accept-encoding": "identity"}
        self._trust = (tls_verify, authority)
        self._lock = threading.Lock()
        self._exchange: ConnectionPool | None = None

    def open(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        idle: float = IDLE_SECONDS,
    ) -> StreamingResponse:
        """One request, once. ``target`` is the encoded path and query. The caller reads the answer to its end
        or closes it. A body that can be gone through only once needs its ``content-length`` in ``headers``,
        whose names are in small letters. Raises :class:`TransportError`, and ``StorageError`` for a forbidden
        address."""
        sent = {**self._always, **headers}
        if (body is not None or method in _WITH_BODIES) and "content-length" not in sent:
            length = len(body) if isinstance(body, bytes) else sum(len(part) for part in body or ())
            sent["content-length"] = str(length)
        return self._connections().ask(method, target, sent, body or b"", idle=idle)

    def ask(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        idle: float = IDLE_SECONDS,
    ) -> Response:
        """As :meth:`open`, its answer read whole."""
        return read_whole(self.open(method, target, headers=headers, body=body, idle=idle))

    def begin(
        self, method: str, target: str, *, headers: Mapping[str, str], idle: float = IDLE_SECONDS
    ) -> StreamingRequest:
        """A request whose body is handed over piece by piece; ``headers`` say how long it is or that it comes
        in chunks, which the caller makes. Raises as :meth:`open` does."""
        connections = self._connections()
        line = connections.begin(method, target, {**self._always, **headers}, idle=idle)
        return StreamingRequest(line.sock, lambda: connections.answer(line, method))

    def tls_context(self) -> ssl.SSLContext:
        """The settings its connections are made with. No network call."""
        tls_verify, authority = self._trust
        return make_tls_context(tls_verify=tls_verify, authority=authority)

    def close(self) -> None:
        """Free the connections. Idempotent."""
        with self._lock:
            if self._exchange is not None:
                self._exchange.close()

    def _connections(self) -> ConnectionPool:
        if self._exchange is None:
            with self._lock:
                if self._exchange is None:
                    self._exchange = ConnectionPool(*self.address, self.tls_context() if self.tls else None)
        return self._exchange


def _host(name: str, port: int, *, tls: bool) -> str:
    named = f"[{name}]" if ":" in name else name
    return named if port == (443 if tls else 80) else f"{named}:{port}"


class StreamingRequest:
    """A request whose head has gone out, on a connection of its own. Used by one thread."""

    def __init__(self, sock: socket.socket, answer: Callable[[], StreamingResponse]) -> None:
        self._sock = sock
        self._answer = answer

    def send(self, data: bytes) -> None:
        """More of the body. Raises :class:`TransportError`; where the server stopped listening its code is
        ``reset``, and there may be an answer that says why."""
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
            raise TransportError("reset") from error
        except OSError as error:
            self._sock.close()
            raise TransportError(classify_error(error)) from error

    def answer(self) -> StreamingResponse:
        """The answer, once the body is complete. Raises :class:`TransportError`."""
        try:
            return self._answer()
        except OSError as error:
            self._sock.close()
            raise TransportError(classify_error(error)) from error
        except TransportError:
            self._sock.close()
            raise

    def break_off(self) -> None:
        """Leave it unfinished, and give the server a moment to notice. Idempotent."""
        with suppress(OSError):
            self._sock.settimeout(_FAREWELL_SECONDS)
            self._sock.shutdown(socket.SHUT_WR)
            for _ in range(_FAREWELL_PIECES):
                if not self._sock.recv(64 * 1024):
                    break
        self._sock.close()


def read_whole(response: StreamingResponse, *, encoded: bool = False) -> Response:
    """Read a response to its end and release its connection. Raises :class:`TransportError` if it is larger
    than a document can be, or has a content encoding without ``encoded``, which is for content of objects."""
    # Without a body it tells of the object, as with HEAD.
    plain = encoded or response.headers.get("content-encoding", "identity").lower() == "identity"

    def pieces() -> Iterator[bytes]:
        size = 0
        for piece in response.pieces():
            size += len(piece)
            if not plain:
                raise TransportError("unreadable")
            if size > MAX_DOCUMENT_BYTES:
                raise TransportError("endless")
            yield piece

    try:
        return Response(response.status, response.headers, join_chunks(pieces()))
    finally:
        response.close()


def read_error_body(response: StreamingResponse) -> Response:
    """A refusal, with the beginning of what it says about itself: of one that never ends the status is
    enough. Frees the connection."""
    body = b""
    try:
        while len(body) < _LONGEST_EXPLANATION and (piece := response.read()):
            body += piece
    except TransportError:
        body = b""
    finally:
        response.close()
    return Response(response.status, response.headers, body)


class ResponseBody:
    """The body of an open answer. Closing it frees the connection, read to its end or not."""

    def __init__(self, response: StreamingResponse, failed: Callable[[TransportError], StorageError]) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._failed = failed

    def pieces(self) -> Iterator[bytes]:
        """What arrives, in pieces of at most 256 KiB. Consumed once; raises what ``failed`` makes of it."""
        try:
            yield from self._response.pieces()
        except TransportError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Idempotent; a connection that was read to its end serves again."""
        self._response.close()
