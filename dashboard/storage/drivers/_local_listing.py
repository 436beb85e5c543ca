"""Listing a tree in UTF-8 byte order, in memory that does not grow with it.

One folder at a time is read whole, its files looked at and the folder closed before anything is
yielded: two descriptors are open however deep the tree is. A folder ``a`` sorts as ``a/``, after
``a-b`` and before ``a0``, as its keys do. Folders of more than ``RUN`` names are sorted in runs that
go to a temporary file and are merged from there.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import IO

from dashboard.errors import Kind
from dashboard.storage.drivers._local_errors import translate
from dashboard.storage.drivers._local_tree import ABSENT, TEMPORARY, Tree
from dashboard.storage.errors import StorageError
from dashboard.storage.paths import key_text
from dashboard.storage.types import Entry

RUN = 8192
"""Names of one folder that are sorted in memory at once."""

_BLOCK = 32 * 1024

Row = tuple[bytes, int, int]
"""Sort name (a folder's ends in a slash), size in bytes, modified in ns."""


def walk(tree: Tree, prefix: bytes, start_after: bytes) -> Iterator[Entry]:
    """Entries of regular files, as ``Driver.list`` promises. Symbolic links, devices and unfinished
    writes are not objects and are left out; a folder that may not be read raises."""
    base, cut, _ = prefix.rpartition(b"/")
    folders = base.split(b"/") if cut else []
    if any(name in (b"", b".", b"..", TEMPORARY) for name in folders) or b"\0" in prefix:
        os.close(_open(tree, []))
        return
    with ExitStack() as stack:
        spill = _Spill(stack)
        stack_of_rows = [(base + cut, _rows(tree, base + cut, prefix, start_after, spill))]
        while stack_of_rows:
            path, rows = stack_of_rows[-1]
            for name, size, modified in rows:
                full = path + name
                if name.endswith(b"/"):
                    stack_of_rows.append((full, _rows(tree, full, prefix, start_after, spill)))
                    break
                yield Entry(key=key_text(full), size=size, modified=modified / 1e9)
            else:
                stack_of_rows.pop()


def _open(tree: Tree, folders: list[bytes]) -> int:
    try:
        return tree.open_folder(folders, "list")
    except OSError as error:
        if folders and (error.errno in ABSENT or error.errno == errno.ENAMETOOLONG):
            return -1
        raise translate(error, "list", _shown(tree, folders)) from error


def _shown(tree: Tree, folders: list[bytes]) -> str:
    return key_text(b"/".join([tree.root.rstrip(b"/"), *folders]))


def _rows(tree: Tree, path: bytes, prefix: bytes, start_after: bytes, spill: _Spill) -> Iterator[Row]:
    """One folder's rows in order. ``path`` is empty or ends in a slash. A folder that vanished has none."""
    folders = path.split(b"/")[:-1]
    fd = _open(tree, folders)
    if fd < 0:
        return iter(())
    try:
        return spill.ordered(_scan(fd, path, prefix, start_after))
    except OSError as error:
        raise translate(error, "list", _shown(tree, folders)) from error
    finally:
        os.close(fd)


def _scan(fd: int, path: bytes, prefix: bytes, start_after: bytes) -> Iterator[Row]:
    with os.scandir(fd) as entries:
        for entry in entries:
            raw = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                full = path + raw + b"/"
                below = full.startswith(prefix) or prefix.startswith(full)
                if below and raw != TEMPORARY and (full > start_after or start_after.startswith(full)):
                    yield raw + b"/", 0, 0
                continue
            full = path + raw
            if not full.startswith(prefix) or full <= start_after or not entry.is_file(follow_symlinks=False):
                continue
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(info.st_mode):
                yield raw, info.st_size, info.st_mtime_ns


class _Spill:
    """Sorts rows; what does not fit goes to one temporary file, shared by the folders of a walk and
    used like a stack: the deepest folder's part is cut off when it is done."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._file: IO[bytes] | None = None
        self._end = 0

    def ordered(self, rows: Iterable[Row]) -> Iterator[Row]:
        run: list[Row] = []
        start, parts = self._end, []
        for row in rows:
            run.append(row)
            if len(run) == RUN:
                parts.append(self._store(run))
                run = []
        run.sort()
        return self._merged(run, parts, start) if parts else iter(run)

    def _merged(self, run: list[Row], parts: list[tuple[int, int]], start: int) -> Iterator[Row]:
        yield from heapq.merge(run, *(self._load(*part) for part in parts))
        if self._file is not None:
            self._file.truncate(start)
            self._end = start

    def _store(self, run: list[Row]) -> tuple[int, int]:
        run.sort()
        try:
            if self._file is None:
                # A file without a name: nothing is left of it, whatever happens.
                spill = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # the walk's stack closes it
                self._file = self._stack.enter_context(spill)
            data = memoryview(b"".join(b"%s\0%d\0%d\0" % row for row in run))
            start = self._end
            while data:
                written = os.pwrite(self._file.fileno(), data, self._end)
                self._end += written
                data = data[written:]
        except OSError as error:
            raise StorageError(
                Kind.FULL,
                "The folder for temporary files is full or cannot be written, so a large folder "
                "could not be sorted.",
                operation="list",
                remedy=f"Free some space in “{tempfile.gettempdir()}”, or set TMPDIR to another folder.",
            ) from error
        return start, self._end

    def _load(self, at: int, end: int) -> Iterator[Row]:
        assert self._file is not None
        rest = b""
        while at < end:
            block = os.pread(self._file.fileno(), min(_BLOCK, end - at), at)
            at += len(block)
            *fields, rest = (rest + block).split(b"\0")
            whole = len(fields) - len(fields) % 3
            for i in range(0, whole, 3):
                yield fields[i], int(fields[i + 1]), int(fields[i + 2])
            rest = b"".join(field + b"\0" for field in fields[whole:]) + rest
