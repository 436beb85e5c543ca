"""``HasTrash`` and ``MovesWithin`` on a disk, by renaming.

A deleted file is renamed into ``.stowage-tmp``, which no listing shows: into that folder of the root or, if
its own folder is on another file system, the one there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from dashboard.storage.drivers.local.errors import translate
from dashboard.storage.drivers.local.tree import (
    ABSENT,
    OPEN_FILE,
    OPEN_FOLDER,
    TEMPORARY,
    UNLINKABLE,
    Tree,
    path_conflict_error,
    split_key,
    sync_folder,
)
from dashboard.storage.drivers.local.versions import refuse_changed
from dashboard.storage.drivers.local.writing import open_temporary, remove_empty_temporary_folder
from dashboard.storage.errors import Changed, Exists, InvalidKey, NotFound, StorageError, Unsupported

_PREFIX = b"trash."
"""Sweeps look for names that begin with the hash of a key."""


def move_to_trash(tree: Tree, key: str, name: str, version: str | None) -> None:
    """See ``HasTrash``. The same gap remains as in ``delete_unchanged``; a file that was renamed over this
    one in it is put back."""
    *folders, own = split_key(key)
    try:
        with tree.parent_of(folders, own, "delete") as parent:
            file = os.open(own, OPEN_FILE, dir_fd=parent)
            try:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode):
                    raise NotFound(key, operation="delete")
                tree.policy.refuse_console_file(found, key, "delete")
                if version is not None:
                    refuse_changed(file, parent, own, key=key, version=version)
                _rename_away(tree, parent, own, file, stored=_stored_name(name), key=key)
            finally:
                os.close(file)
            sync_folder(parent)
    except OSError as error:
        if error.errno in ABSENT:
            raise NotFound(key, operation="delete") from error
        raise translate(error, "delete", key) from error
    tree.remove_empty_folders(folders)


def move_within(tree: Tree, key: str, to: str, version: str | None, *, replace: bool) -> None:
    """See ``MovesWithin``. Without ``replace`` the file gets its new name as a hard link first."""
    *folders, own = split_key(key)
    *new_folders, new = split_key(to)
    try:
        with (
            tree.parent_of(folders, own, "move") as parent,
            _closing(tree.make_folder(new_folders, to)) as there,
        ):
            file = os.open(own, OPEN_FILE, dir_fd=parent)
            try:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode):
                    raise NotFound(key, operation="move")
                tree.policy.refuse_console_file(found, key, "move")
                if version is not None:
                    refuse_changed(file, parent, own, key=key, version=version)
                tree.names.refuse_collision(there, new, to)
                if replace:
                    _refuse_non_regular(there, new, to)
                    os.rename(own, new, src_dir_fd=parent, dst_dir_fd=there)
                else:
                    _link_then_unlink(parent, own, there, new, found=found, keys=(key, to))
            finally:
                os.close(file)
            sync_folder(there)
            sync_folder(parent)
    except StorageError:
        tree.remove_empty_folders(new_folders)
        raise
    except OSError as error:
        tree.remove_empty_folders(new_folders)
        if error.errno in (errno.EXDEV, *UNLINKABLE):
            raise Unsupported("move", "This file system moves files only by copying them.") from error
        if error.errno in ABSENT:
            raise NotFound(key, operation="move") from error
        raise translate(error, "move", key) from error
    tree.remove_empty_folders(folders)


def _refuse_non_regular(there: int, new: bytes, to: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(new, dir_fd=there, follow_symlinks=False).st_mode):
            raise path_conflict_error(to, to)


def _link_then_unlink(
    parent: int, own: bytes, there: int, new: bytes, *, found: os.stat_result, keys: tuple[str, str]
) -> None:
    key, to = keys
    try:
        os.link(own, new, src_dir_fd=parent, dst_dir_fd=there, follow_symlinks=False)
    except FileExistsError as error:
        raise Exists(to, operation="move") from error
    if os.stat(new, dir_fd=there, follow_symlinks=False).st_ino != found.st_ino:
        # Another file was renamed over it meanwhile.
        os.unlink(new, dir_fd=there)
        raise Changed(key, operation="move")
    if os.stat(own, dir_fd=parent, follow_symlinks=False).st_ino == found.st_ino:
        os.unlink(own, dir_fd=parent)


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def restore_from_trash(tree: Tree, name: str, key: str) -> None:
    """See ``HasTrash``."""
    *folders, own = split_key(key)
    stored = _stored_name(name)
    try:
        for trash in _trash_folders(tree, folders):
            try:
                found = os.stat(stored, dir_fd=trash, follow_symlinks=False)
            except FileNotFoundError:
                continue
            parent = tree.make_folder(folders, key)
            try:
                tree.names.refuse_collision(parent, own, key)
                _give_name(trash, stored, parent, own, key)
                sync_folder(parent)
            finally:
                os.close(parent)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(stored, dir_fd=trash, follow_symlinks=False).st_ino == found.st_ino:
                    os.unlink(stored, dir_fd=trash)
            break
        else:
            raise NotFound(key, operation="restore")
    except OSError as error:
        raise translate(error, "restore", key) from error
    remove_empty_temporary_folder(tree)


def remove_from_trash(tree: Tree, name: str, key: str) -> None:
    """See ``HasTrash``."""
    *folders, _ = split_key(key)
    try:
        for trash in _trash_folders(tree, folders):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_stored_name(name), dir_fd=trash)
    except OSError as error:
        raise translate(error, "delete", key) from error
    remove_empty_temporary_folder(tree)


def _stored_name(name: str) -> bytes:
    if not (name.isascii() and name.isalnum()):
        raise InvalidKey(name, "This is not a name in the trash.")
    return _PREFIX + name.encode()


def _rename_away(tree: Tree, parent: int, own: bytes, file: int, *, stored: bytes, key: str) -> None:
    root = tree.open_root("delete")
    try:
        for above in (root, parent):
            trash = open_temporary(above)
            try:
                os.rename(own, stored, src_dir_fd=parent, dst_dir_fd=trash)
                sync_folder(trash)
                moved = os.stat(stored, dir_fd=trash, follow_symlinks=False)
                if moved.st_ino == os.fstat(file).st_ino:
                    return
                _give_name(trash, stored, parent, own, key)
                os.unlink(stored, dir_fd=trash)
                raise Changed(key, operation="delete")
            except OSError as error:
                if error.errno != errno.EXDEV or above == parent:
                    raise
            finally:
                os.close(trash)
    finally:
        os.close(root)


def _give_name(trash: int, stored: bytes, parent: int, own: bytes, key: str) -> None:
    """Give a file in the trash a name that is free. Without hard links a gap between two system calls
    remains."""
    try:
        os.link(stored, own, src_dir_fd=trash, dst_dir_fd=parent, follow_symlinks=False)
    except FileExistsError as error:
        raise Exists(key, operation="restore") from error
    except OSError as error:
        if error.errno not in UNLINKABLE:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.stat(own, dir_fd=parent, follow_symlinks=False)
            raise Exists(key, operation="restore") from error
        os.rename(stored, own, src_dir_fd=trash, dst_dir_fd=parent)


def _trash_folders(tree: Tree, folders: list[bytes]) -> Iterator[int]:
    """Yield descriptors of the folders in which a file of this folder may be kept."""
    for path in ([], folders):
        try:
            above = tree.open_folder(path, "restore")
        except OSError as error:
            if error.errno in ABSENT:
                continue
            raise
        try:
            trash = os.open(TEMPORARY, OPEN_FOLDER, dir_fd=above)
        except FileNotFoundError:
            continue
        finally:
            os.close(above)
        try:
            yield trash
        finally:
            os.close(trash)
