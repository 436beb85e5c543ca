"""Flushing many files at once: ``syncfs(2)``, on the systems and file systems where it promises what
``fsync`` of each file does."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import sys
import threading
from itertools import count

_LEAST_LINUX = (5, 17)
"""Before 5.8 ``syncfs`` hides that content could not be written, before 5.17 that the journal could not."""
_FILE_SYSTEMS = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994})
"""ext4 and its predecessors, XFS, Btrfs, F2FS, tmpfs. On others, FUSE and network shares for example,
``syncfs`` may return before the bytes are where ``fsync`` puts them. See statfs(2)."""
_STATFS_BYTES = 512


def _load() -> ctypes.CDLL | None:
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if not sys.platform.startswith("linux") or release is None:
        return None
    if (int(release[1]), int(release[2])) < _LEAST_LINUX:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "syncfs") and hasattr(libc, "fstatfs") else None


_LIBC = _load()
_OPENED = count()


class FileSystem:
    """An open folder, and whether the files of its file system that were written since were flushed.
    Thread-safe. Takes over the descriptor, and closes it when nobody uses this object any more.

    ``device`` is the file system's number, ``opened`` a number that grows with each folder that is opened.
    """

    def __init__(self, folder: int) -> None:
        self.fd = folder
        self.opened = next(_OPENED)
        self.device = os.fstat(folder).st_dev
        self._lock = threading.Lock()
        self._error = 0

    @property
    def flushes(self) -> bool:
        """Whether :meth:`flush` can be used."""
        if _LIBC is None:
            return False
        buffer = ctypes.create_string_buffer(_STATFS_BYTES)
        if _LIBC.fstatfs(self.fd, buffer):
            return False
        return ctypes.c_long.from_buffer(buffer).value in _FILE_SYSTEMS

    def flush(self) -> None:
        """Return when everything that was written to the file system before this call is on the disk. Raises
        ``OSError`` if any of it could not be written since the folder was opened; the kernel says so only
        once, so every later call raises it too. Raises whatever a folder of the same file system that was
        opened later would raise."""
        with self._lock:
            if self._error:
                raise OSError(self._error, os.strerror(self._error))
            try:
                sync_file_system(self.fd)
            except OSError as error:
                self._error = error.errno or errno.EIO
                raise

    def __del__(self) -> None:
        os.close(self.fd)


def sync_file_system(fd: int) -> None:
    """Call syncfs(2). Raises ``OSError``."""
    assert _LIBC is not None
    if _LIBC.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
