"""Open reads that leave a copy, and open writes after which none is left of what was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from dashboard.storage.driver import ProvesByParts, Reading, Writing
from dashboard.storage.types import ObjectInfo, Written
from dashboard.storage.wrappers.cached.copies import PieceSums, description
from dashboard.storage.wrappers.cached.shelves import Slip


class Keeps(Protocol):
    """What the streams need of the cache."""

    def keep(self, info: ObjectInfo, slip: Slip, since: tuple[int, float]) -> None:
        """A copy is complete."""
        ...


class Changes(Protocol):
    """The same, of a write."""

    def changing(self, key: str) -> AbstractContextManager[None]:
        """Around what changes the object."""
        ...


class FillingReading:
    """A read from the backend that leaves a copy if it comes to its end."""

    def __init__(self, inner: Reading, slip: Slip, cached: Keeps, since: tuple[int, float]) -> None:
        self._inner = inner
        self._slip = slip
        self._cached = cached
        self._since = since
        self.info: ObjectInfo = inner.info

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        sums = PieceSums()
        for data in self._inner.chunks():
            sums.add(data)
            self._slip.write(data)
            yield data
        self._keep(sums)

    def read_all(self) -> bytes:
        """See ``Reading``."""
        data, sums = self._inner.read_all(), PieceSums()
        sums.add(data)
        self._slip.write(data)
        self._keep(sums)
        return data

    def _keep(self, sums: PieceSums) -> None:
        if sums.size == self.info.size:
            self._slip.write(description(self.info, sums.sums()))
            self._cached.keep(self.info, self._slip, self._since)

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slip.drop()
        self._inner.__exit__(kind, error, trace)


class CachedWriting:
    """A write after whose commit no older copy is left."""

    def __init__(self, inner: Writing, cached: Changes, key: str) -> None:
        self._inner = inner
        self._cached = cached
        self._key = key

    def without_md5(self) -> None:
        """See ``ProvesByParts``; of no effect where the backend's own writes always have one."""
        if isinstance(self._inner, ProvesByParts):
            self._inner.without_md5()

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._inner.write(chunk)

    def commit(self) -> Written:
        """See ``Writing``."""
        with self._cached.changing(self._key):
            return self._inner.commit()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)
