"""The folder where uploads are kept until they are done. No backend may be in it, and nothing serves it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dashboard.errors import Kind, StowageError
from dashboard.jobs.lock import is_locked
from dashboard.services.flushing import flush_folder

RESERVED_BYTES = 256 * 1024 * 1024
"""Left free on the disk: the databases are on it too."""
CHUNK_BYTES = 1024 * 1024
_ID = re.compile(r"[0-9a-f]{32}")


class Quarantine:
    """One file for each upload, named by its id, readable only by the console's user. Thread-safe, and safe
    from several processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, upload_id: str) -> None:
        """Make an empty file. Durable: after a crash it exists."""
        self._prepare()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _translated():
            os.close(os.open(self.path(upload_id), flags, 0o600))
            flush_folder(self._folder)

    def path(self, upload_id: str) -> Path:
        """Where an upload's bytes are."""
        assert _ID.fullmatch(upload_id), upload_id
        return self._folder / upload_id

    def length(self, upload_id: str, *, known: int) -> int | None:
        """Return the bytes that an upload can go on from; None if its file is gone. ``known``: how many are
        certainly durable. What a power failure may have damaged does not count."""
        try:
            found = self.path(upload_id).stat()
        except FileNotFoundError:
            return None
        return min(known, found.st_size) if _before_boot(found) else found.st_size

    def append(self, upload_id: str, *, known: int, exact: bool = False) -> Appending:
        """Open an upload for its only writer. ``known``: how many bytes are certainly durable; ``exact``:
        discard the others. Raises ``LOCKED`` while another writer has it, and ``NOT_FOUND``."""
        return Appending(self.path(upload_id), known, exact)

    def is_locked(self, upload_id: str) -> bool:
        """Whether a writer has it, here or in another process."""
        try:
            descriptor = os.open(self.path(upload_id), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        return is_locked(descriptor)

    def ask_for(self, upload_id: str) -> None:
        """Ask the process that has it to let it go: its client has come back to this one."""
        with suppress(OSError):
            self._asked_path(upload_id).touch(mode=0o600)

    def is_asked_for(self, upload_id: str) -> bool:
        """Whether another process asked this one to let an upload go."""
        return self._asked_path(upload_id).exists()

    def open(self, upload_id: str) -> BinaryIO:
        """Open a received upload for reading. Raises ``NOT_FOUND``."""
        try:
            return self.path(upload_id).open("rb")
        except FileNotFoundError as error:
            raise lost_error() from error

    def forget_request(self, upload_id: str) -> None:
        """Undo :meth:`ask_for`. Idempotent."""
        with suppress(OSError):
            self._asked_path(upload_id).unlink(missing_ok=True)

    def _asked_path(self, upload_id: str) -> Path:
        return self.path(upload_id).with_suffix(".asked")

    def processed_path(self, upload_id: str) -> Path:
        """Where what is made of an upload is kept, if that is stored instead."""
        return self.path(upload_id).with_suffix(".out")

    def make_durable(self, path: Path) -> None:
        """Sync a file that was written here."""
        with _translated():
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            flush_folder(self._folder)

    def remove(self, upload_id: str) -> None:
        """Remove an upload's bytes. Idempotent."""
        self.processed_path(upload_id).unlink(missing_ok=True)
        self.forget_request(upload_id)
        self.path(upload_id).unlink(missing_ok=True)

    def ids(self) -> Iterator[tuple[str, float]]:
        """Yield the id and the modification time of everything in the folder."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                with suppress(FileNotFoundError):
                    if _ID.fullmatch(path.stem):
                        yield path.stem, path.stat().st_mtime

    def free_bytes(self) -> int:
        """Return the bytes that uploads may still use on this disk."""
        self._prepare()
        found = os.statvfs(self._folder)
        return max(0, found.f_bavail * found.f_frsize - RESERVED_BYTES)

    def _prepare(self) -> None:
        with _translated():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if self._folder.stat().st_mode & 0o077:
                self._folder.chmod(0o700)


class Appending:
    """The only writer of one upload, until it is closed. Not thread-safe.

    ``offset`` is the number of bytes in the file; they are durable only after :meth:`sync`.
    """

    def __init__(self, path: Path, known: int, exact: bool) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise lost_error() from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(self._descriptor)
            if found.st_size > known and (exact or _before_boot(found)):
                os.ftruncate(self._descriptor, known)
            self.offset = os.lseek(self._descriptor, 0, os.SEEK_END)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise locked_error() from error
        except BaseException:
            os.close(self._descriptor)
            raise

    def write(self, data: bytes) -> None:
        """Append bytes. Raises ``FULL`` if the disk has no space; what fitted stays."""
        view = memoryview(data)
        with _translated():
            while view:
                written = os.write(self._descriptor, view)
                self.offset += written
                view = view[written:]

    def truncate(self, offset: int) -> None:
        """Discard everything beyond an offset."""
        os.ftruncate(self._descriptor, offset)
        self.offset = os.lseek(self._descriptor, 0, os.SEEK_END)

    def sync(self) -> None:
        """Make what was written durable."""
        with _translated():
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let the next writer in. Idempotent."""
        if self._descriptor >= 0:
            # A process that another thread is starting has the descriptor too until it executes its program.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lost_error() -> StowageError:
    """For an upload whose bytes are gone."""
    return StowageError(
        Kind.NOT_FOUND,
        "What had been received of this upload is no longer there.",
        operation="upload",
        remedy="Upload the file again.",
    )


def locked_error() -> StowageError:
    """For a second writer."""
    return StowageError(
        Kind.LOCKED,
        "This upload is being received over another connection.",
        operation="upload",
        remedy="Wait until that one has ended, then ask how far it got and go on from there.",
    )


def _before_boot(found: os.stat_result) -> bool:
    """Whether a file was last written before this machine started, so that its end may never have reached
    the disk."""
    return found.st_mtime < time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def _translated() -> Iterator[None]:
    """Translate errors of the disk."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StowageError(
            Kind.FULL if full else Kind.INTERNAL,
            "The disk for uploads is full." if full else "The folder for uploads cannot be used.",
            operation="upload",
            remedy="Free some space in the instance folder and resume the upload."
            if full
            else "Check the owner and the permissions of “uploads” in the instance folder.",
        ) from error
