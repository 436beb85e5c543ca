"""One SFTP connection as the file-server drivers use it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dashboard.errors import Kind
from dashboard.storage.drivers.common.walking import bounded
from dashboard.storage.drivers.served.operations import Absent, Found, Listing, Taken, join, step_aside
from dashboard.storage.drivers.sftp.errors import ABSENT, translate
from dashboard.storage.drivers.sftp.files import SftpSink, SftpSource, found_of
from dashboard.storage.drivers.sftp.wire import Ask, Refusal, Status, Wire, string
from dashboard.storage.errors import StorageError, Unsupported
from dashboard.storage.paths import key_text

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
                return found_of(self._wire.call(Ask.LSTAT, string(path)).attrs())
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
                if refusal.code in (Status.FAILURE, *ABSENT):
                    self._require_folder(path)
                    raise self.refused(refusal, "list", path) from refusal
                raise
            try:
                yield from bounded(self._names(handle, path))
            finally:
                if not self.broken:
                    self._wire.forget(self._wire.ask(Ask.CLOSE, string(handle)))

    def _names(self, handle: bytes, path: bytes) -> Iterator[tuple[bytes, Found]]:
        """Only the status EOF ends a listing."""
        while True:
            try:
                # The patience is with the whole folder, not with each part of it.
                body = self._wire.answer(self._wire.ask(Ask.READDIR, string(handle)))[1]
            except Refusal as refusal:
                if refusal.code == Status.EOF:
                    return
                if refusal.code == Status.PERMISSION_DENIED:
                    raise
                # Some open what is no folder, and say so only now.
                self._require_folder(path)
                raise self._broken_off(path) from refusal
            left = body.number()
            if not left:
                raise self._wire.misfit()
            for _ in range(left):
                name, longname = body.string(), body.string()
                yield name, found_of(body.attrs(), longname)

    def _require_folder(self, path: bytes) -> None:
        found = self.look(path)
        if found is None or found.kind != "folder":
            raise Absent

    def _broken_off(self, path: bytes) -> StorageError:
        shown = self._shown(path)
        return StorageError(
            Kind.DAMAGED,
            f"The server broke the listing of “{shown}” off.",
            operation="list",
            subject=shown,
            remedy="Try again; if it stays so, look into the server's log.",
        )

    def _shown(self, path: bytes) -> str:
        return key_text(path.removeprefix(self.root.rstrip(b"/") + b"/"))

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
            raise self._wire.misfit() from error

    def refused(self, refusal: Refusal, operation: str, path: bytes) -> StorageError:
        """The error for a refusal. Servers tell a full disk as a mere failure, so it is asked for."""
        shown = self._shown(path)
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
            shown = self._shown(path)
            raise StorageError(
                Kind.CHANGED, f"“{shown}” vanished from the server.", operation=operation, subject=shown
            ) from error
