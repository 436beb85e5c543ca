"""A settings file on disk: read and replaced without following a link, and never half.

Everything happens inside one open folder (``openat``, ``renameat``), so nobody who may not write there can
swap what is checked for what is written. A change is written to a new file, flushed, and renamed over the old
one; whenever the machine or the process stops, the file is the old or the new one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dashboard.envfile.env_document import Document
from dashboard.errors import Kind, StowageError

MAX_BYTES = 256 * 1024
LOCK_SECONDS = 5.0
MISSING = "none"
"""The version of a file that does not exist."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the file held. ``version`` changes with its content; ``warning`` is a sentence about its mode."""

    document: Document
    version: str
    modified: float | None = None
    warning: str = ""

    @property
    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.version != MISSING


def version_of(data: bytes) -> str:
    """The version of a content."""
    return hashlib.sha256(data).hexdigest()[:16]


class EnvFile:
    """One settings file. Thread-safe, and safe beside other processes that use this class."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def signature(self) -> tuple[int, int, int, int] | None:
        """A value that changes whenever the file is replaced or written; None if it is missing. Reads
        nothing."""
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except (OSError, ValueError):
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def read(self) -> Snapshot:
        """Return what the file holds; a missing file is empty. Raises ``DENIED`` with a sentence for a link,
        a file that is no regular one, too large, not text, of another user, or that others may write."""
        try:
            # What is not there needs no folder that could be trusted.
            os.stat(self.path, follow_symlinks=False)
            with open_folder(self.path.parent) as folder:
                return self._read(folder)
        except (FileNotFoundError, NotADirectoryError):
            return Snapshot(Document(b""), MISSING)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a path"
            raise _refused(
                self.path, f"cannot be read: {why}", "Check the path and who may read it."
            ) from error

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """Lock the file against other writers, and yield what replaces it. Raises as :meth:`read`, ``DENIED``
        if it cannot be written, and ``LOCKED`` if another writer does not finish within seconds."""
        try:
            with open_folder(self.path.parent) as folder, _lock(folder, self.path):
                yield Change(self, folder, self._read(folder))
        except OSError as error:
            raise _write_error(self.path, error) from error

    def _read(self, folder: int) -> Snapshot:
        try:
            handle = os.open(self.path.name, _READ, dir_fd=folder)
        except FileNotFoundError:
            return Snapshot(Document(b""), MISSING)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _refused(
                    self.path,
                    "is a symbolic link",
                    "Put the file itself there, or set STOWAGE_ENV_FILE to it.",
                ) from error
            why = f"cannot be read: {error.strerror}"
            raise _refused(
                self.path, why, "Make the user that runs Stowage its owner, with mode 0600."
            ) from error
        try:
            status = os.fstat(handle)
            self._check(status)
            data = _read_all(handle)
        finally:
            os.close(handle)
        if len(data) > MAX_BYTES:
            raise self._too_large()
        if b"\0" in data:
            raise _refused(self.path, "is not a text file", "Put a file with NAME=value lines there.")
        return Snapshot(Document(data), version_of(data), status.st_mtime, _warning(self.path, status))

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise _refused(self.path, "is not a regular file", "Put a file with NAME=value lines there.")
        if status.st_uid not in (os.geteuid(), 0):
            raise _refused(self.path, "belongs to another user", "Make the user that runs Stowage its owner.")
        if status.st_mode & 0o022:
            why = f"can be changed by others (mode {stat.S_IMODE(status.st_mode):04o})"
            raise _refused(self.path, why, f"Run: chmod 600 {self.path}")
        if status.st_size > MAX_BYTES:
            raise self._too_large()

    def _too_large(self) -> StowageError:
        return _refused(
            self.path, f"is larger than {MAX_BYTES // 1024} KiB", "Keep only NAME=value lines in it."
        )


class Change:
    """The locked file. ``before``: what it holds now; ``folder``: its open folder."""

    def __init__(self, file: EnvFile, folder: int, before: Snapshot) -> None:
        self.path = file.path
        self.folder = folder
        self.before = before

    def replace(self, data: bytes) -> Snapshot:
        """Replace the file durably, with its mode and owner; a new one gets mode 0600. Raises ``OSError``."""
        kept = self._status()
        if kept is not None and kept.st_nlink > 1:
            raise _refused(
                self.path,
                "has a second name (a hard link), which would keep the old content",
                "Remove the other name.",
            )
        self._sweep()
        temporary = f"{self._prefix}{secrets.token_hex(8)}"
        try:
            write_new(self.folder, temporary, data, kept)
            os.rename(temporary, self.path.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self.folder)
            raise
        os.fsync(self.folder)
        return Snapshot(Document(data), version_of(data), time.time())

    @property
    def _prefix(self) -> str:
        return f".{self.path.name.lstrip('.')}.new-"

    def _status(self) -> os.stat_result | None:
        try:
            return os.stat(self.path.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _sweep(self) -> None:
        """Delete what a writer that was killed has left: this one holds the lock."""
        for name in os.listdir(self.folder):
            if name.startswith(self._prefix):
                os.unlink(name, dir_fd=self.folder)


@contextmanager
def open_folder(path: Path, *, parent: int | None = None) -> Iterator[int]:
    """Open a folder that only its owner, or root, can change. Without ``parent``, links above it are resolved
    first; its last name is never followed. Raises ``DENIED``, and ``FileNotFoundError`` if it is missing."""
    name: str | Path = path if parent is not None else os.path.realpath(path)
    try:
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refused(
            path, f"cannot be opened as a folder: {error.strerror}", "Put a folder there."
        ) from error
    try:
        status = os.fstat(handle)
        shared = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
        if status.st_uid not in (os.geteuid(), 0) or shared:
            raise _refused(
                path,
                "is a folder that others may change",
                "Give it to the user that runs Stowage, mode 0700.",
            )
        yield handle
    finally:
        os.close(handle)


def write_new(folder: int, name: str, data: bytes, like: os.stat_result | None = None) -> None:
    """Write a file that must not exist yet, durably; its mode and owner are those of ``like``, else 0600.
    Raises ``OSError``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(name, flags, 0o600, dir_fd=folder)
    with os.fdopen(handle, "wb") as file:
        if like is not None:
            mine = os.fstat(handle)
            if (mine.st_uid, mine.st_gid) != (like.st_uid, like.st_gid):
                os.fchown(handle, like.st_uid, like.st_gid)
            os.fchmod(handle, stat.S_IMODE(like.st_mode))
        file.write(data)
        file.flush()
        os.fsync(handle)


def read_file(folder: int, name: str) -> bytes:
    """Read a regular file of at most ``MAX_BYTES``. Raises ``OSError``."""
    handle = os.open(name, _READ, dir_fd=folder)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            raise OSError(errno.EINVAL, "Not a settings file")
        return _read_all(handle)[:MAX_BYTES]
    finally:
        os.close(handle)


def _read_all(handle: int) -> bytes:
    """At most one byte more than ``MAX_BYTES``: the file may grow while it is read."""
    parts, left = [], MAX_BYTES + 1
    while left and (part := os.read(handle, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


@contextmanager
def _lock(folder: int, path: Path) -> Iterator[None]:
    name = f".{path.name.lstrip('.')}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StowageError(
                        Kind.LOCKED,
                        "Another change of the settings file is being written.",
                        operation="edit settings",
                        remedy="Try again in a moment.",
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def _warning(path: Path, status: os.stat_result) -> str:
    if status.st_mode & 0o044:
        return f"Other users of this machine may read {path}. Run: chmod 600 {path}"
    return ""


def _refused(path: Path, why: str, remedy: str) -> StowageError:
    return StowageError(
        Kind.DENIED, f"{path} {why}.", operation="settings file", subject=str(path), remedy=remedy
    )


def _write_error(path: Path, error: OSError) -> StowageError:
    if error.errno in (errno.EBUSY, errno.EXDEV):
        return _refused(
            path,
            "is mounted by itself and cannot be replaced",
            "Mount the folder that holds it into the container, not the file alone.",
        )
    return _refused(
        path,
        f"cannot be written: {error.strerror}",
        "Give the user that runs Stowage write access to its folder, and free some space there.",
    )
