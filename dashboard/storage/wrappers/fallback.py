"""A backend for which others stand in: reads that find nothing look there, and writes that fail go there.

A write that home cannot take is put into a folder of its own in the first backend that takes it, and noted
in a durable book before and after; only then is it acknowledged. Reads, descriptions and listings show what
waits as if it were at home. Sending it home is not done here.

What cannot be promised while home is away is refused: deleting, and writing only where nothing is.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from types import MappingProxyType, TracebackType
from typing import BinaryIO, ClassVar, Self, TypeVar, cast

from dashboard.storage.copying import read_back
from dashboard.storage.driver import (
    SMALL,
    CopiesWithin,
    CreatesBuckets,
    DeletesUnchanged,
    Driver,
    KeepsFolders,
    Links,
    LooksBeforeCreating,
    Reading,
    ReadsInParallel,
    ReadsRanges,
    RefusesWrites,
    SetsVisibility,
    Writing,
)
from dashboard.storage.errors import Changed, Exists, InvalidKey, NotFound, StorageError
from dashboard.storage.object_powers import DeletesMany, HasTiers, HoldsTags, KeepsVersions, SignsUploads
from dashboard.storage.paths import key_bytes
from dashboard.storage.place_powers import ChecksSettings
from dashboard.storage.ranges import check_range
from dashboard.storage.standing_in import FOLDER, Book, StandIns, is_away
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written
from dashboard.storage.wrappers._waiting_reading import WaitingReading, info_of, token_of
from dashboard.storage.wrapping import CONNECTION, Wrapper

T = TypeVar("T")

LARGEST = 1024**3
"""Bytes of a streamed write that are held, beyond 8 MiB in a file without a name, in case home goes away."""
_PIECE = 1024 * 1024


class FallbackWriting:
    """A write to home that is held until it is committed there, or waits elsewhere. Used by one thread."""

    def __init__(self, fallback: Fallback, key: str, attributes: Attributes | None, size: int | None) -> None:
        self._fallback = fallback
        self._key = key
        self._attributes = attributes
        self._open = ExitStack()
        self._held: BinaryIO | None = cast(
            BinaryIO,
            self._open.enter_context(tempfile.SpooledTemporaryFile(max_size=SMALL)),  # noqa: SIM115
        )
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._trouble: StorageError | None = None
        self._home: Writing | None = None
        try:
            self._ask(lambda: fallback.inner.write(key, size=size, attributes=attributes), self._begun)
        except BaseException:
            self._open.close()
            raise

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._size += len(chunk)
        self._md5.update(chunk)
        if self._held is not None:
            if self._size > LARGEST:
                self._drop_held()
            else:
                self._held.write(chunk)
        if self._home is not None:
            home = self._home
            self._ask(lambda: home.write(chunk))
        elif self._held is None and self._trouble is not None:
            raise self._trouble

    def commit(self) -> Written:
        """See ``Writing``. Returns when the object is at home, or waits elsewhere and is noted."""
        if self._home is not None:
            home = self._home
            done: list[Written] = []
            with self._fallback.replacing(self._key) as succeeded:
                self._ask(lambda: done.append(home.commit()))
                if done:
                    succeeded()
                    return done[0]
        assert self._trouble is not None
        if self._held is None:
            raise self._trouble
        held = self._held

        def send(driver: Driver, stored_key: str) -> Written:
            held.seek(0)
            with driver.write(stored_key, size=self._size, attributes=self._attributes) as writing:
                while piece := held.read(_PIECE):
                    writing.write(piece)
                return writing.commit()

        return self._fallback.stand_in(self._key, send, self._md5.hexdigest(), self._trouble)

    def _begun(self, writing: Writing) -> None:
        self._home = self._open.enter_context(writing)

    def _ask(self, call: Callable[[], T], take: Callable[[T], object] = lambda found: None) -> None:
        """Do something at home; once it is away, it is not asked again in this write."""
        try:
            take(call())
        except StorageError as error:
            if not is_away(error) or self._held is None:
                raise
            self._trouble, self._home = error, None

    def _drop_held(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(StorageError):
            self._open.__exit__(kind, error, trace)


class _Replacing:
    """Around a write at home: what waits for the key is not sent meanwhile, and forgotten if it succeeds."""

    def __init__(self, book: Book, key: str) -> None:
        self._book = book
        self._key = key
        self._held: tuple[int, ...] = ()
        self._done = False

    def __enter__(self) -> Callable[[], None]:
        self._held = self._book.hold(self._key)
        return self._succeeded

    def _succeeded(self) -> None:
        self._done = True

    def __exit__(self, *_: object) -> None:
        if self._held:
            if self._done:
                self._book.forget(self._held)
            else:
                self._book.release(self._held)


class _Falling(Wrapper):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, book: Book, stand_ins: StandIns) -> None:
        super().__init__(inner)
        self._book = book
        self._stand_ins = stand_ins

    def replacing(self, key: str) -> _Replacing:
        """Around what replaces or removes the object at home."""
        return _Replacing(self._book, key)

    def look(self, key: str, ask: Callable[[Driver], T], *, elsewhere: bool = True) -> T:
        """Ask home, and where it has nothing or is away, the others in their order."""
        try:
            return ask(self.inner)
        except StorageError as error:
            if not elsewhere or not (isinstance(error, NotFound) or is_away(error)):
                raise
            for _, driver in self._stand_ins.in_order(writing=False):
                with suppress(StorageError):
                    return ask(driver)
            raise


class _DeletesMany(_Falling):
    """Many objects go at once, and what waits for them."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        assert isinstance(self.inner, DeletesMany)
        known = list(keys)
        held = {key: self._book.hold(key) for key in known}
        failed: Mapping[str, StorageError] | None = None
        try:
            failed = self.inner.delete_many(known)
            return failed
        finally:
            for key, numbers in held.items():
                if numbers and (failed is None or key in failed):
                    self._book.release(numbers)
                elif numbers:
                    self._book.forget(numbers)


class _ReadsParts(_Falling):
    """Parts of what is at home; of what is elsewhere, everything up to the part is read."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self.inner, ReadsRanges)
        check_range(start, length)
        if self._book.newest(key) is None:
            try:
                return self.inner.read_range(key, start, length, if_version=if_version)
            except StorageError as error:
                if if_version is not None or not (isinstance(error, NotFound) or is_away(error)):
                    raise
        found = bytearray()
        with self.read(key, if_version=if_version) as reading:
            for piece in reading.chunks():
                found += memoryview(piece)[start : start + length - len(found)]
                start = max(0, start - len(piece))
                if len(found) == length:
                    break
        return bytes(found)


class Fallback(_Falling):
    """A backend with others behind it. Thread-safe. Closing it leaves the others open."""

    forwards = CONNECTION | {
        ChecksSettings,
        CreatesBuckets,
        HasTiers,
        HoldsTags,
        KeepsFolders,
        KeepsVersions,
        Links,
        LooksBeforeCreating,
        RefusesWrites,
        SetsVisibility,
        SignsUploads,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {DeletesMany: _DeletesMany, ReadsRanges: _ReadsParts}
    )
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            CopiesWithin: "What is to be copied may be waiting in another backend.",
            DeletesUnchanged: "What is to be deleted may be waiting in another backend.",
            ReadsInParallel: "What is elsewhere is read from its beginning for every part.",
        }
    )

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``. Of a chosen version only home, or what waits, is asked."""
        self.check_key(key)
        if (found := self._book.newest(key)) is not None:
            if if_version is not None and if_version != token_of(found):
                raise Changed(key)
            with suppress(NotFound):
                return WaitingReading(self._stand_ins.driver(found.stand_in).read(found.stored_key), found)
            # It was sent home between the two.
        return self.look(
            key, lambda driver: driver.read(key, if_version=if_version), elsewhere=if_version is None
        )

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        self.check_key(key)
        if (found := self._book.newest(key)) is not None:
            with suppress(NotFound):
                return info_of(self._stand_ins.driver(found.stand_in).stat(found.stored_key), found)
        return self.look(key, lambda driver: driver.stat(key))

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``: what is at home and what waits, not what others hold. Raises while home is away."""
        waiting = {
            each.key: Entry(each.key, each.size, each.since, token_of(each))
            for each in self._book.under(prefix)
            if key_bytes(each.key) > key_bytes(start_after)
        }
        for entry in self.inner.list(prefix, start_after=start_after):
            if self.ordered:
                here = key_bytes(entry.key)
                for key in [key for key in waiting if key_bytes(key) < here]:
                    yield waiting.pop(key)
            yield waiting.pop(entry.key, entry)
        yield from waiting.values()

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``. Up to 1 GiB is held until the commit, in case home goes away meanwhile."""
        self.check_key(key)
        if create_only:
            self._refuse_taken(key)
            return self.inner.write(key, size=size, attributes=attributes, create_only=True)
        return FallbackWriting(self, key, attributes, size)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        self.check_key(key)
        if create_only:
            self._refuse_taken(key)
            return self.inner.put(key, data, attributes=attributes, create_only=True)
        try:
            with self.replacing(key) as succeeded:
                written = self.inner.put(key, data, attributes=attributes)
                succeeded()
                return written
        except StorageError as error:
            if not is_away(error):
                raise
            trouble = error
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return self.stand_in(
            key, lambda driver, stored: driver.put(stored, data, attributes=attributes), md5, trouble
        )

    def delete(self, key: str) -> None:
        """See ``Driver``. Only home can delete: raises while it is away."""
        self.check_key(key)
        with self.replacing(key) as succeeded:
            self.inner.delete(key)
            succeeded()

    def stand_in(
        self, key: str, send: Callable[[Driver, str], Written], md5: str, trouble: StorageError
    ) -> Written:
        """Have the first backend that can take an object keep it; raises ``trouble`` if none can."""
        for stand_in, driver in self._stand_ins.in_order(writing=True):
            stored_key = _place_for(driver, key)
            number = self._book.begin(key, stand_in, stored_key)
            try:
                written = send(driver, stored_key)
                if not written.proven and read_back(driver, stored_key, stop=lambda: False) != md5:
                    continue
            except StorageError:
                # What it may have left there is noted, and removed in time.
                continue
            self._book.kept(number, written.size, md5)
            return Written(key, written.size, md5)
        raise trouble

    def _refuse_taken(self, key: str) -> None:
        # Whether home has it cannot be known while it is away, so such a write never waits elsewhere.
        if (found := self._book.newest(key)) is not None:
            raise Exists(found.key)


def _place_for(driver: Driver, key: str) -> str:
    """A new key in the waiting folder, ending in the object's own where that backend can hold it."""
    place = FOLDER + secrets.token_hex(12)
    with suppress(InvalidKey):
        driver.check_key(f"{place}/{key}")
        return f"{place}/{key}"
    return place
