"""Copies of objects that were read, kept nearer: on this machine's disk, or in Redis.

A copy is used while it is the version the backend has, which is asked with every read; only within the
chosen seconds after the last look it is used without asking. Writes and deletes through this backend forget
the copy at once, before and after. Below encryption, so that copies are encrypted too. Listings and
descriptions are always the backend's own.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import ClassVar, Self

from dashboard.storage.checks.wrappers import (
    CACHE_FOLDER,
    CACHE_READS,
    CACHE_REDIS,
    CACHE_SECONDS,
    cache_bytes,
)
from dashboard.storage.driver import (
    Driver,
    KeepsFolders,
    Links,
    Reading,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
)
from dashboard.storage.errors import NotFound
from dashboard.storage.net.ranges import check_range
from dashboard.storage.object_powers import (
    HasTiers,
    HoldsTags,
    SignsUploads,
)
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import ObjectInfo, Secret
from dashboard.storage.wrappers.cached.copies import Copy, CopyReading, FillingReading
from dashboard.storage.wrappers.cached.shelves import DiskShelf, Shelf, Slip
from dashboard.storage.wrappers.common.changes import CHANGING, SeesChanges
from dashboard.storage.wrapping import CONTAINER_POWERS

_REMEMBERED = 10_000
"""Copies of which it is known when they were last compared with the backend."""
_STRIPES = 256


class _Caching(SeesChanges):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, shelf: Shelf, *, seconds: float = 0.0, reads: bool = True) -> None:
        super().__init__(inner)
        self._shelf = shelf
        self._seconds = seconds
        self._reads = reads
        self._lock = Lock()
        self._compared: OrderedDict[str, float] = OrderedDict()
        self._changes = [0] * _STRIPES

    def changing(self, key: str) -> _Change:
        """Around anything that changes the object: no copy of what was before outlives it."""
        return _Change(self, key)

    def forget(self, key: str) -> None:
        """No copy of this object from now on, nor one whose reading began before."""
        name = _name(key)
        with self._lock:
            self._changes[int(name[:2], 16)] += 1
            self._compared.pop(name, None)
        self._shelf.drop(name)

    def now(self, key: str) -> tuple[int, float]:
        """What a copy that is begun now has to hold against when it is done."""
        with self._lock:
            return self._changes[int(_name(key)[:2], 16)], time.monotonic()

    def compared(self, key: str, at: float) -> None:
        """The copy was the backend's own version at this moment."""
        with self._lock:
            self._compared[_name(key)] = at
            self._compared.move_to_end(_name(key))
            if len(self._compared) > _REMEMBERED:
                self._compared.popitem(last=False)

    def good_copy(self, key: str, if_version: str | None) -> Copy | None:
        """A copy of what the backend has now; of its content nothing is proven yet. Raises what the backend
        says when it is asked."""
        if not self._reads:
            return None
        name = _name(key)
        file = self._shelf.find(name)
        copy = Copy.of(file, key) if file is not None else None
        if copy is None:
            return None
        if if_version is not None and if_version != copy.info.version:
            copy.file.close()
            return None
        with self._lock:
            known = self._compared.get(name, float("-inf"))
        began = time.monotonic()
        if began - known < self._seconds:
            return copy
        try:
            current = self.inner.stat(key)
        except NotFound:
            copy.file.close()
            self.forget(key)
            raise
        except BaseException:
            copy.file.close()
            raise
        if current.version is None or (current.version, current.size) != (copy.info.version, copy.info.size):
            copy.file.close()
            self.forget(key)
            return None
        self.compared(key, began)
        return Copy(current, copy.file, copy.sums)


class _Change:
    def __init__(self, cached: _Caching, key: str) -> None:
        self._cached = cached
        self._key = key

    def __enter__(self) -> None:
        self._cached.forget(self._key)

    def __exit__(self, *_: object) -> None:
        self._cached.forget(self._key)


class _ReadsParts(_Caching):
    """Parts come from a copy where there is one; reading them makes none."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self.inner, ReadsRanges)
        self.check_key(key)
        check_range(start, length)
        copy = self.good_copy(key, if_version)
        if copy is None:
            return self.inner.read_range(key, start, length, if_version=if_version)
        with closing(copy.file):
            found = copy.part(start, length)
        if found is None:
            self.forget(key)
            return self.inner.read_range(key, start, length, if_version=if_version)
        return found


class Cached(_Caching):
    """Reads what was read before from nearby. Thread-safe.

    Without ``reads`` it only sees to it that no copy outlives what it changes: for those who want to know
    what the backend itself holds.
    """

    transparent = True
    forwards = CONTAINER_POWERS | {HasTiers, HoldsTags, KeepsFolders, Links, SetsVisibility, SignsUploads}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({**CHANGING, ReadsRanges: _ReadsParts})
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {ReadsInParallel: "Only what is read from its beginning to its end is kept."}
    )

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Around a driver; the folder to keep copies in is told by whoever builds it."""
        shelf: Shelf
        if url := secrets.get(CACHE_REDIS):
            # Only who asks for a cache in Redis needs its client.
            from dashboard.storage.wrappers.cached.redis import RedisShelf

            place = sorted((name, text) for name, text in options.items() if not name.startswith("cache"))
            digest = hashlib.sha256(repr((inner.name, place)).encode()).hexdigest()
            shelf = RedisShelf(url, f"stowage:{digest[:32]}:")
        else:
            shelf = DiskShelf(Path(options[CACHE_FOLDER]), cache_bytes(options))
        seconds = float(options.get(CACHE_SECONDS) or 0)
        return cls(inner, shelf, seconds=seconds, reads=options.get(CACHE_READS) != "false")

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
        self.check_key(key)
        copy = self.good_copy(key, if_version)
        if copy is not None and copy.is_whole():
            return CopyReading(copy, copy.info)
        if copy is not None:
            copy.file.close()
            self.forget(key)
        since = self.now(key)
        reading = self.inner.read(key, if_version=if_version)
        if not self._reads or reading.info.version is None or reading.info.size > self._shelf.largest:
            return reading
        slip = self._shelf.begin(_name(key), reading.info.size)
        return (
            reading
            if slip is None
            else FillingReading(reading, slip, partial(self._keep, reading.info, since))
        )

    def _keep(self, info: ObjectInfo, since: tuple[int, float], slip: Slip) -> None:
        """A copy is complete: keep it unless the object was changed through here meanwhile."""
        changes, began = since
        if self.now(info.key)[0] != changes:
            slip.drop()
            return
        slip.keep()
        self.compared(info.key, began)
        if self.now(info.key)[0] != changes:
            self.forget(info.key)

    def close(self) -> None:
        """See ``Driver``. The copies stay for the next one."""
        self._shelf.close()
        self.inner.close()


def _name(key: str) -> str:
    return hashlib.sha256(key_bytes(key)).hexdigest()
