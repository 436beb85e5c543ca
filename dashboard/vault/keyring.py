"""The key file: who may read it, how it is written, and when it is read again.

The file holds one key a line, the current one first. It is made once, with a link that fails if it is
there already, and changed only by writing a new file beside it and renaming, so a crash leaves the old
one or the new one. Writers must exclude each other; the console does it with the database's write lock.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from dashboard.errors import Kind, StowageError
from dashboard.vault.keys import Key, Keyring

_HEADER = (
    "# Stowage key file. Without it the stored secrets cannot be opened: keep a copy, share it with nobody."
)
_LARGEST = 64 * 1024

Signature = tuple[int, int, int, int]


class KeyFileRefused(StowageError):
    """The key file is there and cannot be used; the sentence says why."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(Kind.SEALED, reason, operation="read key", subject=str(path), remedy=remedy)


class KeyFile:
    """One key file. Thread-safe: reads are cached until the file changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._cached: tuple[Signature, Keyring] | None = None

    def signature(self) -> Signature | None:
        """Changes whenever the file does; None when it is missing."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

    def read(self) -> Keyring | None:
        """The keys, or None when there is no file. Raises :class:`KeyFileRefused`."""
        with self._lock:
            signature = self.signature()
            if self._cached is not None and self._cached[0] == signature:
                return self._cached[1]
            self._cached = None
            text = _read_checked(self.path)
            if text is None:
                return None
            ring = _parsed(self.path, text)
            if signature is not None:
                self._cached = (signature, ring)
            return ring

    def create(self, ring: Keyring) -> None:
        """Write the file for the first time, durably, mode 0400. Raises CONFLICT if it exists."""
        fresh = self._write_beside(ring)
        try:
            os.link(fresh, self.path)
        except FileExistsError as error:
            raise StowageError(
                Kind.CONFLICT, f"There is already a key file at {self.path}.", operation="write key"
            ) from error
        except OSError as error:
            raise _not_writable(self.path, error) from error
        finally:
            fresh.unlink(missing_ok=True)
        _sync_folder(self.path.parent)

    def replace(self, ring: Keyring) -> None:
        """Put other keys in its place, atomically and durably."""
        fresh = self._write_beside(ring)
        try:
            os.replace(fresh, self.path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise _not_writable(self.path, error) from error
        _sync_folder(self.path.parent)

    def set_aside(self) -> Path | None:
        """Rename a file that does not help, so that it is not lost; returns where it went."""
        aside = self.path.with_name(f"{self.path.name}.old-{time.time_ns()}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _not_writable(self.path, error) from error
        _sync_folder(self.path.parent)
        return aside

    def _write_beside(self, ring: Keyring) -> Path:
        fresh = self.path.with_name(f".{self.path.name}.new")
        lines = (_HEADER, *(f"v1 {key.id} {_encoded(key)}" for key in (ring.current, *ring.older)), "")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                os.fchmod(handle, 0o400)
                file.write("\n".join(lines))
                file.flush()
                os.fsync(handle)
        except OSError as error:
            raise _not_writable(self.path, error) from error
        return fresh


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file's owner or mode is not good enough."""

    reason: str
    remedy: str


def _read_checked(path: Path) -> str | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise KeyFileRefused(
                path,
                f"The key file {path} is a symbolic link.",
                "Put the key file itself there, or set STOWAGE_KEY_FILE to the file that the link points to.",
            ) from error
        raise KeyFileRefused(
            path,
            f"The key file {path} cannot be read: {error.strerror}.",
            "Make the user that runs Stowage its owner, with mode 0400.",
        ) from error
    try:
        # The open file is judged, not the name: the name could change in between.
        refusal = _refusal(path, os.fstat(handle))
        if refusal is not None:
            raise KeyFileRefused(path, refusal.reason, refusal.remedy)
        return os.read(handle, _LARGEST).decode("ascii", "replace")
    finally:
        os.close(handle)


def _refusal(path: Path, found: os.stat_result) -> Refusal | None:
    if not stat.S_ISREG(found.st_mode):
        return Refusal(f"The key file {path} is not a regular file.", "Put the key file itself there.")
    if found.st_uid not in (os.geteuid(), 0):
        return Refusal(
            f"The key file {path} belongs to another user.", "Make the user that runs Stowage its owner."
        )
    if found.st_mode & 0o077:
        return Refusal(
            f"The key file {path} can be read by others (mode {stat.S_IMODE(found.st_mode):04o}).",
            f"Run: chmod 400 {path}. If others may have read it, then run: stowage keys rotate.",
        )
    return None


def _parsed(path: Path, text: str) -> Keyring:
    keys: list[Key] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        key = _line(line)
        if key is None:
            raise _damaged(path)
        keys.append(key)
    if not keys:
        raise _damaged(path)
    return Keyring(keys[0], tuple(keys[1:]))


def _line(line: str) -> Key | None:
    fields = line.split()
    if len(fields) != 3 or fields[0] != "v1":
        return None
    try:
        key = Key(base64.b64decode(fields[2], altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    return key if key.id == fields[1] else None


def _encoded(key: Key) -> str:
    return base64.urlsafe_b64encode(key.material).decode()


def _damaged(path: Path) -> KeyFileRefused:
    return KeyFileRefused(
        path,
        f"The key file {path} is damaged.",
        "Put back a copy of it, or run: stowage keys restore, with the recovery key.",
    )


def _not_writable(path: Path, error: OSError) -> StowageError:
    return StowageError(
        Kind.DENIED,
        f"The key file {path} cannot be written: {error.strerror}.",
        operation="write key",
        subject=str(path),
        remedy="Give the user that runs Stowage write access to its folder and try again.",
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
