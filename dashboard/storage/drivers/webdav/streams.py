"""Streaming uploads to a WebDAV server and reads from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from dashboard.errors import Kind
from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.drivers.webdav.errors import ERRORS, status_error
from dashboard.storage.errors import Changed, StorageError
from dashboard.storage.net.failures import ErrorContext
from dashboard.storage.net.http1 import TransportError
from dashboard.storage.net.http_client import IDLE_SECONDS, HttpClient, Response, read_error_body, read_whole
from dashboard.storage.types import ObjectInfo

_SERVER_READ_BYTES = 64 * 1024
"""Bytes that a server reads from its disk at once. A larger file may be rewritten in place while it is
sent."""


class Upload:
    """An open PUT, on a connection of its own. Not thread-safe."""

    def __init__(
        self,
        server: HttpClient,
        path: str,
        context: ErrorContext,
        headers: Mapping[str, str],
        size: int | None,
    ) -> None:
        self._context = context
        self._chunked = size is None
        length = {"transfer-encoding": "chunked"} if size is None else {"content-length": str(size)}
        with self._translate_send_errors():
            self._body = server.start_request("PUT", path, headers={**headers, **length}, idle=IDLE_SECONDS)

    def send(self, chunk: bytes) -> None:
        """Send the next bytes, which must not be empty."""
        with self._translate_send_errors():
            if self._chunked:
                chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
            self._body.send(chunk)

    def finish(self) -> Response:
        """End the body and return the server's response. Raises ``StorageError`` if it reports a failure."""
        with self._translate_send_errors():
            if self._chunked:
                self._body.send(b"0\r\n\r\n")
        return self._read_response()

    def abort(self) -> None:
        """Abort the upload, and give the server a moment to notice before its leftover is deleted."""
        self._body.abort()

    def _read_response(self) -> Response:
        try:
            response = self._body.response()
            answer = read_error_body(response) if response.status >= 300 else read_whole(response)
        except TransportError as error:
            raise ERRORS.transport_error(error.code, self._context) from error
        if answer.status >= 300:
            raise status_error(answer.status, self._context)
        return answer

    @contextmanager
    def _translate_send_errors(self) -> Iterator[None]:
        try:
            yield
        except TransportError as error:
            if error.code == "reset":
                # A server that refuses an upload may respond and close the connection before its end.
                self._raise_server_error()
            raise ERRORS.transport_error(error.code, self._context) from error

    def _raise_server_error(self) -> None:
        try:
            self._read_response()
        except StorageError as refused:
            if refused.kind not in (Kind.UNREACHABLE, Kind.TIMEOUT):
                raise


class WebDavReading(CheckedReading):
    """An open read of one version of an object. Checks at its end that the object has not changed."""

    def __init__(
        self,
        info: ObjectInfo,
        pieces: Iterator[bytes],
        close: Callable[[], object],
        changed: Callable[[ObjectInfo], bool],
    ) -> None:
        super().__init__(info, pieces, close)
        self._changed = changed

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        yield from super().chunks()
        if self.info.size > _SERVER_READ_BYTES and self._changed(self.info):
            raise Changed(self.info.key)
