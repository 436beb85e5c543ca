"""Base classes for the open reads and writes of wrappers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from dashboard.storage.driver import Reading, Writing
from dashboard.storage.net.parsing import join_chunks
from dashboard.storage.types import ObjectInfo, Written
from dashboard.storage.wrappers.common.content_view import without_md5


class WrappedReading(ABC):
    """An open read around another one. ``info`` is what its caller sees."""

    def __init__(self, inner: Reading, info: ObjectInfo) -> None:
        self._inner = inner
        self.info = info

    @abstractmethod
    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""

    def read_all(self) -> bytes:
        """See ``Reading``."""
        return join_chunks(self.chunks())

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class WrappedWriting:
    """An open write around another one. Used by one thread."""

    def __init__(self, inner: Writing) -> None:
        self._inner = inner

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._inner.write(chunk)

    def commit(self) -> Written:
        """See ``Writing``."""
        return self._inner.commit()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class PassingWriting(WrappedWriting):
    """An open write around another one that gets the same bytes. See ``PassesBytes``."""

    @property
    def passed_to(self) -> Writing:
        """The other one."""
        return self._inner

    def without_md5(self) -> None:
        """See ``ProvesByParts``. No effect if the wrapped writes always have one."""
        without_md5(self._inner)
