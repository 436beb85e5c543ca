"""An SFTP session."""

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
        # Some servers do not resolve a root that does not exist yet.
        with suppress(Missing):
            self.root = self.realpath(self.root)

    @property
    def broken(self) -> bool:
        """See ``Session``."""
        return self._broken or self._protocol.broken

    @broken.setter
    def broken(self, value: bool) -> None:
        self._broken = value

    def is_alive(self, idle: float) -> bool:
        """See ``Session``. Sends a request only after some idle time."""
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
        """Close the connection. Idempotent."""
        self._broken = True
        self._disconnect()

    def supports_create_only(self) -> bool:
        """Whether the server supports hard links."""
        return self._has_hardlinks

    def stat(self, path: bytes) -> FileStat | None:
        """Send LSTAT."""
        try:
            with self._translate_errors("look at", path):
                return to_file_stat(self._protocol.call(RequestType.LSTAT, string(path)).attrs())
        except Missing:
            return None

    def realpath(self, path: bytes) -> bytes:
        """Send REALPATH. OpenSSH and most others resolve links; some only normalize the path."""
        with self._translate_errors("look at", path):
            body = self._protocol.call(RequestType.REALPATH, string(path))
            body.number()
            return body.string()

    def list_folder(self, path: bytes) -> Listing:
        """Send OPENDIR and READDIR."""
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
        """Read the entries of a folder. Only the status EOF ends a listing."""
        while True:
            try:
                # The time limit is for the complete folder, not for each reply.
                body = self._protocol.receive(self._protocol.send(RequestType.READDIR, string(handle)))[1]
            except StatusError as error:
                if error.code == Status.EOF:
                    return
                if error.code == Status.PERMISSION_DENIED:
                    raise
                # Some servers open what is not a folder and fail only here.
                self._require_folder(path)
                raise self._listing_interrupted_error(path) from error
            count = body.number()
            if not count:
                raise self._protocol.protocol_error()
            for _ in range(count):
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
            f"The server interrupted the listing of “{shown}”.",
            operation="list",
            subject=shown,
            remedy="Try again; if it keeps happening, check the server's log.",
        )

    def _display_name(self, path: bytes) -> str:
        return key_text(path.removeprefix(self.root.rstrip(b"/") + b"/"))

    def open_reader(self, path: bytes, start: int) -> SftpFileReader:
        """Send OPEN for reading."""
        with self._translate_errors("read", path):
            handle = self._protocol.call(
                RequestType.OPEN, string(path), struct.pack(">I", _READ), _NO_ATTRS
            ).string()
        return SftpFileReader(self, self._protocol, handle, path, start)

    def open_writer(self, path: bytes, target: bytes) -> SftpFileWriter:
        """Send OPEN for exclusive writing."""
        with self._translate_errors("write", target):
            flags = struct.pack(">I", _WRITE_NEW)
            handle = self._protocol.call(RequestType.OPEN, string(path), flags, _NO_ATTRS).string()
        return SftpFileWriter(self, self._protocol, handle, target)

    def set_modified(self, path: bytes, modified: float) -> None:
        """Send SETSTAT with both times."""
        seconds = int(modified)
        with self._translate_errors("write", path):
            self._protocol.call(RequestType.SETSTAT, string(path), struct.pack(">III", 8, seconds, seconds))

    def rename(self, path: bytes, to: bytes) -> None:
        """Send ``posix-rename@openssh.com``, or RENAME, which never replaces: an existing file is then
        renamed to a backup first and is missing for a moment."""
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
                backup = rename_with_backup(self._rename_or_fail, path, to)
                with suppress(StatusError):
                    self._protocol.call(RequestType.REMOVE, string(backup))

    def _rename_or_fail(self, path: bytes, to: bytes) -> None:
        self._protocol.call(RequestType.RENAME, string(path), string(to))

    def link(self, path: bytes, to: bytes) -> None:
        """Send ``hardlink@openssh.com``, which fails atomically if the name exists."""
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
                        "The server's file system cannot create a file without replacing an existing one.",
                    ) from error
                raise

    def remove(self, path: bytes) -> None:
        """Send REMOVE."""
        with self._translate_errors("delete", path):
            self._protocol.call(RequestType.REMOVE, string(path))

    def make_folder(self, path: bytes) -> None:
        """Send MKDIR."""
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
        """Send RMDIR."""
        try:
            self._protocol.call(RequestType.RMDIR, string(path))
        except StatusError:
            return False
        return True

    @contextmanager
    def _translate_errors(self, operation: str, path: bytes) -> Iterator[None]:
        """Raise error statuses and malformed replies as ``StorageError``, and missing files as
        ``Missing``."""
        try:
            yield
        except StatusError as error:
            if error.code in MISSING:
                raise Missing from error
            raise self.translate_status(error, operation, path) from error
        except struct.error as error:
            raise self._protocol.protocol_error() from error

    def translate_status(self, error: StatusError, operation: str, path: bytes) -> StorageError:
        """Return the storage error for a status. Servers report a full disk as a general failure, so check
        for one."""
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
        # Free blocks and free inodes for users other than root.
        return numbers[4] == 0 or (numbers[5] > 0 and numbers[7] == 0)

    def sync(self, handle: bytes) -> None:
        """Send ``fsync@openssh.com``, if the server and its file system support it."""
        if b"fsync@openssh.com" in self._protocol.extensions:
            try:
                self._protocol.call(RequestType.EXTENDED, string(b"fsync@openssh.com"), string(handle))
            except StatusError as error:
                if error.code != Status.UNSUPPORTED:
                    raise

    @contextmanager
    def translate_file_errors(self, operation: str, path: bytes) -> Iterator[None]:
        """Like ``_translate_errors``, for open files: a file that no longer exists is an error too."""
        try:
            with self._translate_errors(operation, path):
                yield
        except Missing as error:
            shown = self._display_name(path)
            raise StorageError(
                Kind.CHANGED,
                f"“{shown}” was removed from the server.",
                operation=operation,
                subject=shown,
                # What is being written can be written again; what was read is gone.
                retryable=operation == "write",
            ) from error
