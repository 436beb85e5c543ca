"""A place that is not asked while it is known not to answer."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType, TracebackType
from typing import ClassVar

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
from dashboard.storage.errors import StorageError
from dashboard.storage.object_powers import DeletesMany, HasTiers, HoldsTags, KeepsVersions, SignsUploads
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written
from dashboard.storage.wrappers.common.streams import WrappedWriting
from dashboard.storage.wrappers.fallback.circuit import CircuitBreaker
from dashboard.storage.wrapping import CONTAINER_POWERS, Wrapper


class _CircuitBase(Wrapper):
    """The base of the wrapper and its powers."""

    def __init__(self, inner: Driver, breaker: CircuitBreaker) -> None:
        super().__init__(inner)
        self.breaker = breaker


class _Writing(WrappedWriting):
    """An open write, whose every call may find out that nobody answers."""

    def __init__(self, inner: Writing, breaker: CircuitBreaker) -> None:
        super().__init__(inner)
        self._breaker = breaker

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._breaker.ask(lambda: self._inner.write(chunk))

    def commit(self) -> Written:
        """See ``Writing``."""
        return self._breaker.ask(self._inner.commit)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._breaker.open:
            self._inner.__exit__(kind, error, trace)
            return

        def drop() -> None:
            with suppress(StorageError):
                self._inner.__exit__(kind, error, trace)

        # Taking back what was sent would wait for the same silent server.
        threading.Thread(target=drop, name="drop-write", daemon=True).start()


class _ReadsRanges(_CircuitBase):
    """Parts of objects."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        inner = self.inner
        assert isinstance(inner, ReadsRanges)
        return self.breaker.ask(lambda: inner.read_range(key, start, length, if_version=if_version))


class _DeletesMany(_CircuitBase):
    """Many objects go at once."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        inner = self.inner
        assert isinstance(inner, DeletesMany)
        return self.breaker.ask(lambda: inner.delete_many(keys))


class BehindCircuitBreaker(_CircuitBase):
    """See above. Closing it closes the place."""

    transparent = True
    forwards = CONTAINER_POWERS | {
        CopiesWithin,
        DeletesUnchanged,
        HasTiers,
        HoldsTags,
        KeepsFolders,
        KeepsVersions,
        Links,
        ReadsInParallel,
        SetsVisibility,
        SignsUploads,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {DeletesMany: _DeletesMany, ReadsRanges: _ReadsRanges}
    )

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
        return self.breaker.ask(lambda: self.inner.read(key, if_version=if_version))

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``."""
        opened = self.breaker.ask(
            lambda: self.inner.write(key, size=size, attributes=attributes, create_only=create_only)
        )
        return _Writing(opened, self.breaker)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        return self.breaker.ask(
            lambda: self.inner.put(key, data, attributes=attributes, create_only=create_only)
        )

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        return self.breaker.ask(lambda: self.inner.stat(key))

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``."""

        def begun() -> tuple[Entry | None, Iterator[Entry]]:
            entries = self.inner.list(prefix, start_after=start_after)
            return next(entries, None), entries

        first, entries = self.breaker.ask(begun)
        if first is not None:
            yield first
            yield from entries

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self.breaker.ask(lambda: self.inner.delete(key))
