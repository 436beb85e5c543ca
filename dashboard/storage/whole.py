"""Reads and writes for drivers that handle every object as a whole, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from dashboard.storage.types import ObjectInfo, Written

_CHUNK = 1024 * 1024


class WholeReading:
    """A read of content that is at hand, see ``Reading``."""

    def __init__(self, info: ObjectInfo, data: bytes) -> None:
        self.info = info
        self._data = data

    def chunks(self) -> Iterator[bytes]:
        """Pieces of up to 1 MiB."""
        for start in range(0, len(self._data), _CHUNK):
            yield self._data[start : start + _CHUNK]

    def read_all(self) -> bytes:
        """The whole content."""
        return self._data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to free."""


class WholeWriting:
    """A write that is collected and put in one go, see ``Writing``. Used by one thread."""

    def __init__(self, put: Callable[[bytes], Written]) -> None:
        self._put = put
        self._data = bytearray()

    def write(self, chunk: bytes) -> None:
        """See ``Writing.write``."""
        self._data += chunk

    def commit(self) -> Written:
        """See ``Writing.commit``."""
        return self._put(bytes(self._data))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.clear()
