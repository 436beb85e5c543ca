"""Requests to a WebDAV server: signed in from the first one, no redirects, bounded time.

https://www.rfc-editor.org/rfc/rfc4918
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Literal
from unicodedata import normalize

from dashboard.errors import Kind
from dashboard.storage.drivers.webdav.errors import ELSEWHERE, ERRORS, OTHER_SIGN_IN, hidden_by, translate
from dashboard.storage.drivers.webdav.place import Place
from dashboard.storage.drivers.webdav.sign_in import SignIn
from dashboard.storage.drivers.webdav.streams import Upload
from dashboard.storage.drivers.webdav.xml import QUERY, Resource, decoded_path, resources
from dashboard.storage.errors import Changed, StorageError
from dashboard.storage.net.exchange import Answering
from dashboard.storage.net.failures import Scene
from dashboard.storage.net.ranges import part_of, range_header
from dashboard.storage.net.retrying import patiently, pause
from dashboard.storage.net.server import IDLE_SECONDS, Answer, HttpServer, explained, whole

ATTEMPTS = 4
REDIRECTS = (301, 302, 307, 308)
_STATUS = re.compile(rb"HTTP/1\.[01] ([345]\d\d)")
PAGES = ("index.html", "index.htm", "index.xhtml", "index.php", "index.cgi", "index.pl")
"""What servers show in place of a folder; Apache's mod_dir then answers a PROPFIND of it with 405."""
_SIGN_INS = 3
_REPEATABLE = frozenset({"GET", "HEAD", "PROPFIND", "PUT", "DELETE", "MKCOL"})


class Client:
    """The requests of one place. Thread-safe; connects on first use."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._server = HttpServer(place.server, tls_verify=place.tls_verify, authority=place.ca_certificate)
        self._sign_in = SignIn(place.username, place.password, tls=place.tls)
        self._bare_destinations = False

    def scene(self, operation: str, key: str = "") -> Scene:
        """For an error's sentence."""
        return Scene(operation, key, self.place.shown, self.place.host)

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
            with ERRORS.asking(scene):
                refused = response.status >= 300
                return _done(explained(response) if refused else whole(response), scene)

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
    ) -> Literal["new", "replaced", "taken"]:
        """Move or copy between two paths: to where nothing was, over something, or not at all because
        something is there and is not to be overwritten.

        The destination is a whole address at first, as all servers know it. One behind a proxy that ends
        TLS takes that for another server and answers 502; it is given the path alone (RFC 4918, 8.3).
        """
        for bare in (True,) if self._bare_destinations else (False, True):
            destination = to if bare else self.place.server + to
            headers = {"destination": destination, "overwrite": "T" if overwrite else "F"}
            accept = (412,) if bare else (412, 502)
            send = partial(self.send, method, source, scene, headers=headers, accept=accept, idle=idle)
            answer = _until_free(send)
            if answer.status != 502:
                self._bare_destinations = bare
                break
        return "taken" if answer.status == 412 else "replaced" if answer.status == 204 else "new"

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
    ) -> Answering:
        """One request, once; the caller reads the answer to its end or closes it. Raises as ``send`` does."""
        self._ask_how_to_sign_in(scene)
        for _ in range(_SIGN_INS):
            signed = self._sign_in.headers(method, path)
            sent = {**signed, **(headers or {})}
            with ERRORS.asking(scene):
                response = self._server.open(method, path, headers=sent, body=body or None, idle=idle)
            if response.status != 401:
                break
            meaning = self._sign_in.refused(signed, response.headers.get("www-authenticate", ""))
            if meaning == "unknown":
                explained(response)
                raise ERRORS.of(OTHER_SIGN_IN, scene)
            if meaning == "wrong":
                break
            explained(response)
        if response.status >= 300 and response.status not in accept:
            raise translate(explained(response).status, scene)
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

        def once() -> Answering:
            return self._ask_properties(path, scene, depth, idle, accept=(405, *REDIRECTS))

        response = patiently(once, attempts)
        if response.status == 405:
            response.close()
            raise self._not_listed(path, scene)
        # What was not asked for may be a few bytes that inflate to gigabytes.
        encoded = response.headers.get("content-encoding", "identity") not in ("", "identity")
        if response.status != 207 or encoded:
            response.close()
            if _leads_to_folder(response, path):
                yield Resource(decoded_path(path), folder=True)
                return
            raise ERRORS.trouble("redirect" if response.status in REDIRECTS else "unreadable", scene)
        try:
            with ERRORS.asking(scene), ERRORS.reading(scene):
                yield from resources(response.pieces())
        finally:
            response.close()

    def _ask_properties(
        self, path: str, scene: Scene, depth: str, idle: float, *, accept: tuple[int, ...]
    ) -> Answering:
        headers = {"depth": depth, "content-type": "application/xml; charset=utf-8"}
        return self.open("PROPFIND", path, scene, headers=headers, body=QUERY, accept=accept, idle=idle)

    def _not_listed(self, path: str, scene: Scene) -> StorageError:
        """The error for a PROPFIND that is not allowed: no WebDAV there, or a page in place of the folder."""
        for page in PAGES if path.endswith("/") else ():
            with suppress(StorageError):
                response = self._ask_properties(path + page, scene, "0", IDLE_SECONDS, accept=())
                response.close()
                if response.status == 207:
                    return hidden_by(page, scene)
        return translate(405, scene)

    def look(
        self, key: str, scene: Scene, *, attempts: int = ATTEMPTS, idle: float = IDLE_SECONDS
    ) -> Resource:
        """What is at a key or at a folder's key. Raises ``NotFound`` or ``ContainerMissing``."""
        asked = (*self.place.root, *key.split("/")) if key else self.place.root
        found = None
        told = self.properties(self.place.path(key), scene, depth="0", attempts=attempts, idle=idle)
        for number, resource in enumerate(told):
            if number or not _same(resource.path, tuple(part for part in asked if part)):
                raise ERRORS.of(ELSEWHERE, scene)
            found = resource
        if found is None:
            raise ERRORS.trouble("unreadable", scene)
        if found.status != 200:
            raise translate(found.status, scene)
        return found

    def upload(self, path: str, scene: Scene, headers: Mapping[str, str], size: int | None) -> Upload:
        """Begin a PUT whose body is handed over piece by piece, on a connection of its own."""
        self._ask_how_to_sign_in(scene)
        if self._sign_in.may_be_stale:
            # What is streamed cannot be sent again because a nonce has become old.
            self.look("", scene)
        signed = self._sign_in.headers("PUT", path)
        return Upload(self._server, path, scene, {**signed, **headers}, size)

    def reading(self, response: Answering, scene: Scene) -> Iterator[bytes]:
        """The body of an open GET in pieces."""
        with ERRORS.asking(scene):
            yield from response.pieces()

    def part(self, key: str, start: int, length: int, etag: str | None) -> bytes:
        """Some bytes of an object; with an ETag, of that version only. A server that ignores ranges and
        sends everything is cut off after the part. Raises ``NotFound`` and ``Changed``."""
        scene = self.scene("read", key)
        headers = range_header(start, length) | ({"if-match": f'"{etag}"'} if etag is not None else {})

        def once() -> bytes:
            response = self.open("GET", self.place.path(key), scene, headers=headers)
            try:
                if etag is not None and response.headers.get("etag", "").strip('"') not in ("", etag):
                    raise Changed(key)
                pieces = self.reading(response, scene)
                return part_of(response.status, response.headers, pieces, key=key, start=start, length=length)
            finally:
                response.close()

        return patiently(once, ATTEMPTS)

    def close(self) -> None:
        """Free the connections. Idempotent."""
        self._server.close()

    def tls_context(self) -> ssl.SSLContext:
        """The settings its connections are made with. No network call."""
        return self._server.tls_context()

    def _ask_how_to_sign_in(self, scene: Scene) -> None:
        def ask() -> str | None:
            headers = {"depth": "0", "content-type": "application/xml; charset=utf-8"}
            with ERRORS.asking(scene):
                response = self._server.open(
                    "PROPFIND", self.place.path(""), headers=headers, body=QUERY, idle=15.0
                )
            status, offered = response.status, response.headers.get("www-authenticate", "")
            explained(response)
            return offered if status == 401 else None

        self._sign_in.ask_first(ask)


def _until_free(send: Callable[[], Answer]) -> Answer:
    """Its answer, also from a server that is busy or has it locked for a moment: nothing was done then."""
    for attempt in range(1, ATTEMPTS):
        try:
            return send()
        except StorageError as error:
            if error.kind is not Kind.THROTTLED:
                raise
        pause(attempt)
    return send()


def _done(answer: Answer, scene: Scene) -> Answer:
    """A multi-status answer to anything but a PROPFIND says that part of it failed."""
    if answer.status == 207:
        found = _STATUS.search(answer.body)
        raise translate(int(found.group(1)) if found else 500, scene)
    return answer


def _same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two paths may name one resource; servers that fold names answer with the name they keep."""
    return _folded(one) == _folded(other)


def _folded(path: tuple[str, ...]) -> str:
    return normalize("NFC", "/".join(path)).casefold()


def _leads_to_folder(response: Answering, path: str) -> bool:
    """Whether this is the redirect with which servers answer for a folder without a slash at its end."""
    location = response.headers.get("location", "")
    return (
        response.status in REDIRECTS
        and location.endswith("/")
        and decoded_path(location) == decoded_path(path)
    )
