"""What proves that the bytes of a read are the bytes that the backend stores.

A checksum of the content, if the backend has one. Otherwise a connection on which no byte can change
unnoticed: TLS and SSH authenticate every record (RFC 8446, section 5.2; RFC 4253, section 6.4), and a local
disk has no connection. Otherwise the checksums of the parts in which an object was uploaded. Otherwise only a
second read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import repeat

from dashboard.storage.driver import (
    Connects,
    CopiesWithin,
    Driver,
    Reading,
    ServesFolders,
    TellsParts,
    Writing,
)
from dashboard.storage.errors import Changed
from dashboard.storage.object_powers import CopiesListed, HashesParts, PassesBytes, TakesChecksum
from dashboard.storage.types import Entry
from dashboard.storage.wrapping import Wrapper, unwrap_transparent

MD5 = re.compile(r"[0-9a-f]{32}\Z")
ETAG = re.compile(r"(?P<md5>[0-9a-f]{32})(-(?P<parts>[0-9]{1,5}))?\Z")
_MIB = 1024 * 1024
_USUAL_PARTS = tuple(n * _MIB for n in (5, 8, 10, 15, 16, 25, 32, 50, 64, 100, 128, 256, 512))
_MAX_SIZE_REQUESTS = 1000
"""Parts whose sizes are requested one by one if they are not equal."""


SERVER_SIDE_MIN_BYTES = 1024 * 1024
"""From this size on a copy on the server is faster than moving the bytes even if it takes several
requests."""


class UnprovenRead(Exception):
    """Nothing proves that a read returned what the backend stores: the object must be read again. ``parts``:
    the sizes of the object's parts, which will prove it; empty if they are not known."""

    def __init__(self, parts: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.parts = parts


def has_integrity_protection(driver: Driver) -> bool:
    """Whether no byte of a read can change on its way without an error. No network call."""
    while isinstance(driver, Wrapper):
        if driver.authenticates:
            return True
        driver = driver.inner
    if not isinstance(driver, Connects):
        return True
    return driver.address()[2] or (isinstance(driver, ServesFolders) and bool(driver.encryption()))


def copies_on_server(source: Driver, destination: Driver, entry: Entry, *, marked: bool = False) -> bool:
    """Whether this object will be copied by the server itself, if that is not refused. ``marked``: it is to
    have metadata besides its own. No network call."""
    if entry.size < SERVER_SIDE_MIN_BYTES:
        # Worth it only if one request both copies and proves.
        plain = entry.etag is not None and MD5.match(entry.etag)
        if marked or not plain or not isinstance(destination, CopiesListed):
            return False
    return isinstance(destination, CopiesWithin) and destination.can_copy_from(unwrap_transparent(source))


class ReadCheck:
    """Compares the bytes of a read with what is known about the object. Used by one thread.

    ``expected`` is the MD5 of an earlier read of the same version, ``parts`` the sizes of the parts in which
    it was uploaded. With ``required`` off only an MD5 that came with the object is compared. Raises
    ``UnprovenRead`` if there is nothing to compare with and the connection has no integrity protection. May
    request the sizes of parts from the server.
    """

    def __init__(
        self,
        source: Driver,
        reading: Reading,
        *,
        expected: str = "",
        parts: tuple[int, ...] = (),
        required: bool = True,
    ) -> None:
        self.expected = expected or reading.info.md5 or ""
        self._md5 = hashlib.md5(usedforsecurity=False) if self.expected else None
        self._reading = reading
        self._parts = parts
        self._composites: list[CompositeEtag] = []
        self._part_bytes = 0
        self._writing: HashesParts | None = None
        if self.expected or not required or has_integrity_protection(source):
            return
        sizes = [] if parts else _sizes_of_parts(reading)
        self._composites = (
            [CompositeEtag(parts)] if parts else [CompositeEtag(repeat(size)) for size in sizes]
        )
        self._part_bytes = sizes[0] if len(sizes) == 1 else 0
        if not self._composites:
            raise UnprovenRead

    def share(self, writing: Writing, *, need_md5: bool) -> None:
        """Hash once what is written to ``writing``, too, if one checksum serves both. ``need_md5``: the
        receipt must have the MD5 of the content. Called before the first byte."""
        while isinstance(writing, PassesBytes):
            writing = writing.passed_to
        if isinstance(writing, HashesParts) and self._part_bytes and writing.part_bytes == self._part_bytes:
            self._writing, self._composites = writing, []
        elif isinstance(writing, TakesChecksum) and (
            self._md5 is not None or (self._composites and not need_md5)
        ):
            writing.take_checksum(self._checksum)

    @property
    def md5(self) -> str:
        """The MD5 of the bytes so far, if it is computed."""
        return self._md5.hexdigest() if self._md5 is not None else ""

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""
        if self._md5 is not None:
            self._md5.update(chunk)
        for each in self._composites:
            each.update(chunk)

    def matches(self) -> bool:
        """Whether all bytes are right; called after the last one. Raises ``UnprovenRead`` if the parts do not
        show it: they may be of unequal sizes, or damaged."""
        if self._md5 is not None:
            return self._md5.hexdigest() == self.expected
        found = {each.etag() for each in self._composites}
        if self._writing is not None:
            found = {self._writing.finish_parts()}
        if not found or self._reading.info.etag in found:
            return True
        if self._parts:
            return False
        raise UnprovenRead(_all_parts(self._reading))

    def _checksum(self) -> str:
        return self.md5 or self._reading.info.etag or ""


def listed_md5(source: Driver, entry: Entry) -> str | None:
    """Return the MD5 that the source reports for the object as it was listed. Raises ``Changed``."""
    info = source.stat(entry.key)
    if entry.etag is not None and info.etag != entry.etag:
        raise Changed(entry.key)
    return info.md5


def _part_count(etag: str | None) -> int:
    """Return in how many parts an object with this ETag was uploaded; 0 if the ETag does not say so."""
    match = ETAG.match(etag or "")
    return int(match["parts"] or 0) if match else 0


def _sizes_of_parts(reading: Reading) -> list[int]:
    count = _part_count(reading.info.etag)
    reported = reading.part_size(1) if count and isinstance(reading, TellsParts) else None
    return [reported] if reported else part_sizes(reading.info.size, count)


def _all_parts(reading: Reading) -> tuple[int, ...]:
    """Return the sizes of all parts; empty if one of them is not known, or there are too many to request."""
    count = _part_count(reading.info.etag)
    if not isinstance(reading, TellsParts) or count > _MAX_SIZE_REQUESTS:
        return ()
    sizes: list[int] = []
    for number in range(1, count + 1):
        size = reading.part_size(number)
        if size is None:
            return ()
        sizes.append(size)
    return tuple(sizes) if sum(sizes) == reading.info.size else ()


class ContentDigest:
    """The MD5 of a content, and the ETags it would have if it had been uploaded in parts of common sizes.

    An ETag ``<md5>-<n>`` is the MD5 of the MD5s of n parts. It does not contain their size, but most uploads
    use a common one.
    """

    def __init__(self, size: int, like: str | None) -> None:
        self._whole = hashlib.md5(usedforsecurity=False)
        self._composites = [CompositeEtag(repeat(each)) for each in part_sizes(size, _part_count(like))]

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self._whole.update(chunk)
        for each in self._composites:
            each.update(chunk)

    @property
    def md5(self) -> str:
        """The MD5 of the complete content."""
        return self._whole.hexdigest()

    def etags(self) -> frozenset[str]:
        """Return the ETags; called after the last byte."""
        return frozenset(each.etag() for each in self._composites)


class CompositeEtag:
    """The ETag of an upload in parts of these sizes, which may be an endless iterator."""

    def __init__(self, parts: Iterable[int]) -> None:
        self._parts = iter(parts)
        self._room = next(self._parts)
        self._current = hashlib.md5(usedforsecurity=False)
        self._done: list[bytes] = []

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""
        view = memoryview(chunk)
        while len(view) > self._room:
            self._current.update(view[: self._room])
            view = view[self._room :]
            self._close()
            self._room = next(self._parts, len(view))
        self._current.update(view)
        self._room -= len(view)

    def etag(self) -> str:
        """Return the ETag; called after the last byte."""
        self._close()
        return f"{hashlib.md5(b''.join(self._done), usedforsecurity=False).hexdigest()}-{len(self._done)}"

    def _close(self) -> None:
        self._done.append(self._current.digest())
        self._current = hashlib.md5(usedforsecurity=False)


def part_sizes(size: int, parts: int) -> list[int]:
    """Return common part sizes that divide ``size`` bytes into ``parts`` parts; at most two, because each
    costs a hash."""
    if not parts:
        return []
    least = -(-size // parts)
    even = -(-least // _MIB) * _MIB
    fitting = {each for each in (*_USUAL_PARTS, even) if each and -(-size // each) == parts}
    return sorted(fitting, key=lambda each: (each not in (8 * _MIB, 16 * _MIB), each))[:2]
