"""Files on their way over FTP's second connection."""

from __future__ import annotations

import ftplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from dashboard.storage.drivers.ftp.line import TIMEOUT_SECONDS, Line, readable
from dashboard.storage.drivers.served.operations import Absent, Found
from dashboard.storage.net.timeouts import Patience

_CHUNK = 1 << 20
_PIECE = 1 << 18
_FAREWELL_SECONDS = 5.0
"""How long a server may take to notice that a data connection ended."""
_FAREWELL_PIECES = 64


class _Session(Protocol):
    broken: bool

    def replies(self, operation: str, path: bytes) -> AbstractContextManager[None]: ...

    def look(self, path: bytes) -> Found | None: ...


class FtpSource:
    """A file being read."""

    def __init__(self, session: _Session, line: Line, conn: socket.socket, path: bytes) -> None:
        self._session = session
        self._line = line
        self._conn = conn
        self._path = path
        self._open = True
        self.longer = False
        self._patience = Patience()

    def chunks(self, size: int) -> Iterator[bytes]:
        """Pieces of at most 1 MiB. What the server sends beyond ``size`` is not read."""
        with self._session.replies("read", self._path):
            left = size
            gathered: list[bytes] = []
            held = 0
            while left and (data := self._patience.receive(self._conn.recv, min(left, _PIECE))):
                left -= len(data)
                gathered.append(data)
                held += len(data)
                if held > _CHUNK - _PIECE:
                    yield b"".join(gathered)
                    gathered, held = [], 0
            if gathered:
                yield b"".join(gathered)
            self.longer = not left and bool(self._conn.recv(1))
            if not self.longer:
                self._open = False
                finish(self._conn, self._line.sock)
                self._line.complete()

    def close(self) -> None:
        """Of a read that is left early the server says that it could not send everything."""
        if self._open:
            self._open = False
            self._conn.close()
            _settle(self._session, self._line)


class FtpSink:
    """A file being written, which errors call by the name it will get."""

    def __init__(
        self, session: _Session, line: Line, conn: socket.socket, path: bytes, target: bytes
    ) -> None:
        self._session = session
        self._line = line
        self._conn = conn
        self._path = path
        self._target = target
        self._open = True

    def write(self, chunk: bytes) -> None:
        """Into the data connection."""
        with self._session.replies("write", self._target):
            view = memoryview(chunk)
            try:
                for start in range(0, len(view), _PIECE):
                    if self._line.says_something():
                        raise ConnectionAbortedError
                    self._conn.sendall(view[start : start + _PIECE])
            except OSError:
                # The server says on the other connection why it does not go on with this one.
                self._close()
                raise

    def finish(self) -> Found:
        """The end of the data, the server's word that it has it, and a look at it."""
        with self._session.replies("write", self._target):
            self._close()
        found = self._session.look(self._path)
        if found is None:
            raise Absent
        return found

    def _close(self) -> None:
        if self._open:
            self._open = False
            finish(self._conn, self._line.sock)
            self._line.complete()

    def abort(self) -> None:
        """End the data and take the server's word for it, whatever it is."""
        if self._open:
            self._open = False
            self._conn.close()
            _settle(self._session, self._line)


def _settle(session: _Session, line: Line) -> None:
    """Take the answer to a transfer that was given up, so that the next answer is to the next question."""
    if session.broken:
        return
    try:
        line.sock.settimeout(_FAREWELL_SECONDS)
        with suppress(ftplib.Error):
            line.voidresp()
        line.sock.settimeout(TIMEOUT_SECONDS)
        # Some say it twice, that it was broken off and that it is over.
        session.broken = session.broken or line.says_something()
    except (OSError, EOFError):
        session.broken = True


def finish(conn: socket.socket, control: socket.socket) -> None:
    """Close a data connection so that nothing on its way is lost: say with TLS that this was all, end our
    side, and wait until the server has ended its own or says that it has everything. A connection that is
    closed while something in it is unread, such as the tickets of TLS 1.3, is torn down, and the server then
    loses what it had not read."""
    try:
        conn.settimeout(0)
        if isinstance(conn, ssl.SSLSocket):
            with suppress(OSError):
                conn.unwrap()
        with suppress(OSError):
            conn.shutdown(socket.SHUT_WR)
            for _ in range(_FAREWELL_PIECES):
                if conn not in readable([conn, control], _FAREWELL_SECONDS) or not conn.recv(_CHUNK):
                    break
    finally:
        conn.close()
