"""One SFTP connection as the file-server drivers use it."""

from __future__ import annotations

import stat
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from dashboard.errors import Kind
from dashboard.storage.drivers._served import Absent, Found, Listing, Taken, join, step_aside
from dashboard.storage.drivers._sftp_errors import ABSENT, translate
from dashboard.storage.drivers._sftp_wire import Ask, Attrs, Refusal, Status, Wire, string
from dashboard.storage.errors import StorageError, Unsupported
from dashboard.storage.paths import key_text

WINDOW = 4 << 20
"""Bytes asked for, or sent, before the first answer is waited for."""
_CHUNK = 1 << 20
_DRAIN = 1 << 20
"""Unread bytes on their way to us beyond which a new connection is cheaper than waiting for them."""

_READ, _WRITE_NEW = 1, 2 | 8 | 32
_NO_ATTRS = struct.pack(">I", 0)
_PROBED_IDLE = 15.0


class SftpSession:
    """A :class:`Session`. ``hang_up`` frees what is below the wire; ``alive`` says whether it stands."""

    def __init__(
        self, wire: Wire, root: str, *, alive: Callable[[], bool], hang_up: Callable[[], None]
    ) -> None:
        self._wire = wire
        self._alive = alive
        self._hang_up = hang_up
        self._links = b"hardlink@openssh.com" in wire.extensions
        self._broken = False
        start = b"" if root.startswith("/") else self._real(b".")
        self.root = join(start, root.encode()) if start and root else start or root.encode()
        # Where there is none yet, some servers have no real path for it.
        with suppress(Absent):
            self.root = self._real(self.root)

    @property
    def broken(self) -> bool:
        """See the protocol."""
        return self._broken or self._wire.broken

    @broken.setter
    def broken(self, value: bool) -> None:
        self._broken = value

    def ready(self, idle: float) -> bool:
        """Whether the line stands; asked of the server only after some idle time."""
        if self.broken or not self._alive():
            return False
        if idle < _PROBED_IDLE:
            return True
        try:
            self._real(b".")
        except (StorageError, Absent):
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self._broken = True
        self._hang_up()

    def creates_only(self) -> bool:
        """Whether the server makes hard links."""
        return self._links

    def look(self, path: bytes) -> Found | None:
        """LSTAT."""
        try:
            with self._refusals("look at", path):
                return _found(self._wire.call(Ask.LSTAT, string(path)).attrs())
        except Absent:
            return None

    def real(self, path: bytes) -> bytes:
        """REALPATH; OpenSSH and most others resolve links in it, some only tidy the text."""
        return self._real(path)

    def _real(self, path: bytes) -> bytes:
        with self._refusals("look at", path):
            body = self._wire.call(Ask.REALPATH, string(path))
            body.number()
            return body.string()

    def scan(self, path: bytes) -> Listing:
        """OPENDIR, READDIR."""
        with self._refusals("list", path):
            try:
                handle = self._wire.call(Ask.OPENDIR, string(path)).string()
            except Refusal as refusal:
                found = self.look(path) if refusal.code == Status.FAILURE else None
                if found is not None and found.kind != "folder":
                    raise Absent from refusal
                raise
            try:
                yield from self._names(handle)
            finally:
                if not self.broken:
                    self._wire.forget(self._wire.ask(Ask.CLOSE, string(handle)))

    def _names(self, handle: bytes) -> Iterator[tuple[bytes, Found]]:
        while True:
            try:
                body = self._wire.call(Ask.READDIR, string(handle))
            except Refusal as refusal:
                if refusal.code == Status.EOF:
                    return
                raise
            for _ in range(body.number()):
                name, longname = body.string(), body.string()
                yield name, _found(body.attrs(), longname)

    def source(self, path: bytes, start: int) -> SftpSource:
        """OPEN for reading."""
        with self._refusals("read", path):
            handle = self._wire.call(Ask.OPEN, string(path), struct.pack(">I", _READ), _NO_ATTRS).string()
        return SftpSource(self, self._wire, handle, path, start)

    def create(self, path: bytes, target: bytes) -> SftpSink:
        """OPEN for writing, exclusively."""
        with self._refusals("write", target):
            flags = struct.pack(">I", _WRITE_NEW)
            handle = self._wire.call(Ask.OPEN, string(path), flags, _NO_ATTRS).string()
        return SftpSink(self, self._wire, handle, target)

    def touch(self, path: bytes, modified: float) -> None:
        """SETSTAT with both times."""
        seconds = int(modified)
        with self._refusals("write", path):
            self._wire.call(Ask.SETSTAT, string(path), struct.pack(">III", 8, seconds, seconds))

    def rename(self, path: bytes, to: bytes) -> None:
        """``posix-rename@openssh.com``. Without it a RENAME, which replaces nothing: an existing file steps
        aside first and is missing for that moment."""
        with self._refusals("write", to):
            if b"posix-rename@openssh.com" in self._wire.extensions:
                name = string(b"posix-rename@openssh.com")
                self._wire.call(Ask.EXTENDED, name, string(path), string(to))
                return
            try:
                self._plain_rename(path, to)
            except Refusal as refusal:
                if refusal.code not in (Status.FAILURE, Status.EXISTS) or self.look(to) is None:
                    raise
                aside = step_aside(self._plain_rename, path, to)
                with suppress(Refusal):
                    self._wire.call(Ask.REMOVE, string(aside))

    def _plain_rename(self, path: bytes, to: bytes) -> None:
        self._wire.call(Ask.RENAME, string(path), string(to))

    def link(self, path: bytes, to: bytes) -> None:
        """``hardlink@openssh.com``; fails where anything is, in one step on the server."""
        with self._refusals("write", to):
            try:
                self._wire.call(Ask.EXTENDED, string(b"hardlink@openssh.com"), string(path), string(to))
            except Refusal as refusal:
                if refusal.code == Status.EXISTS or self.look(to) is not None:
                    raise Taken from refusal
                if refusal.code in (Status.FAILURE, Status.PERMISSION_DENIED, Status.UNSUPPORTED):
                    self._links = False
                    raise Unsupported(
                        "write",
                        "The file system behind this server cannot create a file only where there is none.",
                    ) from refusal
                raise

    def remove(self, path: bytes) -> None:
        """REMOVE."""
        with self._refusals("delete", path):
            self._wire.call(Ask.REMOVE, string(path))

    def make_folder(self, path: bytes) -> None:
        """MKDIR."""
        with self._refusals("write", path):
            try:
                self._wire.call(Ask.MKDIR, string(path), _NO_ATTRS)
            except Refusal as refusal:
                if refusal.code == Status.EXISTS or (
                    refusal.code == Status.FAILURE and self.look(path) is not None
                ):
                    raise Taken from refusal
                raise

    def remove_folder(self, path: bytes) -> bool:
        """RMDIR."""
        try:
            self._wire.call(Ask.RMDIR, string(path))
        except Refusal:
            return False
        return True

    @contextmanager
    def _refusals(self, operation: str, path: bytes) -> Iterator[None]:
        """From a refusal, or an answer nobody can read, to our words."""
        try:
            yield
        except Refusal as refusal:
            if refusal.code in ABSENT:
                raise Absent from refusal
            raise self.refused(refusal, operation, path) from refusal
        except struct.error as error:
            raise self._wire.lost(error) from error

    def refused(self, refusal: Refusal, operation: str, path: bytes) -> StorageError:
        """The error for a refusal. Servers tell a full disk as a mere failure, so it is asked for."""
        shown = key_text(path.removeprefix(self.root.rstrip(b"/") + b"/"))
        full = operation == "write" and refusal.code == Status.FAILURE and self._full()
        return translate(Status.NO_SPACE if full else refusal.code, refusal.text, operation, shown)

    def _full(self) -> bool:
        if b"statvfs@openssh.com" not in self._wire.extensions or self.broken:
            return False
        try:
            body = self._wire.call(Ask.EXTENDED, string(b"statvfs@openssh.com"), string(self.root))
            numbers = [body.large() for _ in range(8)]
        except (Refusal, StorageError, struct.error):
            return False
        # Free blocks and free inodes for those who are not root.
        return numbers[4] == 0 or (numbers[5] > 0 and numbers[7] == 0)

    def sync(self, handle: bytes) -> None:
        """``fsync@openssh.com``, where the server offers it and its file system can."""
        if b"fsync@openssh.com" in self._wire.extensions:
            try:
                self._wire.call(Ask.EXTENDED, string(b"fsync@openssh.com"), string(handle))
            except Refusal as refusal:
                if refusal.code != Status.UNSUPPORTED:
                    raise

    @contextmanager
    def working(self, operation: str, path: bytes) -> Iterator[None]:
        """As every call here, for the open files: a name that vanished is then an error like any."""
        try:
            with self._refusals(operation, path):
                yield
        except Absent as error:
            shown = key_text(path.removeprefix(self.root.rstrip(b"/") + b"/"))
            raise StorageError(
                Kind.CHANGED, f"“{shown}” vanished from the server.", operation=operation, subject=shown
            ) from error


class SftpSource:
    """A file being read, with a window of requests on their way."""

    longer = False

    def __init__(self, session: SftpSession, wire: Wire, handle: bytes, path: bytes, start: int) -> None:
        self._session = session
        self._wire = wire
        self._handle = handle
        self._path = path
        self._start = start
        self._pending: deque[tuple[int, int, int]] = deque()
        self._closed = False

    def chunks(self, size: int) -> Iterator[bytes]:
        """Pieces of about 1 MiB."""
        gathered: list[bytes] = []
        length = 0
        with self._session.working("read", self._path):
            for piece in self._pieces(size):
                gathered.append(piece)
                length += len(piece)
                if length >= _CHUNK:
                    yield b"".join(gathered)
                    gathered, length = [], 0
        if gathered:
            yield b"".join(gathered)

    def _pieces(self, size: int) -> Iterator[bytes]:
        asked, step = 0, self._wire.read_size
        while True:
            while asked < size and len(self._pending) * step < WINDOW:
                want = min(step, size - asked)
                self._pending.append((self._ask(asked, want), asked, want))
                asked += want
            if not self._pending:
                return
            request, offset, want = self._pending[0]
            try:
                data = self._wire.answer(request)[1].string()
            except Refusal as refusal:
                if refusal.code != Status.EOF:
                    raise
                return
            finally:
                self._pending.popleft()
            if not data:
                return
            if len(data) < want:
                # The server gives less at a time: ask for the rest, and for less from now on.
                rest = offset + len(data)
                self._pending.appendleft((self._ask(rest, want - len(data)), rest, want - len(data)))
                step = max(4096, len(data))
            yield data

    def _ask(self, offset: int, want: int) -> int:
        return self._wire.ask(Ask.READ, string(self._handle), struct.pack(">QI", self._start + offset, want))

    def close(self) -> None:
        """Without waiting for the answer."""
        if self._closed:
            return
        self._closed = True
        if sum(want for _, _, want in self._pending) > _DRAIN:
            self._session.broken = True
        _let_go(self._session, self._wire, [request for request, _, _ in self._pending], self._handle)


class SftpSink:
    """A file being written, with a window of writes on their way; every answer is looked at."""

    def __init__(self, session: SftpSession, wire: Wire, handle: bytes, target: bytes) -> None:
        self._session = session
        self._wire = wire
        self._handle = handle
        self._path = target
        self._pending: deque[int] = deque()
        self._offset = 0
        self._closed = False

    def write(self, chunk: bytes) -> None:
        """In pieces the server takes."""
        step = self._wire.write_size
        view = memoryview(chunk)
        with self._session.working("write", self._path):
            for start in range(0, len(view), step):
                piece = view[start : start + step]
                where = struct.pack(">QI", self._offset, len(piece))
                self._pending.append(self._wire.ask(Ask.WRITE, string(self._handle), where, bytes(piece)))
                self._offset += len(piece)
                while len(self._pending) * step > WINDOW:
                    self._settle()

    def _settle(self) -> None:
        self._wire.answer(self._pending.popleft())

    def finish(self) -> Found:
        """Every write answered, synced, closed."""
        with self._session.working("write", self._path):
            while self._pending:
                self._settle()
            self._session.sync(self._handle)
            held = _found(self._wire.call(Ask.FSTAT, string(self._handle)).attrs())
            self._closed = True
            self._wire.call(Ask.CLOSE, string(self._handle))
        return held

    def abort(self) -> None:
        """Without waiting for the answers."""
        if not self._closed:
            self._closed = True
            _let_go(self._session, self._wire, list(self._pending), self._handle)


def _let_go(session: SftpSession, wire: Wire, requests: list[int], handle: bytes) -> None:
    if session.broken:
        return
    for request in requests:
        wire.forget(request)
    try:
        wire.forget(wire.ask(Ask.CLOSE, string(handle)))
    except StorageError:
        session.broken = True


def _found(attrs: Attrs, longname: bytes = b"") -> Found:
    kind: Literal["file", "folder", "other"] = "file"
    if attrs.mode is not None and stat.S_IFMT(attrs.mode):
        kind = "file" if stat.S_ISREG(attrs.mode) else "folder" if stat.S_ISDIR(attrs.mode) else "other"
    elif longname:
        # Some servers leave the type out of the mode and tell it only in the line for people.
        kind = "folder" if longname.startswith(b"d") else "other" if longname[:1] in b"lbcps" else "file"
    return Found(kind, attrs.size or 0, None if attrs.modified is None else float(attrs.modified))
