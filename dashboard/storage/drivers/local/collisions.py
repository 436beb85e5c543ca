"""Disks on which two names are the same: “A” and “a” on those of Windows, macOS and many shares, and often
two spellings of “é”.

A key is exact. A file that such a disk stores as “Photo.jpg” is not the object “photo.jpg”, and nothing
replaces it under that name.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import unicodedata
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.paths import key_text

_MAX_FOLDERS = 16
"""Folders whose names are cached, on disks that need it."""
_MAX_NAMES = 50_000
_SETTLED_SECONDS = 3.0
"""After this time a folder's modification time shows every change: FAT counts in steps of two seconds."""


@dataclass(slots=True)
class _FileSystem:
    """What is known about a file system; None: not known yet."""

    ignores_case: bool | None = None
    ignores_normalization: bool | None = None


class NameCollisions:
    """Distinguishes names that a disk treats as the same. Thread-safe; costs next to nothing on other disks.

    A disk is checked once, with the first names that are used. Linux can also have single folders that ignore
    case (``chattr +F``) on a disk that does not; those are not noticed.
    """

    def __init__(self) -> None:
        self._disks: dict[int, _FileSystem] = {}
        self._lock = threading.Lock()
        self._names: OrderedDict[tuple[int, int, int], frozenset[bytes]] = OrderedDict()
        self._rename_lock = threading.Lock()

    def require_exact(self, folder: int, name: bytes, device: int) -> None:
        """Raise ``FileNotFoundError`` if a folder would open another file under this name. Does not check
        that the name exists. ``device``: where the folder is (``st_dev``). Raises ``OSError``."""
        if not self._holds(folder, name, device):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    def refuse_collision(self, folder: int, name: bytes, key: str) -> None:
        """Raise kind ``conflict`` if a folder has another file that it would open under this name; ``key``
        was to be written. Raises ``OSError``."""
        if not self._holds(folder, name, os.fstat(folder).st_dev) and (
            other := self._existing_name(folder, name)
        ):
            raise StorageError(
                Kind.CONFLICT,
                f"“{key}” cannot be written: “{other}” exists, and this disk treats “{key_text(name)}” as "
                "the same name.",
                operation="write",
                subject=key,
                remedy="Rename one of the two, or use a disk that distinguishes upper and lower case "
                "and all spellings.",
            )

    def exclusive_rename(self, folder: int, name: bytes) -> AbstractContextManager[object]:
        """A lock around checking that a name is free and renaming a file to it, on a disk that may treat it
        as the same as another name."""
        disk = self._disk(os.fstat(folder).st_dev)
        sure = disk.ignores_case is False and (disk.ignores_normalization is False or name.isascii())
        return nullcontext() if sure else self._rename_lock

    def detect(self, folder: int, name: bytes) -> None:
        """Check the disk with an existing file. Never raises ``OSError``."""
        with suppress(OSError):
            self._holds(folder, name, os.fstat(folder).st_dev)

    def _disk(self, device: int) -> _FileSystem:
        return self._disks.get(device) or self._disks.setdefault(device, _FileSystem())

    def _holds(self, folder: int, name: bytes, device: int) -> bool:
        disk = self._disk(device)
        if disk.ignores_case is None:
            disk.ignores_case = self._same_file(folder, name, name.swapcase())
        plain = name.isascii()
        if disk.ignores_normalization is None and not plain:
            disk.ignores_normalization = self._same_file(folder, name, _other_normalization(name))
        if disk.ignores_case or (disk.ignores_normalization and not plain):
            return name in self._listed(folder)
        return True

    def _same_file(self, folder: int, name: bytes, alias: bytes) -> bool | None:
        """Whether two names open the same file because of the disk, or None if these names do not show it."""
        if alias == name:
            return None
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
        try:
            if not os.path.samestat(found, os.stat(alias, dir_fd=folder, follow_symlinks=False)):
                return False
        except OSError:
            return False
        # A hard link of the other name is no sign of anything.
        return None if {name, alias} <= self._listed(folder) else True

    def _listed(self, folder: int) -> frozenset[bytes]:
        found = os.fstat(folder)
        mark = (found.st_dev, found.st_ino, found.st_mtime_ns)
        with self._lock:
            if mark in self._names:
                self._names.move_to_end(mark)
                return self._names[mark]
        names = frozenset(map(os.fsencode, os.listdir(folder)))
        if len(names) <= _MAX_NAMES and time.time() - found.st_mtime > _SETTLED_SECONDS:
            with self._lock:
                self._names[mark] = names
                while len(self._names) > _MAX_FOLDERS:
                    self._names.popitem(last=False)
        return names

    def _existing_name(self, folder: int, name: bytes) -> str:
        """Return the name of the file that is opened under a name; empty if there is none."""
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return ""
        with os.scandir(folder) as entries:
            return next((entry.name for entry in entries if entry.inode() == found.st_ino), "something else")


def _other_normalization(name: bytes) -> bytes:
    """Return another Unicode spelling that reads the same, or the name itself if there is none."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return name
    forms = (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))
    return next((form.encode() for form in forms if form != text), name)
