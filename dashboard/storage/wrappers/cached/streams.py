"""Open reads that leave a copy."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from dashboard.storage.driver import Reading
from dashboard.storage.types import ObjectInfo
from dashboard.storage.wrappers.cached.copies import PieceSums, description
from dashboard.storage.wrappers.cached.shelves import Slip
from dashboard.storage.wrappers.common.streams import WrappedReading


class Keeps(Protocol):
    """What the streams need of the cache."""

    def keep(self, info: ObjectInfo, slip: Slip, since: tuple[int, float]) -> None:
        """A copy is complete."""
        ...


class FillingReading(WrappedReading):
    """A read from the backend that leaves a copy if it comes to its end."""

    def __init__(self, inner: Reading, slip: Slip, cached: Keeps, since: tuple[int, float]) -> None:
        super().__init__(inner, inner.info)
        self._slip = slip
        self._cached = cached
        self._since = since

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slip.drop()
        super().__exit__(kind, error, trace)
