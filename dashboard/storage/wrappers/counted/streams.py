"""Open reads and writes whose bytes are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from dashboard.storage.driver import Reading, TellsParts, Writing
from dashboard.storage.errors import StorageError
from dashboard.storage.object_powers import HasFile
from dashboard.storage.types import Written
from dashboard.storage.wrappers.common.streams import PassingWriting, WrappedReading
from dashboard.storage.wrappers.counted.request_counter import RequestClass, RequestCounter


class MeasuredReading(WrappedReading):
    """An open read whose bytes are counted."""

    def __init__(self, inner: Reading, counter: RequestCounter) -> None:
        super().__init__(inner, inner.info)
        self._counter = counter

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        size = 0
        try:
            for chunk in self._inner.chunks():
                size += len(chunk)
                yield chunk
        except StorageError as error:
            self._counter.fail(error)
            raise
        finally:
            self._counter.add(RequestClass.READ, 0, size)

    def read_all(self) -> bytes:
        """See ``Reading``."""
        try:
            data = self._inner.read_all()
        except StorageError as error:
            self._counter.fail(error)
            raise
        self._counter.add(RequestClass.READ, 0, len(data))
        return data


class _File(MeasuredReading):
    """``HasFile``. What is sent from the file directly is not seen here."""

    def fileno(self) -> int:
        """See ``HasFile``."""
        assert isinstance(self._inner, HasFile)
        return self._inner.fileno()

    def check_unchanged(self) -> None:
        """See ``HasFile``."""
        assert isinstance(self._inner, HasFile)
        self._inner.check_unchanged()


class _Parts(MeasuredReading):
    """``TellsParts``, counted."""

    def part_size(self, number: int) -> int | None:
        """See ``TellsParts``."""
        assert isinstance(self._inner, TellsParts)
        self._counter.add(RequestClass.READ)
        return self._inner.part_size(number)


@cache
def reading_class(kind: type) -> type[MeasuredReading]:
    """The class for the open reads of a driver; it has one kind of them, so this is looked up once."""
    if issubclass(kind, TellsParts):
        return _Parts
    return _File if hasattr(kind, "fileno") and hasattr(kind, "check_unchanged") else MeasuredReading


class CountedWriting(PassingWriting):
    """An open write that is counted when it is committed."""

    def __init__(
        self, inner: Writing, counter: RequestCounter, written: Callable[[Written], Written]
    ) -> None:
        super().__init__(inner)
        self._counter = counter
        self._written = written

    def commit(self) -> Written:
        """See ``Writing``."""
        try:
            return self._written(self._inner.commit())
        except StorageError as error:
            self._counter.fail(error)
            raise
