"""Transfers over FTP data connections."""

from __future__ import annotations

import ftplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from dashboard.storage.drivers.ftp.connection import TIMEOUT_SECONDS, FtpConnection, readable
from dashboard.storage.drivers.served.operations import FileStat, Missing
from dashboard.storage.net.timeouts import LowSpeedLimit

_CHUNK_BYTES = 1 << 20
_TRANSFER_BYTES = 1 << 18
_CLOSE_SECONDS = 5.0
"""How long a server may take to notice that a data connection was closed."""
_CLOSE_READS = 64


class _Session(Protocol):
    broken: bool

    def translate_errors(self, operation: str, path: bytes) -> AbstractContextManager[None]: ...

    def stat(self, path: bytes) -> FileStat | None: ...


class FtpFileReader:
    """A file being read over a data connection."""

    def __init__(
        self, session: _Session, connection: FtpConnection, conn: socket.socket, path: bytes
    ) -> None:
        self._session = session
        self._connection = connection
        self._conn = conn
        self._path = path
        self._open = True
        self.longer = False
        self._low_speed = LowSpeedLimit()

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield chunks of at most 1 MiB. Does not read what the server sends beyond ``size``."""
        with self._session.translate_errors("read", self._path):
            remaining = size
            gathered: list[bytes] = []
            held = 0
            while remaining and (
                data := self._low_speed.receive(self._conn.recv, min(remaining, _TRANSFER_BYTES))
            ):
                remaining -= len(data)
                gathered.append(data)
                held += len(data)
                if held > _CHUNK_BYTES - _TRANSFER_BYTES:
                    yield b"".join(gathered)
                    gathered, held = [], 0
            if gathered:
                yield b"".join(gathered)
            self.longer = not remaining and bool(self._conn.recv(1))
            if not self.longer:
                self._open = False
                finish_transfer(self._conn, self._connection.sock)
                self._connection.read_final_reply()

    def close(self) -> None:
        """Stop reading. The server replies to an interrupted transfer that it could not send everything."""
        if self._open:
            self._open = False
            self._conn.close()
            _read_abort_reply(self._session, self._connection)


class FtpFileWriter:
    """A file being written. Errors name its later name."""

    def __init__(
        self, session: _Session, connection: FtpConnection, conn: socket.socket, path: bytes, target: bytes
    ) -> None:
        self._session = session
        self._connection = connection
        self._conn = conn
        self._path = path
        self._target = target
        self._open = True

    def write(self, chunk: bytes) -> None:
        """Send bytes over the data connection."""
        with self._session.translate_errors("write", self._target):
            view = memoryview(chunk)
            try:
                for start in range(0, len(view), _TRANSFER_BYTES):
                    if self._connection.has_pending_reply():
                        raise ConnectionAbortedError
                    self._conn.sendall(view[start : start + _TRANSFER_BYTES])
            except OSError:
                # The reply on the control connection tells why the server stopped.
                self._close()
                raise

    def finish(self) -> FileStat:
        """Close the data connection, read the server's reply and return the file's metadata."""
        with self._session.translate_errors("write", self._target):
            self._close()
        found = self._session.stat(self._path)
        if found is None:
            raise Missing
        return found

    def _close(self) -> None:
        if self._open:
            self._open = False
            finish_transfer(self._conn, self._connection.sock)
            self._connection.read_final_reply()

    def abort(self) -> None:
        """Close the data connection and discard the server's reply."""
        if self._open:
            self._open = False
            self._conn.close()
            _read_abort_reply(self._session, self._connection)


def _read_abort_reply(session: _Session, connection: FtpConnection) -> None:
    """Read the reply to an aborted transfer, so that the next reply belongs to the next command."""
    if session.broken:
        return
    try:
        connection.sock.settimeout(_CLOSE_SECONDS)
        with suppress(ftplib.Error):
            connection.voidresp()
        connection.sock.settimeout(TIMEOUT_SECONDS)
        # Some servers reply twice: that the transfer was aborted and that it ended.
        session.broken = session.broken or connection.has_pending_reply()
    except (OSError, EOFError):
        session.broken = True


def finish_transfer(conn: socket.socket, control: socket.socket) -> None:
    """Close a data connection without losing data in flight: send TLS's close notification, shut down our
    side, and wait until the server closes its side or replies. Closing a socket with unread bytes, such as
    TLS 1.3 session tickets, resets the connection, and the server then loses what it had not read."""
    try:
        conn.settimeout(0)
        if isinstance(conn, ssl.SSLSocket):
            with suppress(OSError):
                conn.unwrap()
        with suppress(OSError):
            conn.shutdown(socket.SHUT_WR)
            for _ in range(_CLOSE_READS):
                if conn not in readable([conn, control], _CLOSE_SECONDS) or not conn.recv(_CHUNK_BYTES):
                    break
    finally:
        conn.close()
