"""Transfers over SFTP, and the metadata of files."""

from __future__ import annotations

import stat
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from dashboard.storage.drivers.served.operations import FileStat
from dashboard.storage.drivers.sftp.protocol import (
    Attrs,
    RequestType,
    SftpProtocol,
    Status,
    StatusError,
    string,
)
from dashboard.storage.errors import StorageError

WINDOW_BYTES = 4 << 20
"""Bytes requested or sent before waiting for the first reply."""
_CHUNK_BYTES = 1 << 20
_MAX_UNREAD_BYTES = 1 << 20
"""More unread bytes in flight than this, and a new connection is cheaper than receiving them."""


class _Session(Protocol):
    broken: bool

    def translate_file_errors(self, operation: str, path: bytes) -> AbstractContextManager[None]: ...

    def sync(self, handle: bytes) -> None: ...


class SftpFileReader:
    """A file being read, with a window of pipelined requests."""

    longer = False

    def __init__(
        self, session: _Session, protocol: SftpProtocol, handle: bytes, path: bytes, start: int
    ) -> None:
        self._session = session
        self._protocol = protocol
        self._handle = handle
        self._path = path
        self._start = start
        self._pending: deque[tuple[int, int, int]] = deque()
        self._closed = False

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield chunks of about 1 MiB."""
        gathered: list[bytes] = []
        length = 0
        with self._session.translate_file_errors("read", self._path):
            for piece in self._receive_data(size):
                gathered.append(piece)
                length += len(piece)
                if length >= _CHUNK_BYTES:
                    yield b"".join(gathered)
                    gathered, length = [], 0
        if gathered:
            yield b"".join(gathered)

    def _receive_data(self, size: int) -> Iterator[bytes]:
        requested, step = 0, self._protocol.read_size
        while True:
            while requested < size and len(self._pending) * step < WINDOW_BYTES:
                want = min(step, size - requested)
                self._pending.append((self._request(requested, want), requested, want))
                requested += want
            if not self._pending:
                return
            request, offset, want = self._pending[0]
            try:
                data = self._protocol.receive(request)[1].string()
            except StatusError as error:
                if error.code != Status.EOF:
                    raise
                return
            finally:
                self._pending.popleft()
            if not data:
                return
            if len(data) > want:
                raise self._protocol.protocol_error()
            if len(data) < want:
                # The server returns less per request: request the rest, and less from now on.
                rest = offset + len(data)
                self._pending.appendleft((self._request(rest, want - len(data)), rest, want - len(data)))
                step = max(4096, len(data))
            yield data

    def _request(self, offset: int, want: int) -> int:
        return self._protocol.send(
            RequestType.READ, string(self._handle), struct.pack(">QI", self._start + offset, want)
        )

    def close(self) -> None:
        """Close the handle without waiting for the reply. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if sum(want for _, _, want in self._pending) > _MAX_UNREAD_BYTES:
            self._session.broken = True
        _abandon(self._session, self._protocol, [request for request, _, _ in self._pending], self._handle)


class SftpFileWriter:
    """A file being written, with a window of pipelined writes. Checks every reply."""

    def __init__(self, session: _Session, protocol: SftpProtocol, handle: bytes, target: bytes) -> None:
        self._session = session
        self._protocol = protocol
        self._handle = handle
        self._path = target
        self._pending: deque[int] = deque()
        self._offset = 0
        self._closed = False

    def write(self, chunk: bytes) -> None:
        """Send bytes in requests of the size that the server accepts."""
        step = self._protocol.write_size
        view = memoryview(chunk)
        with self._session.translate_file_errors("write", self._path):
            for start in range(0, len(view), step):
                piece = view[start : start + step]
                where = struct.pack(">QI", self._offset, len(piece))
                self._pending.append(
                    self._protocol.send(RequestType.WRITE, string(self._handle), where, bytes(piece))
                )
                self._offset += len(piece)
                while len(self._pending) * step > WINDOW_BYTES:
                    self._await_write()

    def _await_write(self) -> None:
        self._protocol.low_speed.reset()
        self._protocol.receive(self._pending.popleft())

    def finish(self) -> FileStat:
        """Wait for the reply to every write, sync and close the file, and return its metadata."""
        with self._session.translate_file_errors("write", self._path):
            while self._pending:
                self._await_write()
            self._session.sync(self._handle)
            held = self._stat_handle()
            self._closed = True
            self._protocol.call(RequestType.CLOSE, string(self._handle))
            if held is None:
                held = to_file_stat(self._protocol.call(RequestType.LSTAT, string(self._path)).attrs())
        return held

    def _stat_handle(self) -> FileStat | None:
        """Return None if the server does not find the file that it has open: rclone looks handles up by path,
        and now and then misses one that was created a moment ago."""
        try:
            return to_file_stat(self._protocol.call(RequestType.FSTAT, string(self._handle)).attrs())
        except StatusError as error:
            if error.code != Status.NO_SUCH_FILE:
                raise
            return None

    def abort(self) -> None:
        """Close the handle without waiting for the replies. Idempotent."""
        if not self._closed:
            self._closed = True
            _abandon(self._session, self._protocol, list(self._pending), self._handle)


def _abandon(session: _Session, protocol: SftpProtocol, requests: list[int], handle: bytes) -> None:
    if session.broken:
        return
    for request in requests:
        protocol.discard(request)
    try:
        protocol.discard(protocol.send(RequestType.CLOSE, string(handle)))
    except StorageError:
        session.broken = True


def to_file_stat(attrs: Attrs, longname: bytes = b"") -> FileStat:
    kind: Literal["file", "folder", "other"] = "file"
    if attrs.mode is not None and stat.S_IFMT(attrs.mode):
        kind = "file" if stat.S_ISREG(attrs.mode) else "folder" if stat.S_ISDIR(attrs.mode) else "other"
    elif longname:
        # Some servers omit the type in the mode and report it only in the human-readable line.
        kind = "folder" if longname.startswith(b"d") else "other" if longname[:1] in b"lbcps" else "file"
    if kind == "file" and attrs.size is None:
        raise struct.error("a file without a size")
    return FileStat(kind, attrs.size or 0, None if attrs.modified is None else float(attrs.modified))
