"""Requests to a WebDAV server: authenticated, without redirects, in bounded time.

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
from dashboard.storage.drivers.webdav.auth import Authenticator
from dashboard.storage.drivers.webdav.config import WebDavConfig
from dashboard.storage.drivers.webdav.errors import (
    AUTH_UNSUPPORTED,
    ERRORS,
    FOREIGN_PATHS,
    listing_hidden_error,
    status_error,
)
from dashboard.storage.drivers.webdav.streams import Upload
from dashboard.storage.drivers.webdav.xml import QUERY, Resource, decoded_path, resources
from dashboard.storage.errors import Changed, StorageError
from dashboard.storage.net.failures import ErrorContext
from dashboard.storage.net.http1 import StreamingResponse
from dashboard.storage.net.http_client import IDLE_SECONDS, HttpClient, Response, read_error_body, read_whole
from dashboard.storage.net.ranges import range_from_response, range_header
from dashboard.storage.net.retries import backoff, retry

MAX_ATTEMPTS = 4
REDIRECTS = (301, 302, 307, 308)
_STATUS = re.compile(rb"HTTP/1\.[01] ([345]\d\d)")
INDEX_PAGES = ("index.html", "index.htm", "index.xhtml", "index.php", "index.cgi", "index.pl")
"""Index pages that servers return for a folder. Apache's mod_dir then refuses its PROPFIND with 405."""
_MAX_AUTH_ATTEMPTS = 3
_IDEMPOTENT = frozenset({"GET", "HEAD", "PROPFIND", "PUT", "DELETE", "MKCOL"})


class WebDavClient:
    """The requests to one folder on a server. Thread-safe. Connects on first use."""

    def __init__(self, config: WebDavConfig) -> None:
        self.config = config
        self._server = HttpClient(
            config.server, tls_verify=config.tls_verify, authority=config.ca_certificate
        )
        self._auth = Authenticator(config.username, config.password, tls=config.tls)
        self._bare_destinations = False

    def context(self, operation: str, key: str = "") -> ErrorContext:
        """Return the context for error messages."""
        return ErrorContext(operation, key, self.config.display_name, self.config.host)

    def send(
        self,
        method: str,
        path: str,
        context: ErrorContext,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        accept: tuple[int, ...] = (),
        attempts: int = MAX_ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> Response:
        """Send a request and return the complete response. Statuses of 300 and above raise unless they are in
        ``accept``. Idempotent requests are retried if the connection fails or the server is busy."""
        if method not in _IDEMPOTENT:
            attempts = 1

        def once() -> Response:
            response = self.open(method, path, context, headers=headers, body=body, accept=accept, idle=idle)
            with ERRORS.translate_transport_errors(context):
                refused = response.status >= 300
                return _raise_partial_failure(
                    read_error_body(response) if refused else read_whole(response), context
                )

        return retry(once, attempts)

    def transfer(
        self,
        method: Literal["MOVE", "COPY"],
        source: str,
        to: str,
        context: ErrorContext,
        *,
        overwrite: bool,
        idle: float = IDLE_SECONDS,
    ) -> Literal["new", "replaced", "taken"]:
        """Move or copy ``source`` to ``to``. Returns ``new``, ``replaced``, or ``taken`` if something exists
        there and ``overwrite`` is false; then nothing happens.

        The destination is first sent as a full URL, which all servers understand. A server behind a proxy
        that terminates TLS takes that for another server and responds with 502; it gets the path (RFC 4918,
        8.3).
        """
        for bare in (True,) if self._bare_destinations else (False, True):
            destination = to if bare else self.config.server + to
            headers = {"destination": destination, "overwrite": "T" if overwrite else "F"}
            accept = (412,) if bare else (412, 502)
            send = partial(self.send, method, source, context, headers=headers, accept=accept, idle=idle)
            answer = _retry_while_busy(send)
            if answer.status != 502:
                self._bare_destinations = bare
                break
        return "taken" if answer.status == 412 else "replaced" if answer.status == 204 else "new"

    def open(
        self,
        method: str,
        path: str,
        context: ErrorContext,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        accept: tuple[int, ...] = (),
        idle: float = IDLE_SECONDS,
    ) -> StreamingResponse:
        """Send a request once. The caller reads the response to its end or closes it. Raises like
        ``send``."""
        self._negotiate_auth(context)
        for _ in range(_MAX_AUTH_ATTEMPTS):
            signed = self._auth.headers(method, path)
            sent = {**signed, **(headers or {})}
            with ERRORS.translate_transport_errors(context):
                response = self._server.open(method, path, headers=sent, body=body or None, idle=idle)
            if response.status != 401:
                break
            meaning = self._auth.handle_unauthorized(signed, response.headers.get("www-authenticate", ""))
            if meaning == "unknown":
                read_error_body(response)
                raise ERRORS.from_row(AUTH_UNSUPPORTED, context)
            if meaning == "wrong":
                break
            read_error_body(response)
        if response.status >= 300 and response.status not in accept:
            raise status_error(read_error_body(response).status, context)
        return response

    def propfind(
        self,
        path: str,
        context: ErrorContext,
        *,
        depth: Literal["0", "1"],
        attempts: int = MAX_ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> Iterator[Resource]:
        """Send PROPFIND and yield the resource itself and, with depth 1, its members. Parses the response as
        it arrives.

        Raises before the first resource if the request fails, ``NotFound`` for example.
        """

        def once() -> StreamingResponse:
            return self._send_propfind(path, context, depth, idle, accept=(405, *REDIRECTS))

        response = retry(once, attempts)
        if response.status == 405:
            response.close()
            raise self._listing_error(path, context)
        # We do not accept encodings, and a few compressed bytes may expand to gigabytes.
        if response.status != 207 or is_encoded(response):
            response.close()
            if _is_folder_redirect(response, path):
                yield Resource(decoded_path(path), folder=True)
                return
            raise ERRORS.transport_error(
                "redirect" if response.status in REDIRECTS else "unreadable", context
            )
        try:
            with ERRORS.translate_transport_errors(context), ERRORS.translate_parse_errors(context):
                yield from resources(response.chunks())
        finally:
            response.close()

    def _send_propfind(
        self, path: str, context: ErrorContext, depth: str, idle: float, *, accept: tuple[int, ...]
    ) -> StreamingResponse:
        headers = {"depth": depth, "content-type": "application/xml; charset=utf-8"}
        return self.open("PROPFIND", path, context, headers=headers, body=QUERY, accept=accept, idle=idle)

    def _listing_error(self, path: str, context: ErrorContext) -> StorageError:
        """Return the error for a refused PROPFIND: no WebDAV, or an index page in place of the folder."""
        for page in INDEX_PAGES if path.endswith("/") else ():
            with suppress(StorageError):
                response = self._send_propfind(path + page, context, "0", IDLE_SECONDS, accept=())
                response.close()
                if response.status == 207:
                    return listing_hidden_error(page, context)
        return status_error(405, context)

    def stat(
        self, key: str, context: ErrorContext, *, attempts: int = MAX_ATTEMPTS, idle: float = IDLE_SECONDS
    ) -> Resource:
        """Return the resource at a key or folder. Raises ``NotFound``, or ``ContainerMissing`` for the
        root."""
        path = (*self.config.root, *key.split("/")) if key else self.config.root
        found = None
        members = self.propfind(self.config.path(key), context, depth="0", attempts=attempts, idle=idle)
        for number, resource in enumerate(members):
            if number or not _same_resource(resource.path, tuple(part for part in path if part)):
                raise ERRORS.from_row(FOREIGN_PATHS, context)
            found = resource
        if found is None:
            raise ERRORS.transport_error("unreadable", context)
        if found.status != 200:
            raise status_error(found.status, context)
        return found

    def start_upload(
        self, path: str, context: ErrorContext, headers: Mapping[str, str], size: int | None
    ) -> Upload:
        """Start a PUT whose body is sent in chunks, on a connection of its own."""
        self._negotiate_auth(context)
        if self._auth.uses_nonce:
            # A streamed body cannot be sent again if the nonce has expired.
            self.stat("", context)
        signed = self._auth.headers("PUT", path)
        return Upload(self._server, path, context, {**signed, **headers}, size)

    def response_chunks(self, response: StreamingResponse, context: ErrorContext) -> Iterator[bytes]:
        """Yield the chunks of an open response."""
        with ERRORS.translate_transport_errors(context):
            yield from response.chunks()

    def read_range(self, key: str, start: int, length: int, etag: str | None) -> bytes:
        """Read ``length`` bytes of an object from ``start``; with an ETag, of that version only. If the
        server ignores ranges, stops reading after the range. Raises ``NotFound`` and ``Changed``."""
        context = self.context("read", key)
        headers = range_header(start, length) | ({"if-match": f'"{etag}"'} if etag is not None else {})

        def once() -> bytes:
            response = self.open("GET", self.config.path(key), context, headers=headers)
            try:
                if etag is not None and response.headers.get("etag", "").strip('"') not in ("", etag):
                    raise Changed(key)
                pieces = self.response_chunks(response, context)
                return range_from_response(
                    response.status, response.headers, pieces, key=key, start=start, length=length
                )
            finally:
                response.close()

        return retry(once, MAX_ATTEMPTS)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._server.close()

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS settings of the connections. No network call."""
        return self._server.tls_context()

    def _negotiate_auth(self, context: ErrorContext) -> None:
        def ask() -> str | None:
            headers = {"depth": "0", "content-type": "application/xml; charset=utf-8"}
            with ERRORS.translate_transport_errors(context):
                response = self._server.open(
                    "PROPFIND", self.config.path(""), headers=headers, body=QUERY, idle=15.0
                )
            status, offered = response.status, response.headers.get("www-authenticate", "")
            read_error_body(response)
            return offered if status == 401 else None

        self._auth.negotiate(ask)


def is_encoded(response: StreamingResponse) -> bool:
    """Whether the server says that the body has a content encoding."""
    return response.headers.get("content-encoding", "identity") not in ("", "identity")


def _retry_while_busy(send: Callable[[], Response]) -> Response:
    """Retry while the server is busy or the resource is locked, because then nothing was done."""
    for attempt in range(1, MAX_ATTEMPTS):
        try:
            return send()
        except StorageError as error:
            if error.kind is not Kind.THROTTLED:
                raise
        backoff(attempt)
    return send()


def _raise_partial_failure(answer: Response, context: ErrorContext) -> Response:
    """Raise on a multi-status response to anything but PROPFIND, which reports that a part failed."""
    if answer.status == 207:
        found = _STATUS.search(answer.body)
        raise status_error(int(found.group(1)) if found else 500, context)
    return answer


def _same_resource(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two paths may name the same resource. Servers that ignore case respond with the stored name."""
    return _normalized(one) == _normalized(other)


def _normalized(path: tuple[str, ...]) -> str:
    return normalize("NFC", "/".join(path)).casefold()


def _is_folder_redirect(response: StreamingResponse, path: str) -> bool:
    """Whether this is the redirect that servers send for a folder without a trailing slash."""
    location = response.headers.get("location", "")
    return (
        response.status in REDIRECTS
        and location.endswith("/")
        and decoded_path(location) == decoded_path(path)
    )
