"""Reads of large objects that resume where the connection failed, from then on in parallel parts.

If 49 of 50 GB have arrived, only the last one is requested again, and each part is retried by itself. Until
something fails there is a single stream, which is the least work at both ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from types import TracebackType
from typing import Self

from dashboard.errors import Kind
from dashboard.storage.driver import Driver, Reading, ReadsInParallel, ReadsRanges, TellsParts
from dashboard.storage.errors import Damaged, StorageError
from dashboard.storage.types import ObjectInfo

PART_BYTES = 4 * 1024 * 1024
PARALLEL_READS = 2
"""Parts read in parallel from an object store: more only take more memory while many objects are copied."""
_MAX_ATTEMPTS = 4
_RETRY_SECONDS = 0.5


def resumable(driver: Driver, reading: Reading) -> Reading:
    """Return the open read, able to resume after a failed connection if the driver supports it."""
    if isinstance(driver, ReadsInParallel) and isinstance(driver, ReadsRanges) and reading.info.version:
        return ResumingReading(driver, reading)
    return reading


class ResumingReading:
    """An open read of one version of an object, see ``Reading``. Used by one thread.

    Parts are requested with the version of ``info``, so ``Changed`` is raised if the object was replaced in
    between. Once the connection has failed, keeps ``parallel_reads`` parts and the current one in memory.
    """

    def __init__(self, driver: Driver, reading: Reading) -> None:
        assert isinstance(driver, ReadsInParallel)
        assert isinstance(driver, ReadsRanges)
        self.info: ObjectInfo = reading.info
        self._reading = reading
        self._ranges: ReadsRanges = driver
        self._parallel = driver.parallel_reads()
        self._threads: ThreadPoolExecutor | None = None
        self._in_flight: deque[Future[bytes]] = deque()
        self._closed = threading.Event()

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        arrived = 0
        try:
            for chunk in self._reading.chunks():
                arrived += len(chunk)
                yield chunk
        except StorageError as error:
            # Complete content that fails its check would fail it again.
            if not error.retryable or error.kind is Kind.CHANGED or arrived >= self.info.size:
                raise
            self._reading.__exit__(None, None, None)
            yield from self._remaining_parts(arrived)

    def _remaining_parts(self, arrived: int) -> Iterator[bytes]:
        self._threads = ThreadPoolExecutor(self._parallel, thread_name_prefix="part")
        starts = iter(range(arrived, self.info.size, PART_BYTES))
        for start in islice(starts, self._parallel):
            self._in_flight.append(self._threads.submit(copy_context().run, self._part, start))
        while self._in_flight:
            part = self._in_flight.popleft().result()
            for start in islice(starts, 1):
                self._in_flight.append(self._threads.submit(copy_context().run, self._part, start))
            yield part

    def part_size(self, number: int) -> int | None:
        """See ``TellsParts``."""
        return self._reading.part_size(number) if isinstance(self._reading, TellsParts) else None

    def read_all(self) -> bytes:
        """See ``Reading.read_all``."""
        return b"".join(self.chunks())

    def __enter__(self) -> Self:
        self._reading.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for part in self._in_flight:
            part.cancel()
        self._in_flight.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._reading.__exit__(kind, error, trace)

    def _part(self, start: int) -> bytes:
        key, length = self.info.key, min(PART_BYTES, self.info.size - start)
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                part = self._ranges.read_range(key, start, length, if_version=self.info.version)
                if len(part) != length:
                    raise Damaged(key, f"Of “{key}” {length:,} bytes were due, but {len(part):,} arrived.")
                return part
            except StorageError as error:
                not_retryable = not error.retryable or error.kind is Kind.CHANGED
                if not_retryable or attempt == _MAX_ATTEMPTS or self._closed.wait(_RETRY_SECONDS * attempt):
                    raise
        raise AssertionError("unreachable")
