"""Where copies are kept: a folder on this machine's disk, bounded, the least recently used going first.

Nothing here is ever trusted: a copy that is not whole is no copy, and trouble with the disk means only that
nothing is kept. Several processes may share a folder.
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
"""The file that says how many bytes the folder holds; whoever adds to it locks it."""
_ABANDONED_SECONDS = 3600.0
"""Seconds after which an unfinished file is known to be nobody's, where locks do not say so."""


class EntryWriter(Protocol):
    """A copy that is being made. ``drop`` is idempotent and harmless after ``keep``."""

    def write(self, data: bytes) -> None:
        """The next bytes."""
        ...

    def commit(self) -> None:
        """Put it on the store, whole."""
        ...

    def discard(self) -> None:
        """Throw it away."""
        ...


class CacheStore(Protocol):
    """Copies by name. Thread-safe. Never raises for trouble of its own."""

    max_entry_bytes: int
    """Bytes of the largest copy worth keeping."""

    def find(self, name: str) -> BinaryIO | None:
        """An open copy, or None."""
        ...

    def create(self, name: str, size: int) -> EntryWriter | None:
        """Begin a copy of a content of so many bytes, or None where none can be kept now."""
        ...

    def delete(self, name: str) -> None:
        """Forget a copy. Idempotent."""
        ...

    def close(self) -> None:
        """Free connections. The copies stay."""
        ...


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


class DiskStore:
    """A folder of at most ``limit`` bytes, unfinished copies included, however many processes share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self.max_entry_bytes = limit // 4

    def find(self, name: str) -> BinaryIO | None:
        """See ``CacheStore``. Notes the use."""
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
        # The description, and a checksum for every MiB.
        reserved = size + 8192 + size // 65_536
        try:
            # The folder itself first: parents that mkdir makes have the mode that the umask leaves.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with self._locked_usage() as usage:
                if not usage.reserve(reserved):
                    return None
                file = open(part, "xb", opener=_open_private)  # noqa: SIM115
                # Until it is closed, however its process ends, it is known to be somebody's.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # So that others count what will be in it.
                file.truncate(reserved)
            return _FileEntryWriter(self, part, path, file, reserved)
        except OSError as error:
            log.warning("Nothing can be kept in the cache: %s", error.strerror)
            return None

    def delete(self, name: str) -> None:
        """See ``CacheStore``."""
        with suppress(OSError):
            self._path(name).unlink()

    def close(self) -> None:
        """See ``CacheStore``."""

    def release(self, size: int) -> None:
        """So many bytes that were reserved are not used."""
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
    """How much a folder holds; it may hold less, where copies were dropped. None until it was looked at."""

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
        """Whether so many bytes may be added, which are counted from now on."""
        if self._used is None or self._used + size > self._limit:
            self._make_room(size)
        if self.used + size > self._limit:
            return False
        self.used += size
        return True

    def _make_room(self, size: int) -> None:
        """Remove the least recently used until there is room, and a tenth beside it."""
        found = sorted(self._files())
        self.used = sum(each for _, each, _ in found)
        if self.used + size <= self._limit:
            return
        most = self._limit - self._limit // 10 - size
        for _, each, path in found:
            if self.used <= most:
                break
            if not path.name.endswith(_UNFINISHED_SUFFIX):
                with suppress(OSError):
                    path.unlink()
                    self.used -= each

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._folder.glob("??/*"):
            with suppress(OSError):
                info = path.stat()
                if path.name.endswith(_UNFINISHED_SUFFIX) and _is_abandoned(path, info.st_mtime):
                    path.unlink()
                    continue
                found.append((info.st_mtime, info.st_size, path))
        return found


def _is_abandoned(part: Path, modified: float) -> bool:
    """Whether nobody writes this file any more."""
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
                log.warning("Nothing can be kept in the cache: %s", error.strerror)
                self.discard()

    def commit(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            size = file.tell()
            file.truncate(size)
            # Renamed while it is locked: nobody takes it for abandoned between the two. It is not flushed
            # to the disk: what a power cut leaves of it is known by its checksums.
            file.flush()
            self._part.replace(self._path)
            file.close()
        except OSError as error:
            log.warning("Nothing can be kept in the cache: %s", error.strerror)
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
    """A copy that is collected in memory and handed on whole."""

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
    """Takes a copy in one piece."""

    def put(self, name: str, data: bytes) -> None:
        """Keep it. Never raises for trouble of its own."""
        ...
