"""The key file: its permissions, its format, and how it is written safely.

The file holds one key per line, the current key first. It is created once, by a link that fails if the file
exists, and changed only by writing a new file and renaming it, so a crash leaves either the old file or the
new one. Writers must exclude each other; the console uses the database's write lock for that.
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
_MAX_BYTES = 64 * 1024

Signature = tuple[int, int, int, int]


class KeyFileError(StowageError):
    """The key file exists but cannot be used; ``reason`` says why."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(Kind.SEALED, reason, operation="read key", subject=str(path), remedy=remedy)


class KeyFile:
    """One key file. Reads are cached until the file changes. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._cached: tuple[Signature, Keyring] | None = None

    def signature(self) -> Signature | None:
        """Return a value that changes whenever the file does; None if the file is missing."""
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def read(self) -> Keyring | None:
        """Return the keys, or None if there is no file. Raises :class:`KeyFileError`."""
        with self._lock:
            signature = self.signature()
            if self._cached is not None and self._cached[0] == signature:
                return self._cached[1]
            self._cached = None
            text = _read_checked(self.path)
            if text is None:
                return None
            keyring = _parse(self.path, text)
            if signature is not None:
                self._cached = (signature, keyring)
            return keyring

    def create(self, keyring: Keyring) -> None:
        """Create the file durably, with mode 0400. Raises kind ``conflict`` if it exists."""
        temporary = self._write_temporary(keyring)
        try:
            os.link(temporary, self.path)
        except FileExistsError as error:
            raise StowageError(
                Kind.CONFLICT, f"There is already a key file at {self.path}.", operation="write key"
            ) from error
        except OSError as error:
            raise _write_error(self.path, error) from error
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(self.path.parent)

    def replace(self, keyring: Keyring) -> None:
        """Replace the keys, atomically and durably."""
        temporary = self._write_temporary(keyring)
        try:
            os.replace(temporary, self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _write_error(self.path, error) from error
        _sync_folder(self.path.parent)

    def set_aside(self) -> Path | None:
        """Rename a key file that is of no use here instead of deleting it; returns its new path."""
        aside = self.path.with_name(f"{self.path.name}.old-{time.time_ns()}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _write_error(self.path, error) from error
        _sync_folder(self.path.parent)
        return aside

    def _write_temporary(self, keyring: Keyring) -> Path:
        temporary = self.path.with_name(f".{self.path.name}.new")
        lines = (_HEADER, *(f"v1 {key.id} {_encode(key)}" for key in (keyring.current, *keyring.older)), "")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                os.fchmod(handle, 0o400)
                file.write("\n".join(lines))
                file.flush()
                os.fsync(handle)
        except OSError as error:
            raise _write_error(self.path, error) from error
        return temporary


@dataclass(frozen=True, slots=True)
class _Rejection:
    """Why a key file's type, owner or mode is not acceptable."""

    reason: str
    remedy: str


def _read_checked(path: Path) -> str | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise KeyFileError(
                path,
                f"The key file {path} is a symbolic link.",
                "Replace the link with the key file itself, or set STOWAGE_KEY_FILE to the link's target.",
            ) from error
        raise KeyFileError(
            path,
            f"The key file {path} cannot be read: {error.strerror}.",
            "Make the user that runs Stowage its owner, with mode 0400.",
        ) from error
    try:
        # Check the open file, not the path: the path could be replaced in between.
        rejection = _reject(path, os.fstat(handle))
        if rejection is not None:
            raise KeyFileError(path, rejection.reason, rejection.remedy)
        return os.read(handle, _MAX_BYTES).decode("ascii", "replace")
    finally:
        os.close(handle)


def _reject(path: Path, status: os.stat_result) -> _Rejection | None:
    if not stat.S_ISREG(status.st_mode):
        return _Rejection(
            f"The key file {path} is not a regular file.", "Put the key file itself at this path."
        )
    if status.st_uid not in (os.geteuid(), 0):
        return _Rejection(
            f"The key file {path} belongs to another user.", "Make the user that runs Stowage its owner."
        )
    if status.st_mode & 0o077:
        return _Rejection(
            f"The key file {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}).",
            f"Run: chmod 400 {path}. If others may have read it, then run: stowage keys rotate.",
        )
    return None


def _parse(path: Path, text: str) -> Keyring:
    keys: list[Key] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        key = _parse_line(line)
        if key is None:
            raise _damaged_error(path)
        keys.append(key)
    if not keys:
        raise _damaged_error(path)
    return Keyring(keys[0], tuple(keys[1:]))


def _parse_line(line: str) -> Key | None:
    fields = line.split()
    if len(fields) != 3 or fields[0] != "v1":
        return None
    try:
        key = Key(base64.b64decode(fields[2], altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    return key if key.id == fields[1] else None


def _encode(key: Key) -> str:
    return base64.urlsafe_b64encode(key.material).decode()


def _damaged_error(path: Path) -> KeyFileError:
    return KeyFileError(
        path,
        f"The key file {path} is damaged.",
        "Put back a copy of it, or run: stowage keys restore, with the recovery key.",
    )


def _write_error(path: Path, error: OSError) -> StowageError:
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
