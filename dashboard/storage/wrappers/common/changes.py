"""For wrappers that have to know of every change that is made through them, and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from types import MappingProxyType

from dashboard.storage.driver import CopiesWithin, DeletesUnchanged, Driver, ProvesByParts, Reading, Writing
from dashboard.storage.errors import StorageError
from dashboard.storage.object_powers import DeletesMany, KeepsVersions, Version
from dashboard.storage.types import Attributes, Written
from dashboard.storage.wrappers.common.streams import WrappedWriting
from dashboard.storage.wrapping import Wrapper, unwrap_transparent


class ObservesChanges(Wrapper):
    """Stands around the wrapped driver's writes, copies, restorations and deletions, by ``changing``. Its
    ``adapts`` has to include :data:`CHANGE_POWERS`."""

    def changing(self, key: str) -> AbstractContextManager[object]:
        """Around what makes, replaces or removes an object; it may raise before."""
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


class _ObservedWriting(WrappedWriting):
    """A write whose commit is the change."""

    def __init__(self, inner: Writing, changing: Callable[[], AbstractContextManager[object]]) -> None:
        super().__init__(inner)
        self._changing = changing

    def without_md5(self) -> None:
        """See ``ProvesByParts``; of no effect where the backend's own writes always have one."""
        if isinstance(self._inner, ProvesByParts):
            self._inner.without_md5()

    def commit(self) -> Written:
        """See ``Writing``."""
        with self._changing():
            return self._inner.commit()


class _Copies(ObservesChanges):
    """The server copies."""

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        return self.inner.can_copy_from(unwrap_transparent(source))

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        with self.changing(to):
            return self.inner.copy_from(unwrap_transparent(source), key, to, if_version=if_version)


class _DeletesMany(ObservesChanges):
    """Many objects go at once."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        assert isinstance(self.inner, DeletesMany)
        known = list(keys)
        with ExitStack() as stack:
            for key in known:
                stack.enter_context(self.changing(key))
            return self.inner.delete_many(known)


class _DeletesUnchanged(ObservesChanges):
    """What was read is deleted."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``."""
        assert isinstance(self.inner, DeletesUnchanged)
        with self.changing(key):
            self.inner.delete_unchanged(key, version)


class ForwardsVersions(Wrapper):
    """All of ``KeepsVersions`` but ``restore_version``, handed to the wrapped driver."""

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
    """Older states are read where they lie; restoring one is a change."""

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``."""
        with self.changing(key):
            return self._kept.restore_version(key, version)


CHANGE_POWERS: Mapping[type, type] = MappingProxyType(
    {
        CopiesWithin: _Copies,
        DeletesMany: _DeletesMany,
        DeletesUnchanged: _DeletesUnchanged,
        KeepsVersions: ObservesRestore,
    }
)
"""The powers by which objects are changed."""
