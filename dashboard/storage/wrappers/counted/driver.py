"""A driver whose calls are counted: how many of each class, their bytes, and the errors by kind.

It is put directly around a driver, so that what a cache answers is not counted, and what encryption adds is.
One call is one request, except that a listing is one for each page of 1,000 entries, and a large object at a
server that takes it in parts is one for each part. What a client repeats by itself is not seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from dashboard.storage.driver import (
    SMALL,
    CopiesWithin,
    DeletesUnchanged,
    Driver,
    KeepsFolders,
    Links,
    ListsReadable,
    Reading,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
    Writing,
)
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.powers import KeepsUnfinished, ListsFolders
from dashboard.storage.object_powers import (
    CopiesListed,
    DeletesMany,
    HasTiers,
    HasTrash,
    HoldsTags,
    KeepsVersions,
    MovesWithin,
    Prepared,
    ResumesWrites,
    SetsAttributes,
    SignsParts,
    SignsUploads,
    WritesInGroups,
)
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written
from dashboard.storage.wrappers.counted.request_counter import RequestClass, RequestCounter
from dashboard.storage.wrappers.counted.streams import CountedWriting, reading_class
from dashboard.storage.wrapping import CONTAINER_POWERS, Wrapper, unwrap_transparent

T = TypeVar("T")
PAGE = 1000
"""Entries of a listing, and objects of a deletion, that go in one request."""


class _CountedBase(Wrapper):
    """The base of the wrapper and its powers."""

    counter: RequestCounter

    def _count(self, what: RequestClass, call: Callable[[], T], size: int = 0) -> T:
        self.counter.add(what, 1, size)
        try:
            return call()
        except StorageError as error:
            self.counter.fail(error)
            raise

    def _entries(self, found: Callable[[], Iterator[T]]) -> Iterator[T]:
        number = 0
        try:
            for entry in found():
                number += 1
                yield entry
        except StorageError as error:
            self.counter.fail(error)
            raise
        finally:
            self.counter.add(RequestClass.LIST, 1 + max(0, number - 1) // PAGE)

    def _written(self, written: Written) -> Written:
        parts = written.size // SMALL if isinstance(self.inner, KeepsUnfinished) else 0
        # The call itself is counted already.
        self.counter.add(RequestClass.WRITE, parts, written.size)
        return written


class _Copies(_CountedBase):
    """``CopiesWithin``: a copy on the server is a write there, and no bytes pass."""

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        return self.inner.can_copy_from(unwrap_transparent(source))

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``."""
        inner = self.inner
        assert isinstance(inner, CopiesWithin)
        below = unwrap_transparent(source)
        return self._count(RequestClass.WRITE, lambda: inner.copy_from(below, key, to, if_version=if_version))


class _CopiesListed(_CountedBase):
    """``CopiesListed``: the same."""

    def copy_listed(self, source: Driver, entry: Entry, to: str, *, create_only: bool = False) -> Written:
        """See ``CopiesListed``."""
        inner = self.inner
        assert isinstance(inner, CopiesListed)
        below = unwrap_transparent(source)
        return self._count(
            RequestClass.WRITE, lambda: inner.copy_listed(below, entry, to, create_only=create_only)
        )


class _ResumesWrites(_CountedBase):
    """``ResumesWrites``, with parts and bytes as if all were sent."""

    def resume_write(
        self,
        key: str,
        *,
        size: int,
        since: float,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``ResumesWrites``."""
        inner = self.inner
        assert isinstance(inner, ResumesWrites)
        writing = self._count(
            RequestClass.WRITE,
            lambda: inner.resume_write(
                key, size=size, since=since, attributes=attributes, create_only=create_only
            ),
        )
        return CountedWriting(writing, self.counter, self._written)


class _Groups(_CountedBase):
    """``WritesInGroups``: a write for each object."""

    def prepare(self, key: str, data: bytes, *, md5: str = "") -> Prepared | None:
        """See ``WritesInGroups``."""
        assert isinstance(self.inner, WritesInGroups)
        try:
            prepared = self.inner.prepare(key, data, md5=md5)
        except StorageError as error:
            self.counter.add(RequestClass.WRITE, 1, len(data))
            self.counter.fail(error)
            raise
        if prepared is not None:
            self.counter.add(RequestClass.WRITE, 1, len(data))
        return prepared

    def publish(self, prepared: Sequence[Prepared]) -> list[Written | StorageError]:
        """See ``WritesInGroups``."""
        assert isinstance(self.inner, WritesInGroups)
        found = self.inner.publish(prepared)
        for each in found:
            if isinstance(each, StorageError):
                self.counter.fail(each)
        return found


class _Ranges(_CountedBase):
    """``ReadsRanges``, with bytes."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self.inner, ReadsRanges)
        try:
            data = self.inner.read_range(key, start, length, if_version=if_version)
        except StorageError as error:
            self.counter.add(RequestClass.READ)
            self.counter.fail(error)
            raise
        self.counter.add(RequestClass.READ, 1, len(data))
        return data


class _DeletesMany(_CountedBase):
    """``DeletesMany``: a request for each 1,000, and an error for each object that could not be deleted."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        inner, every = self.inner, list(keys)
        assert isinstance(inner, DeletesMany)
        failed = self._count(RequestClass.DELETE, lambda: inner.delete_many(every))
        self.counter.add(RequestClass.DELETE, max(0, len(every) - 1) // PAGE)
        for error in failed.values():
            self.counter.fail(error)
        return failed


class _Versions(_CountedBase):
    """``KeepsVersions``, counted."""

    def keeps_versions(self) -> bool:
        """See ``KeepsVersions``."""
        assert isinstance(self.inner, KeepsVersions)
        return self._count(RequestClass.READ, self.inner.keeps_versions)

    def versions(self, prefix: str = "") -> Iterator[Any]:
        """See ``KeepsVersions``."""
        inner = self.inner
        assert isinstance(inner, KeepsVersions)
        return self._entries(lambda: inner.versions(prefix))

    def read_version(self, key: str, version: str) -> Reading:
        """See ``KeepsVersions``."""
        inner = self.inner
        assert isinstance(inner, KeepsVersions)
        reading = self._count(RequestClass.READ, lambda: inner.read_version(key, version))
        return reading_class(type(reading))(reading, self.counter)

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``."""
        inner = self.inner
        assert isinstance(inner, KeepsVersions)
        return self._count(RequestClass.WRITE, lambda: inner.restore_version(key, version))


class _Folders(_CountedBase):
    """``KeepsFolders``, counted."""

    def make_folder(self, folder: str) -> None:
        """See ``KeepsFolders``."""
        inner = self.inner
        assert isinstance(inner, KeepsFolders)
        self._count(RequestClass.WRITE, lambda: inner.make_folder(folder))

    def folders(self, folder: str) -> Iterator[str]:
        """See ``KeepsFolders``."""
        inner = self.inner
        assert isinstance(inner, KeepsFolders)
        return self._entries(lambda: inner.folders(folder))

    def remove_folder(self, folder: str) -> None:
        """See ``KeepsFolders``."""
        inner = self.inner
        assert isinstance(inner, KeepsFolders)
        self._count(RequestClass.DELETE, lambda: inner.remove_folder(folder))


class _ListsReadable(_CountedBase):
    """``ListsReadable``, counted."""

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        """See ``ListsReadable``."""
        inner = self.inner
        assert isinstance(inner, ListsReadable)
        return self._entries(
            lambda: inner.list_readable(prefix, start_after=start_after, unreadable=unreadable, enters=enters)
        )


def _each(power: type, **classes: RequestClass) -> type:
    """Return a class whose methods count a request each and pass the call to the wrapped driver."""

    def method(name: str, what: RequestClass) -> Callable[..., Any]:
        def call(self: _CountedBase, *args: Any, **more: Any) -> Any:
            return self._count(what, lambda: getattr(self.inner, name)(*args, **more))

        call.__name__, call.__doc__ = name, getattr(power, name).__doc__
        return call

    return type(
        f"_{power.__name__}", (_CountedBase,), {name: method(name, classes[name]) for name in classes}
    )


class Counted(_CountedBase):
    """See above. Closing it closes the wrapped driver."""

    transparent = True
    keeps_place = True
    common_powers: ClassVar[Mapping[type, type]] = MappingProxyType({})
    forwards = CONTAINER_POWERS | {Links, ReadsInParallel, SignsParts, SignsUploads}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            CopiesListed: _CopiesListed,
            CopiesWithin: _Copies,
            DeletesMany: _DeletesMany,
            DeletesUnchanged: _each(DeletesUnchanged, delete_unchanged=RequestClass.DELETE),
            HasTiers: _each(HasTiers, tier=RequestClass.READ, set_tier=RequestClass.WRITE),
            HasTrash: _each(
                HasTrash,
                move_to_trash=RequestClass.WRITE,
                restore_from_trash=RequestClass.WRITE,
                remove_from_trash=RequestClass.DELETE,
            ),
            HoldsTags: _each(HoldsTags, tags=RequestClass.READ, set_tags=RequestClass.WRITE),
            KeepsFolders: _Folders,
            KeepsVersions: _Versions,
            ListsFolders: _each(ListsFolders, list_folder=RequestClass.LIST),
            ListsReadable: _ListsReadable,
            MovesWithin: _each(MovesWithin, move_within=RequestClass.WRITE),
            ReadsRanges: _Ranges,
            ResumesWrites: _ResumesWrites,
            SetsAttributes: _each(SetsAttributes, set_attributes=RequestClass.WRITE),
            SetsVisibility: _each(
                SetsVisibility, visibility=RequestClass.READ, set_visibility=RequestClass.WRITE
            ),
            WritesInGroups: _Groups,
        }
    )

    def __init__(self, inner: Driver, counter: RequestCounter) -> None:
        super().__init__(inner)
        self.counter = counter

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
        reading = self._count(RequestClass.READ, lambda: self.inner.read(key, if_version=if_version))
        return reading_class(type(reading))(reading, self.counter)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``."""
        inner = self.inner
        writing = self._count(
            RequestClass.WRITE,
            lambda: inner.write(key, size=size, attributes=attributes, create_only=create_only),
        )
        return CountedWriting(writing, self.counter, self._written)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        inner = self.inner
        return self._count(
            RequestClass.WRITE,
            lambda: inner.put(key, data, attributes=attributes, create_only=create_only),
            len(data),
        )

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        return self._count(RequestClass.READ, lambda: self.inner.stat(key))

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``."""
        return self._entries(lambda: self.inner.list(prefix, start_after=start_after))

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self._count(RequestClass.DELETE, lambda: self.inner.delete(key))
