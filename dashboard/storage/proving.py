"""What shows that the bytes of a read are the bytes the backend holds.

A checksum of the whole, where the backend keeps one. Else a connection on which no byte can change unnoticed:
TLS and SSH authenticate every record (RFC 8446, section 5.2; RFC 4253, section 6.4), and a disk of this
machine has no connection. Else the checksums of the parts that an object was uploaded in. Else only a second
read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import repeat

from dashboard.storage.driver import Connects, Driver, Reading, ServesFolders, TellsParts
from dashboard.storage.wrapping import Wrapper

ETAG = re.compile(r"(?P<md5>[0-9a-f]{32})(-(?P<parts>[0-9]{1,5}))?\Z")
_MIB = 1024 * 1024
_USUAL_PARTS = tuple(n * _MIB for n in (5, 8, 10, 15, 16, 25, 32, 50, 64, 100, 128, 256, 512))


_MOST_ASKED = 1000
"""Parts whose sizes are asked for one by one where they turn out to be unequal."""


class UnprovenRead(Exception):
    """Nothing shows that what a read brought is what the backend holds: it has to be read once more.
    ``parts``: the sizes of the object's parts, which will show it; empty where they are not known."""

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


class ReadCheck:
    """Compares what a read brings with what is known of the object. Used by one thread.

    ``expected`` is the MD5 that an earlier read of the same version brought, ``parts`` the sizes of the parts
    it was uploaded in. With ``needed`` off nothing but an MD5 that came with the object is compared. Raises
    ``UnprovenRead`` where there is nothing to compare with and the connection is not guarded. May ask the
    server for the sizes of parts.
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
        if self.expected or not required or has_integrity_protection(source):
            return
        self._composites = [CompositeEtag(parts)] if parts else _composites(reading)
        if not self._composites:
            raise UnprovenRead

    @property
    def md5(self) -> str:
        """The MD5 of what came so far, where it is computed."""
        return self._md5.hexdigest() if self._md5 is not None else ""

    def update(self, chunk: bytes) -> None:
        """The next bytes."""
        if self._md5 is not None:
            self._md5.update(chunk)
        for each in self._composites:
            each.update(chunk)

    def matches(self) -> bool:
        """After the last byte: whether all of it is right. Raises ``UnprovenRead`` where the parts do not
        show it: they may be of unequal sizes, or damaged."""
        if self._md5 is not None:
            return self._md5.hexdigest() == self.expected
        if not self._composites or self._reading.info.etag in {each.etag() for each in self._composites}:
            return True
        if self._parts:
            return False
        raise UnprovenRead(_all_parts(self._reading))


def _count(reading: Reading) -> int:
    match = ETAG.match(reading.info.etag or "")
    return int(match["parts"] or 0) if match else 0


def _composites(reading: Reading) -> list[CompositeEtag]:
    count = _count(reading)
    told = reading.part_size(1) if count and isinstance(reading, TellsParts) else None
    return [
        CompositeEtag(repeat(size)) for size in ([told] if told else part_sizes(reading.info.size, count))
    ]


def _all_parts(reading: Reading) -> tuple[int, ...]:
    """The sizes of all parts; none where not every one is told, or they are too many to ask for."""
    count = _count(reading)
    if not isinstance(reading, TellsParts) or count > _MOST_ASKED:
        return ()
    sizes: list[int] = []
    for number in range(1, count + 1):
        size = reading.part_size(number)
        if size is None:
            return ()
        sizes.append(size)
    return tuple(sizes) if sum(sizes) == reading.info.size else ()


class ContentDigest:
    """The MD5 of a content and the ETags it would have if it had been uploaded in usual parts.

    An ETag ``<md5>-<n>`` is the MD5 of the MD5s of n parts; their size is not told but mostly usual.
    """

    def __init__(self, size: int, like: str | None) -> None:
        match = ETAG.match(like or "")
        parts = int(match["parts"] or 0) if match else 0
        self._whole = hashlib.md5(usedforsecurity=False)
        self._composites = [CompositeEtag(repeat(each)) for each in part_sizes(size, parts)]

    def update(self, chunk: bytes) -> None:
        """The next bytes."""
        self._whole.update(chunk)
        for each in self._composites:
            each.update(chunk)

    @property
    def md5(self) -> str:
        """Of all of it."""
        return self._whole.hexdigest()

    def etags(self) -> frozenset[str]:
        """After the last byte."""
        return frozenset(each.etag() for each in self._composites)


class CompositeEtag:
    """The ETag of an upload in parts of these sizes, without end where they are equal."""

    def __init__(self, parts: Iterable[int]) -> None:
        self._parts = iter(parts)
        self._room = next(self._parts)
        self._current = hashlib.md5(usedforsecurity=False)
        self._done: list[bytes] = []

    def update(self, chunk: bytes) -> None:
        """The next bytes."""
        view = memoryview(chunk)
        while len(view) > self._room:
            self._current.update(view[: self._room])
            view = view[self._room :]
            self._close()
            self._room = next(self._parts, len(view))
        self._current.update(view)
        self._room -= len(view)

    def etag(self) -> str:
        """After the last byte."""
        self._close()
        return f"{hashlib.md5(b''.join(self._done), usedforsecurity=False).hexdigest()}-{len(self._done)}"

    def _close(self) -> None:
        self._done.append(self._current.digest())
        self._current = hashlib.md5(usedforsecurity=False)


def part_sizes(size: int, parts: int) -> list[int]:
    """Usual part sizes that cut ``size`` bytes into so many parts; at most two, since each costs a hash."""
    if not parts:
        return []
    least = -(-size // parts)
    even = -(-least // _MIB) * _MIB
    fitting = {each for each in (*_USUAL_PARTS, even) if each and -(-size // each) == parts}
    return sorted(fitting, key=lambda each: (each not in (8 * _MIB, 16 * _MIB), each))[:2]
