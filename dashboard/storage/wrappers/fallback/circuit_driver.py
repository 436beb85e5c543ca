"""A driver whose calls go through a circuit breaker."""

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
    """An open write whose calls go through the circuit breaker."""

    def __init__(self, inner: Writing, breaker: CircuitBreaker) -> None:
        super().__init__(inner)
        self._breaker = breaker

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._breaker.call(lambda: self._inner.write(chunk))

    def commit(self) -> Written:
        """See ``Writing``."""
        return self._breaker.call(self._inner.commit)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._breaker.open:
            self._inner.__exit__(kind, error, trace)
            return

        def discard() -> None:
            with suppress(StorageError):
                self._inner.__exit__(kind, error, trace)

        # Discarding what was sent would wait for the same unresponsive server.
        threading.Thread(target=discard, name="discard-write", daemon=True).start()


class _ReadsRanges(_CircuitBase):
    """``ReadsRanges`` through the circuit breaker."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        inner = self.inner
        assert isinstance(inner, ReadsRanges)
        return self.breaker.call(lambda: inner.read_range(key, start, length, if_version=if_version))


class _ResumesWrites(_CircuitBase):
    """``ResumesWrites`` through the circuit breaker."""

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
        writing = self.breaker.call(
            lambda: inner.resume_write(
                key, size=size, since=since, attributes=attributes, create_only=create_only
            )
        )
        return _Writing(writing, self.breaker)


class _DeletesMany(_CircuitBase):
    """``DeletesMany`` through the circuit breaker."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        inner = self.inner
        assert isinstance(inner, DeletesMany)
        return self.breaker.call(lambda: inner.delete_many(keys))


class BehindCircuitBreaker(_CircuitBase):
    """See above. Closing it closes the wrapped driver."""

    transparent = True
    keeps_place = True
    forwards = CONTAINER_POWERS | {
        CopiesListed,
        CopiesWithin,
        DeletesUnchanged,
        HasTiers,
        HasTrash,
        HoldsTags,
        KeepsFolders,
        KeepsVersions,
        Links,
        MovesWithin,
        ReadsInParallel,
        SetsAttributes,
        SetsVisibility,
        SignsParts,
        SignsUploads,
        WritesInGroups,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {DeletesMany: _DeletesMany, ReadsRanges: _ReadsRanges, ResumesWrites: _ResumesWrites}
    )

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
        return self.breaker.call(lambda: self.inner.read(key, if_version=if_version))

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``."""
        writing = self.breaker.call(
            lambda: self.inner.write(key, size=size, attributes=attributes, create_only=create_only)
        )
        return _Writing(writing, self.breaker)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        return self.breaker.call(
            lambda: self.inner.put(key, data, attributes=attributes, create_only=create_only)
        )

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        return self.breaker.call(lambda: self.inner.stat(key))

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``."""

        def start() -> tuple[Entry | None, Iterator[Entry]]:
            entries = self.inner.list(prefix, start_after=start_after)
            return next(entries, None), entries

        first, entries = self.breaker.call(start)
        if first is not None:
            yield first
            yield from entries

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self.breaker.call(lambda: self.inner.delete(key))
