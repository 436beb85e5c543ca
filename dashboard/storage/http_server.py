"""Requests to one HTTP server: no redirects, bounded time, only where the address policy allows.

Imports an HTTP client: for drivers only.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from dashboard.storage.connections import Pool, SecurePool, trust
from dashboard.storage.errors import StorageError
from dashboard.storage.wire import trouble_in

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 90.0
CHUNK = 1024 * 1024
_LONGEST_ANSWER = 32 * 1024 * 1024
_POOL = 64

Body = bytes | Sequence[bytes | memoryview]


class WireTrouble(Exception):
    """There was no answer, or not all of it. ``trouble`` is a name that ``wire.wire_error`` knows; the
    client's exception is the cause."""

    def __init__(self, trouble: str) -> None:
        super().__init__(trouble)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole. Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpServer:
    """One server and the connections to it. Thread-safe; connects on first use.

    Statuses are the caller's business: a redirect, too, is returned and never followed.
    """

    def __init__(self, origin: str, *, tls_verify: bool = True, authority: str = "") -> None:
        parts = urlsplit(origin)
        self.tls = parts.scheme == "https"
        self.host = parts.netloc
        """As people write it."""
        self.address = (parts.hostname or "", parts.port or (443 if self.tls else 80))
        self._trust = (tls_verify, authority)
        self._lock = threading.Lock()
        self._pool: urllib3.HTTPConnectionPool | None = None

    def open(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        idle: float = IDLE_SECONDS,
    ) -> urllib3.BaseHTTPResponse:
        """One request, once. ``target`` is the encoded path and query. The caller reads the answer and
        releases or closes it. Raises :class:`WireTrouble`, and ``StorageError`` for a forbidden address."""
        sent = {"host": self.host, "user-agent": "stowage", "accept-encoding": "identity", **headers}
        if body is not None:
            parts = [body] if isinstance(body, bytes) else body
            sent["content-length"] = str(sum(len(part) for part in parts))
        # urllib3 sends any buffers; its annotations name only bytes and text.
        payload: Any = body or None
        with _telling():
            return self._connections().urlopen(
                method,
                target,
                body=payload,
                headers=sent,
                redirect=False,
                retries=False,
                timeout=Timeout(connect=CONNECT_SECONDS, read=idle),
                preload_content=False,
                decode_content=False,
                assert_same_host=False,
            )

    def ask(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        idle: float = IDLE_SECONDS,
    ) -> Answer:
        """As :meth:`open`, its answer read whole."""
        return whole(self.open(method, target, headers=headers, body=body, idle=idle))

    def tls_context(self) -> ssl.SSLContext:
        """The settings its connections are made with. No network call."""
        tls_verify, authority = self._trust
        return trust(tls_verify=tls_verify, authority=authority)

    def close(self) -> None:
        """Free the connections. Idempotent."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def _connections(self) -> urllib3.HTTPConnectionPool:
        with self._lock:
            if self._pool is None:
                host, port = self.address
                if self.tls:
                    self._pool = SecurePool(
                        host, port, maxsize=_POOL, block=False, ssl_context=self.tls_context()
                    )
                else:
                    self._pool = Pool(host, port, maxsize=_POOL, block=False)
            return self._pool


def whole(response: urllib3.BaseHTTPResponse) -> Answer:
    """Read an open answer to its end and free its connection. One without end is cut off and raises."""
    try:
        with _telling():
            body = response.read(_LONGEST_ANSWER + 1)
            if len(body) > _LONGEST_ANSWER:
                raise WireTrouble("unreadable")
            response.drain_conn()
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return Answer(response.status, small(response.headers), body)


class Incoming:
    """The body of an open answer. Closing it frees the connection, read to its end or not."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, failed: Callable[[WireTrouble], StorageError]
    ) -> None:
        self.status = response.status
        self.headers = small(response.headers)
        self._response = response
        self._failed = failed

    def pieces(self) -> Iterator[bytes]:
        """What arrives, in pieces of up to 1 MiB. Consumed once; raises what ``failed`` makes of it."""
        try:
            with _telling():
                yield from self._response.stream(CHUNK)
        except WireTrouble as error:
            raise self._failed(error) from error
        self._response.release_conn()

    def close(self) -> None:
        """Idempotent; a connection that was read to its end serves again."""
        self._response.close()


def small(headers: Mapping[str, str]) -> dict[str, str]:
    """Header names in small letters."""
    return {name.lower(): value for name, value in headers.items()}


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except (HTTPError, HTTPException, OSError) as error:
        raise WireTrouble(trouble_in(f"{type(error).__name__} {error!r} {error}")) from error
