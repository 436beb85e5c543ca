"""Listing a tree of folders in UTF-8 byte order, in memory that does not grow with it.

One folder at a time is read whole and closed before anything is yielded. A folder ``a`` sorts as
``a/``, after ``a-b`` and before ``a0``, as its keys do. Folders of more than ``RUN`` names are sorted
in runs that go to a temporary file and are merged from there.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import IO

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Entry

RUN = 8192
"""Names of one folder that are sorted in memory at once."""

_BLOCK = 32 * 1024
_SLASH = b"/"[0]

Row = tuple[bytes, int, int]
"""Sort name (a folder's ends in a slash), size in bytes, modified in ns or ``UNKNOWN``."""
UNKNOWN = -(1 << 62)
"""The time of a file whose server does not tell it."""

Sort = Callable[[Iterable[Row]], Iterator[Row]]
"""Reads all rows at once and gives them back in order."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a tree is asked for."""

    prefix: bytes
    start_after: bytes

    @property
    def base(self) -> bytes:
        """The deepest folder that holds all of it: empty, or ending in a slash."""
        base, cut, _ = self.prefix.rpartition(b"/")
        return base + cut

    def folder(self, full: bytes) -> bool:
        """Whether something wanted may lie below this folder; ``full`` ends in a slash."""
        below = full.startswith(self.prefix) or self.prefix.startswith(full)
        return below and (full > self.start_after or self.start_after.startswith(full))

    def whole(self, path: bytes) -> bool:
        """Whether everything below this folder is wanted; ``path`` is empty or ends in a slash."""
        return path.startswith(self.prefix) and (not self.start_after or path > self.start_after)

    def file(self, full: bytes) -> bool:
        """Whether this file is wanted."""
        return full.startswith(self.prefix) and full > self.start_after


def walk_folders(rows_of: Callable[[bytes, Sort], Iterator[Row]], base: bytes) -> Iterator[Entry]:
    """Entries in order, from the folder ``base`` down. ``rows_of`` reads one folder (a path that is empty
    or ends in a slash), hands its wanted rows to the ``Sort`` it is given and returns what that returns."""
    with ExitStack() as stack:
        spill = _Spill(stack)
        open_folders = [(base, rows_of(base, spill.ordered))]
        while open_folders:
            path, rows = open_folders[-1]
            for name, size, modified in rows:
                full = path + name
                if name[-1] == _SLASH:
                    open_folders.append((full, rows_of(full, spill.ordered)))
                    break
                # As key_text does, without another call for every file there is.
                key = full.decode("utf-8", "surrogateescape")
                yield Entry(key, size, None if modified == UNKNOWN else modified / 1e9)
            else:
                open_folders.pop()


class _Spill:
    """Sorts rows; what does not fit goes to one temporary file, shared by the folders of a walk and
    used like a stack: the deepest folder's part is cut off when it is done."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._file: IO[bytes] | None = None
        self._end = 0

    def ordered(self, rows: Iterable[Row]) -> Iterator[Row]:
        start, parts = self._end, []
        rows = iter(rows)
        run = list(islice(rows, RUN))
        while len(run) == RUN:
            parts.append(self._store(run))
            run.clear()  # before the next ones come, so that one run is in memory
            run.extend(islice(rows, RUN))
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
