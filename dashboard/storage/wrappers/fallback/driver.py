"""A backend for which others stand in while it is unavailable.

Reads of objects that home does not have try the stand-ins. A write that home cannot accept is stored in a
reserved folder of the first stand-in that accepts it, and recorded durably before and after. Only then is it
acknowledged. Reads and listings show waiting writes as if they were at home. Writing them back is not done
here.

What cannot be guaranteed while home is unavailable is refused: deletes, and create-only writes of a key that
is not unique.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import ClassVar

from dashboard.storage.copying import read_back
from dashboard.storage.driver import (
    CopiesWithin,
    DeletesUnchanged,
    Driver,
    KeepsFolders,
    Links,
    Reading,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
    Writing,
)
from dashboard.storage.errors import Changed, Exists, InvalidKey, NotFound, StorageError
from dashboard.storage.naming import UniqueKey
from dashboard.storage.object_powers import (
    CopiesListed,
    DeletesMany,
    HasTiers,
    HasTrash,
    HoldsTags,
    KeepsVersions,
    MovesWithin,
    ResumesWrites,
    SetsAttributes,
    SignsParts,
    SignsUploads,
    WritesInGroups,
)
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written
from dashboard.storage.wrappers.fallback import powers
from dashboard.storage.wrappers.fallback.fallback_base import FallbackBase
from dashboard.storage.wrappers.fallback.waiting_writes import (
    FOLDER,
    EarlierWritePending,
    WaitingReading,
    WrittenContent,
    info_of,
    is_unavailable,
    token_of,
)
from dashboard.storage.wrappers.fallback.writing import FallbackWriting
from dashboard.storage.wrapping import CONTAINER_POWERS


class Fallback(FallbackBase):
    """A backend with stand-ins. Thread-safe. Closing it leaves the stand-ins open."""

    forwards = CONTAINER_POWERS
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            DeletesMany: powers.DeletesManyAtHome,
            HasTiers: powers.TierAtHome,
            HoldsTags: powers.TagsAtHome,
            KeepsFolders: powers.FoldersOfBoth,
            KeepsVersions: powers.VersionsAtHome,
            Links: powers.LinksToHome,
            ReadsRanges: powers.RangesOfBoth,
            SetsVisibility: powers.VisibilityAtHome,
            SignsUploads: powers.UploadsToHome,
        }
    )
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            ResumesWrites: "The write may go to another backend.",
            WritesInGroups: "The write may go to another backend.",
            CopiesListed: "The source may be waiting in another backend.",
            CopiesWithin: "The source may be waiting in another backend.",
            DeletesUnchanged: "The object may be waiting in another backend.",
            MovesWithin: "The object may be waiting in another backend.",
            HasTrash: "The object may be waiting in another backend.",
            SetsAttributes: "The object may be waiting in another backend.",
            ReadsInParallel: "An object on a stand-in is read from its beginning for every part.",
            SignsParts: "A write that waits elsewhere would hide the parts once they are finished.",
        }
    )

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``. Reads a given version only from home or from a waiting write."""
        self.check_key(key)
        if (waiting := self._store.newest(key)) is not None:
            if if_version is not None and if_version != token_of(waiting):
                raise Changed(key)
            with suppress(NotFound):
                driver = self._stand_ins.driver(waiting.stand_in)
                return WaitingReading(driver.read(waiting.stored_key), waiting)
            # It was written back in between.
        return self.try_in_order(
            key, lambda driver: driver.read(key, if_version=if_version), elsewhere=if_version is None
        )

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        self.check_key(key)
        if (waiting := self._store.newest(key)) is not None:
            with suppress(NotFound):
                driver = self._stand_ins.driver(waiting.stand_in)
                return info_of(driver.stat(waiting.stored_key), waiting)
        return self.try_in_order(key, lambda driver: driver.stat(key))

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``: objects at home and waiting writes, not other objects of stand-ins. Raises while
        home is unavailable."""
        # Read before home is listed, so that a write back in between is not missed.
        waiting = {
            write.key: Entry(write.key, write.size, write.since, token_of(write))
            for write in self._store.list_under(prefix)
            if key_bytes(write.key) > key_bytes(start_after)
        }
        listed: set[str] = set()
        remaining = iter(waiting)
        following = next(remaining, None)
        for entry in self.inner.list(prefix, start_after=start_after):
            if self.ordered and following is not None:
                here = key_bytes(entry.key)
                while following is not None and key_bytes(following) < here:
                    if following not in listed:
                        listed.add(following)
                        yield waiting[following]
                    following = next(remaining, None)
            if entry.key not in waiting:
                yield entry
            elif entry.key not in listed:
                listed.add(entry.key)
                yield waiting[entry.key]
        yield from (entry for key, entry in waiting.items() if key not in listed)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``. Buffers up to 1 GiB until the commit, in case home becomes unavailable."""
        self.check_key(key)
        if create_only:
            self._refuse_existing(key)
            if self.alone or not isinstance(key, UniqueKey):
                return self.inner.write(key, size=size, attributes=attributes, create_only=True)
        return FallbackWriting(self, key, attributes, size, create_only=create_only)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        self.check_key(key)
        if create_only:
            self._refuse_existing(key)
            if self.alone or not isinstance(key, UniqueKey):
                return self.inner.put(key, data, attributes=attributes, create_only=True)
        with self.long_writes.watch(key, lambda: (_md5(data), len(data))):
            return self._put(key, data, attributes, create_only=create_only)

    def _put(self, key: str, data: bytes, attributes: Attributes | None, *, create_only: bool) -> Written:
        try:
            with self.replacing(key) as succeeded:
                written = self.inner.put(key, data, attributes=attributes, create_only=create_only)
                succeeded()
            self.recent.note(key, written.md5, len(data))
            return written
        except StorageError as error:
            if not (is_unavailable(error) or isinstance(error, EarlierWritePending)):
                raise
            cause = error
        md5_and_size = _md5(data), len(data)
        self.recent.note(key, *md5_and_size, cause)

        def send(driver: Driver, stored_key: str) -> Written:
            return driver.put(stored_key, data, attributes=attributes)

        return self.store_on_stand_in(key, send, md5_and_size, attributes, cause, create_only=create_only)

    def delete(self, key: str) -> None:
        """See ``Driver``. Raises while home is unavailable."""
        self.check_key(key)
        with self.replacing(key) as succeeded:
            self.inner.delete(key)
            succeeded()

    def keeps_while_away(self) -> bool:
        """See ``KeepsWhileAway``."""
        return not self.alone

    def store_on_stand_in(
        self,
        key: str,
        send: Callable[[Driver, str], Written],
        md5_and_size: tuple[str, int],
        attributes: Attributes | None,
        cause: StorageError,
        *,
        create_only: bool,
    ) -> Written:
        """Store an object of this MD5 and size on the first stand-in that accepts it. Raises ``cause`` if
        none does."""
        if self.alone:
            raise cause
        md5, size = md5_and_size
        content = WrittenContent(size, md5, attributes or Attributes(), self.recent.of(key), create_only)
        for stand_in, driver in self._stand_ins.in_order(writing=True):
            stored_key = _new_waiting_key(driver, key)
            number = self._store.add(key, stand_in, stored_key, content)
            try:
                written = send(driver, stored_key)
                if not written.proven and read_back(driver, stored_key, stop=lambda: False) != md5:
                    continue
            except StorageError:
                # What may have been stored there is recorded, and removed later.
                continue
            self._store.mark_written(number)
            return Written(key, size, md5)
        raise cause

    def _refuse_existing(self, key: str) -> None:
        if (waiting := self._store.newest(key)) is not None:
            raise Exists(waiting.key)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _new_waiting_key(driver: Driver, key: str) -> str:
    """Return a new key in the waiting folder, ending in the object's own key if that backend accepts it."""
    folder = FOLDER + secrets.token_hex(12)
    with suppress(InvalidKey):
        driver.check_key(f"{folder}/{key}")
        return f"{folder}/{key}"
    return folder
