"""Stores of cache entries: a folder of limited size, and what stores in memory share.

Entries are never trusted: a damaged one is ignored, and errors of the disk only mean that nothing is cached.
The least recently used entries are deleted first. Several processes may share a folder.
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

log = logging.getLogger(__name__)

_UNFINISHED_SUFFIX = ".part"
_USAGE_FILE = ".used"
"""The file with the total size of the folder. A process that adds an entry locks it."""
_ABANDONED_SECONDS = 3600.0
"""After how long an unfinished file counts as abandoned if locks cannot tell."""


class EntryWriter(Protocol):
    """An entry that is being written. ``discard`` is idempotent and has no effect after ``commit``."""

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        ...

    def commit(self) -> None:
        """Store the complete entry."""
        ...

    def discard(self) -> None:
        """Discard it."""
        ...


class CacheStore(Protocol):
    """Entries by name. Thread-safe. Never raises errors of its own."""

    max_entry_bytes: int
    """Larger contents are not cached."""

    def find(self, name: str) -> BinaryIO | None:
        """Open an entry. Return None if there is none."""
        ...

    def create(self, name: str, size: int) -> EntryWriter | None:
        """Create an entry for a content of ``size`` bytes. Return None if it cannot be stored now."""
        ...

    def delete(self, name: str) -> None:
        """Delete an entry. Idempotent."""
        ...

    def close(self) -> None:
        """Close connections. The entries remain."""
        ...


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


class DiskStore:
    """A folder of at most ``limit`` bytes, unfinished entries included, however many processes share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self.max_entry_bytes = limit // 4

    def find(self, name: str) -> BinaryIO | None:
        """See ``CacheStore``. Records the use."""
        path = self._path(name)
        try:
            file = path.open("rb")
        except OSError:
            return None
        with suppress(OSError):
            os.utime(path)
        return file

    def create(self, name: str, size: int) -> EntryWriter | None:
        """See ``CacheStore``."""
        path = self._path(name)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_UNFINISHED_SUFFIX}")
        # The footer has a checksum for every MiB.
        reserved = size + 8192 + size // 65_536
        try:
            # The folder itself first: parents that mkdir makes have the mode that the umask leaves.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with self._locked_usage() as usage:
                if not usage.reserve(reserved):
                    return None
                file = open(part, "xb", opener=_open_private)  # noqa: SIM115
                # The lock shows that it is in use until it is closed, however its process ends.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # So that other processes count its final size.
                file.truncate(reserved)
            return _FileEntryWriter(self, part, path, file, reserved)
        except OSError as error:
            log.warning("Cannot write to the cache: %s", error.strerror)
            return None

    def delete(self, name: str) -> None:
        """See ``CacheStore``."""
        with suppress(OSError):
            self._path(name).unlink()

    def close(self) -> None:
        """See ``CacheStore``."""

    def release(self, size: int) -> None:
        """Return ``size`` reserved bytes that are not used."""
        with suppress(OSError), self._locked_usage() as usage:
            usage.used -= size

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    @contextmanager
    def _locked_usage(self) -> Iterator[_DiskUsage]:
        with open(self._folder / _USAGE_FILE, "a+b", opener=_open_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read(32)
            usage = _DiskUsage(self._folder, self._limit, int(text) if text.isdigit() else None)
            yield usage
            file.truncate(0)
            file.write(b"%d" % max(0, usage.used))


class _DiskUsage:
    """The size of a folder. It may contain less, because deletes are not counted. None: not known yet."""

    def __init__(self, folder: Path, limit: int, used: int | None) -> None:
        self._folder = folder
        self._limit = limit
        self._used = used

    @property
    def used(self) -> int:
        """Bytes."""
        if self._used is None:
            self._used = sum(size for _, size, _ in self._files())
        return self._used

    @used.setter
    def used(self, size: int) -> None:
        self._used = size

    def reserve(self, size: int) -> bool:
        """Reserve ``size`` bytes, deleting entries if necessary. Return False if they do not fit."""
        if self._used is None or self._used + size > self._limit:
            self._make_room(size)
        if self.used + size > self._limit:
            return False
        self.used += size
        return True

    def _make_room(self, size: int) -> None:
        """Delete the least recently used entries until ``size`` bytes and a tenth of the limit are free."""
        files = sorted(self._files())
        self.used = sum(file_size for _, file_size, _ in files)
        if self.used + size <= self._limit:
            return
        target = self._limit - self._limit // 10 - size
        for _, file_size, path in files:
            if self.used <= target:
                break
            if not path.name.endswith(_UNFINISHED_SUFFIX):
                with suppress(OSError):
                    path.unlink()
                    self.used -= file_size

    def _files(self) -> list[tuple[float, int, Path]]:
        files = []
        for path in self._folder.glob("??/*"):
            with suppress(OSError):
                info = path.stat()
                if path.name.endswith(_UNFINISHED_SUFFIX) and _is_abandoned(path, info.st_mtime):
                    path.unlink()
                    continue
                files.append((info.st_mtime, info.st_size, path))
        return files


def _is_abandoned(part: Path, modified: float) -> bool:
    """Whether no process writes this file any more."""
    with part.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return modified < time.time() - _ABANDONED_SECONDS
    return True


class _FileEntryWriter:
    def __init__(self, store: DiskStore, part: Path, path: Path, file: BinaryIO, reserved: int) -> None:
        self._store = store
        self._part = part
        self._path = path
        self._file: BinaryIO | None = file
        self._reserved = reserved

    def write(self, data: bytes) -> None:
        if self._file is not None:
            try:
                self._file.write(data)
            except OSError as error:
                log.warning("Cannot write to the cache: %s", error.strerror)
                self.discard()

    def commit(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            size = file.tell()
            file.truncate(size)
            # Renamed while locked, so that it never looks abandoned. Not synced to the disk, because
            # checksums detect what a power cut leaves behind.
            file.flush()
            self._part.replace(self._path)
            file.close()
        except OSError as error:
            log.warning("Cannot write to the cache: %s", error.strerror)
            self._remove(file)
            return
        self._store.release(self._reserved - size)

    def discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._remove(file)

    def _remove(self, file: BinaryIO) -> None:
        with suppress(OSError):
            self._part.unlink()
        with suppress(OSError):
            file.close()
        self._store.release(self._reserved)


class MemoryEntryWriter:
    """An entry that is collected in memory and stored in one call."""

    def __init__(self, store: BlobStore, name: str) -> None:
        self._store = store
        self._name = name
        self._buffer: io.BytesIO | None = io.BytesIO()

    def write(self, data: bytes) -> None:
        """See ``EntryWriter``."""
        if self._buffer is not None:
            self._buffer.write(data)

    def commit(self) -> None:
        """See ``EntryWriter``."""
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            self._store.put(self._name, buffer.getvalue())

    def discard(self) -> None:
        """See ``EntryWriter``."""
        self._buffer = None


class BlobStore(Protocol):
    """A store that receives an entry in one call."""

    def put(self, name: str, data: bytes) -> None:
        """Store it. Never raises errors of its own."""
        ...
