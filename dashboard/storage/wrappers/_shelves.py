"""Where copies are kept: a folder on this machine's disk, bounded, the least recently used going first.

Nothing here is ever trusted: a copy that is not whole is no copy, and trouble with the disk means only that
nothing is kept. Several processes may share a folder.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Protocol

log = logging.getLogger(__name__)

_UNFINISHED = ".part"
_ABANDONED = 3600.0
"""Seconds after which an unfinished file is known to be nobody's."""


class Slip(Protocol):
    """A copy that is being made. ``drop`` is idempotent and harmless after ``keep``."""

    def write(self, data: bytes) -> None:
        """The next bytes."""
        ...

    def keep(self) -> None:
        """Put it on the shelf, whole."""
        ...

    def drop(self) -> None:
        """Throw it away."""
        ...


class Shelf(Protocol):
    """Copies by name. Thread-safe. Never raises for trouble of its own."""

    largest: int
    """Bytes of the largest copy worth keeping."""

    def find(self, name: str) -> BinaryIO | None:
        """An open copy, or None."""
        ...

    def begin(self, name: str) -> Slip | None:
        """Begin a copy, or None where none can be kept now."""
        ...

    def drop(self, name: str) -> None:
        """Forget a copy. Idempotent."""
        ...

    def close(self) -> None:
        """Free connections. The copies stay."""
        ...


def _for_nobody_else(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


class DiskShelf:
    """A folder of at most ``limit`` bytes, but for what other processes added since this one looked."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self.largest = limit // 4
        self._lock = Lock()
        # Bytes that may be added before it is looked at again; none until it was looked at once.
        self._room = 0

    def find(self, name: str) -> BinaryIO | None:
        """See ``Shelf``. Notes the use."""
        path = self._path(name)
        try:
            file = path.open("rb")
        except OSError:
            return None
        with suppress(OSError):
            os.utime(path)
        return file

    def begin(self, name: str) -> Slip | None:
        """See ``Shelf``."""
        path = self._path(name)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        try:
            # The folder itself first: parents that mkdir makes have the mode that the umask leaves.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            return _FileSlip(self, part, path, open(part, "xb", opener=_for_nobody_else))
        except OSError as error:
            log.warning("Nothing can be kept in the cache: %s", error.strerror)
            return None

    def drop(self, name: str) -> None:
        """See ``Shelf``."""
        with suppress(OSError):
            self._path(name).unlink()

    def close(self) -> None:
        """See ``Shelf``."""

    def added(self, size: int) -> None:
        """A copy of so many bytes was put here."""
        with self._lock:
            self._room -= size
            if self._room < 0:
                self._room = self._make_room()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _make_room(self) -> int:
        """Remove the least recently used until a tenth is free; how much may come before the next look."""
        found = sorted(self._files())
        used = sum(size for _, size, _ in found)
        most = self._limit - self._limit // 10
        for _, size, path in found:
            if used <= most:
                break
            with suppress(OSError):
                path.unlink()
                used -= size
        return min(self._limit - used, self._limit // 20)

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        abandoned = time.time() - _ABANDONED
        for path in self._folder.glob("??/*"):
            with suppress(OSError):
                info = path.stat()
                if path.name.endswith(_UNFINISHED):
                    if info.st_mtime < abandoned:
                        path.unlink()
                    continue
                found.append((info.st_mtime, info.st_size, path))
        return found


class _FileSlip:
    def __init__(self, shelf: DiskShelf, part: Path, path: Path, file: BinaryIO) -> None:
        self._shelf = shelf
        self._part = part
        self._path = path
        self._file: BinaryIO | None = file

    def write(self, data: bytes) -> None:
        if self._file is not None:
            try:
                self._file.write(data)
            except OSError as error:
                log.warning("Nothing can be kept in the cache: %s", error.strerror)
                self.drop()

    def keep(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            size = file.tell()
            file.close()
            # Not flushed to the disk: what a power cut leaves of it is known by its checksum.
            self._part.replace(self._path)
        except OSError as error:
            log.warning("Nothing can be kept in the cache: %s", error.strerror)
            with suppress(OSError):
                self._part.unlink()
            return
        self._shelf.added(size)

    def drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
            with suppress(OSError):
                self._part.unlink()


class MemorySlip:
    """A copy that is collected in memory and handed on whole."""

    def __init__(self, shelf: BlobShelf, name: str) -> None:
        self._shelf = shelf
        self._name = name
        self._held: io.BytesIO | None = io.BytesIO()

    def write(self, data: bytes) -> None:
        """See ``Slip``."""
        if self._held is not None:
            self._held.write(data)

    def keep(self) -> None:
        """See ``Slip``."""
        held, self._held = self._held, None
        if held is not None:
            self._shelf.put(self._name, held.getvalue())

    def drop(self) -> None:
        """See ``Slip``."""
        self._held = None


class BlobShelf(Protocol):
    """Takes a copy in one piece."""

    def put(self, name: str, data: bytes) -> None:
        """Keep it. Never raises for trouble of its own."""
        ...
