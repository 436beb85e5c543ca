"""Listing a folder on a disk, with two open descriptors however deep the tree is."""

from __future__ import annotations

import errno
import heapq
import os
import stat
import sys
from collections.abc import Iterator

from dashboard.errors import Kind
from dashboard.storage.drivers.common.walking import (
    ListingRange,
    ListingRow,
    SkipUnreadable,
    SortRows,
    walk_folders,
)
from dashboard.storage.drivers.local.errors import translate
from dashboard.storage.drivers.local.tree import ABSENT, TEMPORARY, Tree
from dashboard.storage.inspection.folder_listing import after_folder
from dashboard.storage.inspection.powers import FolderListing
from dashboard.storage.paths import key_bytes, key_text
from dashboard.storage.types import Entry

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


FOLDER_ERRORS = frozenset({Kind.DENIED, Kind.DAMAGED})
"""Errors that keep one folder of a disk from being read, and not the others."""


def walk(
    tree: Tree, prefix: bytes, start_after: bytes, skip: SkipUnreadable | None = None
) -> Iterator[Entry]:
    """Yield the entries of regular files, as ``Driver.list`` promises. Symbolic links, devices and unfinished
    writes are not objects and are skipped. Without ``skip`` a folder that may not be read raises."""
    requested = ListingRange(prefix, start_after)
    folders = requested.base.split(b"/")[:-1]
    if any(name in (b"", b".", b"..", TEMPORARY) for name in folders) or b"\0" in prefix:
        os.close(_open(tree, []))
        return
    yield from walk_folders(
        lambda path, ordered: _rows(tree, path, requested, ordered), requested.base, skip=skip
    )


def list_folder(tree: Tree, prefix: str, start_after: str, limit: int) -> FolderListing:
    """See ``ListsFolders``. Reads all names of the folder, but only the inodes of those on the page."""
    path, after = key_bytes(prefix), key_bytes(after_folder(prefix, start_after))
    folders = path.split(b"/")[:-1]
    hidden = any(name in (b"", b".", b"..", TEMPORARY) for name in folders) or b"\0" in path
    fd = _open(tree, [] if hidden else folders)
    if fd < 0:
        return FolderListing((), ())
    try:
        # A file that vanishes meanwhile makes the page shorter.
        names = [] if hidden else heapq.nsmallest(limit + 1, _names_after(fd, path, after))
        items = [item for name in names[:limit] if (item := _item(fd, prefix, name)) is not None]
    except OSError as error:
        raise translate(error, "list", _display_path(tree, folders)) from error
    finally:
        os.close(fd)
    return FolderListing(
        tuple(item for item in items if isinstance(item, Entry)),
        tuple(item for item in items if isinstance(item, str)),
        prefix + key_text(names[limit - 1]) if len(names) > limit else "",
    )


def _names_after(fd: int, path: bytes, after: bytes) -> Iterator[bytes]:
    with os.scandir(fd) as entries:
        for entry in entries:
            raw = entry.name.encode(_ENCODING, _ERRORS)
            if entry.is_dir(follow_symlinks=False):
                if raw == TEMPORARY:
                    continue
                raw += b"/"
            elif not entry.is_file(follow_symlinks=False):
                continue
            if path + raw > after:
                yield raw


def _item(fd: int, prefix: str, name: bytes) -> Entry | str | None:
    key = prefix + key_text(name)
    if name.endswith(b"/"):
        return key
    try:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Entry(key, info.st_size, info.st_mtime_ns / 1e9) if stat.S_ISREG(info.st_mode) else None


def _open(tree: Tree, folders: list[bytes]) -> int:
    try:
        return tree.open_folder(folders, "list")
    except OSError as error:
        if folders and (error.errno in ABSENT or error.errno == errno.ENAMETOOLONG):
            return -1
        raise translate(error, "list", _display_path(tree, folders)) from error


def _display_path(tree: Tree, folders: list[bytes]) -> str:
    return key_text(b"/".join([tree.root.rstrip(b"/"), *folders]))


def _rows(tree: Tree, path: bytes, requested: ListingRange, ordered: SortRows) -> Iterator[ListingRow]:
    """Return one folder's rows in order. ``path`` is empty or ends in a slash. A folder that vanished has
    none."""
    folders = path.split(b"/")[:-1]
    fd = _open(tree, folders)
    if fd < 0:
        return iter(())
    try:
        return ordered(_scan(fd, path, requested))
    except OSError as error:
        raise translate(error, "list", _display_path(tree, folders)) from error
    finally:
        os.close(fd)


def _scan(fd: int, path: bytes, requested: ListingRange) -> Iterator[ListingRow]:
    all_included = requested.covers(path)
    with os.scandir(fd) as entries:
        for entry in entries:
            # What os.fsencode does, at half its price: this runs once for every file there is.
            raw = entry.name.encode(_ENCODING, _ERRORS)
            if entry.is_dir(follow_symlinks=False):
                if raw != TEMPORARY and requested.overlaps(path + raw + b"/"):
                    yield raw + b"/", 0, 0, b""
                continue
            if not all_included and not requested.includes(path + raw):
                continue
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(info.st_mode):
                yield raw, info.st_size, info.st_mtime_ns, b""
