"""Listing a tree of folders in UTF-8 byte order, in memory that does not grow with it.

One folder at a time is read completely and closed before anything is yielded. A folder ``a`` sorts as ``a/``,
after ``a-b`` and before ``a0``, as its keys do. Folders of more than ``RUN_LENGTH`` names are sorted in runs
that go to a temporary file and are merged from there.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import length_hint
from typing import IO, TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.net.retries import backoff
from dashboard.storage.paths import key_text
from dashboard.storage.types import Entry

T = TypeVar("T")

RUN_LENGTH = 8192
"""Names of one folder that are sorted in memory at once."""
MAX_RUNS = 1024
"""Runs in the temporary file at once: 8 million names."""
MAX_FILE_BYTES = 1 << 30
"""Limit of the temporary file."""
MAX_PATH_BYTES = 4096
"""No file system has longer paths: a server that does has endless folders."""
MAX_NAME_BYTES = 1024
"""No file system, and no bucket that is served like one, has longer names."""
MAX_LISTED = 10_000_000
"""Names that a folder may have."""
MAX_COLLECTED_BYTES = 32 << 20
"""Memory that a list of names may use."""

_ATTEMPTS = 3
_RETRYABLE_KINDS = frozenset({Kind.UNREACHABLE, Kind.THROTTLED, Kind.DAMAGED})
_BLOCK = 32 * 1024
_MIN_BLOCK = 4096
_MAX_BLOCK_BYTES = 2 << 20
"""Bytes of the temporary file in memory at once, as long as blocks can be made smaller."""
_SLASH = b"/"[0]

ListingRow = tuple[bytes, int, int, bytes]
"""Name (a folder's ends in a slash), size in bytes, modified in ns or ``UNKNOWN``, ETag or nothing."""
UNKNOWN = -(1 << 62)
"""The time of a file whose server does not report it."""

SortRows = Callable[[Iterable[ListingRow]], Iterator[ListingRow]]
"""Reads all rows at once and returns them in order."""


@dataclass(frozen=True, slots=True)
class ListingRange:
    """The part of a tree that is requested."""

    prefix: bytes
    start_after: bytes

    @property
    def base(self) -> bytes:
        """The deepest folder that contains all of it: empty, or ending in a slash."""
        base, cut, _ = self.prefix.rpartition(b"/")
        return base + cut

    def overlaps(self, full: bytes) -> bool:
        """Whether something requested may be below this folder; ``full`` ends in a slash."""
        below = full.startswith(self.prefix) or self.prefix.startswith(full)
        return below and (full > self.start_after or self.start_after.startswith(full))

    def covers(self, path: bytes) -> bool:
        """Whether everything below this folder is requested; ``path`` is empty or ends in a slash."""
        return path.startswith(self.prefix) and (not self.start_after or path > self.start_after)

    def includes(self, full: bytes) -> bool:
        """Whether this file is requested."""
        return full.startswith(self.prefix) and full > self.start_after


@dataclass(frozen=True, slots=True)
class SkipUnreadable:
    """What happens to folders that cannot be read, see ``ListsReadable``.

    ``kinds``: errors that concern one folder and not the container. Retryable ones are raised anyway, except
    of kind ``damaged``, which stands for a disk's.
    """

    unreadable: Callable[[str, StorageError], None]
    enters: Callable[[str], bool]
    kinds: frozenset[Kind] = frozenset({Kind.DENIED})

    def read(self, path: bytes, read: Callable[[], Iterator[ListingRow]]) -> Iterator[ListingRow]:
        """Return a folder's rows; none if it is not entered or cannot be read."""
        folder = key_text(path)
        if not self.enters(folder):
            return iter(())
        try:
            return read()
        except StorageError as error:
            if error.kind not in self.kinds or (error.retryable and error.kind is not Kind.DAMAGED):
                raise
            self.unreadable(folder, error)
            return iter(())


def walk_folders(
    paginate: Callable[[bytes, SortRows], Iterator[ListingRow]],
    base: bytes,
    *,
    max_path: int | None = None,
    skip: SkipUnreadable | None = None,
) -> Iterator[Entry]:
    """Yield entries in order, from the folder ``base`` down.

    ``paginate`` reads one folder (a path that is empty or ends in a slash), passes its requested rows to the
    ``SortRows`` that it is given, and returns the result. ``skip`` says what happens to folders that cannot
    be read, except the root. Raises for a name that is listed twice, for more names than fit, and for
    a path of more than ``max_path`` bytes.
    """

    def inner_rows(path: bytes) -> Iterator[ListingRow]:
        if skip is None or not path:
            return paginate(path, spill.ordered)
        return skip.read(path, lambda: paginate(path, spill.ordered))

    with ExitStack() as stack:
        spill = _ExternalSort(stack)
        open_folders = [(base, inner_rows(base))]
        while open_folders:
            path, rows = open_folders[-1]
            for name, size, modified, etag in rows:
                full = path + name
                if name[-1] == _SLASH:
                    if max_path is not None and len(full) > max_path:
                        raise _cycle_error(full)
                    if sum(length_hint(each) for _, each in open_folders) > 2 * RUN_LENGTH:
                        open_folders[-1] = path, spill.stored(rows)
                    open_folders.append((full, inner_rows(full)))
                    break
                # As key_text does, without another call for every file there is.
                key = full.decode("utf-8", "surrogateescape")
                yield Entry(
                    key,
                    size,
                    None if modified == UNKNOWN else modified / 1e9,
                    etag.decode() if etag else None,
                )
            else:
                open_folders.pop()


def retry_listing(read: Callable[[], T]) -> T:
    """Call ``read``, and call it again a few times if the response was incomplete or malformed."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return read()
        except StorageError as error:
            if error.kind not in _RETRYABLE_KINDS:
                raise
        backoff(attempt)
    return read()


def limit_entries(names: Iterable[T]) -> Iterator[T]:
    """Yield what a server lists in one folder; raises if there are more names than ``MAX_LISTED``."""
    for number, name in enumerate(names):
        if number >= MAX_LISTED:
            raise _too_many_error()
        yield name


def collect_names(names: Iterable[bytes]) -> list[bytes]:
    """Return all names of a folder; raises if they do not fit into ``MAX_COLLECTED_BYTES``."""
    gathered: list[bytes] = []
    size = 0
    for name in names:
        size += len(name) + 64
        if size > MAX_COLLECTED_BYTES:
            raise _too_many_error()
        gathered.append(name)
    return gathered


def check_name_length(name: bytes) -> None:
    """Raise for a name in a listing that is too long, because thousands of them are held in memory."""
    if len(name) > MAX_NAME_BYTES:
        shown = key_text(name[:60])
        raise StorageError(
            Kind.UNSUPPORTED,
            f"“{shown}…” is listed with a name that is longer than on any file system.",
            operation="list",
            subject=shown,
            remedy="Ask the server's administrator what is there.",
        )


def _cycle_error(path: bytes) -> StorageError:
    shown = key_text(path[:60])
    return StorageError(
        Kind.UNSUPPORTED,
        f"The folders below “{shown}…” lie deeper in each other than on any file system: they go round in a "
        "circle.",
        operation="list",
        subject=shown,
        remedy="Look for a folder on the server that leads back into itself.",
    )


def _too_many_error() -> StorageError:
    return StorageError(
        Kind.UNSUPPORTED,
        "A folder lists more names than can be sorted here, or goes on without end.",
        operation="list",
        remedy="If it is really that large, copy it in parts, each with a prefix of its own.",
    )


def _duplicate_error(name: bytes) -> StorageError:
    shown = key_text(name)
    return StorageError(
        Kind.DAMAGED,
        f"“{shown}” is listed twice in one folder, so the listing cannot be trusted.",
        operation="list",
        subject=shown,
        remedy="Try again when nobody changes the folder; if it stays so, look into the server's log.",
    )


class _ExternalSort:
    """Sorts rows. What does not fit in memory goes to one temporary file, which the folders of a walk share
    like a stack: the deepest folder's part is cut off when it is done."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._file: IO[bytes] | None = None
        self._end = 0
        self._parts = 0

    def ordered(self, rows: Iterable[ListingRow]) -> Iterator[ListingRow]:
        start, parts = self._end, []
        rows = iter(rows)
        try:
            run = list(islice(rows, RUN_LENGTH))
            while len(run) == RUN_LENGTH:
                parts.append(self._store(run))
                run.clear()  # before the next ones come, so that one run is in memory
                run.extend(islice(rows, RUN_LENGTH))
            if parts and run:
                parts.append(self._store(run))
        except BaseException:
            self._cut(start, len(parts))
            raise
        if parts:
            return self._merged(parts, start)
        run.sort()
        for one, other in pairwise(run):
            if one[0] == other[0]:
                raise _duplicate_error(one[0])
        return iter(run)

    def stored(self, rows: Iterator[ListingRow]) -> Iterator[ListingRow]:
        """Move the remaining rows of a folder out of memory until those below it are done."""
        start = self._end
        parts = []
        while run := list(islice(rows, RUN_LENGTH)):
            parts.append(self._store(run))
        return self._merged(parts, start)

    def _merged(self, parts: list[tuple[int, int]], start: int) -> Iterator[ListingRow]:
        last = b""
        for row in heapq.merge(*(self._load(*part) for part in parts)):
            if row[0] == last:
                raise _duplicate_error(last)
            last = row[0]
            yield row
        self._cut(start, len(parts))

    def _cut(self, start: int, parts: int) -> None:
        self._parts -= parts
        if self._file is not None:
            self._file.truncate(start)
            self._end = start

    def _store(self, run: list[ListingRow]) -> tuple[int, int]:
        run.sort()
        if self._parts >= MAX_RUNS or self._end > MAX_FILE_BYTES:
            raise _too_many_error()
        try:
            if self._file is None:
                # A file without a name: nothing is left of it, whatever happens.
                spill = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # the walk's stack closes it
                self._file = self._stack.enter_context(spill)
            data = memoryview(b"".join(b"%s\0%d\0%d\0%s\0" % row for row in run))
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
        self._parts += 1
        return start, self._end

    def _load(self, at: int, end: int) -> Iterator[ListingRow]:
        assert self._file is not None
        rest = b""
        size = min(_BLOCK, max(_MIN_BLOCK, _MAX_BLOCK_BYTES // self._parts))
        while at < end:
            block = os.pread(self._file.fileno(), min(size, end - at), at)
            at += len(block)
            *fields, rest = (rest + block).split(b"\0")
            whole = len(fields) - len(fields) % 4
            for i in range(0, whole, 4):
                yield fields[i], int(fields[i + 1]), int(fields[i + 2]), fields[i + 3]
            rest = b"".join(field + b"\0" for field in fields[whole:]) + rest
