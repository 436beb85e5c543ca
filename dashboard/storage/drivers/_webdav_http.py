"""Requests to a WebDAV server: signed in from the first one, no redirects, bounded time.

https://www.rfc-editor.org/rfc/rfc4918
"""

from __future__ import annotations

import base64
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from dashboard.storage.connecting import trust
from dashboard.storage.connections import Connection, Pool, SecureConnection, SecurePool
from dashboard.storage.drivers._webdav_errors import (
    Scene,
    from_client,
    on_the_wire,
    translate,
)
from dashboard.storage.drivers._webdav_place import CONNECT_SECONDS, IDLE_SECONDS, Place
from dashboard.storage.drivers._webdav_wire import CHUNK, Answer, Upload, small
from dashboard.storage.drivers._webdav_xml import QUERY, Resource, Unreadable, decoded_path, resources
from dashboard.storage.errors import Changed
from dashboard.storage.ranges import part_of, range_header
from dashboard.storage.wire import patiently

ATTEMPTS = 4
REDIRECTS = (301, 302, 307, 308)
_LONGEST_ANSWER = 1024 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([345]\d\d)")
_REPEATABLE = frozenset({"GET", "HEAD", "PROPFIND", "PUT", "DELETE", "MKCOL"})


class Client:
    """The requests of one place. Thread-safe; connects on first use."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._open_pool: urllib3.HTTPConnectionPool | None = None
        self._bare_destinations = False

    def scene(self, operation: str, key: str = "") -> Scene:
        """For an error's sentence."""
        return Scene(operation, key, self.place.host, self.place.shown)

    def send(
        self,
        method: str,
        path: str,
        scene: Scene,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        accept: tuple[int, ...] = (),
        attempts: int = ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> Answer:
        """One request, its answer read whole. Statuses below 300 and those in ``accept`` are returned,
        all others raise. Repeatable ones are tried again when the connection broke or the server is busy."""
        if method not in _REPEATABLE:
            attempts = 1

        def once() -> Answer:
            response = self.open(method, path, scene, headers=headers, body=body, accept=accept, idle=idle)
            return _whole(self._read_whole(response, scene), scene)

        return patiently(once, attempts)

    def transfer(
        self,
        method: Literal["MOVE", "COPY"],
        source: str,
        to: str,
        scene: Scene,
        *,
        overwrite: bool,
        idle: float = IDLE_SECONDS,
    ) -> bool:
        """Move or copy between two paths; false when there is something and it is not to be overwritten.

        The destination is a whole address at first, as all servers know it. One behind a proxy that ends
        TLS takes that for another server and answers 502; it is given the path alone (RFC 4918, 8.3).
        """
        for bare in (True,) if self._bare_destinations else (False, True):
            destination = to if bare else self.place.server + to
            headers = {"destination": destination, "overwrite": "T" if overwrite else "F"}
            accept = (412,) if bare else (412, 502)
            answer = self.send(method, source, scene, headers=headers, accept=accept, idle=idle)
            if answer.status != 502:
                self._bare_destinations = bare
                break
        return answer.status != 412

    def open(
        self,
        method: str,
        path: str,
        scene: Scene,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        accept: tuple[int, ...] = (),
        idle: float = IDLE_SECONDS,
    ) -> urllib3.BaseHTTPResponse:
        """One request, once; the caller reads and releases the answer. Raises as ``send`` does."""
        sent = {**self._headers(), **(headers or {})}
        if body or method == "PUT":
            sent["content-length"] = str(len(body))
        try:
            response = self._pool.urlopen(
                method,
                path,
                body=body or None,
                headers=sent,
                redirect=False,
                retries=False,
                timeout=Timeout(connect=CONNECT_SECONDS, read=idle),
                preload_content=False,
                decode_content=False,
                assert_same_host=False,
            )
        except (HTTPError, OSError) as error:
            raise from_client(error, scene) from error
        self._check(response, scene, accept)
        return response

    def properties(
        self,
        path: str,
        scene: Scene,
        *,
        depth: Literal["0", "1"],
        attempts: int = ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> Iterator[Resource]:
        """PROPFIND: the resource itself and, with depth 1, what is in it. Parsed as it arrives.

        Raises before the first resource when the request fails, ``NotFound`` for example.
        """
        headers = {"depth": depth, "content-type": "application/xml; charset=utf-8"}

        def once() -> urllib3.BaseHTTPResponse:
            return self.open(
                "PROPFIND", path, scene, headers=headers, body=QUERY, accept=REDIRECTS, idle=idle
            )

        response = patiently(once, attempts)
        if response.status != 207:
            response.close()
            if _leads_to_folder(response, path):
                yield Resource(decoded_path(path), folder=True)
                return
            raise on_the_wire("redirect" if response.status in REDIRECTS else "unreadable", scene)
        with _closing(response), self._reading(scene):
            yield from resources(response.stream(64 * 1024))

    def look(
        self, key: str, scene: Scene, *, attempts: int = ATTEMPTS, idle: float = IDLE_SECONDS
    ) -> Resource:
        """What is at a key or at a folder's key. Raises ``NotFound``, or ``PlaceMissing`` for the place."""
        found = list(self.properties(self.place.path(key), scene, depth="0", attempts=attempts, idle=idle))
        if not found:
            raise on_the_wire("unreadable", scene)
        return found[0]

    def upload(self, path: str, scene: Scene, headers: Mapping[str, str], size: int | None) -> Upload:
        """Begin a PUT whose body is handed over piece by piece, on a connection of its own."""
        host, port = self.place.address
        connection: HTTPConnection
        if self.place.tls:
            connection = SecureConnection(
                host,
                port,
                ssl_context=self.tls_context(),
            )
        else:
            connection = Connection(host, port)
        return Upload(connection, path, scene, {**self._headers(), **headers}, size)

    def reading(self, response: urllib3.BaseHTTPResponse, scene: Scene) -> Iterator[bytes]:
        """The body of an open GET in pieces of up to 1 MiB."""
        with self._reading(scene):
            yield from response.stream(CHUNK)

    def part(self, key: str, start: int, length: int, etag: str | None) -> bytes:
        """Some bytes of an object; with an ETag, of that version only. A server that ignores ranges and
        sends everything is cut off after the part. Raises ``NotFound`` and ``Changed``."""
        scene = self.scene("read", key)
        headers = range_header(start, length) | ({"if-match": f'"{etag}"'} if etag is not None else {})

        def once() -> bytes:
            response = self.open("GET", self.place.path(key), scene, headers=headers)
            try:
                answer = small(response.headers)
                if etag is not None and answer.get("etag", "").strip('"') not in ("", etag):
                    raise Changed(key)
                pieces = self.reading(response, scene)
                return part_of(response.status, answer, pieces, key=key, start=start, length=length)
            finally:
                response.close()

        return patiently(once, ATTEMPTS)

    def close(self) -> None:
        """Free the connections. Idempotent."""
        with self._lock:
            if self._open_pool is not None:
                self._open_pool.close()
                self._open_pool = None

    @property
    def _pool(self) -> urllib3.HTTPConnectionPool:
        with self._lock:
            if self._open_pool is None:
                host, port = self.place.address
                if self.place.tls:
                    self._open_pool = SecurePool(
                        host,
                        port,
                        maxsize=64,
                        block=False,
                        ssl_context=self.tls_context(),
                    )
                else:
                    self._open_pool = Pool(host, port, maxsize=64, block=False)
            return self._open_pool

    def tls_context(self) -> ssl.SSLContext:
        """The settings its connections are made with. No network call."""
        return trust(tls_verify=self.place.tls_verify, authority=self.place.ca_certificate)

    def _headers(self) -> dict[str, str]:
        pair = f"{self.place.username}:{self.place.password.reveal()}".encode()
        return {
            "authorization": f"Basic {base64.b64encode(pair).decode()}",
            "host": self.place.host,
            "accept-encoding": "identity",
            "user-agent": "stowage",
        }

    def _check(self, response: urllib3.BaseHTTPResponse, scene: Scene, accept: tuple[int, ...]) -> None:
        if response.status < 300 or response.status in accept:
            return
        # A short error page is read so that the connection can serve again.
        if int(response.headers.get("content-length") or CHUNK) < 64 * 1024:
            with self._reading(scene):
                response.drain_conn()
            response.release_conn()
        else:
            response.close()
        raise translate(response.status, scene)

    def _read_whole(self, response: urllib3.BaseHTTPResponse, scene: Scene) -> Answer:
        with self._reading(scene):
            body = response.read(_LONGEST_ANSWER)
            if len(body) == _LONGEST_ANSWER:
                response.close()
            else:
                response.drain_conn()
                response.release_conn()
        return Answer(response.status, small(response.headers), body)

    @contextmanager
    def _reading(self, scene: Scene) -> Iterator[None]:
        try:
            yield
        except Unreadable as error:
            raise on_the_wire("unreadable", scene) from error
        except (HTTPError, OSError) as error:
            raise from_client(error, scene) from error


def _whole(answer: Answer, scene: Scene) -> Answer:
    """A multi-status answer to anything but a PROPFIND says that part of it failed."""
    if answer.status == 207:
        found = _STATUS.search(answer.body)
        raise translate(int(found.group(1)) if found else 500, scene)
    return answer


@contextmanager
def _closing(response: urllib3.BaseHTTPResponse) -> Iterator[None]:
    """A connection whose answer was read to its end serves again, any other is dropped."""
    try:
        yield
        response.release_conn()
    except BaseException:
        response.close()
        raise


def _leads_to_folder(response: urllib3.BaseHTTPResponse, path: str) -> bool:
    """Whether this is the redirect with which servers answer for a folder without a slash at its end."""
    location = response.headers.get("location", "")
    return (
        response.status in REDIRECTS
        and location.endswith("/")
        and decoded_path(location) == decoded_path(path)
    )
