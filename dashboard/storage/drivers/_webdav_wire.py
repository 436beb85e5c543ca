"""Connections to a WebDAV server, and uploads that are handed over piece by piece."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from dashboard.errors import Kind
from dashboard.storage.drivers._webdav_errors import Scene, from_client, translate
from dashboard.storage.drivers._webdav_place import CONNECT_SECONDS, IDLE_SECONDS
from dashboard.storage.errors import StorageError

CHUNK = 1024 * 1024
_FAREWELL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole. Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Upload:
    """A PUT on its way. Nothing else may use its connection; leaving it unfinished breaks it off."""

    def __init__(
        self,
        connection: HTTPConnection,
        path: str,
        scene: Scene,
        headers: Mapping[str, str],
        size: int | None,
    ) -> None:
        self._connection = connection
        self._scene = scene
        self._chunked = size is None
        connection.timeout = CONNECT_SECONDS
        with self._sending():
            connection.putrequest("PUT", path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if size is None:
                connection.putheader("transfer-encoding", "chunked")
            else:
                connection.putheader("content-length", str(size))
            connection.endheaders()
            sock: socket.socket | None = connection.sock
            assert sock is not None
            sock.settimeout(IDLE_SECONDS)

    def send(self, chunk: bytes) -> None:
        """The next bytes; not empty."""
        with self._sending():
            if self._chunked:
                chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
            self._connection.send(chunk)

    def finish(self) -> Answer:
        """After the last byte: the server's answer. Raises the translated error."""
        with self._sending():
            if self._chunked:
                self._connection.send(b"0\r\n\r\n")
        return self._answer()

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._connection.close()

    def break_off(self) -> None:
        """Leave it unfinished, and give the server a moment to notice before its leftover is deleted."""
        sock: socket.socket | None = self._connection.sock
        with suppress(OSError):
            if sock is not None:
                sock.settimeout(_FAREWELL_SECONDS)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(64 * 1024):
                    pass
        self.close()

    def _answer(self) -> Answer:
        try:
            # urllib3's own wants a request that it was handed as a whole.
            response = http.client.HTTPConnection.getresponse(self._connection)
            status, headers = response.status, small(dict(response.headers.items()))
            response.read(CHUNK)
        except (HTTPError, HTTPException, OSError) as error:
            raise from_client(error, self._scene) from error
        finally:
            self.close()
        if status >= 300:
            raise translate(status, self._scene)
        return Answer(status, headers)

    @contextmanager
    def _sending(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionError, ssl.SSLError) as error:
            # A server that refuses an upload may say why and hang up before it has seen all of it.
            self._refusal(error)
        except StorageError:
            self.close()
            raise
        except (HTTPError, OSError) as error:
            self.close()
            raise from_client(error, self._scene) from error

    def _refusal(self, error: Exception) -> None:
        try:
            self._answer()
        except StorageError as refused:
            if refused.kind in (Kind.UNREACHABLE, Kind.TIMEOUT):
                raise from_client(error, self._scene) from error
            raise
        raise from_client(error, self._scene) from error


def small(headers: Mapping[str, str]) -> dict[str, str]:
    """Header names in small letters."""
    return {name.lower(): value for name, value in headers.items()}
