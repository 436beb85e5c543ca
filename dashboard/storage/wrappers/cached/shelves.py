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

_UNFINISHED = ".part"
_BOUND = ".used"
"""The file that says how many bytes the folder holds; whoever adds to it locks it."""
_ABANDONED = 3600.0
"""Seconds after which an unfinished file is known to be nobody's, where locks do not say so."""


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

    def begin(self, name: str, size: int) -> Slip | None:
        """Begin a copy of a content of so many bytes, or None where none can be kept now."""
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
    """A folder of at most ``limit`` bytes, unfinished copies included, however many processes share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self.largest = limit // 4

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

    def begin(self, name: str, size: int) -> Slip | None:
        """See ``Shelf``."""
        path = self._path(name)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        # The description, and a checksum for every MiB.
        reserved = size + 8192 + size // 65_536
        try:
            # The folder itself first: parents that mkdir makes have the mode that the umask leaves.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with self._accounts() as accounts:
                if not accounts.takes(reserved):
                    return None
                file = open(part, "xb", opener=_for_nobody_else)  # noqa: SIM115
                # Until it is closed, however its process ends, it is known to be somebody's.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # So that others count what will be in it.
                file.truncate(reserved)
            return _FileSlip(self, part, path, file, reserved)
        except OSError as error:
            log.warning("Nothing can be kept in the cache: %s", error.strerror)
            return None

    def drop(self, name: str) -> None:
        """See ``Shelf``."""
        with suppress(OSError):
            self._path(name).unlink()

    def close(self) -> None:
        """See ``Shelf``."""

    def returned(self, size: int) -> None:
        """So many bytes that were reserved are not used."""
        with suppress(OSError), self._accounts() as accounts:
            accounts.used -= size

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    @contextmanager
    def _accounts(self) -> Iterator[_Accounts]:
        with open(self._folder / _BOUND, "a+b", opener=_for_nobody_else) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read(32)
            accounts = _Accounts(self._folder, self._limit, int(text) if text.isdigit() else None)
            yield accounts
            file.truncate(0)
            file.write(b"%d" % max(0, accounts.used))


class _Accounts:
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

    def takes(self, size: int) -> bool:
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
            if not path.name.endswith(_UNFINISHED):
                with suppress(OSError):
                    path.unlink()
                    self.used -= each

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._folder.glob("??/*"):
            with suppress(OSError):
                info = path.stat()
                if path.name.endswith(_UNFINISHED) and _is_abandoned(path, info.st_mtime):
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
            return modified < time.time() - _ABANDONED
    return True


class _FileSlip:
    def __init__(self, shelf: DiskShelf, part: Path, path: Path, file: BinaryIO, reserved: int) -> None:
        self._shelf = shelf
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
                self.drop()

    def keep(self) -> None:
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
            self._throw_away(file)
            return
        self._shelf.returned(self._reserved - size)

    def drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._throw_away(file)

    def _throw_away(self, file: BinaryIO) -> None:
        with suppress(OSError):
            self._part.unlink()
        with suppress(OSError):
            file.close()
        self._shelf.returned(self._reserved)


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
