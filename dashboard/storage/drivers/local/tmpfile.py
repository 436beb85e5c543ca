"""New small files that have no name before they are complete (``O_TMPFILE``, Linux open(2)).

This needs fewer calls than a temporary name, and a killed program leaves nothing behind. It only works for a
key that is free, because nothing replaces an existing name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from enum import Enum

from dashboard.errors import Kind
from dashboard.storage.drivers.local.collisions import NameCollisions
from dashboard.storage.drivers.local.errors import translate
from dashboard.storage.drivers.local.tree import (
    UNLINKABLE,
    Tree,
    path_conflict_error,
    split_key,
    sync_folder,
    write_all,
)
from dashboard.storage.errors import Exists, StorageError
from dashboard.storage.types import Written

_TMPFILE_FLAGS = getattr(os, "O_TMPFILE", 0) and os.O_TMPFILE | os.O_CLOEXEC
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS, errno.EPERM})
_ATTEMPTS = 50


def put_new(tree: Tree, key: str, data: bytes) -> Written | None:
    """Store ``data`` under a free key. Atomic and durable; raises ``Exists`` if the key is taken. Returns
    None, and writes nothing, if this disk or system does not support it."""
    if not tree.supports_tmpfile:
        return None
    folders = split_key(key)
    name = folders.pop()
    try:
        held = _put(tree, folders, name, data, key=key)
    except OSError as error:
        tree.remove_empty_folders(folders)
        raise translate(error, "write", key) from error
    except StorageError:
        tree.remove_empty_folders(folders)
        raise
    if held is None:
        tree.supports_tmpfile = False
        return None
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    stored = digest if held == len(data) else None
    return Written(key, len(data), digest, expected_checksum=digest, stored_checksum=stored)


def _put(tree: Tree, folders: list[bytes], name: bytes, data: bytes, *, key: str) -> int | None:
    """Return the size of the new file; retries if its folder was removed at the same moment."""
    for _ in range(_ATTEMPTS):
        parent = tree.make_folder(folders, key)
        try:
            file = open_unnamed(parent)
            if file is None:
                return None
            try:
                write_all(file, data)
                os.fsync(file)
                held = os.fstat(file).st_size
                named = name_unnamed(file, parent, name, key, names=tree.names)
                if named is Named.YES:
                    sync_folder(parent)
                    return held
                if named is Named.UNSUPPORTED:
                    return None
            finally:
                os.close(file)
        finally:
            os.close(parent)
    raise removed_error(key)


def removed_error(key: str) -> StorageError:
    """The error for a folder that is removed as often as it is made."""
    return StorageError(
        Kind.CONFLICT,
        f"The folder of “{key}” is repeatedly removed by another program.",
        operation="write",
        subject=key,
        remedy="Try again.",
        retryable=True,
    )


def open_unnamed(folder: int, *, readable: bool = False) -> int | None:
    """Return a descriptor of a new file without a name, on the file system of this folder; None if that is
    not supported."""
    if not _TMPFILE_FLAGS:
        return None
    try:
        flags = _TMPFILE_FLAGS | (os.O_RDWR if readable else os.O_WRONLY)
        return os.open(b".", flags, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise


class Named(Enum):
    """What became of giving a file its name."""

    YES = "yes"
    FOLDER_REMOVED = "folder_removed"
    UNSUPPORTED = "unsupported"


def name_unnamed(file: int, parent: int, name: bytes, key: str, *, names: NameCollisions) -> Named:
    """Give a file without a name one that is free. Atomic. Raises ``Exists``, kind ``conflict`` if no object
    has the name, and ``OSError``."""
    try:
        os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=parent, follow_symlinks=True)
    except FileExistsError as error:
        # A link, folder or device is no object that could be there already.
        if not stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise path_conflict_error(key, key) from error
        names.refuse_collision(parent, name, key)
        raise Exists(key) from error
    except FileNotFoundError:
        there = os.path.exists(f"/proc/self/fd/{file}")
        return Named.FOLDER_REMOVED if there else Named.UNSUPPORTED
    except OSError as error:
        if error.errno in UNLINKABLE or error.errno == errno.EXDEV:
            return Named.UNSUPPORTED
        raise
    return Named.YES
