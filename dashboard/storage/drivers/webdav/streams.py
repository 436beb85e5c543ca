"""Bytes on their way to a WebDAV server, handed over piece by piece, and from one."""

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
"""Bytes that a server reads from its disk in one go. While it sends more a file can be rewritten in place."""


class Upload:
    """A PUT on its way. Nothing else may use its connection; leaving it unfinished breaks it off."""

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
            self._body = server.begin("PUT", path, headers={**headers, **length}, idle=IDLE_SECONDS)

    def send(self, chunk: bytes) -> None:
        """The next bytes; not empty."""
        with self._translate_send_errors():
            if self._chunked:
                chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
            self._body.send(chunk)

    def finish(self) -> Response:
        """After the last byte: the server's answer. Raises the translated error."""
        with self._translate_send_errors():
            if self._chunked:
                self._body.send(b"0\r\n\r\n")
        return self._read_response()

    def abort(self) -> None:
        """Leave it unfinished, and give the server a moment to notice before its leftover is deleted."""
        self._body.break_off()

    def _read_response(self) -> Response:
        try:
            response = self._body.answer()
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
                # A server that refuses an upload may say why and hang up before it has seen all of it.
                self._raise_server_error()
            raise ERRORS.transport_error(error.code, self._context) from error

    def _raise_server_error(self) -> None:
        try:
            self._read_response()
        except StorageError as refused:
            if refused.kind not in (Kind.UNREACHABLE, Kind.TIMEOUT):
                raise


class WebDavReading(CheckedReading):
    """A read of one version of one object, which is looked at again at its end."""

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
