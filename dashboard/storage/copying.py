"""Copying one object between any two backends: on the server where both ends allow it, whole when it
is small, else as a bounded stream; and finding out whether two objects are the same.

All large transfers of a process share one budget of memory, whoever calls.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from dashboard.errors import Kind
from dashboard.storage.driver import SMALL, CopiesWithin, Driver, ProvesByParts, Reading
from dashboard.storage.errors import Changed, Damaged, Exists, NotFound, PlaceMissing, StorageError
from dashboard.storage.resuming import resuming
from dashboard.storage.types import EMPTY, Attributes, Entry, ObjectInfo, Written
from dashboard.storage.wrapping import as_stored

Stop = Callable[[], bool]

SERVER_SIDE = 1024 * 1024
"""From this many bytes on a server-side copy beats moving the bytes, which needs fewer requests."""
MEMORY = 128 * 1024 * 1024
"""Bytes that all transfers of this process may hold at once."""
_STREAM = 32 * 1024 * 1024
"""Bytes a stream holds: three parts of 8 MiB and what is being read."""
_TRIFLE = 64 * 1024
"""Objects this small are not worth counting."""

_ETAG = re.compile(r"(?P<md5>[0-9a-f]{32})(-(?P<parts>[0-9]{1,5}))?\Z")
_MIB = 1024 * 1024
_USUAL_PARTS = tuple(n * _MIB for n in (5, 8, 10, 15, 16, 25, 32, 50, 64, 100, 128, 256, 512))


class Interrupted(Exception):
    """``stop`` said so. What was being written has been dropped."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A finished copy: what was read, and the receipt of what was written.

    ``written.md5`` is the MD5 of the content; only with ``need_md5`` off it may be empty, and then
    ``written`` is proven.
    """

    info: ObjectInfo
    written: Written

    @property
    def proven(self) -> bool:
        """Whether the destination's own checksum equals ours."""
        return self.written.proven


class _Budget:
    """A number of bytes shared by threads."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int, stop: Stop) -> Iterator[None]:
        """Wait for that many bytes; ``Interrupted`` when told to stop meanwhile."""
        if amount <= _TRIFLE:
            yield
            return
        amount = min(amount, self._total)
        with self._changed:
            while self._free < amount:
                _check(stop)
                self._changed.wait(0.1)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


_budget = _Budget(MEMORY)


def copy_object(
    source: Driver,
    destination: Driver,
    entry: Entry,
    *,
    to: str,
    create_only: bool = False,
    progress: Callable[[int], None],
    stop: Stop,
    need_md5: bool = True,
    metadata: Mapping[str, str] = EMPTY,
    before_write: Callable[[], None] = lambda: None,
) -> Copied:
    """Copy the listed object to the key ``to``, with its attributes.

    ``metadata`` is stored beside the object's own, except where the server copies by itself.
    ``before_write`` is called right before the request that makes the object visible; what it raises is
    raised, and nothing is written.

    ``progress`` is told the bytes handed over so far; ``stop`` is asked between pieces. Without
    ``need_md5`` a large object is not hashed as a whole where its parts prove it, and not even read
    where the server copies it and proves the copy: set it only to compare the MD5 with something else.

    Raises ``Changed`` when the source is no longer what was listed, ``Damaged`` when length or a
    checksum that the source vouches for differ (nothing is written then) or when what the destination
    stored differs (it is removed again), ``Exists`` under ``create_only``, ``Interrupted``, and whatever
    the drivers raise. Safe to repeat.
    """
    _check(stop)
    job = _Job(source, destination, entry, to, create_only, need_md5, progress, stop, metadata, before_write)
    copied = job.on_server() if copies_on_server(source, destination, entry) else None
    if copied is None:
        copied = job.whole() if entry.size <= SMALL else job.stream()
    progress(entry.size)
    return replace(copied, written=_settled(destination, copied.written, stop))


def copies_on_server(source: Driver, destination: Driver, entry: Entry) -> bool:
    """Whether the server is asked to copy this object by itself. No network call."""
    large = entry.size >= SERVER_SIDE
    return large and isinstance(destination, CopiesWithin) and destination.can_copy_from(as_stored(source))


def read_back(driver: Driver, key: str, *, stop: Stop, if_version: str | None = None) -> str:
    """Read an object from its backend and return the hex MD5 of what came."""
    md5 = hashlib.md5(usedforsecurity=False)
    with resuming(driver, driver.read(key, if_version=if_version)) as reading:
        _feed(reading, md5.update, stop)
    return md5.hexdigest()


def same_content(
    source: Driver, destination: Driver, entry: Entry, found: ObjectInfo, *, stop: Stop = lambda: False
) -> bool:
    """Whether the listed object and the one found at the destination hold the same bytes.

    Decided by checksums the backends give where they can be compared, else by reading the side, or
    the sides, of which nothing is known.
    """
    if entry.size != found.size:
        return False
    if entry.etag and entry.etag == found.etag and _ETAG.match(entry.etag):
        return True
    here = _vouched(source, entry) if entry.etag and _ETAG.match(entry.etag) else None
    if here is not None and found.md5 is not None:
        return here == found.md5
    if here is None and found.md5 is None:
        return _same_by_reading(source, destination, entry, found, stop)
    if here is None:
        return _Digest(entry.size, entry.etag).of(source, entry.key, entry.etag, stop).md5 == found.md5
    return read_back(destination, found.key, stop=stop, if_version=found.version) == here


def _same_by_reading(
    source: Driver, destination: Driver, entry: Entry, found: ObjectInfo, stop: Stop
) -> bool:
    """Neither side gives an MD5: hash the source, in the shape of the other's ETag too where it has one."""
    here = _Digest(entry.size, found.etag).of(source, entry.key, entry.etag, stop)
    if found.etag in here.etags:
        return True
    there = _Digest(found.size, entry.etag).of(destination, found.key, found.version, stop)
    return here.md5 == there.md5


class _Digest:
    """The MD5 of a content and the ETags it would have if it had been uploaded in usual parts.

    An ETag ``<md5>-<n>`` is the MD5 of the MD5s of n parts; their size is not told but mostly usual.
    """

    def __init__(self, size: int, like: str | None) -> None:
        match = _ETAG.match(like or "")
        parts = int(match["parts"] or 0) if match else 0
        self._whole = hashlib.md5(usedforsecurity=False)
        self._composites = [_Composite(each) for each in _part_sizes(size, parts)]
        self.md5 = ""
        self.etags: frozenset[str] = frozenset()

    def of(self, driver: Driver, key: str, version: str | None, stop: Stop) -> _Digest:
        """Read the object through this digest."""
        with resuming(driver, driver.read(key, if_version=version)) as reading:
            _feed(reading, self._take, stop)
        self.md5 = self._whole.hexdigest()
        self.etags = frozenset(each.etag() for each in self._composites)
        return self

    def _take(self, chunk: bytes) -> None:
        self._whole.update(chunk)
        for each in self._composites:
            each.update(chunk)


class _Composite:
    """The ETag of an upload in parts of one size."""

    def __init__(self, part: int) -> None:
        self._part = part
        self._room = part
        self._current = hashlib.md5(usedforsecurity=False)
        self._done: list[bytes] = []

    def update(self, chunk: bytes) -> None:
        """The next bytes."""
        view = memoryview(chunk)
        while len(view) > self._room:
            self._current.update(view[: self._room])
            view = view[self._room :]
            self._close()
        self._current.update(view)
        self._room -= len(view)

    def etag(self) -> str:
        """After the last byte."""
        self._close()
        return f"{hashlib.md5(b''.join(self._done), usedforsecurity=False).hexdigest()}-{len(self._done)}"

    def _close(self) -> None:
        self._done.append(self._current.digest())
        self._current = hashlib.md5(usedforsecurity=False)
        self._room = self._part


def _part_sizes(size: int, parts: int) -> list[int]:
    """Usual part sizes that cut ``size`` bytes into so many parts; at most two, since each costs a hash."""
    if not parts:
        return []
    least = -(-size // parts)
    even = -(-least // _MIB) * _MIB
    fitting = {each for each in (*_USUAL_PARTS, even) if each and -(-size // each) == parts}
    return sorted(fitting, key=lambda each: (each not in (8 * _MIB, 16 * _MIB), each))[:2]


def _check(stop: Stop) -> None:
    if stop():
        raise Interrupted


def _feed(reading: Reading, take: Callable[[bytes], None], stop: Stop) -> None:
    for chunk in reading.chunks():
        _check(stop)
        take(chunk)


def _is_there(driver: Driver, key: str) -> bool:
    try:
        driver.stat(key)
    except PlaceMissing:
        raise
    except NotFound:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Job:
    """One copy to make, in one of three ways."""

    source: Driver
    destination: Driver
    entry: Entry
    to: str
    create_only: bool
    need_md5: bool
    progress: Callable[[int], None]
    stop: Stop
    metadata: Mapping[str, str]
    before_write: Callable[[], None]

    def on_server(self) -> Copied | None:
        """Without moving the bytes; None where that is not possible or would not tell enough."""
        entry, destination, source = self.entry, self.destination, as_stored(self.source)
        if not isinstance(destination, CopiesWithin):
            return None
        if self.need_md5 and not (entry.etag and len(entry.etag) == 32):
            return None
        if self.create_only and _is_there(self.destination, self.to):
            raise Exists(self.to)
        self.before_write()
        try:
            written = destination.copy_from(source, entry.key, self.to, if_version=entry.etag)
        except StorageError as error:
            if error.kind is not Kind.UNSUPPORTED:
                raise
            return None
        if written.size != entry.size:
            raise Changed(entry.key)
        if not written.md5 and (self.need_md5 or not written.proven):
            written = replace(written, md5=self._read_again())
        info = ObjectInfo(entry.key, entry.size, entry.modified, entry.etag, version=entry.etag)
        return Copied(info, written)

    def whole(self) -> Copied:
        """In one request each way."""
        with _budget.hold(3 * self.entry.size, self.stop):
            with self._opened() as reading:
                data = reading.read_all()
                info = reading.info
            if info.md5 is not None and info.md5 != hashlib.md5(data, usedforsecurity=False).hexdigest():
                info = _undamaged(self.source, self.entry, info)
            _check(self.stop)
            self.before_write()
            written = self.destination.put(
                self.to, data, attributes=self._attributes(info), create_only=self.create_only
            )
            return Copied(info, written)

    def stream(self) -> Copied:
        """Piece by piece."""
        with _budget.hold(_STREAM, self.stop), resuming(self.source, self._opened()) as reading:
            info = reading.info
            # Most large objects were uploaded in parts, so the source has no MD5 of the whole to compare.
            md5 = hashlib.md5(usedforsecurity=False) if info.md5 is not None else None
            with self.destination.write(
                self.to, size=info.size, attributes=self._attributes(info), create_only=self.create_only
            ) as writing:
                if not self.need_md5 and isinstance(writing, ProvesByParts):
                    writing.without_md5()
                done = 0
                for chunk in reading.chunks():
                    _check(self.stop)
                    if md5 is not None:
                        md5.update(chunk)
                    writing.write(chunk)
                    done += len(chunk)
                    self.progress(done)
                if md5 is not None and md5.hexdigest() != info.md5:
                    info = _undamaged(self.source, self.entry, info)
                _check(self.stop)
                self.before_write()
                written = writing.commit()
        if not written.md5 and not written.proven:
            found = md5.hexdigest() if md5 is not None else ""
            written = replace(written, md5=found or self._read_again())
        return Copied(info, written)

    def _attributes(self, info: ObjectInfo) -> Attributes:
        given = info.attributes
        return replace(given, metadata={**given.metadata, **self.metadata}) if self.metadata else given

    def _read_again(self) -> str:
        return read_back(self.source, self.entry.key, stop=self.stop, if_version=self.entry.etag)

    def _opened(self) -> Reading:
        """The object as it was listed, or ``Changed``."""
        reading = self.source.read(self.entry.key, if_version=self.entry.etag)
        if reading.info.size != self.entry.size:
            reading.__exit__(None, None, None)
            raise Changed(self.entry.key)
        return reading


def _undamaged(source: Driver, entry: Entry, info: ObjectInfo) -> ObjectInfo:
    """After the bytes did not match the MD5 that came with them: was it one? An open read may take an
    ETag for an MD5 although the object is encrypted with KMS; a look at the object tells."""
    if _vouched(source, entry) is None:
        return replace(info, md5=None)
    raise Damaged(entry.key, f"“{entry.key}” was damaged on its way here: its checksum differs.")


def _vouched(source: Driver, entry: Entry) -> str | None:
    """The MD5 the source gives for the object as it was listed."""
    info = source.stat(entry.key)
    if entry.etag is not None and info.etag != entry.etag:
        raise Changed(entry.key)
    return info.md5


def _settled(destination: Driver, written: Written, stop: Stop) -> Written:
    """A receipt whose checksums differ is not believed before the object was read: some servers'
    ETags look like MD5s and are not. What is really damaged is removed."""
    if written.stored_checksum is None or written.proven or not written.md5:
        return written
    found = read_back(destination, written.key, stop=stop)
    if found == written.md5:
        return replace(written, expected_checksum=written.md5, stored_checksum=found)
    with suppress(StorageError):
        if destination.stat(written.key).etag == written.etag:
            destination.delete(written.key)
    raise Damaged(
        written.key,
        f"“{written.key}” was damaged on its way to the destination: its checksum differs.",
        operation="write",
    )
