"""Open reads and writes for programs with an event loop, and iterating over listings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar

from dashboard.storage.driver import Writing
from dashboard.storage.library.aio.async_threads import InOrder, Threads
from dashboard.storage.library.contents import OpenRead
from dashboard.storage.types import ObjectInfo, Written

T = TypeVar("T")

BATCH = 256
"""Entries of a listing that one thread fetches at once."""


class AsyncRead:
    """An open read; use as an async context manager, and iterate over it or call ``read(n)``. Used by one
    task. Between two calls it occupies no thread.
    """

    def __init__(self, threads: Threads, open_read: Callable[[], OpenRead]) -> None:
        self._order = InOrder(threads)
        self._open_read = open_read
        self._reading: OpenRead | None = None
        self._chunks: Iterator[bytes] | None = None

    @property
    def info(self) -> ObjectInfo:
        """The object that is being read."""
        return self._opened().info

    async def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end; all that is left if it is negative."""
        reading = self._opened()
        return await self._order.threads.read(self._order.locked(lambda: reading.read(size)))

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content in order. Raises ``Damaged`` and ``Changed``."""
        reading = self._opened()
        if self._chunks is None:
            self._chunks = reading.chunks()
        chunks = self._chunks
        while chunk := await self._order.threads.read(self._order.locked(lambda: next(chunks, b""))):
            yield chunk

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.chunks()

    async def __aenter__(self) -> Self:
        self._reading = await self._order.threads.open(
            lambda: self._open_read().__enter__(), lambda reading: reading.__exit__(None, None, None)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reading = self._opened()
        await self._order.threads.finish(self._order.locked(lambda: reading.__exit__(None, None, None)))

    def _opened(self) -> OpenRead:
        if self._reading is None:
            raise RuntimeError("The read is not open: use it with “async with”.")
        return self._reading


class AsyncWrite:
    """An open write; use as an async context manager. Nothing is stored without ``commit()``. Used by one
    task."""

    def __init__(self, threads: Threads, open_write: Callable[[], Writing]) -> None:
        self._order = InOrder(threads)
        self._open_write = open_write
        self._writing: Writing | None = None

    async def write(self, chunk: bytes | str) -> None:
        """Write the next bytes, or text as UTF-8. Waits while the backend catches up."""
        writing, data = self._opened(), chunk.encode() if isinstance(chunk, str) else bytes(chunk)
        await self._order.threads.read(self._order.locked(lambda: writing.write(data)))

    async def commit(self) -> Written:
        """Make the object visible, complete and durable, and return its receipt. Called once. If cancelled,
        the error says whether it is stored: ``outcome_of``."""
        writing = self._opened()
        return await self._order.threads.change(self._order.locked(writing.commit))

    async def __aenter__(self) -> Self:
        self._writing = await self._order.threads.open(
            lambda: self._open_write().__enter__(), lambda writing: writing.__exit__(None, None, None)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        writing = self._opened()
        await self._order.threads.finish(self._order.locked(lambda: writing.__exit__(None, None, None)))

    def _opened(self) -> Writing:
        if self._writing is None:
            raise RuntimeError("The write is not open: use it with “async with”.")
        return self._writing


async def iterate(threads: Threads, start: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """Yield what an iterator yields; a thread fetches ``BATCH`` at once, and no more than are asked for."""
    order = InOrder(threads)
    found = await threads.read(start)
    try:
        while batch := await threads.read(order.locked(lambda: list(islice(found, BATCH)))):
            for each in batch:
                yield each
    finally:
        close = getattr(found, "close", None)
        if close is not None:
            await threads.finish(order.locked(close))
