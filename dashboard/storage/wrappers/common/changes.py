"""The base of wrappers that act on every change made through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import MappingProxyType

from dashboard.storage.driver import CopiesWithin, DeletesUnchanged, Driver, Reading, Writing
from dashboard.storage.errors import StorageError
from dashboard.storage.object_powers import (
    CopiesListed,
    DeletesMany,
    HasTrash,
    KeepsVersions,
    MovesWithin,
    Prepared,
    ResumesWrites,
    SetsAttributes,
    Version,
    WritesInGroups,
)
from dashboard.storage.types import Attributes, Entry, Written
from dashboard.storage.wrappers.common.streams import PassingWriting
from dashboard.storage.wrapping import Wrapper, unwrap_transparent


class ObservesChanges(Wrapper):
    """Wraps writes, copies, restores and deletes in ``changing``. Its ``adapts`` must include
    :data:`CHANGE_POWERS`."""

    def changing(self, key: str) -> AbstractContextManager[object]:
        """Return a context manager around a change of an object. It may raise before the change."""
        raise NotImplementedError

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``."""
        writing = self.inner.write(key, size=size, attributes=attributes, create_only=create_only)
        return _ObservedWriting(writing, lambda: self.changing(key))

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        with self.changing(key):
            return self.inner.put(key, data, attributes=attributes, create_only=create_only)

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        with self.changing(key):
            self.inner.delete(key)


class _ObservedWriting(PassingWriting):
    """An open write whose commit is the change."""

    def __init__(self, inner: Writing, changing: Callable[[], AbstractContextManager[object]]) -> None:
        super().__init__(inner)
        self._changing = changing

    def commit(self) -> Written:
        """See ``Writing``."""
        with self._changing():
            return self._inner.commit()


class _Copies(ObservesChanges):
    """``CopiesWithin`` with ``changing``."""

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        return self.inner.can_copy_from(unwrap_transparent(source))

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        with self.changing(to):
            return self.inner.copy_from(unwrap_transparent(source), key, to, if_version=if_version)


class ObservesCopies(ObservesChanges):
    """``CopiesListed`` with ``changing``."""

    def copy_listed(self, source: Driver, entry: Entry, to: str, *, create_only: bool = False) -> Written:
        """See ``CopiesListed``."""
        assert isinstance(self.inner, CopiesListed)
        with self.changing(to):
            return self.inner.copy_listed(unwrap_transparent(source), entry, to, create_only=create_only)


class ResumesObserved(ObservesChanges):
    """``ResumesWrites`` with ``changing``."""

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
        assert isinstance(self.inner, ResumesWrites)
        writing = self.inner.resume_write(
            key, size=size, since=since, attributes=attributes, create_only=create_only
        )
        return _ObservedWriting(writing, lambda: self.changing(key))


class _Groups(ObservesChanges):
    """``WritesInGroups`` with ``changing`` around what is published."""

    def prepare(self, key: str, data: bytes, *, md5: str = "") -> Prepared | None:
        """See ``WritesInGroups``."""
        assert isinstance(self.inner, WritesInGroups)
        return self.inner.prepare(key, data, md5=md5)

    def publish(self, prepared: Sequence[Prepared]) -> list[Written | StorageError]:
        """See ``WritesInGroups``."""
        assert isinstance(self.inner, WritesInGroups)
        refused: dict[int, StorageError] = {}
        with ExitStack() as stack:
            for number, each in enumerate(prepared):
                try:
                    stack.enter_context(self.changing(each.key))
                except StorageError as error:
                    each.discard()
                    refused[number] = error
            accepted = [each for number, each in enumerate(prepared) if number not in refused]
            found = iter(self.inner.publish(accepted))
        return [refused[n] if n in refused else next(found) for n in range(len(prepared))]


class _DeletesMany(ObservesChanges):
    """``DeletesMany`` with ``changing``."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        assert isinstance(self.inner, DeletesMany)
        all_keys = list(keys)
        with ExitStack() as stack:
            for key in all_keys:
                stack.enter_context(self.changing(key))
            return self.inner.delete_many(all_keys)


class _DeletesUnchanged(ObservesChanges):
    """``DeletesUnchanged`` with ``changing``."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``."""
        assert isinstance(self.inner, DeletesUnchanged)
        with self.changing(key):
            self.inner.delete_unchanged(key, version)


class _Trash(ObservesChanges):
    """``HasTrash`` with ``changing``."""

    def move_to_trash(self, key: str, name: str, *, if_version: str | None = None) -> None:
        """See ``HasTrash``."""
        assert isinstance(self.inner, HasTrash)
        with self.changing(key):
            self.inner.move_to_trash(key, name, if_version=if_version)

    def restore_from_trash(self, name: str, key: str) -> None:
        """See ``HasTrash``."""
        assert isinstance(self.inner, HasTrash)
        with self.changing(key):
            self.inner.restore_from_trash(name, key)

    def remove_from_trash(self, name: str, key: str) -> None:
        """See ``HasTrash``."""
        assert isinstance(self.inner, HasTrash)
        self.inner.remove_from_trash(name, key)


class _Moves(ObservesChanges):
    """``MovesWithin`` with ``changing`` around both keys."""

    def move_within(self, key: str, to: str, *, if_version: str | None = None, replace: bool = False) -> None:
        """See ``MovesWithin``."""
        assert isinstance(self.inner, MovesWithin)
        with self.changing(key), self.changing(to):
            self.inner.move_within(key, to, if_version=if_version, replace=replace)


class _Attributes(ObservesChanges):
    """``SetsAttributes`` with ``changing``."""

    def set_attributes(self, key: str, attributes: Attributes, *, if_version: str | None = None) -> None:
        """See ``SetsAttributes``."""
        assert isinstance(self.inner, SetsAttributes)
        with self.changing(key):
            self.inner.set_attributes(key, attributes, if_version=if_version)


class ForwardsVersions(Wrapper):
    """Forwards all of ``KeepsVersions`` except ``restore_version``."""

    def keeps_versions(self) -> bool:
        """See ``KeepsVersions``."""
        return self._kept.keeps_versions()

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``."""
        return self._kept.versions(prefix)

    def read_version(self, key: str, version: str) -> Reading:
        """See ``KeepsVersions``."""
        return self._kept.read_version(key, version)

    @property
    def _kept(self) -> KeepsVersions:
        assert isinstance(self.inner, KeepsVersions)
        return self.inner


class ObservesRestore(ForwardsVersions, ObservesChanges):
    """``KeepsVersions`` with ``changing`` around restores."""

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``."""
        with self.changing(key):
            return self._kept.restore_version(key, version)


CHANGE_POWERS: Mapping[type, type] = MappingProxyType(
    {
        CopiesListed: ObservesCopies,
        CopiesWithin: _Copies,
        DeletesMany: _DeletesMany,
        DeletesUnchanged: _DeletesUnchanged,
        HasTrash: _Trash,
        KeepsVersions: ObservesRestore,
        MovesWithin: _Moves,
        ResumesWrites: ResumesObserved,
        SetsAttributes: _Attributes,
        WritesInGroups: _Groups,
    }
)
"""The powers that change objects."""
