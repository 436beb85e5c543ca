"""One SFTP connection as the file-server drivers use it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dashboard.errors import Kind
from dashboard.storage.drivers.common.walking import limit_entries
from dashboard.storage.drivers.served.operations import (
    AlreadyExists,
    FileStat,
    Listing,
    Missing,
    join,
    rename_with_backup,
)
from dashboard.storage.drivers.sftp.errors import MISSING, translate_error
from dashboard.storage.drivers.sftp.files import SftpFileReader, SftpFileWriter, to_file_stat
from dashboard.storage.drivers.sftp.protocol import RequestType, SftpProtocol, Status, StatusError, string
from dashboard.storage.errors import StorageError, Unsupported
from dashboard.storage.paths import key_text

_READ, _WRITE_NEW = 1, 2 | 8 | 32
_NO_ATTRS = struct.pack(">I", 0)
_PROBED_IDLE = 15.0


class SftpSession:
    """A :class:`Session` over SFTP. ``is_active`` and ``disconnect`` belong to the SSH connection."""

    def __init__(
        self,
        protocol: SftpProtocol,
        root: str,
        *,
        is_active: Callable[[], bool],
        disconnect: Callable[[], None],
    ) -> None:
        self._protocol = protocol
        self._is_active = is_active
        self._disconnect = disconnect
        self._has_hardlinks = b"hardlink@openssh.com" in protocol.extensions
        self._broken = False
        start = b"" if root.startswith("/") else self.realpath(b".")
        self.root = join(start, root.encode()) if start and root else start or root.encode()
        # Where there is none yet, some servers have no real path for it.
        with suppress(Missing):
            self.root = self.realpath(self.root)

    @property
    def broken(self) -> bool:
        """See the protocol."""
        return self._broken or self._protocol.broken

    @broken.setter
    def broken(self, value: bool) -> None:
        self._broken = value

    def is_alive(self, idle: float) -> bool:
        """Whether the line stands; asked of the server only after some idle time."""
        if self.broken or not self._is_active():
            return False
        if idle < _PROBED_IDLE:
            return True
        try:
            self.realpath(b".")
        except (StorageError, Missing):
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self._broken = True
        self._disconnect()

    def supports_create_only(self) -> bool:
        """Whether the server makes hard links."""
        return self._has_hardlinks

    def stat(self, path: bytes) -> FileStat | None:
        """LSTAT."""
        try:
            with self._translate_errors("look at", path):
                return to_file_stat(self._protocol.call(RequestType.LSTAT, string(path)).attrs())
        except Missing:
            return None

    def realpath(self, path: bytes) -> bytes:
        """REALPATH; OpenSSH and most others resolve links in it, some only tidy the text."""
        with self._translate_errors("look at", path):
            body = self._protocol.call(RequestType.REALPATH, string(path))
            body.number()
            return body.string()

    def list_folder(self, path: bytes) -> Listing:
        """OPENDIR, READDIR."""
        with self._translate_errors("list", path):
            try:
                handle = self._protocol.call(RequestType.OPENDIR, string(path)).string()
            except StatusError as error:
                if error.code in (Status.FAILURE, *MISSING):
                    self._require_folder(path)
                    raise self.translate_status(error, "list", path) from error
                raise
            try:
                yield from limit_entries(self._read_names(handle, path))
            finally:
                if not self.broken:
                    self._protocol.discard(self._protocol.send(RequestType.CLOSE, string(handle)))

    def _read_names(self, handle: bytes, path: bytes) -> Iterator[tuple[bytes, FileStat]]:
        """Only the status EOF ends a listing."""
        while True:
            try:
                # The patience is with the whole folder, not with each part of it.
                body = self._protocol.receive(self._protocol.send(RequestType.READDIR, string(handle)))[1]
            except StatusError as error:
                if error.code == Status.EOF:
                    return
                if error.code == Status.PERMISSION_DENIED:
                    raise
                # Some open what is no folder, and say so only now.
                self._require_folder(path)
                raise self._listing_interrupted_error(path) from error
            left = body.number()
            if not left:
                raise self._protocol.protocol_error()
            for _ in range(left):
                name, longname = body.string(), body.string()
                yield name, to_file_stat(body.attrs(), longname)

    def _require_folder(self, path: bytes) -> None:
        found = self.stat(path)
        if found is None or found.kind != "folder":
            raise Missing

    def _listing_interrupted_error(self, path: bytes) -> StorageError:
        shown = self._display_name(path)
        return StorageError(
            Kind.DAMAGED,
            f"The server broke the listing of “{shown}” off.",
            operation="list",
            subject=shown,
            remedy="Try again; if it stays so, look into the server's log.",
        )

    def _display_name(self, path: bytes) -> str:
        return key_text(path.removeprefix(self.root.rstrip(b"/") + b"/"))

    def open_reader(self, path: bytes, start: int) -> SftpFileReader:
        """OPEN for reading."""
        with self._translate_errors("read", path):
            handle = self._protocol.call(
                RequestType.OPEN, string(path), struct.pack(">I", _READ), _NO_ATTRS
            ).string()
        return SftpFileReader(self, self._protocol, handle, path, start)

    def open_writer(self, path: bytes, target: bytes) -> SftpFileWriter:
        """OPEN for writing, exclusively."""
        with self._translate_errors("write", target):
            flags = struct.pack(">I", _WRITE_NEW)
            handle = self._protocol.call(RequestType.OPEN, string(path), flags, _NO_ATTRS).string()
        return SftpFileWriter(self, self._protocol, handle, target)

    def set_modified(self, path: bytes, modified: float) -> None:
        """SETSTAT with both times."""
        seconds = int(modified)
        with self._translate_errors("write", path):
            self._protocol.call(RequestType.SETSTAT, string(path), struct.pack(">III", 8, seconds, seconds))

    def rename(self, path: bytes, to: bytes) -> None:
        """``posix-rename@openssh.com``. Without it a RENAME, which replaces nothing: an existing file steps
        aside first and is missing for that moment."""
        with self._translate_errors("write", to):
            if b"posix-rename@openssh.com" in self._protocol.extensions:
                name = string(b"posix-rename@openssh.com")
                self._protocol.call(RequestType.EXTENDED, name, string(path), string(to))
                return
            try:
                self._rename_or_fail(path, to)
            except StatusError as error:
                if error.code not in (Status.FAILURE, Status.EXISTS) or self.stat(to) is None:
                    raise
                aside = rename_with_backup(self._rename_or_fail, path, to)
                with suppress(StatusError):
                    self._protocol.call(RequestType.REMOVE, string(aside))

    def _rename_or_fail(self, path: bytes, to: bytes) -> None:
        self._protocol.call(RequestType.RENAME, string(path), string(to))

    def link(self, path: bytes, to: bytes) -> None:
        """``hardlink@openssh.com``; fails where anything is, in one step on the server."""
        with self._translate_errors("write", to):
            try:
                self._protocol.call(
                    RequestType.EXTENDED, string(b"hardlink@openssh.com"), string(path), string(to)
                )
            except StatusError as error:
                if error.code == Status.EXISTS or self.stat(to) is not None:
                    raise AlreadyExists from error
                if error.code in (Status.FAILURE, Status.PERMISSION_DENIED, Status.UNSUPPORTED):
                    self._has_hardlinks = False
                    raise Unsupported(
                        "write",
                        "The file system behind this server cannot create a file only where there is none.",
                    ) from error
                raise

    def remove(self, path: bytes) -> None:
        """REMOVE."""
        with self._translate_errors("delete", path):
            self._protocol.call(RequestType.REMOVE, string(path))

    def make_folder(self, path: bytes) -> None:
        """MKDIR."""
        with self._translate_errors("write", path):
            try:
                self._protocol.call(RequestType.MKDIR, string(path), _NO_ATTRS)
            except StatusError as error:
                if error.code == Status.EXISTS or (
                    error.code == Status.FAILURE and self.stat(path) is not None
                ):
                    raise AlreadyExists from error
                raise

    def remove_folder(self, path: bytes) -> bool:
        """RMDIR."""
        try:
            self._protocol.call(RequestType.RMDIR, string(path))
        except StatusError:
            return False
        return True

    @contextmanager
    def _translate_errors(self, operation: str, path: bytes) -> Iterator[None]:
        """From a refusal, or an answer nobody can read, to our words."""
        try:
            yield
        except StatusError as error:
            if error.code in MISSING:
                raise Missing from error
            raise self.translate_status(error, operation, path) from error
        except struct.error as error:
            raise self._protocol.protocol_error() from error

    def translate_status(self, error: StatusError, operation: str, path: bytes) -> StorageError:
        """The error for a refusal. Servers tell a full disk as a mere failure, so it is asked for."""
        shown = self._display_name(path)
        full = operation == "write" and error.code == Status.FAILURE and self._is_disk_full()
        return translate_error(Status.NO_SPACE if full else error.code, error.text, operation, shown)

    def _is_disk_full(self) -> bool:
        if b"statvfs@openssh.com" not in self._protocol.extensions or self.broken:
            return False
        try:
            body = self._protocol.call(
                RequestType.EXTENDED, string(b"statvfs@openssh.com"), string(self.root)
            )
            numbers = [body.large() for _ in range(8)]
        except (StatusError, StorageError, struct.error):
            return False
        # Free blocks and free inodes for those who are not root.
        return numbers[4] == 0 or (numbers[5] > 0 and numbers[7] == 0)

    def sync(self, handle: bytes) -> None:
        """``fsync@openssh.com``, where the server offers it and its file system can."""
        if b"fsync@openssh.com" in self._protocol.extensions:
            try:
                self._protocol.call(RequestType.EXTENDED, string(b"fsync@openssh.com"), string(handle))
            except StatusError as error:
                if error.code != Status.UNSUPPORTED:
                    raise

    @contextmanager
    def translate_file_errors(self, operation: str, path: bytes) -> Iterator[None]:
        """As every call here, for the open files: a name that vanished is then an error like any."""
        try:
            with self._translate_errors(operation, path):
                yield
        except Missing as error:
            shown = self._display_name(path)
            raise StorageError(
                Kind.CHANGED, f"“{shown}” vanished from the server.", operation=operation, subject=shown
            ) from error
