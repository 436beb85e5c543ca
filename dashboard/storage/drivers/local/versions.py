"""Versions of files, and deleting a file only in the version that was read."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time

from dashboard.storage.drivers.local.errors import translate
from dashboard.storage.drivers.local.tree import ABSENT, OPEN_FILE, Tree, split_key
from dashboard.storage.errors import Changed

_SETTLE_SECONDS = 2.0
"""Seconds that one write to a file may take."""


def version_of(info: os.stat_result) -> str:
    """Return a token that changes with every write, even one in place that resets the time afterwards: a
    program can set the time of modification, but not the time of status change. That one also changes when a
    file is renamed, linked or gets other permissions. Kernels before Linux 6.13 count it in ticks of up to 10
    ms, and two writes within one tick have the same token."""
    return f"{info.st_ino:x}-{info.st_ctime_ns:x}-{info.st_mtime_ns:x}-{info.st_size:x}"


def is_settled(info: os.stat_result) -> bool:
    """Whether the last change is old enough to be complete. The time of change is set when a write *begins*,
    so a read during the write returns a mixture under a version that stays."""
    return time.time() - info.st_ctime > _SETTLE_SECONDS


def delete_unchanged(tree: Tree, key: str, version: str) -> None:
    """See ``DeletesUnchanged``. If the system grants a lease on the file (Linux, own files, local file
    systems), no program has it open for writing, or opens it, until it is deleted. Without a lease, and for a
    file renamed over this one, a gap of microseconds between two system calls remains."""
    *folders, name = split_key(key)
    try:
        with tree.parent_of(folders, name, "delete") as parent:
            file = os.open(name, OPEN_FILE, dir_fd=parent)
            try:
                refuse_changed(file, parent, name, key=key, version=version)
                os.unlink(name, dir_fd=parent)
            finally:
                os.close(file)
    except OSError as error:
        if error.errno in ABSENT:
            return
        raise translate(error, "delete", key) from error
    tree.remove_empty_folders(folders)


def refuse_changed(file: int, parent: int, name: bytes, *, key: str, version: str) -> None:
    """Raise ``Changed`` unless the open ``file`` still has this version and this name, and no program is
    known to be writing to it."""
    if _is_written_to(file) or version_of(os.fstat(file)) != version:
        raise Changed(key, operation="delete")
    if version_of(os.stat(name, dir_fd=parent, follow_symlinks=False)) != version:
        raise Changed(key, operation="delete")


def _is_written_to(file: int) -> bool:
    """Whether a program is known to have the file open for writing. If not, and the system grants it,
    programs that want to open it for writing wait until ``file`` is closed. See Linux fcntl(2),
    F_SETLEASE."""
    try:
        # The signal that somebody waits would otherwise be SIGIO, which ends this process.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except AttributeError:
        return False
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False
