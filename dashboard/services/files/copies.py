"""Copies of a file, and reading the bytes of one from any offset, from another copy if the line breaks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from dashboard.services.files.proof import KnownContent
from dashboard.storage.driver import Driver, Reading, ReadsRanges
from dashboard.storage.errors import Changed, Damaged, NotFound, StorageError
from dashboard.storage.object_powers import HasFile
from dashboard.storage.types import ObjectInfo
from dashboard.storage.wrappers.fallback.waiting_writes import is_unavailable
from dashboard.storage.wrapping import Wrapper

log = logging.getLogger(__name__)

_NOTHING = memoryview(b"")
"""In the place of an empty rest, which would keep all of its chunk in memory."""
_ATTEMPTS = 2
"""Attempts on one copy without a single byte; each is retried by its driver too."""


@dataclass(frozen=True, slots=True)
class Place:
    """A backend in which a file may be. ``shared``: a network share that is mounted like a disk."""

    id: int
    name: str
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """A file as one backend has it."""

    place: Place
    driver: Driver
    info: ObjectInfo
    content: KnownContent


class Source(Protocol):
    """The bytes of a response, read one after the other by one thread at a time."""

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``; empty only after the last one. Blocks. Raises
        ``StorageError`` if the rest cannot be had."""
        ...

    def close(self) -> None:
        """Free the connection. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file of this machine, open: ``length`` bytes from ``start``."""

    reading: HasFile
    start: int
    length: int

    def close(self) -> None:
        """Close it. Idempotent."""
        self.reading.__exit__(None, None, None)


class _Ranges:
    """Reads an object range by range: no connection is open while nobody reads."""

    def __init__(self, copy: Copy, start: int, end: int) -> None:
        assert isinstance(copy.driver, ReadsRanges)
        self._driver: ReadsRanges = copy.driver
        self._info = copy.info
        self._position, self._end = start, end

    def read(self, size: int) -> bytes:
        """See ``Source``."""
        wanted = min(size, self._end - self._position)
        info = self._info
        data = self._driver.read_range(info.key, self._position, wanted, if_version=info.version)
        if len(data) != wanted:
            raise Damaged(info.key, f"Of “{info.key}” {wanted:,} bytes were expected, {len(data):,} arrived.")
        self._position += wanted
        return data

    def close(self) -> None:
        """See ``Source``."""


class _Stream:
    """Reads an object through one open read."""

    def __init__(self, copy: Copy, start: int) -> None:
        self._reading: Reading | None = copy.driver.read(copy.info.key, if_version=copy.info.version)
        self._chunks = self._reading.chunks()
        self._skip = start
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """See ``Source``."""
        while not self._rest:
            chunk = memoryview(next(self._chunks, b""))
            if not chunk:
                return b""
            skipped = min(self._skip, len(chunk))
            self._skip -= skipped
            self._rest = chunk[skipped:]
        data, self._rest = bytes(self._rest[:size]), self._rest[size:] or _NOTHING
        return data

    def finish(self) -> None:
        """Read to the end, where some drivers notice that the object changed."""
        for _ in self._chunks:
            pass

    def close(self) -> None:
        """See ``Source``."""
        reading, self._reading = self._reading, None
        if reading is not None:
            with suppress(StorageError):
                reading.__exit__(None, None, None)


class ContinuedSource:
    """``length`` bytes from ``start`` of one content, from a copy and, if that fails in the middle, from the
    next one that is provably the same. See ``Source``.

    ``others`` is consumed only when needed. ``on_switch`` is called with each copy that is read instead.
    """

    def __init__(
        self,
        copy: Copy,
        start: int,
        length: int,
        others: Iterator[Copy],
        on_switch: Callable[[Copy], None] = lambda copy: None,
    ) -> None:
        self.copy = copy
        self._position, self._end = start, start + length
        self._others = others
        self._on_switch = on_switch
        self._reader: _Ranges | _Stream | None = None
        self._failures = 0

    def read(self, size: int) -> bytes:
        """See ``Source``."""
        while self._position < self._end:
            try:
                return self._next(min(size, self._end - self._position))
            except StorageError as error:
                self.close()
                self._recover(error)
        return b""

    def _next(self, size: int) -> bytes:
        if self._reader is None:
            self._reader = self._open()
        data = self._reader.read(size)
        key = self.copy.info.key
        if not data:
            raise Damaged(key, f"“{key}” ended after {self._position:,} of {self._end:,} bytes.")
        whole = self._position + len(data) == self.copy.info.size
        if whole and isinstance(self._reader, _Stream):
            # Before the last bytes are sent: without them the client knows that it lacks something.
            self._reader.finish()
        self._position += len(data)
        self._failures = 0
        return data

    def _open(self) -> _Ranges | _Stream:
        if self.copy.info.version is not None and _ranges_are_cheap(self.copy.driver):
            return _Ranges(self.copy, self._position, self._end)
        if self.copy.info.version is None and self._position and self._failures:
            # Nothing says that what is there now is what the beginning came from.
            raise Changed(self.copy.info.key)
        return _Stream(self.copy, self._position)

    def _recover(self, error: StorageError) -> None:
        """Make the next attempt on the same copy or on another one, or raise the error."""
        self._failures += 1
        gone = isinstance(error, NotFound | Changed)
        if not (gone or isinstance(error, Damaged) or is_unavailable(error)):
            raise error
        if error.retryable and not gone and self._failures < _ATTEMPTS:
            return
        other = next(self._others, None)
        if other is None:
            raise error
        log.warning("“%s” is read on from %s: %s", other.info.key, other.place.name, error.reason)
        self.copy, self._failures = other, 0
        self._on_switch(other)

    def close(self) -> None:
        """See ``Source``."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


class Prefetched:
    """A source whose first bytes were read to see whether the object can be read at all."""

    def __init__(self, first: bytes, rest: Source) -> None:
        self._first = memoryview(first)
        self._rest = rest

    def read(self, size: int) -> bytes:
        """See ``Source``."""
        if self._first:
            data, self._first = bytes(self._first[:size]), self._first[size:] or _NOTHING
            return data
        return self._rest.read(size)

    def close(self) -> None:
        """See ``Source``."""
        self._rest.close()


def _ranges_are_cheap(driver: Driver) -> bool:
    """Whether the driver can read a range without everything before it."""
    if not isinstance(driver, ReadsRanges):
        return False
    while isinstance(driver, Wrapper):
        if driver.reads_ranges_from_start:
            return False
        driver = driver.inner
    return True
