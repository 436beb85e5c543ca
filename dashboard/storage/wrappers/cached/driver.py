"""Copies of objects that were read, stored nearer: on this machine's disk, or in Redis.

An entry is used while it is the version the backend has, which is asked with every read; only within the
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
from dashboard.storage.wrappers.cached.entries import CachedReading, CacheEntry, CachingReading
from dashboard.storage.wrappers.cached.stores import CacheStore, DiskStore, EntryWriter
from dashboard.storage.wrappers.common.changes import CHANGE_POWERS, ObservesChanges
from dashboard.storage.wrapping import CONTAINER_POWERS

_MAX_VALIDATED = 10_000
"""Copies of which it is known when they were last compared with the backend."""
_STRIPES = 256


class _CachedBase(ObservesChanges):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, store: CacheStore, *, seconds: float = 0.0, reads: bool = True) -> None:
        super().__init__(inner)
        self._store = store
        self._seconds = seconds
        self._reads = reads
        self._lock = Lock()
        self._validated: OrderedDict[str, float] = OrderedDict()
        self._changes = [0] * _STRIPES

    def changing(self, key: str) -> _Invalidation:
        """Around anything that changes the object: no copy of what was before outlives it."""
        return _Invalidation(self, key)

    def invalidate(self, key: str) -> None:
        """No copy of this object from now on, nor one whose reading began before."""
        name = _name(key)
        with self._lock:
            self._changes[int(name[:2], 16)] += 1
            self._validated.pop(name, None)
        self._store.delete(name)

    def generation(self, key: str) -> tuple[int, float]:
        """What a copy that is begun now has to hold against when it is done."""
        with self._lock:
            return self._changes[int(_name(key)[:2], 16)], time.monotonic()

    def mark_validated(self, key: str, at: float) -> None:
        """The copy was the backend's own version at this moment."""
        with self._lock:
            self._validated[_name(key)] = at
            self._validated.move_to_end(_name(key))
            if len(self._validated) > _MAX_VALIDATED:
                self._validated.popitem(last=False)

    def find_fresh(self, key: str, if_version: str | None) -> CacheEntry | None:
        """A copy of what the backend has now; of its content nothing is proven yet. Raises what the backend
        says when it is asked."""
        if not self._reads:
            return None
        name = _name(key)
        file = self._store.find(name)
        entry = CacheEntry.open(file, key) if file is not None else None
        if entry is None:
            return None
        if if_version is not None and if_version != entry.info.version:
            entry.file.close()
            return None
        with self._lock:
            known = self._validated.get(name, float("-inf"))
        began = time.monotonic()
        if began - known < self._seconds:
            return entry
        try:
            current = self.inner.stat(key)
        except NotFound:
            entry.file.close()
            self.invalidate(key)
            raise
        except BaseException:
            entry.file.close()
            raise
        if current.version is None or (current.version, current.size) != (
            entry.info.version,
            entry.info.size,
        ):
            entry.file.close()
            self.invalidate(key)
            return None
        self.mark_validated(key, began)
        return CacheEntry(current, entry.file, entry.sums)


class _Invalidation:
    def __init__(self, cached: _CachedBase, key: str) -> None:
        self._cached = cached
        self._key = key

    def __enter__(self) -> None:
        self._cached.invalidate(self._key)

    def __exit__(self, *_: object) -> None:
        self._cached.invalidate(self._key)


class _ReadsRanges(_CachedBase):
    """Parts come from a copy where there is one; reading them makes none."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self.inner, ReadsRanges)
        self.check_key(key)
        check_range(start, length)
        entry = self.find_fresh(key, if_version)
        if entry is None:
            return self.inner.read_range(key, start, length, if_version=if_version)
        with closing(entry.file):
            found = entry.read_part(start, length)
        if found is None:
            self.invalidate(key)
            return self.inner.read_range(key, start, length, if_version=if_version)
        return found


class Cached(_CachedBase):
    """Reads what was read before from nearby. Thread-safe.

    Without ``reads`` it only sees to it that no copy outlives what it changes: for those who want to know
    what the backend itself holds.
    """

    transparent = True
    forwards = CONTAINER_POWERS | {HasTiers, HoldsTags, KeepsFolders, Links, SetsVisibility, SignsUploads}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({**CHANGE_POWERS, ReadsRanges: _ReadsRanges})
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {ReadsInParallel: "Only what is read from its beginning to its end is kept."}
    )

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Around a driver; the folder to keep copies in is told by whoever builds it."""
        store: CacheStore
        if url := secrets.get(CACHE_REDIS):
            # Only who asks for a cache in Redis needs its client.
            from dashboard.storage.wrappers.cached.redis import RedisStore

            place = sorted((name, text) for name, text in options.items() if not name.startswith("cache"))
            digest = hashlib.sha256(repr((inner.name, place)).encode()).hexdigest()
            store = RedisStore(url, f"stowage:{digest[:32]}:")
        else:
            store = DiskStore(Path(options[CACHE_FOLDER]), cache_bytes(options))
        seconds = float(options.get(CACHE_SECONDS) or 0)
        return cls(inner, store, seconds=seconds, reads=options.get(CACHE_READS) != "false")

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
        self.check_key(key)
        entry = self.find_fresh(key, if_version)
        if entry is not None and entry.is_intact():
            return CachedReading(entry, entry.info)
        if entry is not None:
            entry.file.close()
            self.invalidate(key)
        since = self.generation(key)
        reading = self.inner.read(key, if_version=if_version)
        if not self._reads or reading.info.version is None or reading.info.size > self._store.max_entry_bytes:
            return reading
        writer = self._store.create(_name(key), reading.info.size)
        return (
            reading
            if writer is None
            else CachingReading(reading, writer, partial(self._store_entry, reading.info, since))
        )

    def _store_entry(self, info: ObjectInfo, since: tuple[int, float], writer: EntryWriter) -> None:
        """An entry is complete: keep it unless the object was changed through here meanwhile."""
        changes, began = since
        if self.generation(info.key)[0] != changes:
            writer.discard()
            return
        writer.commit()
        self.mark_validated(info.key, began)
        if self.generation(info.key)[0] != changes:
            self.invalidate(info.key)

    def close(self) -> None:
        """See ``Driver``. The copies stay for the next one."""
        self._store.close()
        self.inner.close()


def _name(key: str) -> str:
    return hashlib.sha256(key_bytes(key)).hexdigest()
