"""A cache of objects that were read: on this machine's disk, or in Redis.

An entry is used only if the backend still has its version. The backend is asked at every read, or less often
with ``cache_seconds``. Writes and deletes through this wrapper invalidate the entry before and after. It
wraps below encryption, so that entries are encrypted too. Listings and ``stat`` are never cached.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
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
    SignsParts,
    SignsUploads,
)
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import ObjectInfo, Secret
from dashboard.storage.wrappers.cached.entries import CachedReading, CacheEntry, CachingReading
from dashboard.storage.wrappers.cached.stores import CacheStore, DiskStore, EntryWriter
from dashboard.storage.wrappers.common.changes import CHANGE_POWERS, ObservesChanges
from dashboard.storage.wrapping import CONTAINER_POWERS

_MAX_VALIDATED = 10_000
"""For how many entries the time of the last validation is known."""
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

    @contextmanager
    def changing(self, key: str) -> Iterator[None]:
        """Around a change of the object: invalidates its entry before and after."""
        self.invalidate(key)
        try:
            yield
        finally:
            self.invalidate(key)

    def invalidate(self, key: str) -> None:
        """Delete the entry of this object, and discard entries that are being written now."""
        name = _name(key)
        with self._lock:
            self._changes[int(name[:2], 16)] += 1
            self._validated.pop(name, None)
        self._store.delete(name)

    def generation(self, key: str) -> tuple[int, float]:
        """Return the number of changes so far and the time, for a new entry to check once it is complete."""
        with self._lock:
            return self._changes[int(_name(key)[:2], 16)], time.monotonic()

    def mark_validated(self, key: str, at: float) -> None:
        """Record that the entry was the backend's version at this time."""
        with self._lock:
            self._validated[_name(key)] = at
            self._validated.move_to_end(_name(key))
            if len(self._validated) > _MAX_VALIDATED:
                self._validated.popitem(last=False)

    def find_fresh(self, key: str, if_version: str | None) -> CacheEntry | None:
        """Return an entry of the backend's current version, its content not verified yet, or None. Raises the
        backend's errors."""
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
            validated_at = self._validated.get(name, float("-inf"))
        began = time.monotonic()
        if began - validated_at < self._seconds:
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


class _ReadsRanges(_CachedBase):
    """``ReadsRanges``: from an entry if there is one. Reading ranges creates none."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self.inner, ReadsRanges)
        self.check_key(key)
        check_range(start, length)
        entry = self.find_fresh(key, if_version)
        if entry is None:
            return self.inner.read_range(key, start, length, if_version=if_version)
        with closing(entry.file):
            data = entry.read_part(start, length)
        if data is None:
            self.invalidate(key)
            return self.inner.read_range(key, start, length, if_version=if_version)
        return data


class Cached(_CachedBase):
    """Caches objects that are read completely. Thread-safe.

    Without ``reads`` it only invalidates entries of objects that it changes: for callers that need to know
    what the backend itself has.
    """

    transparent = True
    forwards = CONTAINER_POWERS | {
        HasTiers,
        HoldsTags,
        KeepsFolders,
        Links,
        SetsVisibility,
        SignsParts,
        SignsUploads,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({**CHANGE_POWERS, ReadsRanges: _ReadsRanges})
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {ReadsInParallel: "Only objects that are read completely are cached."}
    )

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build the wrapper. The folder for entries comes from the caller, not from the user."""
        store: CacheStore
        if url := secrets.get(CACHE_REDIS):
            # Imported late: only a cache in Redis needs its client.
            from dashboard.storage.wrappers.cached.redis import RedisStore

            location = sorted((name, text) for name, text in options.items() if not name.startswith("cache"))
            digest = hashlib.sha256(repr((inner.name, location)).encode()).hexdigest()
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
            return CachedReading(entry)
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
        """Store a complete entry unless the object was changed through this wrapper meanwhile."""
        changes, began = since
        if self.generation(info.key)[0] != changes:
            writer.discard()
            return
        writer.commit()
        self.mark_validated(info.key, began)
        if self.generation(info.key)[0] != changes:
            self.invalidate(info.key)

    def close(self) -> None:
        """See ``Driver``. The entries remain."""
        self._store.close()
        self.inner.close()


def _name(key: str) -> str:
    return hashlib.sha256(key_bytes(key)).hexdigest()
